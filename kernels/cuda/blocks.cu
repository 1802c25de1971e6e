/* blocks.cu - softmax of blocks of units, and the choice of one unit of each: a warp a block.
 *
 * A block of up to 16 units takes as many lanes as hold it, and shares its warp with others; a
 * larger one takes the warp, 32 numbers at a time. No shared memory, FLOPs about 4 a number. Bytes:
 * softmax 8 n block, its gradient 16 n block, choice 4 (block + 1) n. H100 (computed, 3.35 TB/s)
 * for 16384 rows of 4096 units: 0.16, 0.32 and 0.08 ms. Noise of its own takes ten rounds of Philox
 * and two logarithms a number, about 100 instructions: 0.3 ms (computed, 132 x 128 lanes at 1.7
 * GHz). */
#include "kernels/cuda/blocks.cuh"
#include "kernels/cuda/ops.cuh"
#include "kernels/cuda/philox.cuh"

enum { THREADS = 256 };

/* Which block a lane works on: those beyond the last repeat it and write nothing. */
struct Place {
    int64_t block;
    int lane;
    bool writes;
};

__device__ __forceinline__ Place place_at(int64_t first, int64_t n, int lanes)
{
    const int64_t at = first + threadIdx.x % 32 / lanes;
    return {at < n ? at : n - 1, (int)(threadIdx.x % lanes), at < n};
}

/* for (first = first_block(lanes); first < n; first += step_blocks(lanes)): the same for a warp. */
__device__ __forceinline__ int64_t first_block(int lanes)
{
    return first_of() / 32 * (32 / lanes);
}
__device__ __forceinline__ int64_t step_blocks(int lanes)
{
    return step_of() / lanes;
}

static int lanes_for(int block)
{
    int lanes = 1;
    while (lanes < 32 && lanes < block)
        lanes *= 2;
    return lanes;
}

/* ---- softmax ---- */
__global__ void soft_fwd_kernel(SoftBlocks a, int lanes)
{
    for (int64_t first = first_block(lanes); first < a.n; first += step_blocks(lanes)) {
        const Place p = place_at(first, a.n, lanes);
        const float *z = (const float *)a.z + p.block * a.block;
        float *m = (float *)a.m + p.block * a.block;
        const BlockSoft s = block_soft(z, a.block, p.lane, lanes);
        for (int i = p.lane; i < a.block && p.writes; i += lanes)
            m[i] = s.mask(z[i]);
    }
}

__global__ void soft_bwd_kernel(SoftBlocks a, int lanes)
{
    for (int64_t first = first_block(lanes); first < a.n; first += step_blocks(lanes)) {
        const Place p = place_at(first, a.n, lanes);
        const float *m = (const float *)a.m + p.block * a.block;
        const float *dm = (const float *)a.dm + p.block * a.block;
        float *dz = (float *)a.dz + p.block * a.block, mean = 0.0f;
        for (int i = p.lane; i < a.block; i += lanes)
            mean += m[i] * dm[i];
        mean = over_lanes(mean, Sum(), lanes);
        for (int i = p.lane; i < a.block && p.writes; i += lanes)
            dz[i] += m[i] * (dm[i] - mean);
    }
}

Status cuda_soft_blocks_fwd(Dev *d, const SoftBlocks *a)
{
    const int lanes = lanes_for(a->block);
    return launch(d, "soft_blocks_fwd", soft_fwd_kernel, grid_for(d, a->n * lanes, THREADS),
                  THREADS, 0, *a, lanes);
}

Status cuda_soft_blocks_bwd(Dev *d, const SoftBlocks *a)
{
    const int lanes = lanes_for(a->block);
    if (a->dz == NULL)
        return ST_OK;
    return launch(d, "soft_blocks_bwd", soft_bwd_kernel, grid_for(d, a->n * lanes, THREADS),
                  THREADS, 0, *a, lanes);
}

/* ---- choosing ---- */
struct Best {
    float score;
    int at;
};

/* The first of equal ones; nothing beats itself, and a NaN nothing. */
__device__ __forceinline__ bool beats(Best a, Best b)
{
    return a.score > b.score || (a.score == b.score && a.at < b.at);
}

/* -log(-log u), rest = 1 - u: near 1 it is rest that has the digits. */
__device__ __forceinline__ float gumbel(float u, float rest)
{
    const float edge = 1e-6f;
    const float log_u = u < 0.5f ? logf(fmaxf(u, edge)) : log1pf(-fmaxf(rest, edge));
    return -logf(-log_u);
}

__device__ float noise_at(const Pick &a, int64_t i)
{
    if (a.u != NULL) {
        const float u = ((const float *)a.u)[i];
        return gumbel(u, 1.0f - u);
    }
    const uint32_t bits = philox_bits(a.seed, a.stream, a.offset + (uint64_t)i);
    return gumbel(((float)bits + 0.5f) * 0x1p-32f, ((float)~bits + 0.5f) * 0x1p-32f);
}

__global__ void pick_kernel(Pick a, int lanes)
{
    const float *z = (const float *)a.z, tau = (float)a.tau;
    for (int64_t first = first_block(lanes); first < a.n; first += step_blocks(lanes)) {
        const Place p = place_at(first, a.n, lanes);
        Best best = {-INFINITY, 0};
        for (int i = p.lane; i < a.block; i += lanes) {
            const int64_t at = p.block * a.block + i;
            const Best next = {z[at] + (tau > 0.0f ? tau * noise_at(a, at) : 0.0f), i};
            best = next.score > best.score ? next : best;
        }
        for (int with = lanes / 2; with > 0; with /= 2) {
            const Best other = {__shfl_xor_sync(0xffffffffu, best.score, with),
                                __shfl_xor_sync(0xffffffffu, best.at, with)};
            best = beats(other, best) ? other : best;
        }
        if (p.lane == 0 && p.writes)
            a.pick[p.block] = best.at;
    }
}

Status cuda_pick(Dev *d, const Pick *a)
{
    const int lanes = lanes_for(a->block);
    return launch(d, "pick", pick_kernel, grid_for(d, a->n * lanes, THREADS), THREADS, 0, *a,
                  lanes);
}
