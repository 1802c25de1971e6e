/* lsh_hash.cu - buckets of LSH attention: products with rotations, and where their largest is.
 *
 * Many positions: a block of 128 threads takes 128 positions of one head, a thread each, for all
 * rounds; it keeps 64 columns of x in shared memory and passes over the rotations 16 columns at a
 * time, which all threads read at once: 17 shared loads for 16 products. Few positions (decode): a
 * warp takes one position of one round, a lane a column. Both add along d in the same order, so
 * that a position gets the same bucket in a prefill and in a step. Always float32: a choice is not
 * rounded. Shared memory 33 + 4 KB. FLOPs d (n1 + n2) an item of a round; bytes: x once (d <= 64),
 * else once for every 16 columns from L2, and 4 an item written. H100 (computed, 67 TFLOP/s of
 * float32, 3.35 TB/s), T = 65536, H = 16, d = 64, 2 rounds of 32 + 32 buckets: 8.6 GFLOP: 0.13 ms;
 * bytes 0.28 GB: 0.08 ms. */
#include "kernels/cuda/ops.cuh"

#include <math.h>

enum { POSITIONS = 128, COLS = 16, SLAB = 64, FEW = 32, WARP_THREADS = 256 };

/* The best so far of [y ; -y]; of equal ones the first. */
struct Largest {
    float value;
    int at;
    __device__ __forceinline__ void meet(float y, int i)
    {
        if (y > value || (y == value && i < at)) {
            value = y;
            at = i;
        }
    }
};

__device__ __forceinline__ Largest nothing()
{
    return {-INFINITY, 0};
}

__device__ __forceinline__ bool is_padding(const LshHash &a, int64_t b, int64_t t)
{
    return a.lens != NULL && a.pos + t >= a.lens[b];
}

__device__ __forceinline__ int padding_bucket(const LshHash &a)
{
    return a.n1 * (a.n2 > 0 ? a.n2 : 1);
}

/* ---- many positions ---- */
/* Rows t0 .. of x (of one head) from column c0 on; zeros outside. */
__device__ void load_x(const LshHash &a, const float *x, int64_t t0, int c0, float *xs)
{
    const int64_t width = (int64_t)a.heads * a.d;
    for (int i = threadIdx.x; i < POSITIONS * SLAB; i += POSITIONS) {
        const int r = i / SLAB, c = i % SLAB;
        const bool in = t0 + r < a.len && c0 + c < a.d;
        xs[r * (SLAB + 1) + c] = in ? x[(t0 + r) * width + c0 + c] : 0.0f;
    }
}

/* 16 columns of a factor from column `first` on, rows c0 .. of d. */
__device__ void load_rotation(const LshHash &a, const float *rot, int c0, int first, int n,
                              float *rs)
{
    const int row = (a.n1 + a.n2) / 2;
    for (int i = threadIdx.x; i < SLAB * COLS; i += POSITIONS) {
        const int c = i / COLS, j = i % COLS;
        rs[i] = c0 + c < a.d && j < n ? rot[(int64_t)(c0 + c) * row + first + j] : 0.0f;
    }
}

/* The bucket number of one factor, of n / 2 columns from `first` on. All threads of the block. */
__device__ int factor_of(const LshHash &a, const float *x, const float *rot, int64_t t0, int first,
                         int n, float *xs, float *rs)
{
    Largest best = nothing();
    for (int j0 = 0; j0 < n / 2; j0 += COLS) {
        float y[COLS] = {};
        for (int c0 = 0; c0 < a.d; c0 += SLAB) {
            __syncthreads(); /* the last slabs are done with */
            if (a.d > SLAB)
                load_x(a, x, t0, c0, xs);
            load_rotation(a, rot, c0, first + j0, n / 2 - j0, rs);
            __syncthreads();
            const float *mine = xs + threadIdx.x * (SLAB + 1);
            const int end = a.d - c0 < SLAB ? a.d - c0 : SLAB;
#pragma unroll 4
            for (int c = 0; c < end; c++)
#pragma unroll
                for (int j = 0; j < COLS; j++)
                    y[j] += mine[c] * rs[c * COLS + j];
        }
#pragma unroll
        for (int j = 0; j < COLS; j++)
            if (j0 + j < n / 2) {
                best.meet(y[j], j0 + j);
                best.meet(-y[j], n / 2 + j0 + j);
            }
    }
    return best.at;
}

__global__ void __launch_bounds__(POSITIONS) hash_tile_kernel(LshHash a)
{
    float *xs = dyn_smem<float>(), *rs = xs + POSITIONS * (SLAB + 1);
    const int64_t tiles = (a.len + POSITIONS - 1) / POSITIONS, pair = blockIdx.x / tiles;
    const int64_t t0 = blockIdx.x % tiles * POSITIONS, t = t0 + threadIdx.x;
    const int64_t b = pair / a.heads, h = pair % a.heads;
    const float *x = (const float *)a.x + (b * a.len * a.heads + h) * a.d;
    const int64_t matrix = (int64_t)a.d * ((a.n1 + a.n2) / 2);
    if (a.d <= SLAB)
        load_x(a, x, t0, 0, xs);
    for (int r = 0; r < a.rounds; r++) {
        const float *rot = (const float *)a.rot + (h * a.rounds + r) * matrix;
        int bucket = a.n1 > 0 ? factor_of(a, x, rot, t0, 0, a.n1, xs, rs) : 0;
        if (a.n2 > 0)
            bucket += a.n1 * factor_of(a, x, rot, t0, a.n1 / 2, a.n2, xs, rs);
        if (t < a.len)
            a.bucket[(pair * a.rounds + r) * a.len + t] =
                is_padding(a, b, t) ? padding_bucket(a) : bucket;
    }
}

/* ---- few positions ---- */
__device__ int warp_factor(const LshHash &a, const float *x, const float *rot, int first, int n)
{
    const int row = (a.n1 + a.n2) / 2;
    Largest best = nothing();
    for (int j = threadIdx.x % 32; j < n / 2; j += 32) {
        float y = 0.0f;
#pragma unroll 4
        for (int c = 0; c < a.d; c++)
            y += x[c] * rot[(int64_t)c * row + first + j];
        best.meet(y, j);
        best.meet(-y, n / 2 + j);
    }
    for (int with = 16; with > 0; with /= 2) {
        const float value = __shfl_xor_sync(0xffffffffu, best.value, with);
        best.meet(value, __shfl_xor_sync(0xffffffffu, best.at, with));
    }
    return best.at;
}

__global__ void hash_warp_kernel(LshHash a)
{
    const int64_t n = a.batch * a.heads * a.rounds * a.len, warps = step_of() / 32;
    const int64_t matrix = (int64_t)a.d * ((a.n1 + a.n2) / 2);
    for (int64_t i = first_of() / 32; i < n; i += warps) {
        const int64_t t = i % a.len, row = i / a.len, pair = row / a.rounds;
        const int64_t b = pair / a.heads, h = pair % a.heads;
        const float *x = (const float *)a.x + ((b * a.len + t) * a.heads + h) * a.d;
        const float *rot = (const float *)a.rot + (h * a.rounds + row % a.rounds) * matrix;
        int bucket = a.n1 > 0 ? warp_factor(a, x, rot, 0, a.n1) : 0;
        if (a.n2 > 0)
            bucket += a.n1 * warp_factor(a, x, rot, a.n1 / 2, a.n2);
        if (threadIdx.x % 32 == 0)
            a.bucket[i] = is_padding(a, b, t) ? padding_bucket(a) : bucket;
    }
}

Status cuda_lsh_hash(Dev *d, const LshHash *a)
{
    const int64_t pairs = a->batch * a->heads;
    if (a->len < FEW)
        return launch(d, "lsh_hash", hash_warp_kernel,
                      grid_for(d, 32 * pairs * a->rounds * a->len, WARP_THREADS), WARP_THREADS, 0,
                      *a);
    return launch(d, "lsh_hash", hash_tile_kernel,
                  dim3((unsigned)(pairs * ceil_div(a->len, POSITIONS))), POSITIONS,
                  (POSITIONS * (SLAB + 1) + SLAB * COLS) * sizeof(float), *a);
}
