/* gemm_skinny.c - few rows of A (decoding): every element of B is read once, where it lies.
 *
 * B stored (k,n): a task makes a strip of columns of C and goes down the rows of B.
 * B stored (n,k): a task makes some columns of C, each a dot product along a row of B. */
#include "kernels/cpu/cpu.h"

enum {
    ROWS = VW == 16 ? 4 : 2, /* of A at a time: ROWS x STRIP sums live in registers */
    STRIP = 8,               /* vectors */
    STRIP_COLS = STRIP * VW,
    AHEAD = 16, /* rows of B asked for in advance: a strip is too narrow for the prefetcher */
    DOTS = 4,
    DOTS_COLS = 16 /* of one task */
};

static void put(const Gemm *a, int64_t i, int64_t j, float sum)
{
    const float *bias = a->bias;
    float *c = (float *)a->c + i * a->ldc + j;
    float y = (float)a->alpha * sum + (bias != NULL ? bias[j] : 0.0f);
    *c = a->beta != 0 ? *c + y : y;
}

/* Rows [i0, i0 + rows) of C, columns [j0, j0 + n), n <= STRIP_COLS. rows and whole (n is
 * STRIP_COLS) are constants. */
__attribute__((always_inline)) static inline void
strip(const Gemm *a, const int rows, const bool whole, int64_t i0, int64_t j0, int n)
{
    const float *x = (const float *)a->a + i0 * a->lda, *b = (const float *)a->b + j0;
    vf acc[ROWS][STRIP];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < STRIP; v++)
            acc[i][v] = vset(0);
    for (int64_t p = 0; p < a->k; p++, b += a->ldb)
        for (int v = 0; v < STRIP; v++) {
            __builtin_prefetch(b + AHEAD * a->ldb + v * VW);
            const int left = n - v * VW;
            vf bv = whole || left >= VW ? vload(b + v * VW)
                    : left > 0          ? vload_n(b + v * VW, left)
                                        : vset(0);
            for (int i = 0; i < rows; i++)
                acc[i][v] += vset(x[i * a->lda + p]) * bv;
        }
    for (int i = 0; i < rows; i++) {
        float sum[STRIP_COLS];
        for (int v = 0; v < STRIP; v++)
            vstore(sum + v * VW, acc[i][v]);
        for (int j = 0; j < n; j++)
            put(a, i0 + i, j0 + j, sum[j]);
    }
}

static void strip_rows(const Gemm *a, int64_t i0, int64_t j0, int n)
{
    const int64_t rows = a->m - i0;
    if (n == STRIP_COLS && rows >= ROWS) {
        strip(a, ROWS, true, i0, j0, STRIP_COLS);
        return;
    }
    for (int64_t i = i0; i < i0 + min64(rows, ROWS); i++)
        if (n == STRIP_COLS)
            strip(a, 1, true, i, j0, STRIP_COLS);
        else
            strip(a, 1, false, i, j0, n);
}

/* Rows [i0, i0 + rows) of C, columns [j0, j0 + DOTS); both counts are constants. */
__attribute__((always_inline)) static inline void dots(const Gemm *a, const int rows,
                                                       const int cols, int64_t i0, int64_t j0)
{
    const float *x = (const float *)a->a + i0 * a->lda, *b = (const float *)a->b + j0 * a->ldb;
    vf acc[ROWS][DOTS];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++)
            acc[i][j] = vset(0);
    int64_t p = 0;
    for (; p + VW <= a->k; p += VW)
        for (int j = 0; j < cols; j++)
            for (int i = 0; i < rows; i++)
                acc[i][j] += vload(x + i * a->lda + p) * vload(b + j * a->ldb + p);
    const int left = (int)(a->k - p);
    for (int j = 0; j < cols; j++)
        for (int i = 0; i < rows; i++) {
            vf tail = vload_n(x + i * a->lda + p, left) * vload_n(b + j * a->ldb + p, left);
            put(a, i0 + i, j0 + j, vsum(acc[i][j] + tail));
        }
}

static void dots_rows(const Gemm *a, int64_t i0, int64_t j0, int n)
{
    const int64_t rows = a->m - i0;
    if (n == DOTS && rows >= ROWS) {
        dots(a, ROWS, DOTS, i0, j0);
        return;
    }
    for (int64_t i = i0; i < i0 + min64(rows, ROWS); i++)
        if (n == DOTS)
            dots(a, 1, DOTS, i, j0);
        else
            for (int j = 0; j < n; j++)
                dots(a, 1, 1, i, j0 + j);
}

void CPU(gemm_skinny)(const Gemm *a)
{
    const int64_t cols = a->tb ? DOTS_COLS : STRIP_COLS;
    CHECK(!a->ta);
#pragma omp parallel for schedule(static) if (a->m * a->n * a->k >= 2 * PARALLEL_FROM)
    for (int64_t t = 0; t < ceil_div(a->n, cols); t++) {
        const int64_t j0 = t * cols, end = min64(a->n, j0 + cols);
        for (int64_t i0 = 0; i0 < a->m; i0 += ROWS) {
            if (!a->tb)
                strip_rows(a, i0, j0, (int)(end - j0));
            for (int64_t j = j0; a->tb && j < end; j += DOTS)
                dots_rows(a, i0, j, (int)min64(DOTS, end - j));
        }
    }
}
