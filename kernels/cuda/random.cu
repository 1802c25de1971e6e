/* random.cu - normal numbers: one thread a Philox block, which gives four (Box-Muller, as in
 * kernels/rng.c).
 *
 * No shared memory. Bytes 4 n; FLOPs about 60 an element in double, where logarithm and sine must
 * be computed so that rounding to float hides what is left of the libraries' differences. H100
 * (computed): n = 2^24: 0.02 ms of traffic, 0.03 ms at 34 TFLOP/s in double. */
#include "kernels/cuda/ops.cuh"
#include "kernels/cuda/philox.cuh"

#include <math.h>

enum { THREADS = 256 };

/* Numbers at and at + 1 of y from two words of a block. */
__device__ __forceinline__ void put_pair(float *y, int64_t n, int64_t at, uint32_t first,
                                         uint32_t second)
{
    const double radius = sqrt(-2.0 * log(philox_unit(first)));
    double sine, cosine;
    sincospi(2.0 * philox_unit(second), &sine, &cosine);
    if (at >= 0 && at < n)
        y[at] = (float)(radius * cosine);
    if (at + 1 >= 0 && at + 1 < n)
        y[at + 1] = (float)(radius * sine);
}

/* The first and the last block may lie partly outside. */
__global__ void normal_kernel(int64_t n, uint64_t seed, uint32_t stream, uint64_t offset, float *y)
{
    const int64_t skip = (int64_t)(offset % 4), blocks = (skip + n + 3) / 4;
    for (int64_t b = first_of(); b < blocks; b += step_of()) {
        const Philox x = philox_block(seed, stream, offset / 4 + (uint64_t)b);
        put_pair(y, n, 4 * b - skip, x.a, x.b);
        put_pair(y, n, 4 * b - skip + 2, x.c, x.d);
    }
}

Status cuda_normal(Dev *d, int64_t n, uint64_t seed, uint32_t stream, uint64_t offset, void *y)
{
    return launch(d, "normal", normal_kernel, grid_for(d, n / 4 + 2, THREADS), THREADS, 0, n, seed,
                  stream, offset, (float *)y);
}
