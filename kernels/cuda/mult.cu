/* mult.cu - the multiplicative layer: y[r, s M + m] = bias + sum_i x[r,i] g[i,s] e[i,m].
 *
 * Many rows: the weights g[i,s] e[i,m] of a slab of modules are written out (one thread a weight,
 * at most ROOM of them at a time) and a product does the rest, at its speed; the backward pass
 * contracts the gradient of such a slab to those of g (a warp a number) and e (a thread a number).
 * Few rows (decoding): the weights would cost more than they are used for. x[r,i] g[i,s] is written
 * instead, and its transpose times e, for every row, is y.
 * FLOPs 2 rows in S M forward, 4 backward. Bytes beside the product's: weights written once, their
 * gradient read twice: 4 in S M forward, 12 backward. No shared memory. H100 (computed, 989 TFLOP/s
 * bf16, 3.35 TB/s), 8192 rows, in = S M = 1024: 17 us of product, 1.3 us of weights forward. */
#include "kernels/cuda/divide.cuh"
#include "kernels/cuda/gemm.cuh"
#include "kernels/cuda/ops.cuh"

enum { THREADS = 256, FEW_ROWS = 8 };
static const int64_t ROOM = (int64_t)16 << 20; /* floats: weights written out at a time */

/* Modules [s0, s0 + n) of the layer. */
struct Slab {
    int s0, n;
    int64_t width; /* n M */
    Divisor by_n, by_width, by_m;
};

static int64_t width_of(const Mult *a)
{
    return (int64_t)a->modules * a->m;
}

static Slab slab_at(const Mult *a, int s0)
{
    const int64_t most = max64(1, ROOM / ((int64_t)a->in * a->m));
    const int n = (int)least(most, a->modules - s0);
    const int64_t width = (int64_t)n * a->m;
    return {s0, n, width, divisor(n), divisor(width), divisor(a->m)};
}

/* ---- columns by slabs ---- */
/* w (in, width) = g e of these modules. */
__global__ void mult_weights_kernel(Mult a, Slab slab, float *w)
{
    const float *g = (const float *)a.g, *e = (const float *)a.e;
    for (int64_t n = first_of(); n < a.in * slab.width; n += step_of()) {
        const int64_t i = quotient(n, slab.by_width), j = n - i * slab.width;
        const int64_t s = quotient(j, slab.by_m), m = j - s * a.m;
        w[n] = g[i * a.modules + slab.s0 + s] * e[i * a.m + m];
    }
}

/* dg[i,s] += sum_m e[i,m] dw[i, s M + m], a warp each. */
__global__ void mult_dg_kernel(Mult a, Slab slab, const float *dw)
{
    const int lane = threadIdx.x % 32;
    for (int64_t n = first_of() / 32; n < (int64_t)a.in * slab.n; n += step_of() / 32) {
        const int64_t i = quotient(n, slab.by_n), s = n - i * slab.n;
        const float *e = (const float *)a.e + i * a.m, *pull = dw + n * a.m;
        float sum = 0.0f;
        for (int m = lane; m < a.m; m += 32)
            sum += e[m] * pull[m];
        for (int with = 16; with > 0; with /= 2)
            sum += __shfl_xor_sync(0xffffffffu, sum, with);
        if (lane == 0)
            ((float *)a.dg)[i * a.modules + slab.s0 + s] += sum;
    }
}

/* de[i,m] += sum_s g[i,s] dw[i, s M + m]. */
__global__ void mult_de_kernel(Mult a, Slab slab, const float *dw)
{
    for (int64_t n = first_of(); n < (int64_t)a.in * a.m; n += step_of()) {
        const int64_t i = quotient(n, slab.by_m), m = n - i * a.m;
        const float *g = (const float *)a.g + i * a.modules + slab.s0;
        float sum = 0.0f;
        for (int s = 0; s < slab.n; s++)
            sum += g[s] * dw[i * slab.width + (int64_t)s * a.m + m];
        ((float *)a.de)[n] += sum;
    }
}

static Status weights(Dev *d, const char *op, const Mult *a, const Slab &slab, float *w)
{
    return launch(d, op, mult_weights_kernel, grid_for(d, a->in * slab.width, THREADS), THREADS, 0,
                  *a, slab, w);
}

static Status contract(Dev *d, const Mult *a, const Slab &slab, const float *dw)
{
    const int64_t numbers = (int64_t)a->in * slab.n;
    if (a->dg != NULL)
        TRY(launch(d, "mult_bwd dg", mult_dg_kernel, grid_for(d, 32 * numbers, THREADS), THREADS, 0,
                   *a, slab, dw));
    if (a->de == NULL)
        return ST_OK;
    return launch(d, "mult_bwd de", mult_de_kernel, grid_for(d, (int64_t)a->in * a->m, THREADS),
                  THREADS, 0, *a, slab, dw);
}

/* ---- products with a slab's weights ---- */
static Gemm forward_of(const Mult *a, const Slab &slab, const float *w)
{
    const int64_t at = (int64_t)slab.s0 * a->m;
    Gemm g = {};
    g.m = a->rows, g.n = slab.width, g.k = a->in, g.alpha = 1;
    g.a = a->x, g.lda = a->in;
    g.b = w, g.ldb = slab.width;
    g.bias = a->bias != NULL ? (const float *)a->bias + at : NULL;
    g.c = (float *)a->y + at, g.ldc = width_of(a);
    return g;
}

/* dx += dy w' */
static Gemm dx_of(const Mult *a, const Slab &slab, const float *w)
{
    Gemm g = {};
    g.m = a->rows, g.n = a->in, g.k = slab.width, g.tb = true, g.alpha = 1, g.beta = 1;
    g.a = (const float *)a->dy + (int64_t)slab.s0 * a->m, g.lda = width_of(a);
    g.b = w, g.ldb = slab.width;
    g.c = a->dx, g.ldc = a->in;
    return g;
}

/* dw = x' dy */
static Gemm dw_of(const Mult *a, const Slab &slab, float *dw)
{
    Gemm g = {};
    g.m = a->in, g.n = slab.width, g.k = a->rows, g.ta = true, g.alpha = 1;
    g.a = a->x, g.lda = a->in;
    g.b = (const float *)a->dy + (int64_t)slab.s0 * a->m, g.ldb = width_of(a);
    g.c = dw, g.ldc = slab.width;
    return g;
}

static Status slab_room(Dev *d, const Mult *a, float **w)
{
    void *work;
    TRY(gemm_work(d, (size_t)(a->in * slab_at(a, 0).width) * sizeof(float), &work));
    *w = (float *)work;
    return ST_OK;
}

/* ---- few rows ---- */
/* z (rows, in, S) = x g; y = bias, or zeros. */
__global__ void mult_rows_kernel(Mult a, float *z, Divisor by_modules)
{
    const int64_t width = (int64_t)a.modules * a.m, lines = (int64_t)a.in * a.modules;
    const float *bias = (const float *)a.bias, *g = (const float *)a.g;
    for (int64_t r = 0; r < a.rows; r++) {
        const float *x = (const float *)a.x + r * a.in;
        for (int64_t n = first_of(); n < lines; n += step_of())
            z[r * lines + n] = x[quotient(n, by_modules)] * g[n];
        for (int64_t n = first_of(); n < width; n += step_of())
            ((float *)a.y)[r * width + n] = bias != NULL ? bias[n] : 0.0f;
    }
}

static Status few_rows(Dev *d, const Mult *a)
{
    const int64_t lines = (int64_t)a->in * a->modules, most = max64(lines, width_of(a));
    const GemmBatch rows = {a->rows, lines, 0, width_of(a)};
    Gemm g = {};
    void *z;
    TRY(gemm_work(d, (size_t)(a->rows * lines) * sizeof(float), &z));
    TRY(launch(d, "mult_fwd", mult_rows_kernel, grid_for(d, most, THREADS), THREADS, 0, *a,
               (float *)z, divisor(a->modules)));
    g.m = a->modules, g.n = a->m, g.k = a->in, g.ta = true, g.alpha = 1, g.beta = 1;
    g.a = z, g.lda = a->modules;
    g.b = a->e, g.ldb = a->m;
    g.c = a->y, g.ldc = a->m;
    return cuda_gemm_batch(d, &g, &rows);
}

/* ---- both passes ---- */
Status cuda_mult_fwd(Dev *d, const Mult *a)
{
    float *w;
    if (a->rows <= FEW_ROWS)
        return few_rows(d, a);
    TRY(slab_room(d, a, &w));
    for (int s = 0; s < a->modules; s += slab_at(a, s).n) {
        const Slab slab = slab_at(a, s);
        const Gemm y = forward_of(a, slab, w);
        TRY(weights(d, "mult_fwd", a, slab, w));
        TRY(cuda_gemm(d, &y));
    }
    return ST_OK;
}

static Status backward_slab(Dev *d, const Mult *a, const Slab &slab, float *w)
{
    const Gemm dx = dx_of(a, slab, w), dw = dw_of(a, slab, w);
    if (a->dx != NULL) {
        TRY(weights(d, "mult_bwd", a, slab, w));
        TRY(cuda_gemm(d, &dx));
    }
    if (a->dg == NULL && a->de == NULL)
        return ST_OK;
    TRY(cuda_gemm(d, &dw));
    return contract(d, a, slab, w);
}

Status cuda_mult_bwd(Dev *d, const Mult *a)
{
    float *w;
    TRY(slab_room(d, a, &w));
    for (int s = 0; s < a->modules; s += slab_at(a, s).n)
        TRY(backward_slab(d, a, slab_at(a, s), w));
    return a->dbias != NULL ? cuda_colsum(d, a->rows, width_of(a), a->dy, a->dbias) : ST_OK;
}
