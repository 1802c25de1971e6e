/* lsh.cuh - LSH attention over sorted items, forward and backward, by one kernel in four roles, as
 * pairs.cuh does for all pairs. With k_j = c_j q_j, s_ij = c_j q_i.q_j and dp_ij = do_i.v_j:
 *   role     rows     weights w_ij                      result, of every round
 *   LSH_OUT  queries  exp(s - m_i)                      o_i = sum_j w v_j / sum_j w, lse_i
 *   LSH_DQ   queries  c_j exp(s - lse_i) (dp - delta_i) dq_i = sum_j w q_j
 *   LSH_DK   keys     exp(s - lse_i) (dp - delta_i)     dk_j = sum_i w q_i
 *   LSH_DV   keys     exp(s - lse_i)                    dv_j = sum_i w do_i
 *
 * Block (x, y, z): 16 WARPS neighbouring items of one chunk, a head of a batch row (slot y of those
 * that are made at a time), NT columns of the result. What a chunk sees lies side by side, around
 * the end: chunks - before to + after, or, seen from a key, chunks - after to + before. The block
 * walks these items BN at a time; it puts their positions into shared memory, gathers their rows
 * from q, v and do where they are (a row of a head is 256 bytes at d = 64), and multiplies tiles
 * (tile.cuh). A tile that nobody sees, all padding or causally hidden, is left out. lse is that of
 * all rounds, so that the rounds' weights need nothing of their own. A position is hidden from
 * itself; where it sees nothing else, its value is the output and its lse is about -1e5.
 * FLOPs of a pair of items: OUT 2 d ceil(dv / NT) + 2 dv; DQ and DK 2 (d + dv) ceil(d / NT) + 2 d;
 * DV 2 d ceil(dv / NT) + 2 dv. Bytes of an item, from L2 mostly: 4 (d + dv) as a row and, of its
 * window, 4 (d + dv) W / (16 WARPS), W = (before + 1 + after) chunk. Shared memory: slabs() + 16
 * WARPS (BN + 8) + 4 (16 WARPS + BN) words, 56 KB for four warps in bf16. Roofline on an H100
 * (computed), T = 65536, H = 16, d = dv = 64, 2 rounds, chunk 128, before 1: OUT 2 M items: 0.14
 * TFLOP: 0.14 ms in bf16; 4.8 GB from L2 (5.5 TB/s): 0.9 ms, and 1.6 GB of operands and parts from
 * memory (3.35 TB/s): 0.5 ms: bound by L2. DQ and DK half as much again each, DV as OUT. */
#ifndef LONGMIX_CUDA_LSH_CUH
#define LONGMIX_CUDA_LSH_CUH

#include "kernels/cuda/pairs.cuh"

constexpr float LSH_ALONE = -1e5f, LSH_EPS = 1e-6f; /* as kernels.h has them */

enum LshRole { LSH_OUT, LSH_DQ, LSH_DK, LSH_DV };

struct LshPairs {
    bool causal;
    int heads, d, dv, rounds;
    int64_t len, padded, chunk, items; /* items: rounds * padded */
    int64_t before, after;             /* in items: chunks times chunk */
    int64_t first, slots;              /* heads of batch rows first .. first + slots */
    const int32_t *lens, *order;       /* order (slots, items): positions */
    const float *q, *v, *d_o, *by;     /* by (slots, len): k = by q */
    const float *delta;                /* (slots, len) */
    float *part, *part_lse;            /* (slots, rounds, len, d or dv), (slots, rounds, len) */
    float *o, *lse;                    /* as in Lsh: OUT of a single round writes them */
};

__device__ __forceinline__ int64_t lsh_valid(const LshPairs &p, int64_t pair)
{
    const int64_t n = p.lens != NULL ? p.lens[pair / p.heads] : p.len;
    return n < 0 ? 0 : n < p.len ? n : p.len;
}

/* Element at which the row of a position begins, in arrays (B,len,H*width). */
__device__ __forceinline__ int64_t lsh_row(const LshPairs &p, int64_t pair, int64_t t, int width)
{
    const int b = (int)pair / p.heads, h = (int)pair % p.heads; /* of 32 bits: quick */
    return ((b * p.len + t) * p.heads + h) * width;
}

/* What is known of the items of a tile, in shared memory. */
struct LshSide {
    int *pos; /* -1: padding */
    float *by, *lse, *delta;
};

template <int N>
__device__ __forceinline__ LshSide lsh_side(float *room)
{
    return {(int *)room, room + N, room + 2 * N, room + 3 * N};
}

/* Items from .. from + n, from >= 0, around the end; padding up to N. */
template <int N, int THREADS, LshRole R>
__device__ void lsh_load(const LshPairs &p, int64_t valid, int64_t from, int64_t n, bool queries,
                         const LshSide &to)
{
    const int64_t slot = blockIdx.y;
    for (int i = threadIdx.x; i < N; i += THREADS) {
        int64_t item = from + i;
        while (item >= p.items && i < n)
            item -= p.items;
        const int t = i < n ? p.order[slot * p.items + item] : -1;
        const bool in = t >= 0 && t < valid;
        to.pos[i] = in ? t : -1;
        if (!queries)
            to.by[i] = in ? p.by[slot * p.len + t] : 0.0f;
        if (queries && R != LSH_OUT) {
            to.lse[i] = in ? p.lse[(p.first + slot) * p.len + t] : 0.0f;
            to.delta[i] = in ? p.delta[slot * p.len + t] : 0.0f;
        }
    }
}

struct Least {
    __device__ int operator()(int a, int b) const
    {
        return a < b ? a : b;
    }
};

template <class Op>
__device__ __forceinline__ int over_warp(int x, Op op)
{
    for (int with = 16; with > 0; with /= 2)
        x = op(x, __shfl_xor_sync(0xffffffffu, x, with));
    return x;
}

/* No query sees a key: every warp finds the same. */
__device__ __forceinline__ bool lsh_hidden(const LshPairs &p, const int *query, int queries,
                                           const int *key, int keys)
{
    const int lane = threadIdx.x % 32, none = 0x7fffffff;
    int last = 0, first = none; /* the last query, negated; the first key */
    for (int i = lane; i < queries; i += 32)
        last = Least()(last, -1 - query[i]);
    for (int j = lane; j < keys; j += 32)
        first = key[j] >= 0 ? Least()(first, key[j]) : first;
    last = -1 - over_warp(last, Least());
    first = over_warp(first, Least());
    return last < 0 || first == none || (p.causal && first >= last);
}

__device__ __forceinline__ bool lsh_sees(const LshPairs &p, int query, int key)
{
    return query >= 0 && key >= 0 && (p.causal ? key < query : key != query);
}

/* Scores become weights; -inf for what the softmax must not see yet. */
template <LshRole R, int BN>
__device__ void lsh_weigh(const LshPairs &p, const LshSide &rows, const LshSide &cols,
                          float (&s)[BN / 8][4], float (&dp)[BN / 8][4])
{
    constexpr bool BY_Q = R == LSH_OUT || R == LSH_DQ, SLOPES = R == LSH_DQ || R == LSH_DK;
    const LshSide &query = BY_Q ? rows : cols, &key = BY_Q ? cols : rows;
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int row = tile_row(e), col = tile_col(j, e);
            const int i = BY_Q ? row : col, at = BY_Q ? col : row;
            const bool visible = lsh_sees(p, query.pos[i], key.pos[at]);
            const float by = key.by[at], score = by * s[j][e];
            if (R == LSH_OUT) {
                s[j][e] = visible ? score : -INFINITY;
                continue;
            }
            float w = visible ? expf(score - query.lse[i]) : 0.0f;
            if (SLOPES)
                w = visible ? w * (dp[j][e] - query.delta[i]) : 0.0f;
            s[j][e] = R == LSH_DQ ? by * w : w;
        }
}

/* One translation unit each: lsh_out.cu, lsh_dq.cu, lsh_dk.cu, lsh_dv.cu. */
Status cuda_lsh_out(Dev *d, const char *op, const LshPairs &p);
Status cuda_lsh_dq(Dev *d, const char *op, const LshPairs &p);
Status cuda_lsh_dk(Dev *d, const char *op, const LshPairs &p);
Status cuda_lsh_dv(Dev *d, const char *op, const LshPairs &p);

#endif
