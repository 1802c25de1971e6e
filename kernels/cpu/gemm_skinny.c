/* gemm_skinny.c - few rows of A (decoding): every element of B is read once, where it lies.
 *
 * B stored (k,n): a task makes a strip of columns of C and goes down the rows of B; of few columns
 * the rows are cut into spans as well, whose sums are added in order.
 * B stored (n,k): a task makes some columns of C, each a dot product along a row of B. */
#include "kernels/cpu/cpu.h"

enum {
    STRIP = VW == 16 ? 16 : 8, /* vectors, whose sums live in registers: 1 KiB of a row of B reads
                                  a fifth faster than half of that */
    STRIP_COLS = STRIP * VW,
    ROWS = VW == 16 ? 4 : 2, /* of A at a time, then PART vectors */
    PART = 8,
    AHEAD = 16, /* rows of B asked for in advance: a strip is too narrow for the prefetcher */
    TASKS = 16, /* wanted, where there are SPAN rows for each */
    SPAN = 256,
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

/* ---- strips ---- */

/* Columns [j0, j0 + n) of C, sums over [p0, p1) of k: part (m, STRIP_COLS). */
typedef struct Strip {
    int64_t j0, p0, p1;
    int n;
    float *part;
} Strip;

/* Rows [i0, i0 + rows). rows, vecs and whole (n is all of vecs) are constants. Short columns ask
 * for the next strip's. */
__attribute__((always_inline)) static inline void
strip(const Gemm *a, const int rows, const int vecs, const bool whole, const Strip *s, int64_t i0)
{
    if (vecs > STRIP)
        return;
    const float *x = (const float *)a->a + i0 * a->lda;
    const float *b = (const float *)a->b + s->p0 * a->ldb + s->j0;
    const int64_t ahead = s->p1 - s->p0 > 4 * AHEAD ? AHEAD * a->ldb : STRIP_COLS;
    vf acc[ROWS][STRIP];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vecs; v++)
            acc[i][v] = vset(0);
    for (int64_t p = s->p0; p < s->p1; p++, b += a->ldb)
        for (int v = 0; v < vecs; v++) {
            __builtin_prefetch(b + ahead + v * VW);
            const int left = s->n - v * VW;
            vf bv = whole || left >= VW ? vload(b + v * VW)
                    : left > 0          ? vload_n(b + v * VW, left)
                                        : vset(0);
            for (int i = 0; i < rows; i++)
                acc[i][v] += vset(x[i * a->lda + p]) * bv;
        }
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vecs; v++)
            vstore(s->part + (i0 + i) * STRIP_COLS + v * VW, acc[i][v]);
}

static void one_row(const Gemm *a, const Strip *s, int64_t i)
{
    switch (s->n % VW == 0 ? s->n / VW : 0) {
    case 16:
        strip(a, 1, 16, true, s, i);
        return;
    case 12:
        strip(a, 1, 12, true, s, i);
        return;
    case 8:
        strip(a, 1, 8, true, s, i);
        return;
    case 6:
        strip(a, 1, 6, true, s, i);
        return;
    case 4:
        strip(a, 1, 4, true, s, i);
        return;
    case 2:
        strip(a, 1, 2, true, s, i);
        return;
    case 1:
        strip(a, 1, 1, true, s, i);
        return;
    default:
        strip(a, 1, STRIP, false, s, i);
    }
}

static void all_rows(const Gemm *a, const Strip *s)
{
    int64_t i = 0;
    for (; i + ROWS <= a->m && s->n == STRIP_COLS; i += ROWS)
        for (int v = 0; v < STRIP; v += PART) {
            const Strip part = {s->j0 + v * VW, s->p0, s->p1, PART * VW, s->part + v * VW};
            strip(a, ROWS, PART, true, &part, i);
        }
    for (; i < a->m; i++)
        one_row(a, s, i);
}

/* C from the sums of the strip's spans, which lie one after another. */
static void put_strip(const Gemm *a, const Strip *s, int64_t spans)
{
    const int64_t size = a->m * STRIP_COLS;
    for (int64_t i = 0; i < a->m; i++)
        for (int j = 0; j < s->n; j++) {
            const float *part = s->part + i * STRIP_COLS + j;
            float sum = part[0];
            for (int64_t span = 1; span < spans; span++)
                sum += part[span * size];
            put(a, i, s->j0 + j, sum);
        }
}

static Strip strip_at(const Gemm *a, int64_t j, int64_t p, int64_t depth, float *part)
{
    return (Strip){j, p, min64(a->k, p + depth), (int)min64(STRIP_COLS, a->n - j), part};
}

static void whole_strips(const Gemm *a)
{
#pragma omp parallel for schedule(static) if (a->m * a->n * a->k >= 2 * PARALLEL_FROM)
    for (int64_t j = 0; j < a->n; j += STRIP_COLS) {
        float part[SKINNY * STRIP_COLS];
        const Strip s = strip_at(a, j, 0, a->k, part);
        all_rows(a, &s);
        put_strip(a, &s, 1);
    }
}

/* spans * strips <= TASKS. */
static void cut_strips(const Gemm *a, int64_t spans)
{
    float part[TASKS * SKINNY * STRIP_COLS];
    const int64_t strips = ceil_div(a->n, STRIP_COLS), depth = ceil_div(a->k, spans);
    const int64_t size = a->m * STRIP_COLS;
#pragma omp parallel for schedule(static) if (a->m * a->n * a->k >= PARALLEL_FROM / 2)
    for (int64_t t = 0; t < strips * spans; t++) {
        /* all_rows fills it. cppcheck-suppress legacyUninitvar */
        float *mine = part + t * size;
        const Strip s = strip_at(a, t / spans * STRIP_COLS, t % spans * depth, depth, mine);
        all_rows(a, &s);
    }
    for (int64_t k = 0; k < strips; k++) {
        const Strip s = strip_at(a, k * STRIP_COLS, 0, depth, part + k * spans * size);
        put_strip(a, &s, spans);
    }
}

/* ---- dots ---- */

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

static void all_dots(const Gemm *a)
{
#pragma omp parallel for schedule(static) if (a->m * a->n * a->k >= 2 * PARALLEL_FROM)
    for (int64_t j0 = 0; j0 < a->n; j0 += DOTS_COLS)
        for (int64_t i0 = 0; i0 < a->m; i0 += ROWS)
            for (int64_t j = j0; j < min64(a->n, j0 + DOTS_COLS); j += DOTS)
                dots_rows(a, i0, j, (int)min64(DOTS, min64(a->n, j0 + DOTS_COLS) - j));
}

void CPU(gemm_skinny)(const Gemm *a)
{
    const int64_t spans = min64(TASKS / ceil_div(a->n, STRIP_COLS), a->k / SPAN);
    CHECK(!a->ta && a->m <= SKINNY);
    if (a->tb)
        all_dots(a);
    else if (spans > 1)
        cut_strips(a, spans);
    else
        whole_strips(a);
}

/* A strip that is not one of the widths of one_row is filled up. */
double CPU(skinny_flops)(const Gemm *a)
{
    const int64_t rest = a->n % STRIP_COLS, vecs = rest / VW;
    const bool as_is = rest % VW == 0 && (vecs < 3 || vecs == 4 || vecs == 6);
    if (a->tb)
        return 2.0 * (double)a->m * (double)a->n * (double)round_up(a->k, VW);
    return tile_flops(a->m, as_is ? a->n : round_up(a->n, STRIP_COLS), a->k);
}
