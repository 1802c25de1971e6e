/* philox.cuh - the random numbers of kernels/rng.h on the device: Philox4x32-10 (Salmon 2011).
 *
 * Number i of a stream is word i mod 4 of block i / 4. Words and uniform numbers are the same bits
 * as on the host: all of it is integers, and one exact conversion. No memory, about 60 integer
 * instructions a block of four. */
#ifndef LONGMIX_CUDA_PHILOX_CUH
#define LONGMIX_CUDA_PHILOX_CUH

#include <cuda_runtime.h>
#include <stdint.h>

struct Philox {
    uint32_t a, b, c, d; /* words 0 to 3 */
};

__device__ __forceinline__ Philox philox_block(uint64_t seed, uint32_t stream, uint64_t number)
{
    Philox x = {(uint32_t)number, (uint32_t)(number >> 32), stream, 0};
    uint32_t key = (uint32_t)seed, next = (uint32_t)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint32_t low_a = 0xD2511F53u * x.a, low_c = 0xCD9E8D57u * x.c;
        x = {__umulhi(0xCD9E8D57u, x.c) ^ x.b ^ key, low_c, __umulhi(0xD2511F53u, x.a) ^ x.d ^ next,
             low_a};
        key += 0x9E3779B9u;
        next += 0xBB67AE85u;
    }
    return x;
}

/* Number `offset` of the stream. */
__device__ __forceinline__ uint32_t philox_bits(uint64_t seed, uint32_t stream, uint64_t offset)
{
    const Philox x = philox_block(seed, stream, offset / 4);
    const uint32_t even = offset & 2 ? x.c : x.a, odd = offset & 2 ? x.d : x.b;
    return offset & 1 ? odd : even;
}

/* In (0, 1), exactly. */
__device__ __forceinline__ double philox_unit(uint32_t bits)
{
    return ((double)bits + 0.5) * 0x1p-32;
}
__device__ __forceinline__ double philox_uniform(uint64_t seed, uint32_t stream, uint64_t offset)
{
    return philox_unit(philox_bits(seed, stream, offset));
}

#endif
