/* block.h - one block of a model: token mixer and channel mixer with their norms and residuals.
 *
 * Parameters are declared in one list, in the order norm1, mixer, norm2, ffn, and named
 * "norm1.gain", "mixer.w_q", "ffn.w_in": the same names everywhere (checkpoints, golden vectors).
 */
#ifndef LONGMIX_BLOCK_H
#define LONGMIX_BLOCK_H

#include "variants/template/mixer.h"

enum {
    BLOCK_MAX_PARAMS = 2 * MIX_MAX_PARAMS + 4,
    BLOCK_MAX_STATE = 2 * MIX_MAX_STATE,
    PARAM_NAME = 64
};

/* Names of a declared parameter or state tensor with its prefix. */
typedef struct BlockSlot {
    char name[PARAM_NAME];
    Slot slot;
} BlockSlot;

/* Gain (one number for ScaleNorm) and bias stand first in every sublayer, absent or not. */
enum { NORM_SLOTS = 2 };
void norm_slots(const MixCtx *c, Slot out[NORM_SLOTS]);
int64_t slot_size(const Slot *s); /* numbers in it; 0 if it is absent */

int block_params(const Variant *v, const MixCtx *c, BlockSlot out[]); /* how many, absent or not */
/* The mixer's, then the channel mixer's; 0 if not STATEFUL. */
int block_state(const Variant *v, const MixCtx *c, BlockSlot out[]);

/* What it draws at random, "draw.NAME": the mixer's, then the channel mixer's, which go to
 * ctx->draw and ctx->ffn_draw. */
enum { BLOCK_MAX_DRAWS = 2 * MIX_MAX_DRAWS };
int block_draws(const Variant *v, const MixCtx *c, BlockSlot out[BLOCK_MAX_DRAWS]);

/* One block with its tensors; the harness owns them. */
typedef struct Block {
    const Variant *v;
    const MixCtx *ctx;
    int layer;                   /* which block of the model */
    Tensor *w[BLOCK_MAX_PARAMS]; /* NULL: absent */
    Tensor *st[BLOCK_MAX_STATE]; /* all NULL: no carried state */
    Choices choices, ffn_choices;
} Block;
void block_freeze(Block *b, bool frozen); /* replay the choices made last, or make them anew */

/* x (B,q_len,D) -> (B,q_len,D). The BlockFn of tape_block: ctx is the Block. */
Tensor *block_run(Tape *t, void *block, Tensor *x);

/* The same for the two streams of a REVERSIBLE variant: pair (a, c) becomes (c, a + f(c)) once for
 * each sublayer f, its norm inside. */
void block_run_pair(Tape *t, Block *b, Tensor *pair[2]);

/* Useful forward flops of one block for this call, by the formulas. */
double block_flops(const Variant *v, const MixCtx *c);

#endif
