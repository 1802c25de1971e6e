/* fit.h - a profile's sizes on the device that is here: what fits into its memory, and limits by
 * its speed. A pure function over plain values. */
#ifndef LONGMIX_FIT_H
#define LONGMIX_FIT_H

#include "bench/sweep.h"

typedef struct FitTo {
    int64_t memory; /* bytes that a case may take */
    double flops;   /* best rate of matrix products */
} FitTo;

/* Bytes for each token of the recipe that takes the most, rounded up: of a layer's forward pass, by
 * column and besides (FLASH's four short keys and queries); of a training step by layer and column
 * and by entry of the vocabulary. And bytes of a parameter in training. tests/test_fit.c holds them
 * against the dry device. */
enum {
    FIT_FORWARD_BYTES = 56,
    FIT_SHARED_BYTES = 5200,
    FIT_TRAIN_BYTES = 112,
    FIT_LOGIT_BYTES = 12,
    FIT_PARAM_BYTES = 16
};

/* Of s->fits:
 * FIT_WIDTH   the largest power of two from 64 to 2048, heads of 64, for which a layer's forward
 *             pass over a million tokens takes at most 90 % of the memory
 * FIT_TOKENS  groups of models by size: the largest power of two of tokens a step, from the longest
 *             context of the group to what the profile has, for which a training step does
 * FIT_LIMITS  time limits are those of a device of 100 TFLOP/s; others get them in proportion,
 *             between a quarter and sixteen times */
void fit_sweep(const FitTo *to, Sweep *s);

/* Tokens a step of models of that size. */
int64_t fit_tokens(const FitTo *to, int width, int layers, int vocab, int64_t least, int64_t most);

#endif
