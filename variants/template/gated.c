/* gated.c - see gated.h. */
#include "variants/template/gated.h"

/* Gains start near zero in the published code, N(0, 0.02); with 1/n inside the square the weights
 * then start at about 1e-9 and the branch hardly learns in a short run. Ours start at 1, as those
 * of bert4keras do, and matrices at 1/sqrt(in) like those of every other variant. */
void gated_params(Slot s[], const MixCtx *c, int z, const char *const names[], int n)
{
    int64_t d = c->width, e = c->ffn;
    s[W_U] = slot_matrix("w_u", d, e);
    s[B_U] = slot_bias("b_u", e);
    s[W_V] = slot_matrix("w_v", d, e);
    s[B_V] = slot_bias("b_v", e);
    s[W_Z] = slot_matrix("w_z", d, z);
    s[B_Z] = slot_bias("b_z", z);
    s[W_O] = slot_matrix("w_o", e, d);
    s[B_O] = slot_bias("b_o", d);
    for (int i = 0; i < n; i++)
        s[HEAD_GAIN + i] =
            i % 2 == 0 ? slot_vector(names[i], INIT_ONE, 0, z) : slot_bias(names[i], z);
}

Status gated_accepts(int z, GatedTurn turn)
{
    if (turn.on && turn.rot == 0 && z % 2 != 0)
        return FAIL(ST_SHAPE, "rotary positions need an even s, not %d", z);
    if (turn.on && (turn.rot % 2 != 0 || turn.rot > z))
        return FAIL(ST_SHAPE, "rope_rot %d (an even number up to s, %d)", turn.rot, z);
    return ST_OK;
}

/* U is kept before its activation: the gate applies it. */
void gated_project(Tape *t, const MixIn *in, Tensor *x, int n_heads, GatedTurn turn, Parts *out)
{
    Tensor *const *w = in->w, *const *head = w + HEAD_GAIN;
    RopeOpt rope = {in->ctx->pos, 1, turn.rot, 10000, turn.half};
    Tensor *z = op_act(t, ACT_SILU, op_linear(t, x, w[W_Z], w[B_Z])); /* (B,T,S) */
    for (int i = 0; i < n_heads; i++) {
        out->p[HEAD + i] = op_affine(t, z, head[2 * i], head[2 * i + 1]);
        if (turn.on)
            out->p[HEAD + i] = op_rope(t, out->p[HEAD + i], rope);
    }
    out->p[V] = op_act(t, ACT_SILU, op_linear(t, x, w[W_V], w[B_V])); /* (B,T,E) */
    out->p[U] = op_linear(t, x, w[W_U], w[B_U]);
}

Tensor *gated_finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x)
{
    (void)x;
    return op_linear(t, op_gate(t, ACT_SILU, parts->p[U], mixed), in->w[W_O], in->w[B_O]);
}

int gated_groups(const MixCtx *c)
{
    (void)c;
    return 1;
}

int gated_ffn(int width)
{
    return 2 * width;
}

double gated_flops(const MixCtx *c, int z)
{
    double rows = (double)c->batch * (double)c->q_len, d = c->width, e = c->ffn;
    return rows * (6 * d * e + 2 * d * z);
}

double gated_pair_flops(const MixCtx *c, int z)
{
    double pairs = attend_pairs(c->batch, c->q_len, c->pos + c->q_len, c->pos, c->causal);
    return gated_flops(c, z) + 2 * pairs * (z + c->ffn);
}

void gated_caches(Slot s[], const MixCtx *c, int z)
{
    s[0] = slot_state("k", c->batch, c->cap, z);
    s[1] = slot_state("v", c->batch, c->cap, c->ffn);
}

double gated_dot(const double *a, const double *b, int n)
{
    double s = 0;
    for (int i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}
