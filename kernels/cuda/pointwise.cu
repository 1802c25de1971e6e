/* pointwise.cu - sums, constants, gates, gains and the optimiser: one thread an element.
 *
 * Blocks of 256 threads walk the elements with a stride of the whole grid; no shared memory. All of
 * it is bound by memory. Bytes and computed roofline on an H100 (3.35 TB/s) for n = 2^27 numbers:
 * add, blend 12 n: 0.48 ms; fill 4 n: 0.16; gate 12 n forward, 20 n backward: 0.48, 0.80;
 * affine 8 n: 0.32; adamw 28 n: 1.1 ms. FLOPs: 1 to 30 an element. */
#include "kernels/cuda/divide.cuh"
#include "kernels/cuda/ops.cuh"

#include <math.h>

enum { THREADS = 256 };

__global__ void add_kernel(int64_t n, const float *a, const float *b, float *y)
{
    for (int64_t i = first_of(); i < n; i += step_of())
        y[i] = a[i] + b[i];
}

Status cuda_add(Dev *d, int64_t n, const void *a, const void *b, void *y)
{
    return launch(d, "add", add_kernel, grid_for(d, n, THREADS), THREADS, 0, n, (const float *)a,
                  (const float *)b, (float *)y);
}

__global__ void blend_kernel(int64_t n, float a, const float *x, float b, const float *z, float *y)
{
    for (int64_t i = first_of(); i < n; i += step_of())
        y[i] = a * x[i] + b * z[i];
}

Status cuda_blend(Dev *d, int64_t n, double a, const void *x, double b, const void *z, void *y)
{
    return launch(d, "blend", blend_kernel, grid_for(d, n, THREADS), THREADS, 0, n, (float)a,
                  (const float *)x, (float)b, (const float *)z, (float *)y);
}

__global__ void fill_kernel(int64_t n, float value, float *y)
{
    for (int64_t i = first_of(); i < n; i += step_of())
        y[i] = value;
}

Status cuda_fill(Dev *d, int64_t n, double value, void *y)
{
    return launch(d, "fill", fill_kernel, grid_for(d, n, THREADS), THREADS, 0, n, (float)value,
                  (float *)y);
}

/* ---- gates ---- */
__device__ float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* GELU, tanh form: x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3). */
__device__ float gelu_tanh(float x)
{
    return tanhf(0.79788456f * (x + 0.044715f * x * x * x));
}

__device__ float act(Act kind, float x)
{
    switch (kind) {
    case ACT_NONE:
        return x;
    case ACT_RELU:
        return x < 0.0f ? 0.0f : x;
    case ACT_RELU2:
        return x < 0.0f ? 0.0f : x * x;
    case ACT_SILU:
        return x * sigmoid(x);
    case ACT_GELU:
        return 0.5f * x * (1.0f + gelu_tanh(x));
    case ACT_SIGMOID:
        return sigmoid(x);
    }
    return 0.0f;
}

__device__ float act_slope(Act kind, float x)
{
    const float s = kind == ACT_SILU || kind == ACT_SIGMOID ? sigmoid(x) : 0.0f;
    const float t = kind == ACT_GELU ? gelu_tanh(x) : 0.0f;
    switch (kind) {
    case ACT_NONE:
        return 1.0f;
    case ACT_RELU:
        return x > 0.0f ? 1.0f : 0.0f;
    case ACT_RELU2:
        return x < 0.0f ? 0.0f : 2.0f * x;
    case ACT_SILU:
        return s * (1.0f + x * (1.0f - s));
    case ACT_GELU:
        return 0.5f * (1.0f + t) +
               0.5f * x * (1.0f - t * t) * 0.79788456f * (1.0f + 3.0f * 0.044715f * x * x);
    case ACT_SIGMOID:
        return s * (1.0f - s);
    }
    return 0.0f;
}

__global__ void gate_fwd_kernel(Gate g)
{
    const float *a = (const float *)g.a, *b = (const float *)g.b;
    float *y = (float *)g.y;
    for (int64_t i = first_of(); i < g.n; i += step_of())
        y[i] = act(g.act, a[i]) * (b != NULL ? b[i] : 1.0f);
}

Status cuda_gate_fwd(Dev *d, const Gate *g)
{
    return launch(d, "gate_fwd", gate_fwd_kernel, grid_for(d, g->n, THREADS), THREADS, 0, *g);
}

__global__ void gate_bwd_kernel(Gate g)
{
    const float *a = (const float *)g.a, *b = (const float *)g.b, *dy = (const float *)g.dy;
    float *da = (float *)g.da, *db = (float *)g.db;
    for (int64_t i = first_of(); i < g.n; i += step_of()) {
        const float x = a[i], by_a = b != NULL ? b[i] : 1.0f, pull = dy[i];
        if (da != NULL)
            da[i] = pull * act_slope(g.act, x) * by_a + (g.set_da ? 0.0f : da[i]);
        if (db != NULL)
            db[i] = pull * act(g.act, x) + (g.set_db ? 0.0f : db[i]);
    }
}

Status cuda_gate_bwd(Dev *d, const Gate *g)
{
    return launch(d, "gate_bwd", gate_bwd_kernel, grid_for(d, g->n, THREADS), THREADS, 0, *g);
}

/* ---- gain and bias by column ---- */
__device__ __forceinline__ int64_t column(int64_t i, const Divisor &by_width)
{
    return i - quotient(i, by_width) * by_width.by;
}

__global__ void affine_fwd_kernel(Affine a, Divisor by_width)
{
    const float *x = (const float *)a.x, *gain = (const float *)a.gain;
    const float *bias = (const float *)a.bias;
    float *y = (float *)a.y;
    for (int64_t i = first_of(); i < a.rows * a.width; i += step_of()) {
        const int64_t c = column(i, by_width);
        y[i] = x[i] * (gain != NULL ? gain[c] : 1.0f) + (bias != NULL ? bias[c] : 0.0f);
    }
}

Status cuda_affine_fwd(Dev *d, const Affine *a)
{
    return launch(d, "affine_fwd", affine_fwd_kernel, grid_for(d, a->rows * a->width, THREADS),
                  THREADS, 0, *a, divisor(a->width));
}

__global__ void affine_dx_kernel(Affine a, Divisor by_width)
{
    const float *dy = (const float *)a.dy, *gain = (const float *)a.gain;
    float *dx = (float *)a.dx;
    for (int64_t i = first_of(); i < a.rows * a.width; i += step_of())
        dx[i] += dy[i] * (gain != NULL ? gain[column(i, by_width)] : 1.0f);
}

Status cuda_affine_bwd(Dev *d, const Affine *a)
{
    if (a->dx != NULL)
        TRY(launch(d, "affine_bwd", affine_dx_kernel, grid_for(d, a->rows * a->width, THREADS),
                   THREADS, 0, *a, divisor(a->width)));
    if (a->dgain == NULL && a->dbias == NULL)
        return ST_OK;
    Columns sums = {};
    sums.rows = a->rows, sums.width = a->width;
    sums.dy = (const float *)a->dy, sums.x = (const float *)a->x;
    sums.dgain = (float *)a->dgain, sums.dbias = (float *)a->dbias;
    return cuda_columns(d, "affine_bwd columns", &sums);
}

/* ---- AdamW: 4 numbers read and 3 written an element ---- */
struct AdamStep {
    float *w, *m, *v;
    const float *grad;
    int64_t n;
    float lr, beta1, rest1, beta2, rest2; /* rest: 1 - beta, rounded once */
    float eps, decay, scale, by_fix1, by_root_fix2;
    const float *norm2;
    double clip;
};

__global__ void adamw_kernel(AdamStep a)
{
    const double norm = a.norm2 != nullptr ? sqrt((double)a.norm2[0]) : 0.0;
    if (!(norm <= 1.7e308)) /* infinite, or no number */
        return;
    if (a.clip > 0.0 && norm > a.clip)
        a.scale = (float)(a.clip / norm * (double)a.scale);
    for (int64_t i = first_of(); i < a.n; i += step_of()) {
        const float g = a.scale * a.grad[i], w = a.w[i];
        const float m = a.beta1 * a.m[i] + a.rest1 * g;
        const float v = a.beta2 * a.v[i] + a.rest2 * g * g;
        a.m[i] = m;
        a.v[i] = v;
        a.w[i] = w - a.lr * (m * a.by_fix1 / (sqrtf(v) * a.by_root_fix2 + a.eps) + a.decay * w);
    }
}

Status cuda_adamw(Dev *d, const AdamW *a)
{
    AdamStep s = {};
    CHECK(a->step >= 1);
    s.w = (float *)a->w, s.m = (float *)a->m, s.v = (float *)a->v, s.grad = (const float *)a->grad;
    s.n = a->n;
    s.lr = (float)a->lr, s.eps = (float)a->eps, s.decay = (float)a->decay;
    s.beta1 = (float)a->beta1, s.rest1 = (float)(1.0 - a->beta1);
    s.beta2 = (float)a->beta2, s.rest2 = (float)(1.0 - a->beta2);
    s.scale = (float)a->grad_scale;
    s.norm2 = (const float *)a->norm2, s.clip = a->clip;
    s.by_fix1 = (float)(1.0 / (1.0 - pow(a->beta1, (double)a->step)));
    s.by_root_fix2 = (float)(1.0 / sqrt(1.0 - pow(a->beta2, (double)a->step)));
    return launch(d, "adamw", adamw_kernel, grid_for(d, a->n, THREADS), THREADS, 0, s);
}
