/* tile.cuh - the product of two tiles by one block: what attention and chunks are made of.
 *
 * WARPS warps hold C (16 WARPS, N) in registers as mma.sync lays it out: with g = lane / 4 and
 * t = lane % 4, a thread has rows g and g + 8 of its warp's 16 and of every 8 columns 2t, 2t + 1.
 * Operands stream through shared memory in slabs of KC along k, two slabs deep: cp.async fetches
 * the next while this one is multiplied. Slabs are float32; a warp rounds what it reads to bf16 or
 * tf32 in registers, so that storage, masks and sums stay float32. Rows are padded so that the 32
 * lanes of a fragment hit 32 banks (bf16 by pairs: 16 lanes, 32 banks). MATH_F32 multiplies in the
 * same layout without tensor cores: the slow and exact way. */
#ifndef LONGMIX_CUDA_TILE_CUH
#define LONGMIX_CUDA_TILE_CUH

#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/mma_ops.cuh"

enum { KC = 32 };

/* A matrix in global memory of which rows x cols may be read; the rest counts as zeros. */
struct Source {
    const float *p;
    int64_t row; /* elements between rows */
    int64_t rows, cols;
    bool wide; /* 16 bytes at a time: p, row and cols allow it */
    __device__ __forceinline__ bool has(int64_t r) const
    {
        return r < rows;
    }
    __device__ __forceinline__ const float *at(int64_t r) const
    {
        return p + r * row;
    }
};

/* Rows in any order: row r is number place[r] of the matrix, or zeros where that is negative.
 * place lies in shared memory. */
struct Gathered {
    const float *p;
    int64_t row, cols;
    const int *place;
    bool wide;
    __device__ __forceinline__ bool has(int64_t r) const
    {
        return place[r] >= 0;
    }
    __device__ __forceinline__ const float *at(int64_t r) const
    {
        return p + place[r] * row;
    }
};

__device__ __forceinline__ Source source(const float *p, int64_t row, int64_t rows, int64_t cols)
{
    return {p, row, rows, cols, (uintptr_t)p % 16 == 0 && row % 4 == 0 && cols % 4 == 0};
}

__device__ __forceinline__ Gathered gathered(const float *p, int64_t row, int64_t cols,
                                             const int *place)
{
    return {p, row, cols, place, (uintptr_t)p % 16 == 0 && row % 4 == 0 && cols % 4 == 0};
}

/* What a slab's rows are apart: k_rows: a row is one k. */
template <Math M>
__host__ __device__ constexpr int slab_row(int width, bool k_rows)
{
    return width + ((M == MATH_BF16) == k_rows ? 4 : 8);
}

/* Rows r0 .. r0 + ROWS and columns c0 .. c0 + COLS of s, a Source or Gathered, by THREADS threads.
 */
template <int ROWS, int COLS, int THREADS, class S>
__device__ void fetch(float *to, int to_row, const S &s, int64_t r0, int64_t c0)
{
    if (s.wide && c0 % 4 == 0) {
#pragma unroll 2
        for (int i = threadIdx.x; i < ROWS * COLS / 4; i += THREADS) {
            const int r = i / (COLS / 4), c = i % (COLS / 4) * 4;
            const bool in = s.has(r0 + r) && c0 + c < s.cols;
            cp_async16(to + r * to_row + c, in ? s.at(r0 + r) + c0 + c : s.p, in);
        }
        return;
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < ROWS * COLS; i += THREADS) {
        const int r = i / COLS, c = i % COLS;
        const bool in = s.has(r0 + r) && c0 + c < s.cols;
        cp_async4(to + r * to_row + c, in ? s.at(r0 + r) + c0 + c : s.p, in);
    }
}

/* An operand in shared memory: element (i, k) is p[i * by_i + k * by_k]. */
struct Operand {
    const float *p;
    int by_i, by_k;
    __device__ __forceinline__ float at(int i, int k) const
    {
        return p[i * by_i + k * by_k];
    }
};

/* c += A B' over KC, A the 16 rows of this warp, B all N. */
template <Math M, int N>
__device__ void multiply(float (&c)[N / 8][4], Operand a, Operand b)
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    if constexpr (M == MATH_F32) {
#pragma unroll 4
        for (int k = 0; k < KC; k++) {
            const float a0 = a.at(g, k), a1 = a.at(g + 8, k);
#pragma unroll
            for (int j = 0; j < N / 8; j++) {
                const float b0 = b.at(8 * j + 2 * t, k), b1 = b.at(8 * j + 2 * t + 1, k);
                c[j][0] += a0 * b0, c[j][1] += a0 * b1;
                c[j][2] += a1 * b0, c[j][3] += a1 * b1;
            }
        }
    } else if constexpr (M == MATH_TF32) {
#pragma unroll
        for (int k = 0; k < KC; k += 8) {
            const uint32_t fa[4] = {to_tf32(a.at(g, k + t)), to_tf32(a.at(g + 8, k + t)),
                                    to_tf32(a.at(g, k + t + 4)), to_tf32(a.at(g + 8, k + t + 4))};
#pragma unroll
            for (int j = 0; j < N / 8; j++) {
                const uint32_t fb[2] = {to_tf32(b.at(8 * j + g, k + t)),
                                        to_tf32(b.at(8 * j + g, k + t + 4))};
                mma_tf32(c[j], fa, fb);
            }
        }
    } else {
#pragma unroll
        for (int k = 0; k < KC; k += 16) {
            uint32_t fa[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int row = g + 8 * (i % 2), at = k + 2 * t + 8 * (i / 2);
                fa[i] = pack_bf16(a.at(row, at), a.at(row, at + 1));
            }
#pragma unroll
            for (int j = 0; j < N / 8; j++) {
                const int col = 8 * j + g, at = k + 2 * t;
                const uint32_t fb[2] = {pack_bf16(b.at(col, at), b.at(col, at + 1)),
                                        pack_bf16(b.at(col, at + 8), b.at(col, at + 9))};
                mma_bf16(c[j], fa, fb);
            }
        }
    }
}

/* Floats of the two slabs of A and B together. */
template <Math M, int WARPS, int N>
__host__ __device__ constexpr int slab_a()
{
    const int straight = 16 * WARPS * slab_row<M>(KC, false),
              turned = KC * slab_row<M>(16 * WARPS, true);
    return straight > turned ? straight : turned;
}
template <Math M, int N>
__host__ __device__ constexpr int slab_b()
{
    const int straight = N * slab_row<M>(KC, false), turned = KC * slab_row<M>(N, true);
    return straight > turned ? straight : turned;
}
template <Math M, int WARPS, int N>
__host__ __device__ constexpr int slabs()
{
    return 2 * (slab_a<M, WARPS, N>() + slab_b<M, N>());
}

/* c += A B' over k < k_len: A (16 WARPS rows from m0, k), stored (k, m) if TA; B (N rows from n0,
 * k), stored (k, n) unless TB. A and B are Sources, or what else there is a fetch() for. All
 * threads of the block; room for slabs() floats. */
template <Math M, int WARPS, int N, bool TA, bool TB, class A, class B>
__device__ void tile_product(float (&c)[N / 8][4], const A &a, int64_t m0, const B &b, int64_t n0,
                             int64_t k_len, float *room)
{
    constexpr int BM = 16 * WARPS, T = 32 * WARPS;
    constexpr int ra = slab_row<M>(TA ? BM : KC, TA), rb = slab_row<M>(TB ? KC : N, !TB);
    const int steps = (int)((k_len + KC - 1) / KC), warp = threadIdx.x / 32;
    float *sa = room, *sb = room + 2 * slab_a<M, WARPS, N>();
    constexpr int next_a = slab_a<M, WARPS, N>(), next_b = slab_b<M, N>();
#pragma unroll 1
    for (int step = -1; step < steps; step++) {
        if (step + 1 < steps) {
            const int64_t k = (int64_t)(step + 1) * KC;
            float *to_a = sa + (step + 1) % 2 * next_a, *to_b = sb + (step + 1) % 2 * next_b;
            if constexpr (TA)
                fetch<KC, BM, T>(to_a, ra, a, k, m0);
            else
                fetch<BM, KC, T>(to_a, ra, a, m0, k);
            if constexpr (TB)
                fetch<N, KC, T>(to_b, rb, b, n0, k);
            else
                fetch<KC, N, T>(to_b, rb, b, k, n0);
        }
        cp_async_commit();
        if (step < 0)
            continue;
        cp_async_wait<1>(); /* this step's slabs are there, the next are on their way */
        __syncthreads();
        const Operand oa = {sa + step % 2 * next_a + (TA ? 16 * warp : 16 * warp * ra), TA ? 1 : ra,
                            TA ? ra : 1};
        const Operand ob = {sb + step % 2 * next_b, TB ? rb : 1, TB ? 1 : rb};
        multiply<M, N>(c, oa, ob);
        __syncthreads(); /* before the slab is filled again */
    }
    cp_async_wait<0>();
}

/* The same with A (16 WARPS, K) in shared memory, row_a floats a row, written before by the warp
 * that holds the rows; B stored (k, n), K rows from k0. */
template <Math M, int WARPS, int N, int K, class B>
__device__ void tile_product_shared(float (&c)[N / 8][4], const float *a, int row_a, const B &b,
                                    int64_t k0, int64_t n0, float *room)
{
    constexpr int T = 32 * WARPS, rb = slab_row<M>(N, true);
    const int warp = threadIdx.x / 32;
    constexpr int next = slab_b<M, N>();
    __syncwarp();
#pragma unroll 1
    for (int step = -1; step < K / KC; step++) {
        if (step + 1 < K / KC)
            fetch<KC, N, T>(room + (step + 1) % 2 * next, rb, b, k0 + (step + 1) * KC, n0);
        cp_async_commit();
        if (step < 0)
            continue;
        cp_async_wait<1>();
        __syncthreads();
        const Operand oa = {a + 16 * warp * row_a + step * KC, row_a, 1};
        const Operand ob = {room + step % 2 * next, 1, rb};
        multiply<M, N>(c, oa, ob);
        __syncthreads();
    }
    cp_async_wait<0>();
}

template <int N>
__device__ __forceinline__ void clear(float (&c)[N][4])
{
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            c[j][e] = 0.0f;
}

/* Row and column, within the block's tile, of element e of group j of this thread. */
__device__ __forceinline__ int tile_row(int e)
{
    return 16 * (threadIdx.x / 32) + threadIdx.x % 32 / 4 + 8 * (e / 2);
}
__device__ __forceinline__ int tile_col(int j, int e)
{
    return 8 * j + 2 * (threadIdx.x % 4) + e % 2;
}

#endif
