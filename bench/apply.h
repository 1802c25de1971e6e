/* apply.h - one layer on tensors from files, so that its numbers can be held against others'. */
#ifndef LONGMIX_APPLY_H
#define LONGMIX_APPLY_H

#include "bench/backend.h"
#include "bench/model.h"

typedef enum ApplyLevel { APPLY_MIXER, APPLY_BLOCK, APPLY_LAYER } ApplyLevel;

typedef struct Apply {
    const Variant *variant;
    ApplyLevel level;
    int blocks;      /* 0: as many as the level has */
    const char *set; /* options, "k=v k=v" */
    BackendAsk on;
    /* Paths; NULL: not wanted. weights: parameters. input: x (B,T,D), lens (B), draw.NAME. grad: dy
     * (B,T,D). expect: y, decode.y, grad.x, grad.PARAMETER, to be compared. out: the same, written.
     * init: seeded weights, written. */
    const char *weights, *input, *grad, *expect, *out, *init;
    bool decode;      /* y once more, token by token from carried state: decode.y */
    double tolerance; /* of the comparison, relative to the largest number of a tensor */
    MixCtx ctx;       /* heads, ffn (0: default), causal, naive, training, seed; without an input
                         also width and q_len */
    int64_t n_norm;   /* 0: the length */
} Apply;

/* Prints what it did. agrees: nothing that was compared is further off than the tolerance. Fails
 * with ST_USAGE for what is wrong in a file, with the file, the tensor and what is allowed. */
Status apply_run(const Apply *a, bool *agrees);

#endif
