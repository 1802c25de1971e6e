/* naive.cu - attention with its weights in memory, as the papers' baselines ran: products by
 * cuBLASLt, one call a batch row for all heads, and one block a row of weights between them.
 *
 * FLOPs: 2 (d + dv) a pair forward, 4 (d + dv) backward, masked pairs included. Bytes, for n = B H
 * q_len k_len: scores written, read and written as weights, read: 16 n forward; backward 28 n.
 * H100 (computed, 3.35 TB/s): T = 8192, H = 16: 5.1 ms forward, all of it traffic. */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/gemm.cuh"

/* ---- a row of products q.k becomes weights ---- */
__device__ float score_of(const Pairs &p, const Query &q, float product, int64_t key)
{
    return q.scale * product + (q.bias != NULL ? p.bias_scale * q.bias[key] : 0.0f);
}

__global__ void naive_weights_kernel(Pairs p, float *matrix)
{
    float *warps = dyn_smem<float>();
    const int64_t rows = p.batch * p.heads * p.q_len;
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const int64_t valid = pairs_valid(p, (int)(row / p.q_len / p.heads));
        const Query q = pairs_query<PAIRS_OUT>(p, valid, row / p.q_len, row % p.q_len);
        float *w = matrix + row * p.k_len, top = -INFINITY, sum = 0.0f;
        for (int64_t j = threadIdx.x; j < q.end && p.softmax; j += blockDim.x)
            top = Max()(score_of(p, q, w[j], j), top);
        top = block_reduce(top, Max(), warps);
        for (int64_t j = threadIdx.x; j < q.end && p.softmax; j += blockDim.x)
            sum += expf(score_of(p, q, w[j], j) - top);
        sum = block_reduce(sum, Sum(), warps);
        for (int64_t j = threadIdx.x; j < p.k_len; j += blockDim.x) {
            const float s = j < q.end ? score_of(p, q, w[j], j) : 0.0f, relu = s < 0.0f ? 0.0f : s;
            const float y = p.softmax ? expf(s - top) / sum : q.post * relu * relu;
            w[j] = j < q.end ? y : 0.0f;
        }
        if (p.softmax && p.lse != NULL && threadIdx.x == 0)
            p.lse[row] = q.end > 0 ? top + logf(sum) : -INFINITY;
    }
}

/* dp becomes ds: softmax w (dp - sum w dp); relu2: 2 post relu(s) dp = 2 sqrt(post w) dp. */
__global__ void naive_slopes_kernel(Pairs p, const float *matrix, float *d_matrix)
{
    float *warps = dyn_smem<float>();
    const int64_t rows = p.batch * p.heads * p.q_len;
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const int64_t valid = pairs_valid(p, (int)(row / p.q_len / p.heads));
        const Query q = pairs_query<PAIRS_OUT>(p, valid, row / p.q_len, row % p.q_len);
        const float *w = matrix + row * p.k_len;
        float *dw = d_matrix + row * p.k_len, mean = 0.0f;
        for (int64_t j = threadIdx.x; j < q.end && p.softmax; j += blockDim.x)
            mean += w[j] * dw[j];
        mean = block_reduce(mean, Sum(), warps);
        for (int64_t j = threadIdx.x; j < p.k_len; j += blockDim.x) {
            const float ds =
                p.softmax ? w[j] * (dw[j] - mean) : 2.0f * sqrtf(q.post * w[j]) * dw[j];
            dw[j] = j < q.end ? ds : 0.0f;
        }
    }
}

/* The slopes of all pairs of one distance. */
__global__ void naive_bias_kernel(Pairs p, const float *slopes)
{
    const int64_t rows = p.batch * p.heads * p.q_len;
    for (int64_t e = first_of(); e < p.n_bias; e += step_of()) {
        float sum = 0.0f;
        for (int64_t row = 0; row < rows; row++) {
            const int64_t key = e - p.bias_zero + p.q_pos + row % p.q_len;
            if (key >= 0 && key < p.k_len)
                sum += slopes[row * p.k_len + key];
        }
        p.d_bias[e] += p.bias_scale * sum;
    }
}

/* Slopes of scores become those of products q.k. */
__global__ void naive_scale_kernel(Pairs p, float *slopes)
{
    const int64_t n = p.batch * p.heads * p.q_len * p.k_len;
    for (int64_t i = first_of(); i < n; i += step_of()) {
        const int64_t row = i / p.k_len;
        const int64_t valid = pairs_valid(p, (int)(row / p.q_len / p.heads));
        slopes[i] *= pairs_query<PAIRS_OUT>(p, valid, row / p.q_len, row % p.q_len).scale;
    }
}

/* ---- products of all heads of a batch row ---- */
/* One of the five arrays: where batch row b begins, how far heads and rows are apart. */
struct Slices {
    const void *p;
    int64_t batch, head, row;
};

static Slices matrix_of(const Attn *a, const void *p)
{
    return {p, a->heads * a->q_len * a->k_len, a->q_len * a->k_len, a->k_len};
}
static Slices q_of(const Attn *a, const void *p)
{
    return {p, a->q_len * a->q_row, a->d, a->q_row};
}
static Slices k_of(const Attn *a, const void *p)
{
    return {p, a->k_batch, a->d, a->k_row};
}
static Slices v_of(const Attn *a, const void *p)
{
    return {p, a->v_batch, a->dv, a->v_row};
}
static Slices o_of(const Attn *a, const void *p)
{
    return {p, a->q_len * a->o_row, a->dv, a->o_row};
}

static const float *from(const Slices &s, int64_t b)
{
    return (const float *)s.p + b * s.batch;
}

/* shape: m, n, k, ta, tb, alpha and beta. */
static Status heads_product(Dev *d, const Attn *a, Gemm shape, const Slices &x, const Slices &y,
                            const Slices &z)
{
    const GemmBatch many = {a->heads, x.head, y.head, z.head};
    for (int64_t b = 0; b < a->batch && z.p != NULL; b++) {
        shape.a = from(x, b), shape.b = from(y, b), shape.c = (void *)from(z, b);
        shape.lda = x.row, shape.ldb = y.row, shape.ldc = z.row;
        TRY(cuda_gemm_batch(d, &shape, &many));
    }
    return ST_OK;
}

static Gemm shape_of(int64_t m, int64_t n, int64_t k, bool ta, bool tb, double alpha, double beta)
{
    Gemm g = {};
    g.m = m, g.n = n, g.k = k, g.ta = ta, g.tb = tb, g.alpha = alpha, g.beta = beta;
    return g;
}

static Status rows_launch(Dev *d, const Attn *a, bool backward)
{
    const int64_t rows = a->batch * a->heads * a->q_len;
    const dim3 grid((unsigned)least(rows, 1 << 20));
    const int threads = threads_for_row(a->k_len);
    const size_t shared = MAX_WARPS * sizeof(float);
    if (!backward)
        return launch(d, "attn_fwd naive", naive_weights_kernel, grid, threads, shared, pairs_of(a),
                      (float *)a->matrix);
    return launch(d, "attn_bwd naive", naive_slopes_kernel, grid, threads, shared, pairs_of(a),
                  (const float *)a->matrix, (float *)a->d_matrix);
}

Status naive_fwd(Dev *d, const Attn *a)
{
    const Slices w = matrix_of(a, a->matrix);
    TRY(heads_product(d, a, shape_of(a->q_len, a->k_len, a->d, false, true, 1, 0), q_of(a, a->q),
                      k_of(a, a->k), w));
    TRY(rows_launch(d, a, false));
    return heads_product(d, a, shape_of(a->q_len, a->dv, a->k_len, false, false, 1, 0), w,
                         v_of(a, a->v), o_of(a, a->o));
}

Status naive_bwd(Dev *d, const Attn *a)
{
    const Slices w = matrix_of(a, a->matrix), dw = matrix_of(a, a->d_matrix);
    const Slices d_o = o_of(a, a->d_o);
    const double scale = a->log_base != 0.0 ? 1.0 : a->scale;
    TRY(heads_product(d, a, shape_of(a->k_len, a->dv, a->q_len, true, false, 1, 1), w, d_o,
                      v_of(a, a->dv_)));
    TRY(heads_product(d, a, shape_of(a->q_len, a->k_len, a->dv, false, true, 1, 0), d_o,
                      v_of(a, a->v), dw));
    TRY(rows_launch(d, a, true));
    if (a->d_bias != NULL)
        TRY(launch(d, "attn_bwd naive", naive_bias_kernel, grid_for(d, pairs_of(a).n_bias, 128),
                   128, 0, pairs_of(a), (const float *)a->d_matrix));
    if (a->log_base != 0.0)
        TRY(launch(d, "attn_bwd naive", naive_scale_kernel, grid_for(d, a->batch * dw.batch, 256),
                   256, 0, pairs_of(a), (float *)a->d_matrix));
    TRY(heads_product(d, a, shape_of(a->q_len, a->d, a->k_len, false, false, scale, 1), dw,
                      k_of(a, a->k), q_of(a, a->dq)));
    return heads_product(d, a, shape_of(a->k_len, a->d, a->q_len, true, false, scale, 1), dw,
                         q_of(a, a->q), k_of(a, a->dk));
}
