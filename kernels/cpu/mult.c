/* mult.c - the multiplicative layer: y[r, s M + m] = bias + sum_i x[r,i] g[i,s] e[i,m].
 *
 * Many rows: the weights g[i,s] e[i,m] of a slab of columns are written out (in x SLAB floats of
 * scratch, however many rows there are) and a matrix product does the rest, at its speed. The
 * backward pass contracts the gradient of such a slab to those of g and e.
 * Few rows (decoding): mult_few.c. */
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

enum { SLAB = 1024 }; /* columns whose weights are written out at a time */

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

/* ---- both passes ---- */
Status CPU(mult_fwd)(Dev *d, const Mult *a)
{
    float *w, *work;
    if (a->rows <= SKINNY)
        return CPU(mult_few)(d, a);
    TRY(slab_scratch(d, a, &w, &work));
    for (int64_t j = 0; j < width_of(a); j += SLAB) {
        const int64_t end = min64(width_of(a), j + SLAB);
        const Gemm y = forward_of(a, j, end, w);
        weights(a, j, end, w);
        CPU(gemm_in)(&y, work);
        dev_count_flops(d, CPU(gemm_flops)(&y));
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
