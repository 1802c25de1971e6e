/* rng.h - random numbers as a pure function of (seed, stream, offset): Philox4x32-10.
 *
 * Element i of a call is number offset + i of the stream, whatever the thread count or backend, so
 * there is no state to save and a segment can be drawn without those before it. */
#ifndef LONGMIX_RNG_H
#define LONGMIX_RNG_H

#include "kernels/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Independent streams; add a number for a layer, a step, a parameter. */
enum {
    RNG_WEIGHTS = 1 << 24,
    RNG_INPUT = 2 << 24,
    RNG_GRAD = 3 << 24,
    RNG_STATE = 4 << 24,
    RNG_DRAW = 5 << 24
};

uint32_t rng_bits(uint64_t seed, uint32_t stream, uint64_t offset);
double rng_uniform(uint64_t seed, uint32_t stream, uint64_t offset); /* in (0, 1) */
/* Uniform with mean 0 and standard deviation sd; normal with the same. Threaded. */
void rng_fill_uniform(float *x, int64_t n, double sd, uint64_t seed, uint32_t stream,
                      uint64_t offset);
void rng_fill_normal(float *x, int64_t n, double sd, uint64_t seed, uint32_t stream,
                     uint64_t offset);

#ifdef __cplusplus
}
#endif
#endif
