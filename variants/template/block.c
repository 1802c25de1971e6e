/* block.c - parameters of a block by name, and its forward pass. */
#include "variants/template/block.h"

#include <stdio.h>
#include <string.h>

static int add_slots(BlockSlot out[], int n, const char *prefix, const Slot s[], int n_slots)
{
    for (int i = 0; i < n_slots; i++) {
        BlockSlot *b = &out[n++];
        b->slot = s[i];
        snprintf(b->name, sizeof b->name, "%s.%s", prefix, s[i].name);
    }
    return n;
}

int block_norm_params(const Variant *v)
{
    return v->norm == NORM_NONE ? 0 : v->norm_bias ? 2 : 1;
}

/* Gain (one number for ScaleNorm) and, if the recipe has it, bias. */
static int norm_slots(const Variant *v, const MixCtx *c, Slot out[])
{
    out[0] = slot_vector("gain", INIT_ONE, 0, v->norm == NORM_SCALE ? 1 : c->width);
    out[1] = slot_vector("bias", INIT_ZERO, 0, c->width);
    return block_norm_params(v);
}

int block_params(const Variant *v, const MixCtx *c, BlockSlot out[])
{
    Slot s[MIX_MAX_PARAMS], norm[2];
    int n = 0, n_norm = norm_slots(v, c, norm);
    n = add_slots(out, n, "norm1", norm, n_norm);
    v->mixer->params(s, c);
    n = add_slots(out, n, "mixer", s, v->mixer->n_params);
    if (v->channel == NULL)
        return n;
    n = add_slots(out, n, "norm2", norm, n_norm);
    v->channel->params(s, c);
    n = add_slots(out, n, "ffn", s, v->channel->n_params);
    CHECK(n <= BLOCK_MAX_PARAMS);
    return n;
}

int block_state(const Variant *v, const MixCtx *c, BlockSlot out[])
{
    Slot s[MIX_MAX_STATE];
    if (!(v->mixer->caps & CAP_STATEFUL))
        return 0;
    v->mixer->state(s, c);
    return add_slots(out, 0, "state", s, v->mixer->n_state);
}

static Tensor *normed(Tape *t, const Variant *v, Tensor *const w[], Tensor *x)
{
    if (v->norm == NORM_NONE)
        return x;
    return op_norm(t, v->norm, v->norm_eps, x, w[0], v->norm_bias ? w[1] : NULL);
}

typedef Tensor *BranchFn(Tape *t, Block *b, Tensor *const w[], Tensor *x);

static Tensor *mixer_branch(Tape *t, Block *b, Tensor *const w[], Tensor *x)
{
    MixIn in = {w, b->st[0] != NULL ? b->st : NULL, b->ctx};
    return mixer_run(t, b->v->mixer, &in, &b->choices, x);
}

static Tensor *channel_branch(Tape *t, Block *b, Tensor *const w[], Tensor *x)
{
    return b->v->channel->forward(t, w, x, b->ctx);
}

/* Residual around a branch, with the norm where the recipe puts it; w: norm, then branch. */
static Tensor *sublayer(Tape *t, Block *b, BranchFn *branch, Placement place, Tensor *const w[],
                        Tensor *x)
{
    int n_norm = block_norm_params(b->v), mark = tape_mark(t);
    Tensor *y = place == NORM_PRE ? normed(t, b->v, w, x) : x;
    y = branch(t, b, w + n_norm, y);
    if (place == NORM_BRANCH)
        y = normed(t, b->v, w, y);
    y = op_add(t, x, y);
    if (place == NORM_POST)
        y = normed(t, b->v, w, y);
    tape_release(t, mark, &y, 1);
    return y;
}

Tensor *block_run(Tape *t, void *block, Tensor *x)
{
    Block *b = block;
    const Variant *v = b->v;
    int n_norm = block_norm_params(v);
    Tensor *h = sublayer(t, b, mixer_branch, v->mixer_norm, b->w, x);
    if (v->channel == NULL)
        return h;
    Tensor *const *w2 = b->w + n_norm + v->mixer->n_params;
    Tensor *y = sublayer(t, b, channel_branch, v->channel_norm, w2, h);
    return y;
}

double block_flops(const Variant *v, const MixCtx *c)
{
    return v->mixer->flops(c) + (v->channel != NULL ? v->channel->flops(c) : 0.0);
}
