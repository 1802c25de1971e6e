/* mult.c - the multiplicative layer: y[r, s M + m] = bias + sum_i x[r,i] g[i,s] e[i,m].
 *
 * Many rows: the weights g[i,s] e[i,m] of a slab of columns are written out (in x SLAB floats of
 * scratch, however many rows there are) and a matrix product does the rest, at its speed. The
 * backward pass contracts the gradient of such a slab to those of g and e.
 * Few rows (decoding): g and e are read once. A token's vector times g is a matrix of S rows that
 * is multiplied by e, in spans of i whose sums are added up in order; a span is one task. */
#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

enum {
    SLAB = 1024, /* columns whose weights are written out at a time */
    KB = 256,    /* i of a block of a span */
    SPANS = 16,  /* wanted */
    CHUNK = 512  /* columns of e packed at a time */
};

static int64_t width_of(const Mult *a)
{
    return (int64_t)a->modules * a->m;
}

/* ---- columns by slabs ---- */

/* Calls for each stretch of columns [j, j + n) of [j0, j1) that lies in one module. */
#define EACH_STRETCH(a, j, n, j0, j1)                                                              \
    for (int64_t j = j0, n; j < j1 && (n = min64(j1 - j, a->m - j % a->m)) > 0; j += n)

/* w (in, j1 - j0) = g e of these columns. */
static void weights(const Mult *a, int64_t j0, int64_t j1, float *w)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->in; i++) {
        const float *g = (const float *)a->g + i * a->modules, *e = (const float *)a->e + i * a->m;
        float *row = w + i * (j1 - j0);
        EACH_STRETCH(a, j, n, j0, j1)
        row_scale(row + j - j0, e + j % a->m, n, g[j / a->m]);
    }
}

static float dot(const float *x, const float *y, int64_t n)
{
    vf sum = vset(0);
    for (int64_t i = 0; i < n; i += VW)
        sum += vget(x + i, n - i) * vget(y + i, n - i);
    return vsum(sum);
}

/* dg += e dw, de += g dw over these columns; dw (in, j1 - j0). */
static void contract(const Mult *a, int64_t j0, int64_t j1, const float *dw)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->in; i++) {
        const float *g = (const float *)a->g + i * a->modules, *e = (const float *)a->e + i * a->m;
        const float *row = dw + i * (j1 - j0);
        EACH_STRETCH(a, j, n, j0, j1)
        {
            const float *pull = row + j - j0;
            float *de = (float *)a->de + i * a->m + j % a->m;
            if (a->dg != NULL)
                ((float *)a->dg)[i * a->modules + j / a->m] += dot(e + j % a->m, pull, n);
            for (int64_t c = 0; c < n && a->de != NULL; c += VW)
                vput(de + c, vget(de + c, n - c) + vset(g[j / a->m]) * vget(pull + c, n - c),
                     n - c);
        }
    }
}

static Gemm forward_of(const Mult *a, int64_t j0, int64_t j1, const float *w)
{
    return (Gemm){.m = a->rows,
                  .n = j1 - j0,
                  .k = a->in,
                  .alpha = 1,
                  .a = a->x,
                  .b = w,
                  .bias = a->bias != NULL ? (const float *)a->bias + j0 : NULL,
                  .c = (float *)a->y + j0,
                  .lda = a->in,
                  .ldb = j1 - j0,
                  .ldc = width_of(a)};
}

/* dx += dy w' */
static Gemm dx_of(const Mult *a, int64_t j0, int64_t j1, const float *w)
{
    return (Gemm){.m = a->rows,
                  .n = a->in,
                  .k = j1 - j0,
                  .tb = true,
                  .alpha = 1,
                  .beta = 1,
                  .a = (const float *)a->dy + j0,
                  .b = w,
                  .c = a->dx,
                  .lda = width_of(a),
                  .ldb = j1 - j0,
                  .ldc = a->in};
}

/* dw = x' dy */
static Gemm dw_of(const Mult *a, int64_t j0, int64_t j1, float *dw)
{
    return (Gemm){.m = a->in,
                  .n = j1 - j0,
                  .k = a->rows,
                  .ta = true,
                  .alpha = 1,
                  .a = a->x,
                  .b = (const float *)a->dy + j0,
                  .c = dw,
                  .lda = a->in,
                  .ldb = width_of(a),
                  .ldc = j1 - j0};
}

/* Scratch: the slab's weights, then what the products need. */
static Status slab_scratch(Dev *d, const Mult *a, float **w, float **work)
{
    const int64_t n = width_of(a), last = n % SLAB;
    const int64_t size = round_up(a->in * min64(n, SLAB), 16);
    size_t most = 0;
    void *scratch;
    for (int i = 0; i < 2; i++) {
        const int64_t cols = i == 0 ? min64(n, SLAB) : last;
        const Gemm g[] = {forward_of(a, 0, cols, NULL), dx_of(a, 0, cols, NULL),
                          dw_of(a, 0, cols, NULL)};
        for (int k = 0; k < COUNT(g) && cols > 0; k++)
            most = CPU(gemm_scratch)(&g[k]) > most ? CPU(gemm_scratch)(&g[k]) : most;
    }
    TRY(dev_scratch(d, ((size_t)size + most) * sizeof(float), &scratch));
    *w = scratch;
    *work = *w + size;
    return ST_OK;
}

/* ---- few rows ---- */
typedef struct Span {
    int64_t blocks, n; /* blocks of KB in a span; spans */
    int64_t lines;     /* rows * modules: rows of the small product */
} Span;

static Span span_of(const Mult *a)
{
    const int64_t blocks = ceil_div(a->in, KB), each = ceil_div(blocks, SPANS);
    return (Span){each, ceil_div(blocks, each), a->rows * a->modules};
}

/* Lines [l, l + MR) of z for i in [i0, i0 + k): line (r,s) is x[r,i] g[i,s]. */
static void pack_panel(const Mult *a, int64_t lines, int64_t l, int64_t i0, int k, float *to)
{
    const int64_t S = a->modules, r = l / S, s = l % S;
    const float *x = (const float *)a->x + i0, *g = (const float *)a->g + i0 * S;
    if (s + MR <= S) { /* of one row: neighbours in g */
        x += r * a->in;
        for (int p = 0; p < k; p++, to += MR)
            for (int q = 0; q < MR; q++)
                to[q] = x[p] * g[p * S + s + q];
        return;
    }
    for (int q = 0; q < MR; q++, l++)
        for (int p = 0; p < k; p++)
            to[p * MR + q] = l < lines ? x[l / S * a->in + p] * g[p * S + l % S] : 0.0f;
}

static void pack_z(const Mult *a, int64_t lines, int64_t i0, int k, float *z)
{
    for (int64_t l = 0; l < lines; l += MR)
        pack_panel(a, lines, l, i0, k, z + l * k);
}

/* part (lines, M) = the sum over the span's i. z and b: private scratch. */
static void one_span(const Mult *a, const Span *s, int64_t span, float *z, float *b, float *part)
{
    for (int64_t kb = 0; kb < s->blocks; kb++) {
        const int64_t i0 = (span * s->blocks + kb) * KB;
        const int k = (int)min64(KB, a->in - i0);
        if (k <= 0)
            return;
        pack_z(a, s->lines, i0, k, z);
        for (int64_t j = 0; j < a->m; j += CHUNK) {
            const int cols = (int)min64(CHUNK, a->m - j);
            CPU(pack_rows)(NR, k, cols, (const float *)a->e + i0 * a->m + j, a->m, 1.0f, b);
            CPU(tile_mm)
            ((int)s->lines, cols, k, a_packed(z, k), b_packed(b, k), part + j, a->m,
             kb == 0 ? TILE_SET : TILE_ADD);
        }
    }
}

static void add_spans(const Mult *a, const Span *s, const float *part)
{
    const int64_t n = width_of(a), all = a->rows * n;
#pragma omp parallel for schedule(static) if (all * s->n > PARALLEL_FROM)
    for (int64_t j = 0; j < all; j += VW) {
        vf sum = vset(0);
        for (int64_t i = 0; i < s->n; i++)
            sum += vget(part + i * all + j, all - j);
        vput((float *)a->y + j, sum, all - j);
    }
    for (int64_t r = 0; r < a->rows && a->bias != NULL; r++)
        row_add((float *)a->y + r * n, a->bias, n);
}

static Status few_rows(Dev *d, const Mult *a)
{
    const Span s = span_of(a);
    const int64_t z = round_up(s.lines, MR) * KB, b = round_up(min64(a->m, CHUNK), NR) * KB;
    const int64_t part = s.lines * a->m, own = round_up(z + b, 16);
    void *scratch;
    TRY(dev_scratch(d, (size_t)(s.n * part + omp_get_max_threads() * own) * sizeof(float) + 64,
                    &scratch));
    float *parts = (float *)scratch + omp_get_max_threads() * own;
#pragma omp parallel for schedule(dynamic) if (s.lines * a->m * a->in > PARALLEL_FROM)
    for (int64_t i = 0; i < s.n; i++) {
        float *mine = (float *)scratch + omp_get_thread_num() * own;
        one_span(a, &s, i, mine, mine + z, parts + i * part);
    }
    add_spans(a, &s, parts);
    return ST_OK;
}

/* ---- both passes ---- */
Status CPU(mult_fwd)(Dev *d, const Mult *a)
{
    float *w, *work;
    if (a->rows <= SKINNY)
        return few_rows(d, a);
    TRY(slab_scratch(d, a, &w, &work));
    for (int64_t j = 0; j < width_of(a); j += SLAB) {
        const int64_t end = min64(width_of(a), j + SLAB);
        const Gemm y = forward_of(a, j, end, w);
        weights(a, j, end, w);
        CPU(gemm_in)(&y, work);
    }
    return ST_OK;
}

Status CPU(mult_bwd)(Dev *d, const Mult *a)
{
    float *w, *work;
    TRY(slab_scratch(d, a, &w, &work));
    for (int64_t j = 0; j < width_of(a); j += SLAB) {
        const int64_t end = min64(width_of(a), j + SLAB);
        const Gemm dx = dx_of(a, j, end, w), dw = dw_of(a, j, end, w);
        if (a->dx != NULL) {
            weights(a, j, end, w);
            CPU(gemm_in)(&dx, work);
        }
        if (a->dg != NULL || a->de != NULL) {
            CPU(gemm_in)(&dw, work);
            contract(a, j, end, w);
        }
    }
    return a->dbias != NULL ? CPU(colsum)(d, a->rows, width_of(a), a->dy, a->dbias) : ST_OK;
}
