/* pairs_kernel.cuh - the kernel of pairs.cuh and its launch. */
#ifndef LONGMIX_CUDA_PAIRS_KERNEL_CUH
#define LONGMIX_CUDA_PAIRS_KERNEL_CUH

#include "kernels/cuda/pairs.cuh"

/* The operands of a role for one head: x.y' are the scores, u.w' are dp, z the rows that are added
 * up, out the result (of_row apart). */
struct PairsOperands {
    Source x, y, u, w, z;
    float *out;
    int64_t out_row, out_rows;
    int out_cols;
};

/* Whether the result takes the place of what is there. */
template <PairsRole R>
__device__ __forceinline__ bool pairs_sets(const Pairs &p)
{
    return R == PAIRS_OUT ? true : R == PAIRS_DQ ? p.set_dq : R == PAIRS_DK ? p.set_dk : p.set_dv;
}

template <PairsRole R>
__device__ PairsOperands pairs_operands(const Pairs &p, int b, int h, int64_t valid)
{
    const Source q = source(p.q + b * p.q_batch + h * p.d, p.q_row, p.q_len, p.d);
    const Source k = source(p.k + b * p.k_batch + h * p.d, p.k_row, valid, p.d);
    const Source v = source(p.v + b * p.v_batch + h * p.dv, p.v_row, valid, p.dv);
    const int64_t o_at = b * p.o_batch + h * p.dv, keys = pairs_sets<R>(p) ? p.k_len : valid;
    const Source d_o = source(p.d_o != NULL ? p.d_o + o_at : NULL, p.o_row, p.q_len, p.dv);
    switch (R) {
    case PAIRS_OUT:
        return {q, k, q, k, v, p.out + o_at, p.o_row, p.q_len, p.dv};
    case PAIRS_DQ:
        return {q, k, d_o, v, k, p.dq + b * p.q_batch + h * p.d, p.q_row, p.q_len, p.d};
    case PAIRS_DK:
        return {k, q, v, d_o, q, p.dk + b * p.k_batch + h * p.d, p.k_row, keys, p.d};
    default:
        return {k, q, v, d_o, d_o, p.dv_ + b * p.v_batch + h * p.dv, p.v_row, keys, p.dv};
    }
}

/* The share of split number `split` of the columns, in whole tiles. */
template <int BN>
__device__ Range pairs_share(const Pairs &p, Range all, int split)
{
    const int64_t tiles = (all.end - all.begin + BN - 1) / BN;
    const int64_t each = (tiles + p.splits - 1) / p.splits * BN;
    const int64_t begin = all.begin + split * each, end = begin + each;
    return {begin, end < all.end ? end : all.end};
}

/* Softmax divides by its sum, dq takes the scale of its query. */
template <int NT, PairsRole R>
__device__ void pairs_store(const Pairs &p, int64_t valid, int64_t head, const PairsOperands &a,
                            float (&out)[NT / 8][4], int64_t r0, int c0, const float (&l)[2])
{
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const int64_t row = r0 + tile_row(e);
        float by = 1.0f;
        if (row >= a.out_rows)
            continue;
        if (R == PAIRS_OUT && p.softmax)
            by = l[e / 2] == 0.0f ? 0.0f : 1.0f / l[e / 2];
        if (R == PAIRS_DQ)
            by = pairs_query<PAIRS_OUT>(p, valid, head, row).scale;
#pragma unroll
        for (int j = 0; j < NT / 8; j++) {
            const int col = c0 + tile_col(j, e);
            float *to = a.out + row * a.out_row + col;
            if (col < a.out_cols)
                *to = pairs_sets<R>(p) ? by * out[j][e] : *to + by * out[j][e];
        }
    }
}

/* Of a split: unscaled sums, with the maximum they are relative to. */
template <int NT>
__device__ void pairs_store_part(const Pairs &p, float (&out)[NT / 8][4], int64_t head, int split,
                                 int64_t r0, int c0, const float (&m)[2], const float (&l)[2])
{
    const int64_t first = (split * p.batch * p.heads + head) * p.q_len;
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const int64_t row = r0 + tile_row(e);
        if (row >= p.q_len)
            continue;
#pragma unroll
        for (int j = 0; j < NT / 8; j++)
            if (c0 + tile_col(j, e) < p.dv)
                p.part_o[(first + row) * p.dv + c0 + tile_col(j, e)] = out[j][e];
        if (e % 2 == 0 && c0 == 0 && threadIdx.x % 4 == 0) {
            p.part_m[first + row] = m[e / 2];
            p.part_l[first + row] = l[e / 2];
        }
    }
}

__device__ __forceinline__ void pairs_store_lse(const Pairs &p, int64_t head, int64_t r0,
                                                const float (&m)[2], const float (&l)[2])
{
#pragma unroll
    for (int half = 0; half < 2; half++)
        if (threadIdx.x % 4 == 0 && r0 + tile_row(2 * half) < p.q_len)
            p.lse[head * p.q_len + r0 + tile_row(2 * half)] = m[half] + logf(l[half]);
}

template <Math M, int WARPS, int BN, int NT, PairsRole R>
__global__ void __launch_bounds__(32 * WARPS, WARPS == 4 ? 2 : 1) pairs_kernel(Pairs p)
{
    constexpr bool OUT = R == PAIRS_OUT, NEEDS_DP = R == PAIRS_DQ || R == PAIRS_DK;
    constexpr int BM = 16 * WARPS, ROW = slab_row<M>(BN, false);
    float *room = dyn_smem<float>(), *weights = room + slabs<M, WARPS, (BN > NT ? BN : NT)>();
    const int b = blockIdx.y / p.heads, h = blockIdx.y % p.heads, c_out = blockIdx.z * NT;
    const int64_t head = blockIdx.y, r0 = p.row0 + (int64_t)(blockIdx.x / p.splits) * BM;
    const int split = blockIdx.x % p.splits;
    const int64_t valid = pairs_valid(p, b);
    const PairsOperands a = pairs_operands<R>(p, b, h, valid);
    const Range cols = pairs_share<BN>(p, pairs_columns<R>(p, valid, r0, BM), split);
    float out[NT / 8][4], m[2] = {-INFINITY, -INFINITY}, l[2] = {0.0f, 0.0f};
    clear(out);
    for (int64_t c0 = cols.begin; c0 < cols.end; c0 += BN) {
        float s[BN / 8][4], dp[BN / 8][4];
        clear(s);
        clear(dp);
        tile_product<M, WARPS, BN, false, true>(s, a.x, r0, a.y, c0, p.d, room);
        if constexpr (NEEDS_DP)
            tile_product<M, WARPS, BN, false, true>(dp, a.u, r0, a.w, c0, p.dv, room);
        pairs_weigh<R, BN>(p, valid, head, r0, c0, s, dp);
        if (OUT && p.softmax)
            pairs_softmax<BN, NT>(s, out, m, l);
        pairs_put<BN>(weights, ROW, s);
        if constexpr (R == PAIRS_DQ)
            if (p.part_bias != NULL && c_out == 0)
                pairs_add_bias<BM, BN, 32 * WARPS>(p, weights, ROW, r0, c0);
        tile_product_shared<M, WARPS, NT, BN>(out, weights, ROW, a.z, c0, c_out, room);
    }
    if (OUT && p.splits > 1) {
        pairs_store_part<NT>(p, out, head, split, r0, c_out, m, l);
        return;
    }
    pairs_store<NT, R>(p, valid, head, a, out, r0, c_out, l);
    if constexpr (OUT)
        if (p.softmax && p.lse != NULL && c_out == 0)
            pairs_store_lse(p, head, r0, m, l);
}

template <Math M, int WARPS, int BN, int NT, PairsRole R>
Status pairs_launch(Dev *d, const char *op, const Pairs &p)
{
    constexpr int BM = 16 * WARPS;
    const int64_t all = R == PAIRS_OUT || R == PAIRS_DQ ? p.q_len : p.k_len;
    const int64_t rows = p.rows > 0 ? p.rows : all;
    const int64_t cols = R == PAIRS_OUT || R == PAIRS_DV ? p.dv : p.d;
    const size_t floats =
        slabs<M, WARPS, (BN > NT ? BN : NT)>() + (size_t)BM * slab_row<M>(BN, false);
    const dim3 grid((unsigned)(ceil_div(rows, BM) * p.splits), (unsigned)(p.batch * p.heads),
                    (unsigned)ceil_div(cols, NT));
    return launch(d, op, pairs_kernel<M, WARPS, BN, NT, R>, grid, 32 * WARPS,
                  floats * sizeof(float), p);
}

/* Few rows: one warp. */
static inline int pairs_tile(int64_t rows)
{
    return rows <= 16 ? 16 : 64;
}
static inline int64_t pairs_row_tiles(int64_t rows)
{
    return ceil_div(rows, pairs_tile(rows));
}

/* Four warps take as many columns of the result as there may be. */
template <Math M, PairsRole R>
Status pairs_shape(Dev *d, const char *op, const Pairs &p)
{
    const int64_t rows = R == PAIRS_OUT || R == PAIRS_DQ ? p.q_len : p.k_len;
    if (pairs_tile(rows) == 16 || p.splits > 1)
        return pairs_launch<M, 1, 32, 64, R>(d, op, p);
    if constexpr (M != MATH_F32)
        if ((R == PAIRS_OUT || R == PAIRS_DV ? p.dv : p.d) > 64)
            return pairs_launch<M, 4, 64, 128, R>(d, op, p);
    return pairs_launch<M, 4, 64, 64, R>(d, op, p);
}

template <PairsRole R>
Status pairs_run(Dev *d, const char *op, const Pairs &p)
{
    switch (cuda_of(d)->math) {
    case MATH_F32:
        return pairs_shape<MATH_F32, R>(d, op, p);
    case MATH_TF32:
        return pairs_shape<MATH_TF32, R>(d, op, p);
    case MATH_BF16:
        return pairs_shape<MATH_BF16, R>(d, op, p);
    }
    return FAIL(ST_UNSUPPORTED, "no such math");
}

/* One translation unit each: pairs_out.cu, pairs_dq.cu, pairs_dk.cu, pairs_dv.cu. */
Status cuda_pairs_out(Dev *d, const char *op, const Pairs &p);
Status cuda_pairs_dq(Dev *d, const char *op, const Pairs &p);
Status cuda_pairs_dk(Dev *d, const char *op, const Pairs &p);
Status cuda_pairs_dv(Dev *d, const char *op, const Pairs &p);

#endif
