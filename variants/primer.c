/* primer.c - Primer with everything its experiments ran: shared Q and K, norm on the FFN's branch.
 *
 * So et al. 2021, "Primer: Searching for Efficient Transformers for Language Modeling",
 * arXiv:2109.08668, appendix. Beside Primer-EZ (primer_ez.c, template/dconv.c):
 *     K = conv(x W_qk)   Q = K W_s, over all heads   V = conv(x W_v)
 *     x <- x + attn(norm(x))                         x <- x + norm(ffn(x))
 * ffn is relu(x W_in + b_in)^2 W_out + b_out. Time O(T^2 D), state O(T D). The paper's norm divides
 * by the root of mean(x (x - mean)), which is the variance: LayerNorm. Without the wider, shallower
 * feed-forward layer and the gates of the searched program, as in the paper's experiments.
 * Differs: rotary positions, behind W_s; q.k is scaled by 1/sqrt(d). */
#include "variants/template/attention.h"

enum { W_QK, W_S, W_V, W_O, CONV_QK, CONV_V, N_PARAMS };
enum { K_CACHE, V_CACHE, HALO_QK, HALO_V, N_STATE };
enum { TAPS = ATTENTION_OPTIONS };

static const Option options[] = {
    ATTENTION_ROPE,
    {"taps", 3, 2, 8, true, "width of the convolutions, this position included"},
    {0},
};

static int taps(const MixCtx *c)
{
    return (int)c->opt[TAPS];
}

static void params(Slot s[], const MixCtx *c)
{
    static const char *const names[] = {"w_qk", "w_s", "w_v", "w_o"};
    for (int i = W_QK; i <= W_O; i++)
        s[i] = slot_matrix(names[i], c->width, c->width);
    s[CONV_QK] = slot_taps("conv_qk", taps(c), c->width);
    s[CONV_V] = slot_taps("conv_v", taps(c), c->width);
}

static void state(Slot s[], const MixCtx *c)
{
    s[K_CACHE] = slot_state("k", c->batch, c->cap, c->width);
    s[V_CACHE] = slot_state("v", c->batch, c->cap, c->width);
    s[HALO_QK] = slot_halo("halo_qk", c, taps(c));
    s[HALO_V] = slot_halo("halo_v", c, taps(c));
}

static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    Tensor *const *w = in->w, *const *st = in->st;
    Tensor *qk = op_linear(t, x, w[W_QK], NULL), *v = op_linear(t, x, w[W_V], NULL); /* (B,T,D) */
    qk = op_conv(t, qk, w[CONV_QK], NULL, st != NULL ? st[HALO_QK] : NULL);
    out->p[Q] = attention_turn(t, in->ctx, op_linear(t, qk, w[W_S], NULL));
    out->p[K] = attention_turn(t, in->ctx, qk);
    out->p[V] = op_conv(t, v, w[CONV_V], NULL, st != NULL ? st[HALO_V] : NULL);
}

static Tensor *finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x)
{
    (void)parts, (void)x;
    return op_linear(t, mixed, in->w[W_O], NULL);
}

static double flops(const MixCtx *c)
{
    return attention_flops(c) + conv_flops(c, taps(c), 2);
}

/* Without W_s, Q and K are one and the same. */
static const Equal equals[] = {
    {"", true, 13, 4, &mixer_dconv, "", "w_qk=w_q w_qk=w_k conv_qk=conv_q conv_qk=conv_k", "w_s"},
    {0},
};

static const Mixer mixer = {
    .name = "primer",
    .caps = CAP_CAUSAL | CAP_STATEFUL | CAP_NAIVE, /* W_s mixes the heads */
    .n_params = N_PARAMS,
    .n_state = N_STATE,
    .n_parts = ATTENTION_PARTS,
    .v_part = V,
    .options = options,
    .equals = equals,
    .accepts = attention_accepts,
    .params = params,
    .params_help =
        "w_qk: keys, and base of the queries; w_s: queries from keys, over all heads; "
        "w_v: values; w_o: output; conv_qk: taps of a column; conv_v: the same of values",
    .state = state,
    .project = project,
    .mix = attention_mix,
    .finish = finish,
    .groups = attention_groups,
    .matrix = attention_matrix,
    .flops = flops,
};

const Variant variant_primer = {
    .name = "primer",
    .title = "Primer: shared depthwise Q and K, squared ReLU, norm on the FFN's branch",
    .paper = "So 2021, arXiv:2109.08668",
    .time = "T^2 D",
    .state = "2 T D",
    .formula = "K = conv(norm(x) W_qk)  Q = K W_s  V = conv(norm(x) W_v), Q, K then rotated\n"
               "y = x + concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ) W_o\n"
               "z = y + norm( relu(y W_in + b_in)^2 W_out + b_out )\n"
               "conv: each column by a causal filter of its own, 3 taps",
    .mixer = &mixer,
    .channel = &channel_relu2,
    .norm = NORM_LAYER,
    .norm_eps = 1e-6,
    .norm_bias = true,
    .channel_norm = NORM_BRANCH,
    .blocks_per_layer = 1,
};
