/* attention.h - what the mixers of multi-head softmax attention share: parts, first options, and
 * all stages after the projections. */
#ifndef LONGMIX_ATTENTION_H
#define LONGMIX_ATTENTION_H

#include "variants/template/mixer.h"

enum { Q, K, V, ATTENTION_PARTS };                                /* (B,T,H*d) each */
enum { ROPE_HALF, ROPE_ROT, ROPE_BASE, ROPE, ATTENTION_OPTIONS }; /* a mixer's own come behind */
#define ATTENTION_ROPE                                                                             \
    {"rope_half", 1, 0, 1, true, "1: rotary pairs (i, i + r/2); 0: neighbours (2i, 2i + 1)"},      \
        {"rope_rot", 0, 0, 4096, true, "rotated columns of a head; 0: all of them"},               \
        {"rope_base", 10000, 1, 1e9, false, "base of the rotary frequencies"},                     \
    {                                                                                              \
        "rope", 1, 0, 1, true, "1: rotary positions; 0: none"                                      \
    }

Status attention_accepts(const MixCtx *c);
Tensor *attention_turn(Tape *t, const MixCtx *c, Tensor *x); /* rotary positions, if any */
/* With state: the caches of K and V are the first two tensors. */
Tensor *attention_mix(Tape *t, const MixIn *in, const Parts *parts);
int attention_groups(const MixCtx *c);
void attention_matrix(double *P, const HostParts *h, int g, const MixCtx *c);
double attention_flops(const MixCtx *c); /* with four projections (D,D) */

/* Convolutions by columns behind the projections (So 2021): rows of a halo, and flops of n. */
Slot slot_halo(const char *name, const MixCtx *c, int taps);
double conv_flops(const MixCtx *c, int taps, int n);

#endif
