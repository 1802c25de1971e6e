/* blocks.cuh - one block of units by `lanes` neighbouring lanes of a warp, a power of two. */
#ifndef LONGMIX_CUDA_BLOCKS_CUH
#define LONGMIX_CUDA_BLOCKS_CUH

#include "kernels/cuda/cuda.cuh"

#include <math.h>

template <class Op>
__device__ __forceinline__ float over_lanes(float x, Op op, int lanes)
{
    for (int with = lanes / 2; with > 0; with /= 2)
        x = op(x, __shfl_xor_sync(0xffffffffu, x, with));
    return x;
}

/* softmax_i = exp(z_i - top) by */
struct BlockSoft {
    float top, by;
    __device__ __forceinline__ float mask(float z) const
    {
        return expf(z - top) * by;
    }
};

/* All lanes of the warp call it, each lane the `lane`-th of its own block's. */
__device__ __forceinline__ BlockSoft block_soft(const float *z, int n, int lane, int lanes)
{
    BlockSoft s = {-INFINITY, 0.0f};
    float sum = 0.0f;
    for (int i = lane; i < n; i += lanes)
        s.top = Max()(z[i], s.top);
    s.top = over_lanes(s.top, Max(), lanes);
    for (int i = lane; i < n; i += lanes)
        sum += expf(z[i] - s.top);
    s.by = 1.0f / over_lanes(sum, Sum(), lanes);
    return s;
}

#endif
