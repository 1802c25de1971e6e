/* skeleton.c - TITLE: what it is, in a line.
 *
 * AUTHORS YEAR, "PAPER", arXiv:NUMBER, section N:
 *     Q = x W_q   K = x W_k   V = x W_v   P = relu(Q K' / sqrt(d))^2 / n   y = concat_h(P_h V_h)
 * W_o time O(T^2 D), state O(T D). Differs from the paper: say here, each with its reason.
 *
 * Begun by `make new-variant NAME=skeleton`, which copies variants/template/skeleton.c. It works as
 * it stands: multi-head attention with squared ReLU. Change one stage after another and run
 *     LONGMIX_VARIANT=skeleton make test TESTS=battery    every law on it
 *     build/longmix explain skeleton
 * Then take out the comments that only explain the template. Nothing else is to be edited. */
#include "variants/template/mixer.h"

#include <math.h>

/* Names for the entries of the lists below: weights, carried state, parts, options. */
enum { W_Q, W_K, W_V, W_O, N_PARAMS };
enum { K_CACHE, V_CACHE, N_STATE };
enum { Q, K, V, N_PARTS };
enum { POST };

/* Numbers that --set can change: default, lowest, highest, whole or not. The battery tries every
 * value of a whole number with a range of nine or fewer. */
static const Option options[] = {
    {"post", 1, 0, 1, true, "1: weights are divided by the length n; 0: not"},
    {0},
};

/* Optional: why a case cannot run, with the number that is wrong and what is allowed. */
static Status accepts(const MixCtx *c)
{
    if (c->n_norm < 1)
        return FAIL(ST_SHAPE, "the length normaliser n must be positive, not %lld",
                    (long long)c->n_norm);
    return ST_OK;
}

/* Shapes from the context: width D, ffn, options. Matrices are (in, out); slot_bias and slot_vector
 * do not decay. The harness allocates, initialises, trains and saves them under these names. */
static void params(Slot s[], const MixCtx *c)
{
    s[W_Q] = slot_matrix("w_q", c->width, c->width);
    s[W_K] = slot_matrix("w_k", c->width, c->width);
    s[W_V] = slot_matrix("w_v", c->width, c->width);
    s[W_O] = slot_matrix("w_o", c->width, c->width);
}

/* What a segment hands to the next one, zero at the start: (B, rows, width). Without it (caps
 * without CAP_STATEFUL, n_state 0) there is no prefill by segments and no decode. */
static void state(Slot s[], const MixCtx *c)
{
    s[K_CACHE] = slot_state("k", c->batch, c->cap, c->width);
    s[V_CACHE] = slot_state("v", c->batch, c->cap, c->width);
}

/* Stage 1, position by position: x (B,T,D) to the parts that mixing is made from. Position t of the
 * call is position in->ctx->pos + t of the sequence. Ops: kernels/ops.h, or one of your own in this
 * file (tests/toy_choice.c shows how). */
static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    out->p[Q] = op_linear(t, x, in->w[W_Q], NULL); /* (B,T,H*d) */
    out->p[K] = op_linear(t, x, in->w[W_K], NULL);
    out->p[V] = op_linear(t, x, in->w[W_V], NULL);
}

static double post_of(const MixCtx *c)
{
    return c->opt[POST] != 0 ? 1.0 / (double)c->n_norm : 1.0;
}

/* Stage 2: P V. The whole pass (no state, gradients), a segment and a decode step (state, no
 * gradients) are one function, so that they cannot drift apart. */
static Tensor *mix(Tape *t, const MixIn *in, const Parts *parts)
{
    const MixCtx *c = in->ctx;
    AttendOpt o = {.kind = ATTN_RELU2,
                   .naive = c->naive,
                   .causal = c->causal,
                   .heads = c->heads,
                   .scale = 1.0 / sqrt((double)c->width / c->heads),
                   .post = post_of(c)};
    return attend_cached(t, in, parts->p[Q], parts->p[K], parts->p[V], o);
}

/* Stage 3: gates and the output projection. Parts that it reads must be in finish_parts. */
static Tensor *finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x)
{
    (void)parts, (void)x;
    return op_linear(t, mixed, in->w[W_O], NULL);
}

/* Groups of V's columns that are mixed alike: heads, or 1. */
static int groups(const MixCtx *c)
{
    return c->heads;
}

/* The definition, from the paper's formula and in plain loops: P (T,T) of one group, from the parts
 * of one sequence. Shares no code with mix, for mix is tested against it. */
static void matrix(double *P, const HostParts *h, int group, const MixCtx *c)
{
    int d = c->width / c->heads;
    for (int64_t i = 0; i < h->len; i++)
        for (int64_t j = 0; j < h->len; j++) {
            const double *q = h->part[Q] + i * c->width + group * d,
                         *k = h->part[K] + j * c->width + group * d;
            double s = 0;
            for (int a = 0; a < d; a++)
                s += q[a] * k[a] / sqrt((double)d);
            bool visible = j < h->valid && (!c->causal || j <= i);
            P[i * h->len + j] = visible && s > 0 ? s * s * post_of(c) : 0;
        }
}

/* Useful floating-point operations of this call, a multiply-add as two; pairs that do not see each
 * other do not count. The battery holds it against the work that ref's loops count. */
static double flops(const MixCtx *c)
{
    double rows = (double)c->batch * (double)c->q_len, d = c->width;
    double pairs = attend_pairs(c->batch, c->q_len, c->pos + c->q_len, c->pos, c->causal);
    return 8 * rows * d * d + 4 * d * pairs;
}

/* CAP_ says what it can do: a law that a capability switches off is shown as n/a, not passed. */
static const Mixer mixer = {
    .name = "skeleton",
    .caps = CAP_CAUSAL | CAP_BIDIRECTIONAL | CAP_STATEFUL | CAP_HEADS_EXCHANGEABLE | CAP_NAIVE,
    .n_params = N_PARAMS,
    .n_state = N_STATE,
    .n_parts = N_PARTS,
    .v_part = V,
    .options = options,
    .accepts = accepts,
    .params = params,
    .params_help = "w_q: queries from x; w_k: keys; w_v: values; w_o: output",
    .state = state,
    .project = project,
    .mix = mix,
    .finish = finish,
    .groups = groups,
    .matrix = matrix,
    .flops = flops,
};

/* The recipe: mixer and channel mixer (channel_gelu, channel_swiglu ... or NULL and default_ffn),
 * with their norms. Its name is that of the file. */
const Variant variant_skeleton = {
    .name = "skeleton",
    .title = "TITLE",
    .paper = "AUTHORS YEAR, arXiv:NUMBER",
    .time = "T^2 D",
    .state = "2 T D",
    .formula = "y = x + concat_h( relu(Q_h K_h' / sqrt(d))^2 V_h / n ) W_o\n"
               "z = y + gelu(norm(y) W_in + b_in) W_out + b_out",
    .mixer = &mixer,
    .channel = &channel_gelu,
    .norm = NORM_LAYER,
    .norm_eps = 1e-5,
    .norm_bias = true,
    .blocks_per_layer = 1,
};
