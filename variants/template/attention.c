/* attention.c - multi-head softmax attention with rotary positions.
 *
 * Vaswani et al. 2017, "Attention Is All You Need", section 3.2:
 *     y = concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ) W_o        time O(T^2 D), state O(T D)
 * Differs from the paper: rotary instead of sinusoidal positions (Su 2021), so that any T works. */
#include "variants/template/attention.h"

#include <math.h>

enum { W_Q, W_K, W_V, W_O, N_PARAMS };
enum { K_CACHE, V_CACHE, N_STATE };

static const Option options[] = {
    ATTENTION_ROPE,
    {0},
};

Status attention_accepts(const MixCtx *c)
{
    int d = c->width / c->heads, rot = (int)c->opt[ROPE_ROT];
    if (c->opt[ROPE] == 0)
        return ST_OK;
    if (d % 2 != 0 && rot == 0)
        return FAIL(ST_SHAPE, "rotary positions need an even head width, not %d / %d = %d",
                    c->width, c->heads, d);
    if (rot % 2 != 0 || rot > d)
        return FAIL(ST_SHAPE, "rope_rot %d (an even number up to the head width %d)", rot, d);
    return ST_OK;
}

static void params(Slot s[], const MixCtx *c)
{
    s[W_Q] = slot_matrix("w_q", c->width, c->width);
    s[W_K] = slot_matrix("w_k", c->width, c->width);
    s[W_V] = slot_matrix("w_v", c->width, c->width);
    s[W_O] = slot_matrix("w_o", c->width, c->width);
}

static void state(Slot s[], const MixCtx *c)
{
    s[K_CACHE] = slot_state("k", c->batch, c->cap, c->width);
    s[V_CACHE] = slot_state("v", c->batch, c->cap, c->width);
}

Tensor *attention_turn(Tape *t, const MixCtx *c, Tensor *x)
{
    RopeOpt o = {c->pos, c->heads, (int)c->opt[ROPE_ROT], c->opt[ROPE_BASE],
                 c->opt[ROPE_HALF] != 0};
    return c->opt[ROPE] != 0 ? op_rope(t, x, o) : x;
}

static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    const MixCtx *c = in->ctx;
    out->p[Q] = attention_turn(t, c, op_linear(t, x, in->w[W_Q], NULL)); /* (B,T,H*d) */
    out->p[K] = attention_turn(t, c, op_linear(t, x, in->w[W_K], NULL));
    out->p[V] = op_linear(t, x, in->w[W_V], NULL);
}

/* The whole pass, a segment and a decode step are one function, so they cannot drift apart. */
Tensor *attend_cached(Tape *t, const MixIn *in, Tensor *q, Tensor *k, Tensor *v, AttendOpt o)
{
    const MixCtx *c = in->ctx;
    if (in->st == NULL)
        return op_attend(t, q, k, v, c->lens, o);
    op_append(t, in->st[K_CACHE], k, c->pos);
    op_append(t, in->st[V_CACHE], v, c->pos);
    o.q_pos = c->pos;
    o.k_len = c->pos + c->q_len;
    return op_attend(t, q, in->st[K_CACHE], in->st[V_CACHE], c->lens, o);
}

Tensor *attention_mix(Tape *t, const MixIn *in, const Parts *parts)
{
    const MixCtx *c = in->ctx;
    AttendOpt o = {.kind = ATTN_SOFTMAX,
                   .naive = c->naive,
                   .causal = c->causal,
                   .heads = c->heads,
                   .scale = 1.0 / sqrt((double)c->width / c->heads)};
    return attend_cached(t, in, parts->p[Q], parts->p[K], parts->p[V], o);
}

static Tensor *finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x)
{
    (void)parts, (void)x;
    return op_linear(t, mixed, in->w[W_O], NULL);
}

int attention_groups(const MixCtx *c)
{
    return c->heads;
}

/* P_ij = exp(s_ij) / sum_j exp(s_ij) over the visible keys, s = q.k / sqrt(d). */
void attention_matrix(double *P, const HostParts *h, int g, const MixCtx *c)
{
    int d = c->width / c->heads;
    for (int64_t i = 0; i < h->len; i++) {
        double *row = P + i * h->len, sum = 0;
        for (int64_t j = 0; j < h->len; j++) {
            const double *q = h->part[Q] + i * c->width + g * d,
                         *k = h->part[K] + j * c->width + g * d;
            double s = 0;
            for (int a = 0; a < d; a++)
                s += q[a] * k[a];
            bool visible = j < h->valid && (!c->causal || j <= i);
            row[j] = visible ? exp(s / sqrt((double)d)) : 0.0;
            sum += row[j];
        }
        for (int64_t j = 0; j < h->len; j++)
            row[j] = sum > 0 ? row[j] / sum : 0.0;
    }
}

/* 8 D^2 a position for the four projections, 4 D a pair for q.k and p.v. */
double attention_flops(const MixCtx *c)
{
    double rows = (double)c->batch * (double)c->q_len, d = c->width;
    return 8 * rows * d * d +
           4 * d * attend_pairs(c->batch, c->q_len, c->pos + c->q_len, c->pos, c->causal);
}

const Mixer mixer_attention = {
    .name = "attention",
    .caps = CAP_CAUSAL | CAP_BIDIRECTIONAL | CAP_STATEFUL | CAP_HEADS_EXCHANGEABLE | CAP_NAIVE,
    .n_params = N_PARAMS,
    .n_state = N_STATE,
    .n_parts = ATTENTION_PARTS,
    .v_part = V,
    .options = options,
    .accepts = attention_accepts,
    .params = params,
    .params_help = "w_q: queries from x; w_k: keys; w_v: values, heads side by side; "
                   "w_o: from the heads' outputs to the branch",
    .state = state,
    .project = project,
    .mix = attention_mix,
    .finish = finish,
    .groups = attention_groups,
    .matrix = attention_matrix,
    .flops = attention_flops,
};
