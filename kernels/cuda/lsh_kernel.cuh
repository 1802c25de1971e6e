/* lsh_kernel.cuh - the kernel of lsh.cuh and its launch. */
#ifndef LONGMIX_CUDA_LSH_KERNEL_CUH
#define LONGMIX_CUDA_LSH_KERNEL_CUH

#include "kernels/cuda/lsh.cuh"

/* The matrices of a role for one head: x.y' are the scores, u.w' are dp, z the rows that are added
 * up. Rows by position, which a tile gathers. */
struct LshOperands {
    const float *x, *y, *u, *w, *z;
    int cols; /* of z, and of the result */
};

template <LshRole R>
__device__ __forceinline__ LshOperands lsh_operands(const LshPairs &p, int64_t pair)
{
    const int64_t q_at = lsh_row(p, pair, 0, p.d), v_at = lsh_row(p, pair, 0, p.dv);
    const float *q = p.q + q_at, *v = p.v + v_at;
    const float *d_o = R != LSH_OUT ? p.d_o + v_at : NULL;
    switch (R) {
    case LSH_OUT:
        return {q, q, NULL, NULL, v, p.dv};
    case LSH_DQ:
        return {q, q, d_o, v, q, p.d};
    case LSH_DK:
        return {q, q, v, d_o, q, p.d};
    default:
        return {q, q, NULL, NULL, d_o, p.dv};
    }
}

/* Where the result of an item goes. */
template <LshRole R>
__device__ __forceinline__ float *lsh_result(const LshPairs &p, int64_t pair, int64_t item, int t,
                                             int width)
{
    if (R == LSH_OUT && p.rounds == 1)
        return p.o + lsh_row(p, pair, t, width);
    const int64_t round = item / p.padded;
    return p.part + (((pair - p.first) * p.rounds + round) * p.len + t) * width;
}

/* l: sums of exp(s - m), 0 where nothing was seen: there the item's value is the output. */
template <int NT, LshRole R>
__device__ void lsh_store(const LshPairs &p, int64_t pair, int64_t item0, int n, const int *pos,
                          const LshOperands &a, int c0, float (&out)[NT / 8][4],
                          const float (&m)[2], const float (&l)[2])
{
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const int row = tile_row(e), t = row < n ? pos[row] : -1;
        if (t < 0)
            continue;
        float *to = lsh_result<R>(p, pair, item0 + row, t, a.cols);
        const bool alone = R == LSH_OUT && l[e / 2] == 0.0f;
        const float by = R == LSH_OUT && !alone ? 1.0f / l[e / 2] : 1.0f;
        const float *own = a.z + (int64_t)t * p.heads * a.cols;
#pragma unroll
        for (int j = 0; j < NT / 8; j++) {
            const int col = c0 + tile_col(j, e);
            if (col < a.cols)
                to[col] = alone ? own[col] : by * out[j][e];
        }
        if (R != LSH_OUT || e % 2 != 0 || c0 != 0 || threadIdx.x % 4 != 0)
            continue;
        if (p.rounds > 1)
            p.part_lse[(to - p.part) / a.cols] = alone ? -INFINITY : m[e / 2] + logf(l[e / 2]);
        else if (p.lse != NULL)
            p.lse[pair * p.len + t] = alone ? LSH_ALONE : m[e / 2] + logf(l[e / 2]);
    }
}

template <Math M, int WARPS, int BN, int NT>
__host__ __device__ constexpr int lsh_floats()
{
    return slabs<M, WARPS, (BN > NT ? BN : NT)>() + 16 * WARPS * slab_row<M>(BN, false) +
           4 * 16 * WARPS + 4 * BN;
}

template <Math M, int WARPS, int BN, int NT, LshRole R>
__global__ void __launch_bounds__(32 * WARPS, WARPS == 4 ? 2 : 1) lsh_kernel(LshPairs p)
{
    constexpr bool BY_Q = R == LSH_OUT || R == LSH_DQ, NEEDS_DP = R == LSH_DQ || R == LSH_DK;
    constexpr int BM = 16 * WARPS, ROW = slab_row<M>(BN, false), T = 32 * WARPS;
    float *room = dyn_smem<float>(), *weights = room + slabs<M, WARPS, (BN > NT ? BN : NT)>();
    const LshSide rows = lsh_side<BM>(weights + BM * ROW);
    const LshSide cols = lsh_side<BN>(weights + BM * ROW + 4 * BM);
    const int64_t tiles = (p.chunk + BM - 1) / BM, chunk0 = blockIdx.x / tiles * p.chunk;
    const int64_t item0 = chunk0 + blockIdx.x % tiles * BM, pair = p.first + blockIdx.y;
    const int n = (int)(chunk0 + p.chunk - item0 < BM ? chunk0 + p.chunk - item0 : BM);
    const int64_t window = p.before + p.chunk + p.after, valid = lsh_valid(p, pair);
    const int64_t before = chunk0 - (BY_Q ? p.before : p.after);
    const int64_t from = (before % p.items + p.items) % p.items;
    const int c_out = blockIdx.z * NT;
    const LshOperands a = lsh_operands<R>(p, pair);
    const int64_t by_q = (int64_t)p.heads * p.d, by_v = (int64_t)p.heads * p.dv;
    const int64_t by_z = (int64_t)p.heads * a.cols;
    float out[NT / 8][4], m[2] = {-INFINITY, -INFINITY}, l[2] = {0.0f, 0.0f};
    clear(out);
    lsh_load<BM, T, R>(p, valid, item0, n, BY_Q, rows);
    for (int64_t c0 = 0; c0 < window; c0 += BN) {
        float s[BN / 8][4], dp[BN / 8][4];
        __syncthreads(); /* the last tile's positions may still be read */
        lsh_load<BN, T, R>(p, valid, from + c0, window - c0, !BY_Q, cols);
        __syncthreads();
        if (lsh_hidden(p, BY_Q ? rows.pos : cols.pos, BY_Q ? BM : BN, BY_Q ? cols.pos : rows.pos,
                       BY_Q ? BN : BM))
            continue;
        clear(s);
        clear(dp);
        tile_product<M, WARPS, BN, false, true>(s, gathered(a.x, by_q, p.d, rows.pos), 0,
                                                gathered(a.y, by_q, p.d, cols.pos), 0, p.d, room);
        if constexpr (NEEDS_DP)
            tile_product<M, WARPS, BN, false, true>(dp, gathered(a.u, by_v, p.dv, rows.pos), 0,
                                                    gathered(a.w, by_v, p.dv, cols.pos), 0, p.dv,
                                                    room);
        lsh_weigh<R, BN>(p, rows, cols, s, dp);
        if constexpr (R == LSH_OUT)
            pairs_softmax<BN, NT>(s, out, m, l);
        pairs_put<BN>(weights, ROW, s);
        tile_product_shared<M, WARPS, NT, BN>(
            out, weights, ROW, gathered(a.z, by_z, a.cols, cols.pos), 0, c_out, room);
    }
    lsh_store<NT, R>(p, pair, item0, n, rows.pos, a, c_out, out, m, l);
}

template <Math M, int WARPS, int BN, int NT, LshRole R>
Status lsh_launch(Dev *d, const char *op, const LshPairs &p)
{
    const int cols = R == LSH_OUT || R == LSH_DV ? p.dv : p.d;
    const dim3 grid((unsigned)(p.items / p.chunk * ceil_div(p.chunk, 16 * WARPS)),
                    (unsigned)p.slots, (unsigned)ceil_div(cols, NT));
    return launch(d, op, lsh_kernel<M, WARPS, BN, NT, R>, grid, 32 * WARPS,
                  lsh_floats<M, WARPS, BN, NT>() * sizeof(float), p);
}

/* Small chunks: one warp. */
template <Math M, LshRole R>
Status lsh_shape(Dev *d, const char *op, const LshPairs &p)
{
    return p.chunk <= 16 ? lsh_launch<M, 1, 32, 64, R>(d, op, p)
                         : lsh_launch<M, 4, 64, 64, R>(d, op, p);
}

template <LshRole R>
Status lsh_run(Dev *d, const char *op, const LshPairs &p)
{
    switch (cuda_of(d)->math) {
    case MATH_F32:
        return lsh_shape<MATH_F32, R>(d, op, p);
    case MATH_TF32:
        return lsh_shape<MATH_TF32, R>(d, op, p);
    case MATH_BF16:
        return lsh_shape<MATH_BF16, R>(d, op, p);
    }
    return FAIL(ST_UNSUPPORTED, "no such math");
}

#endif
