/* divide.cuh - division by a number that is known at launch, as a product: the row and the column
 * of an index cost ten instructions, where the device would take a hundred (Granlund 1994). */
#ifndef LONGMIX_CUDA_DIVIDE_CUH
#define LONGMIX_CUDA_DIVIDE_CUH

#include <cuda_runtime.h>
#include <stdint.h>

/* n / by, 0 <= n < 2^63: the upper half of n ceil(2^(63 + l) / by), over 2^(l - 1), where 2^l is
 * the first power of two from by on. */
struct Divisor {
    uint64_t factor;
    int64_t by;
    int shift;
};

static inline Divisor divisor(int64_t by)
{
    int l = 0;
    while (((uint64_t)1 << l) < (uint64_t)by)
        l++;
    const unsigned __int128 power = (unsigned __int128)1 << (63 + l);
    return {(uint64_t)((power + (uint64_t)by - 1) / (uint64_t)by), by, l - 1};
}

__device__ __forceinline__ int64_t quotient(int64_t n, const Divisor &d)
{
    return d.by == 1 ? n : (int64_t)(__umul64hi((uint64_t)n, d.factor) >> d.shift);
}

/* The same for n < 2^31 and by < 2^31, with 31 and 32 in place of 63 and 64. */
struct ShortDivisor {
    uint32_t factor;
    int by, shift;
};

static inline ShortDivisor short_divisor(int64_t by)
{
    int l = 0;
    while (((int64_t)1 << l) < by)
        l++;
    const uint64_t power = (uint64_t)1 << (31 + l);
    return {(uint32_t)((power + (uint64_t)by - 1) / (uint64_t)by), (int)by, l - 1};
}

__device__ __forceinline__ unsigned quotient(unsigned n, const ShortDivisor &d)
{
    return d.by == 1 ? n : __umulhi(n, d.factor) >> d.shift;
}

#endif
