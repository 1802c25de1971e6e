/* pairs.cuh - attention over visible pairs (i, j) of queries and keys, forward and backward, by one
 * kernel in four roles. With s_ij = scale_i q_i.k_j + bias_scale bias[distance], dp_ij = do_i.v_j,
 * and weights of softmax; of relu2:
 *
 *   OUT  rows i  o_i   = sum_j w_ij v_j          w = exp(s - m_i);           post_i relu(s)^2
 *   DQ   rows i  dq_i += scale sum_j w_ij k_j    w = exp(s - lse_i) (dp - delta_i);
 *                                                                      2 post_i relu(s) dp
 *   DK   rows j  dk_j += scale sum_i w_ij q_i    w as in DQ
 *   DV   rows j  dv_j += sum_i w_ij do_i         w = exp(s - lse_i);         post_i relu(s)^2
 *
 * Block (x, y, z): 16 WARPS rows, head y % H of batch row y / H, NT columns of the result. It walks
 * the tiles of BN keys (queries) that its rows can see, computes scores (and dp) as products of
 * tiles, puts the weights into shared memory and multiplies them with the tile's rows. Wide values
 * (GAU: E = 2 D) are cut into NT columns by z, and each z computes its scores again.
 * FLOPs of a visible pair: OUT 2 d ceil(dv / NT) + 2 dv; DQ and DK 2 (d + dv) ceil(d / NT) + 2 d;
 * DV 2 d ceil(dv / NT) + 2 dv. Bytes: rows once, the other side once for every row tile (from L2).
 * Shared memory: slabs() + 16 WARPS (BN + 8) floats. Roofline on an H100 (computed, 989 TFLOP/s
 * bf16), causal, T = 8192, H = 16, d = dv = 64, batch 1: OUT 0.14 TFLOP: 0.14 ms; with the backward
 * roles 0.7 TFLOP: 0.7 ms. Sums run over tiles from left to right: one order, no atomics.
 * The bias' gradient: DQ adds each tile's diagonals to a row of its own in scratch (blocks,
 * n_bias), and another launch adds these rows; as many blocks at a time as fill the device, so that
 * scratch grows with the number of distances and not with its square. */
#ifndef LONGMIX_CUDA_PAIRS_CUH
#define LONGMIX_CUDA_PAIRS_CUH

#include "kernels/cuda/tile.cuh"

#include <math.h>

enum PairsRole { PAIRS_OUT, PAIRS_DQ, PAIRS_DK, PAIRS_DV };

struct Pairs {
    bool softmax, causal, post_rows;
    int heads, d, dv, splits;
    int64_t batch, q_len, k_len, q_pos;
    int64_t row0, rows; /* of the result that a launch makes; 0: all */
    int64_t chunk;      /* keys of other chunks than the query's are not seen; 0: no chunks */
    int64_t lens_from;  /* position, in lens' terms, of key 0 */
    float scale, post;
    float log_base, log_floor; /* logarithms; 0: scale is scale */
    const float *bias;         /* or NULL */
    int64_t bias_zero, n_bias; /* entry of distance 0, entries */
    float bias_scale;
    float *d_bias, *part_bias; /* (n_bias), (row tiles, B H, n_bias) or NULL */
    const int32_t *lens;
    const float *q, *k, *v, *d_o, *o;
    int64_t q_row, k_row, v_row, o_row, q_batch, k_batch, v_batch, o_batch;
    float *out, *lse, *delta, *dq, *dk, *dv_;
    bool set_dq, set_dk, set_dv;     /* overwrite: zeros for keys that do not count */
    float *part_o, *part_m, *part_l; /* of splits: (splits, B, H, q_len, dv) and without dv */
};

/* Keys of batch row b that count. */
__device__ __forceinline__ int64_t pairs_valid(const Pairs &p, int b)
{
    int64_t n = p.k_len;
    if (p.lens != NULL && p.lens[b] - p.lens_from < n)
        n = p.lens[b] - p.lens_from;
    return n > 0 ? n : 0;
}

__device__ __forceinline__ int64_t pairs_begin(const Pairs &p, int64_t i)
{
    return p.chunk > 0 ? i / p.chunk * p.chunk : 0;
}

/* One behind the last key that query i sees. */
__device__ __forceinline__ int64_t pairs_end(const Pairs &p, int64_t valid, int64_t i)
{
    int64_t end = p.causal ? p.q_pos + i + 1 : p.chunk > 0 ? pairs_begin(p, i) + p.chunk : valid;
    return end < valid ? end : valid;
}

struct Range {
    int64_t begin, end;
};

/* Columns that rows r0 .. r0 + n can see or be seen by. */
template <PairsRole R>
__device__ Range pairs_columns(const Pairs &p, int64_t valid, int64_t r0, int n)
{
    if (R == PAIRS_OUT || R == PAIRS_DQ) {
        const int64_t last = r0 + n < p.q_len ? r0 + n - 1 : p.q_len - 1;
        return {pairs_begin(p, r0), pairs_end(p, valid, last)};
    }
    const int64_t last = r0 + n < valid ? r0 + n - 1 : valid - 1;
    const int64_t from = p.causal && r0 > p.q_pos ? r0 - p.q_pos : 0;
    const int64_t end = p.chunk > 0 ? (last / p.chunk + 1) * p.chunk : p.q_len;
    const int64_t begin = pairs_begin(p, r0) > from ? pairs_begin(p, r0) : from;
    return {r0 < valid ? begin : end, end < p.q_len ? end : p.q_len};
}

/* What belongs to one query. */
struct Query {
    int64_t begin, end;
    float lse, delta, post, scale;
    const float *bias; /* of key 0, or NULL */
};

template <PairsRole R>
__device__ __forceinline__ Query pairs_query(const Pairs &p, int64_t valid, int64_t head, int64_t i)
{
    Query q = {0, 0, 0.0f, 0.0f, p.post, p.scale, NULL};
    if (i >= p.q_len)
        return q;
    q.begin = pairs_begin(p, i);
    q.end = pairs_end(p, valid, i);
    if (p.post_rows && q.end > 0)
        q.post = p.post / (float)q.end;
    if (p.log_base != 0.0f)
        q.scale = p.scale * fmaxf(logf((float)q.end), p.log_floor) / p.log_base;
    if (p.bias != NULL)
        q.bias = p.bias + p.bias_zero - p.q_pos - i;
    if (p.softmax && R != PAIRS_OUT)
        q.lse = p.lse[head * p.q_len + i];
    if (p.softmax && (R == PAIRS_DQ || R == PAIRS_DK))
        q.delta = p.delta[head * p.q_len + i];
    return q;
}

/* The weight of a visible pair. */
template <PairsRole R>
__device__ __forceinline__ float pairs_weight(const Pairs &p, const Query &q, float s, float dp)
{
    const float relu = s < 0.0f ? 0.0f : s; /* lets a NaN through */
    if (R == PAIRS_DQ || R == PAIRS_DK)
        return p.softmax ? expf(s - q.lse) * (dp - q.delta) : 2.0f * q.post * relu * dp;
    return p.softmax ? expf(s - q.lse) : q.post * relu * relu;
}

/* Row maximum over the four lanes that share a row; likewise the sum. */
template <class Op>
__device__ __forceinline__ float quad(float x, Op op)
{
    x = op(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return op(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

/* Running maximum m and sum l of the two rows of a thread; s becomes exp(s - m), the result so far
 * is brought to the new maximum. -inf stands for a pair that is not visible. */
template <int BN, int NT>
__device__ void pairs_softmax(float (&s)[BN / 8][4], float (&out)[NT / 8][4], float (&m)[2],
                              float (&l)[2])
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float top = m[half], sum = 0.0f;
#pragma unroll
        for (int j = 0; j < BN / 8; j++)
            top = fmaxf(top, fmaxf(s[j][2 * half], s[j][2 * half + 1]));
        top = quad(top, Max());
        const float base = top == -INFINITY ? 0.0f : top, keep = expf(m[half] - base);
#pragma unroll
        for (int j = 0; j < BN / 8; j++)
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++) {
                s[j][e] = expf(s[j][e] - base);
                sum += s[j][e];
            }
        m[half] = top;
        l[half] = l[half] * keep + quad(sum, Sum());
#pragma unroll
        for (int j = 0; j < NT / 8; j++)
            out[j][2 * half] *= keep, out[j][2 * half + 1] *= keep;
    }
}

/* Scores become weights; -inf for what softmax must not see yet. */
template <PairsRole R, int BN>
__device__ void pairs_weigh(const Pairs &p, int64_t valid, int64_t head, int64_t r0, int64_t c0,
                            float (&s)[BN / 8][4], float (&dp)[BN / 8][4])
{
    constexpr bool BY_Q = R == PAIRS_OUT || R == PAIRS_DQ;
    const bool online = R == PAIRS_OUT && p.softmax;
    Query above = {}, below = {}; /* of the thread's two rows */
    if (BY_Q) {
        above = pairs_query<R>(p, valid, head, r0 + tile_row(0));
        below = pairs_query<R>(p, valid, head, r0 + tile_row(2));
    }
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int64_t row = r0 + tile_row(e), col = c0 + tile_col(j, e);
            const Query q = !BY_Q ? pairs_query<R>(p, valid, head, col) : e < 2 ? above : below;
            const int64_t key = BY_Q ? col : row;
            const bool visible = key >= q.begin && key < q.end;
            const float bias = visible && q.bias != NULL ? p.bias_scale * q.bias[key] : 0.0f;
            const float score = q.scale * s[j][e] + bias;
            if (online)
                s[j][e] = visible ? score : -INFINITY;
            else
                s[j][e] = visible ? pairs_weight<R>(p, q, score, dp[j][e]) : 0.0f;
            if (R == PAIRS_DK)
                s[j][e] *= q.scale;
        }
}

/* Adds a tile's slopes along its diagonals (distances) to this block's row of part_bias. A distance
 * belongs to one thread; barriers of the products lie between two tiles that share distances. */
template <int BM, int BN, int THREADS>
__device__ void pairs_add_bias(const Pairs &p, const float *slopes, int row, int64_t r0, int64_t c0)
{
    float *to = p.part_bias + ((int64_t)blockIdx.x * gridDim.y + blockIdx.y) * p.n_bias;
    __syncthreads();
    for (int n = threadIdx.x; n < BM + BN - 1; n += THREADS) {
        const int diagonal = n - (BM - 1); /* column - row within the tile */
        const int64_t at = p.bias_zero + c0 + diagonal - r0 - p.q_pos;
        float sum = 0.0f;
        for (int r = diagonal < 0 ? -diagonal : 0; r < BM && r + diagonal < BN; r++)
            sum += slopes[r * row + r + diagonal];
        if (at >= 0 && at < p.n_bias)
            to[at] += p.bias_scale * sum;
    }
}

template <int BN>
__device__ void pairs_put(float *weights, int row, const float (&s)[BN / 8][4])
{
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            weights[tile_row(e) * row + tile_col(j, e)] = s[j][e];
}

#endif
