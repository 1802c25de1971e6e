/* dconv.c - multi-head attention with a depthwise convolution behind each projection.
 *
 * So et al. 2021, "Primer", arXiv:2109.08668, section 3 (MDHA): for Q, K and V alike
 *     y_t = sum_k w_k * (x W)_(t-k),  k < 3, one weight per channel of all heads, zeros before t =
 * 0 then softmax attention as in attention.c. Time O(T^2 D), state O(T D): the caches hold k and v
 * behind the convolution, the halos the last rows before it. Initial taps 1/2, 1/6, 1/6.
 * Differs from the paper: rotary positions, behind the convolution, as all recipes here have; the
 * scale 1/sqrt(d) is applied to scores, not folded into W_q. The convolution looks back only, so
 * there is no bidirectional form. bias=1 (of projections and convolutions) is labml's variation. */
#include "variants/template/attention.h"

enum { W_Q, W_K, W_V, W_O, CONV_Q, CONV_K, CONV_V, B_Q, B_K, B_V, B_O, C_Q, C_K, C_V, N_PARAMS };
enum { K_CACHE, V_CACHE, HALO_Q, HALO_K, HALO_V, N_STATE };
enum { TAPS = ATTENTION_OPTIONS, BIAS };

static const Option options[] = {
    ATTENTION_ROPE,
    {"taps", 3, 2, 8, true, "width of the convolutions, this position included"},
    {"bias", 0, 0, 1, true, "1: biases on q, k, v, on their convolutions and on the output"},
    {0},
};

static int taps(const MixCtx *c)
{
    return (int)c->opt[TAPS];
}

static void params(Slot s[], const MixCtx *c)
{
    static const char *const names[N_PARAMS] = {
        "w_q", "w_k", "w_v", "w_o", "conv_q",      "conv_k",      "conv_v",
        "b_q", "b_k", "b_v", "b_o", "conv_q_bias", "conv_k_bias", "conv_v_bias"};
    for (int i = W_Q; i <= W_O; i++)
        s[i] = slot_matrix(names[i], c->width, c->width);
    for (int i = CONV_Q; i <= CONV_V; i++)
        s[i] = slot_taps(names[i], taps(c), c->width);
    for (int i = B_Q; i <= C_V; i++) {
        s[i] = slot_vector(names[i], INIT_ZERO, 0, c->width);
        s[i].absent = c->opt[BIAS] == 0;
    }
}

Slot slot_halo(const char *name, const MixCtx *c, int n)
{
    return slot_state(name, c->batch, n - 1, c->width);
}

static void state(Slot s[], const MixCtx *c)
{
    s[K_CACHE] = slot_state("k", c->batch, c->cap, c->width);
    s[V_CACHE] = slot_state("v", c->batch, c->cap, c->width);
    s[HALO_Q] = slot_halo("halo_q", c, taps(c));
    s[HALO_K] = slot_halo("halo_k", c, taps(c));
    s[HALO_V] = slot_halo("halo_v", c, taps(c));
}

/* i: 0 for q, 1 for k, 2 for v. */
static Tensor *convolved(Tape *t, const MixIn *in, Tensor *x, int i)
{
    Tensor *const *w = in->w, *halo = in->st != NULL ? in->st[HALO_Q + i] : NULL;
    Tensor *y = op_linear(t, x, w[W_Q + i], w[B_Q + i]); /* (B,T,H*d) */
    return op_conv(t, y, w[CONV_Q + i], w[C_Q + i], halo);
}

static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    out->p[Q] = attention_turn(t, in->ctx, convolved(t, in, x, 0));
    out->p[K] = attention_turn(t, in->ctx, convolved(t, in, x, 1));
    out->p[V] = convolved(t, in, x, 2);
}

static Tensor *finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x)
{
    (void)parts, (void)x;
    return op_linear(t, mixed, in->w[W_O], in->w[B_O]);
}

double conv_flops(const MixCtx *c, int n_taps, int n)
{
    return 2.0 * n_taps * n * (double)c->batch * (double)c->q_len * c->width;
}

static double flops(const MixCtx *c)
{
    return attention_flops(c) + conv_flops(c, taps(c), 3);
}

/* A filter that copies the present is none. */
static const Equal equals[] = {
    {"rope_half=0", true, 13, 4, &mixer_attention, "rope_half=0", NULL, "conv_q conv_k conv_v"},
    {0},
};

const Mixer mixer_dconv = {
    .name = "dconv",
    .caps = CAP_CAUSAL | CAP_STATEFUL | CAP_HEADS_EXCHANGEABLE | CAP_NAIVE,
    .n_params = N_PARAMS,
    .n_state = N_STATE,
    .n_parts = ATTENTION_PARTS,
    .v_part = V,
    .options = options,
    .equals = equals,
    .accepts = attention_accepts,
    .params = params,
    .params_help = "w_q: queries from x; w_k: keys; w_v: values; w_o: output; "
                   "conv_q: taps of each column of the queries; conv_k: of the keys; "
                   "conv_v: of the values; b_q: bias of the queries; b_k: of the keys; "
                   "b_v: of the values; b_o: of the output; conv_q_bias: bias behind the taps of "
                   "the queries; conv_k_bias: of the keys; conv_v_bias: of the values",
    .state = state,
    .project = project,
    .mix = attention_mix,
    .finish = finish,
    .groups = attention_groups,
    .matrix = attention_matrix,
    .flops = flops,
};
