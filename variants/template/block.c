/* block.c - parameters of a block by name, and its forward pass. */
#include "variants/template/block.h"

#include <stdio.h>
#include <string.h>

static int add_slots(BlockSlot out[], int n, const char *prefix, const Slot s[], int n_slots,
                     const MixCtx *c)
{
    for (int i = 0; i < n_slots; i++) {
        BlockSlot *b = &out[n++];
        b->slot = s[i];
        if (s[i].bias && c->recipe[RECIPE_BIASES] == 0)
            b->slot.absent = true;
        snprintf(b->name, sizeof b->name, "%s.%s", prefix, s[i].name);
    }
    return n;
}

void norm_slots(const MixCtx *c, Slot out[NORM_SLOTS])
{
    NormKind kind = (NormKind)c->recipe[RECIPE_NORM];
    out[0] = slot_vector("gain", INIT_ONE, 0, kind == NORM_SCALE ? 1 : c->width);
    out[0].absent = kind == NORM_NONE || c->recipe[RECIPE_NORM_GAIN] == 0;
    out[1] = slot_vector("bias", INIT_ZERO, 0, c->width);
    out[1].absent = kind == NORM_NONE || c->recipe[RECIPE_NORM_BIAS] == 0;
}

int64_t slot_size(const Slot *s)
{
    int64_t n = s->absent ? 0 : 1;
    for (int i = 0; i < s->rank; i++)
        n *= s->dim[i];
    return n;
}

int block_params(const Variant *v, const MixCtx *c, BlockSlot out[])
{
    Slot s[MIX_MAX_PARAMS] = {{0}}, norm[NORM_SLOTS];
    int n = 0;
    norm_slots(c, norm);
    n = add_slots(out, n, "norm1", norm, NORM_SLOTS, c);
    v->mixer->params(s, c);
    n = add_slots(out, n, "mixer", s, v->mixer->n_params, c);
    if (v->channel == NULL)
        return n;
    n = add_slots(out, n, "norm2", norm, NORM_SLOTS, c);
    v->channel->params(s, c);
    n = add_slots(out, n, "ffn", s, v->channel->n_params, c);
    CHECK(n <= BLOCK_MAX_PARAMS);
    return n;
}

int block_state(const Variant *v, const MixCtx *c, BlockSlot out[])
{
    Slot s[MIX_MAX_STATE];
    if (!(variant_caps(v) & CAP_STATEFUL))
        return 0;
    v->mixer->state(s, c);
    int n = add_slots(out, 0, "state", s, v->mixer->n_state, c);
    if (v->channel == NULL || v->channel->n_state == 0)
        return n;
    v->channel->state(s, c);
    return add_slots(out, n, "ffn_state", s, v->channel->n_state, c);
}

int block_draws(const Variant *v, const MixCtx *c, BlockSlot out[BLOCK_MAX_DRAWS])
{
    Slot s[MIX_MAX_DRAWS] = {{0}};
    int n = 0;
    if (v->mixer->n_draws > 0) {
        v->mixer->draws(s, c);
        n = add_slots(out, n, "draw", s, v->mixer->n_draws, c);
    }
    if (v->channel == NULL || v->channel->n_draws == 0)
        return n;
    v->channel->draws(s, c);
    return add_slots(out, n, "draw", s, v->channel->n_draws, c);
}

void block_freeze(Block *b, bool frozen)
{
    b->choices.frozen = b->ffn_choices.frozen = frozen;
}

static Tensor *normed(Tape *t, const MixCtx *c, Tensor *const w[], Tensor *x)
{
    NormKind kind = (NormKind)c->recipe[RECIPE_NORM];
    return kind == NORM_NONE ? x : op_norm(t, kind, c->recipe[RECIPE_NORM_EPS], x, w[0], w[1]);
}

typedef Tensor *BranchFn(Tape *t, Block *b, Tensor *const w[], Tensor *x);

static Tensor *mixer_branch(Tape *t, Block *b, Tensor *const w[], Tensor *x)
{
    MixIn in = {w, b->st[0] != NULL ? b->st : NULL, b->ctx, b->layer};
    return mixer_run(t, b->v->mixer, &in, &b->choices, x);
}

static Tensor *channel_branch(Tape *t, Block *b, Tensor *const w[], Tensor *x)
{
    Tensor *const *st = b->st[0] != NULL ? b->st + b->v->mixer->n_state : NULL;
    MixIn in = {w, st, b->ctx, b->layer};
    return channel_run(t, b->v->channel, &in, &b->ffn_choices, x);
}

/* Residual around a branch, with the norm where the recipe puts it; w: norm, then branch. */
static Tensor *sublayer(Tape *t, Block *b, BranchFn *branch, int place, Tensor *const w[],
                        Tensor *x)
{
    const MixCtx *c = b->ctx;
    int mark = tape_mark(t);
    Tensor *y = place == NORM_PRE ? normed(t, c, w, x) : x;
    y = branch(t, b, w + NORM_SLOTS, y);
    if (place == NORM_BRANCH)
        y = normed(t, c, w, y);
    if (c->recipe[RECIPE_RESIDUAL] != 0)
        y = op_add(t, x, y);
    if (place == NORM_POST)
        y = normed(t, c, w, y);
    tape_release(t, mark, &y, 1);
    return y;
}

Tensor *block_run(Tape *t, void *block, Tensor *x)
{
    Block *b = block;
    const Variant *v = b->v;
    const double *recipe = b->ctx->recipe;
    Tensor *h = sublayer(t, b, mixer_branch, (int)recipe[RECIPE_MIXER_NORM], b->w, x);
    if (v->channel == NULL)
        return h;
    Tensor *const *w2 = b->w + NORM_SLOTS + v->mixer->n_params;
    return sublayer(t, b, channel_branch, (int)recipe[RECIPE_CHANNEL_NORM], w2, h);
}

/* ---- two streams ---- */

/* norm and branch, without the residual. */
static Tensor *branch_of(Tape *t, Block *b, BranchFn *branch, int place, Tensor *const w[],
                         Tensor *x)
{
    int mark = tape_mark(t);
    Tensor *y = place == NORM_PRE ? normed(t, b->ctx, w, x) : x;
    y = branch(t, b, w + NORM_SLOTS, y);
    if (place == NORM_BRANCH)
        y = normed(t, b->ctx, w, y);
    tape_release(t, mark, &y, 1);
    return y;
}

static Tensor *mixer_half(Tape *t, void *block, Tensor *x)
{
    Block *b = block;
    return branch_of(t, b, mixer_branch, (int)b->ctx->recipe[RECIPE_MIXER_NORM], b->w, x);
}

static Tensor *channel_half(Tape *t, void *block, Tensor *x)
{
    Block *b = block;
    Tensor *const *w = b->w + NORM_SLOTS + b->v->mixer->n_params;
    return branch_of(t, b, channel_branch, (int)b->ctx->recipe[RECIPE_CHANNEL_NORM], w, x);
}

static void half(Tape *t, Block *b, BlockFn *fn, Tensor *pair[2])
{
    int mark = tape_mark(t);
    Tensor *y = tape_half(t, fn, b, pair[0], pair[1]);
    tape_release(t, mark, &y, 1);
    pair[0] = pair[1];
    pair[1] = y;
}

void block_run_pair(Tape *t, Block *b, Tensor *pair[2])
{
    half(t, b, mixer_half, pair);
    if (b->v->channel != NULL)
        half(t, b, channel_half, pair);
}

double block_flops(const Variant *v, const MixCtx *c)
{
    return v->mixer->flops(c) + (v->channel != NULL ? v->channel->flops(c) : 0.0);
}
