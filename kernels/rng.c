/* rng.c - see rng.h. One Philox block gives four numbers; number i is word i mod 4 of block i / 4.
 */
#include "kernels/rng.h"

#include <math.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wundef"
#include <Random123/philox.h>
#pragma GCC diagnostic pop

static philox4x32_ctr_t block(uint64_t seed, uint32_t stream, uint64_t number)
{
    philox4x32_ctr_t ctr = {{(uint32_t)number, (uint32_t)(number >> 32), stream, 0}};
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    return philox4x32(ctr, key);
}

static double unit(uint32_t bits)
{
    return ((double)bits + 0.5) * 0x1p-32;
}

uint32_t rng_bits(uint64_t seed, uint32_t stream, uint64_t offset)
{
    return block(seed, stream, offset / 4).v[offset % 4];
}

double rng_uniform(uint64_t seed, uint32_t stream, uint64_t offset)
{
    return unit(rng_bits(seed, stream, offset));
}

/* Box-Muller on words 0,1 and 2,3 of a block. */
static double normal_of(philox4x32_ctr_t r, int word)
{
    const double two_pi = 6.283185307179586;
    double radius = sqrt(-2.0 * log(unit(r.v[word & 2])));
    double angle = two_pi * unit(r.v[(word & 2) + 1]);
    return radius * ((word & 1) ? sin(angle) : cos(angle));
}

typedef double NumberFn(philox4x32_ctr_t r, int word);

static double uniform_of(philox4x32_ctr_t r, int word)
{
    return unit(r.v[word]) - 0.5;
}

/* Four numbers from each block; the first and the last block may lie partly outside. */
static inline void fill(float *x, int64_t n, double scale, uint64_t seed, uint32_t stream,
                        uint64_t offset, NumberFn *number)
{
    int64_t skip = (int64_t)(offset % 4), blocks = (skip + n + 3) / 4;
#pragma omp parallel for schedule(static) if (n > 65536)
    for (int64_t b = 0; b < blocks; b++) {
        philox4x32_ctr_t r = block(seed, stream, offset / 4 + (uint64_t)b);
        for (int word = 0; word < 4; word++) {
            int64_t i = 4 * b + word - skip;
            if (i >= 0 && i < n)
                x[i] = (float)(scale * number(r, word));
        }
    }
}

void rng_fill_uniform(float *x, int64_t n, double sd, uint64_t seed, uint32_t stream,
                      uint64_t offset)
{
    const double root_12 = 3.4641016151377544; /* a uniform number has variance 1/12 */
    fill(x, n, sd * root_12, seed, stream, offset, uniform_of);
}

void rng_fill_normal(float *x, int64_t n, double sd, uint64_t seed, uint32_t stream,
                     uint64_t offset)
{
    fill(x, n, sd, seed, stream, offset, normal_of);
}
