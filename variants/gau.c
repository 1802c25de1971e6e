/* gau.c - gated attention unit (FLASH-Quad): one weak head, gated by the values' own GLU.
 *
 * Hua et al. 2022, "Transformer Quality in Linear Time", arXiv:2202.10447, section 2:
 *     U = silu(x W_u + b_u)   V = silu(x W_v + b_v)   Z = silu(x W_z + b_z)
 *     Q = rope(Z g_q + b_q)   K = rope(Z g_k + b_k)
 *     A = relu(alpha Q K')^2 post, masked              y = (U * A V) W_o + b_o
 * time O(T^2 (S+E)), state O(T (S+E)). The published text and code disagree on alpha and post; the
 * option `scaling` chooses: 0 (main text) 1, 1; 1 (appendix, default) 1/n, 1; 2 (J. Su)
 * 1/sqrt(S), 1/n, or 1/visible keys with row_norm; 3 equals 1 where there is no additive bias.
 * Differs from the paper: no relative position bias; n is a constant, the training length, so that
 * decode and every segment use what training used. Two GAU blocks make one Transformer layer. */
#include "variants/template/mixer.h"

#include <math.h>

enum { W_U, B_U, W_V, B_V, W_Z, B_Z, Q_GAIN, Q_BIAS, K_GAIN, K_BIAS, W_O, B_O, N_PARAMS };
enum { K_CACHE, V_CACHE, N_STATE };
enum { Q, K, V, U, N_PARTS };
enum { S_DIM, SCALING, ROW_NORM, ROPE_HALF };

static const Option options[] = {
    {"s", 128, 2, 4096, true, "width S of the shared queries and keys, even"},
    {"scaling", 1, 0, 3, true, "0: none; 1: qk/n; 2: qk/sqrt(s), /n outside; 3: (qk+b)/n"},
    {"row_norm", 0, 0, 1, true, "with scaling=2: divide by the row's visible keys instead of n"},
    {"rope_half", 1, 0, 1, true, "1: rotary pairs (i, i + s/2); 0: neighbours (2i, 2i + 1)"},
    {0},
};

static int s_dim(const MixCtx *c)
{
    return (int)c->opt[S_DIM];
}

static Status accepts(const MixCtx *c)
{
    if (s_dim(c) % 2 != 0)
        return FAIL(ST_SHAPE, "rotary positions need an even s, not %d", s_dim(c));
    if (c->opt[ROW_NORM] != 0 && c->opt[SCALING] != 2)
        return FAIL(ST_SHAPE, "row_norm=1 goes with scaling=2, not %d", (int)c->opt[SCALING]);
    if (c->n_norm < 1)
        return FAIL(ST_SHAPE, "the length normaliser n must be positive, not %lld",
                    (long long)c->n_norm);
    return ST_OK;
}

/* Gains start near zero in the published code; with 1/n inside the square, A then starts at about
 * 1e-9 and the branch hardly learns in a short run. We start them at 1, as bert4keras does. */
static void params(Slot s[], const MixCtx *c)
{
    int64_t d = c->width, e = c->ffn, z = s_dim(c);
    s[W_U] = slot_matrix("w_u", d, e);
    s[B_U] = slot_vector("b_u", INIT_ZERO, 0, e);
    s[W_V] = slot_matrix("w_v", d, e);
    s[B_V] = slot_vector("b_v", INIT_ZERO, 0, e);
    s[W_Z] = slot_matrix("w_z", d, z);
    s[B_Z] = slot_vector("b_z", INIT_ZERO, 0, z);
    s[Q_GAIN] = slot_vector("q_gain", INIT_ONE, 0, z);
    s[Q_BIAS] = slot_vector("q_bias", INIT_ZERO, 0, z);
    s[K_GAIN] = slot_vector("k_gain", INIT_ONE, 0, z);
    s[K_BIAS] = slot_vector("k_bias", INIT_ZERO, 0, z);
    s[W_O] = slot_matrix("w_o", e, d);
    s[B_O] = slot_vector("b_o", INIT_ZERO, 0, d);
}

static void state(Slot s[], const MixCtx *c)
{
    s[K_CACHE] = slot_state("k", c->batch, c->cap, s_dim(c));
    s[V_CACHE] = slot_state("v", c->batch, c->cap, c->ffn);
}

static Tensor *silu_dense(Tape *t, Tensor *x, Tensor *w, Tensor *b)
{
    return op_act(t, ACT_SILU, op_linear(t, x, w, b));
}

/* U is kept before its activation: the gate applies it. */
static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    Tensor *const *w = in->w;
    RopeOpt rope = {in->ctx->pos, 1, 0, 10000, in->ctx->opt[ROPE_HALF] != 0};
    Tensor *z = silu_dense(t, x, w[W_Z], w[B_Z]); /* (B,T,S) */
    out->p[Q] = op_rope(t, op_affine(t, z, w[Q_GAIN], w[Q_BIAS]), rope);
    out->p[K] = op_rope(t, op_affine(t, z, w[K_GAIN], w[K_BIAS]), rope);
    out->p[V] = silu_dense(t, x, w[W_V], w[B_V]); /* (B,T,E) */
    out->p[U] = op_linear(t, x, w[W_U], w[B_U]);
}

/* alpha and post of each published scaling are numbers, not code paths. */
static AttendOpt scores(const MixCtx *c)
{
    double n = (double)c->n_norm, root = sqrt((double)s_dim(c));
    const double alpha[] = {1, 1 / n, 1 / root, 1 / n}, post[] = {1, 1, 1 / n, 1};
    int kind = (int)c->opt[SCALING];
    bool rows = c->opt[ROW_NORM] != 0;
    return (AttendOpt){.kind = ATTN_RELU2,
                       .naive = c->naive,
                       .causal = c->causal,
                       .post_rows = rows,
                       .heads = 1,
                       .scale = alpha[kind],
                       .post = rows ? 1 : post[kind]};
}

/* The whole pass, a segment and a decode step are one function, so they cannot drift apart. */
static Tensor *mix(Tape *t, const MixIn *in, const Parts *parts)
{
    const MixCtx *c = in->ctx;
    Tensor *k = parts->p[K], *v = parts->p[V];
    AttendOpt o = scores(c);
    if (in->st != NULL) {
        op_append(t, in->st[K_CACHE], k, c->pos);
        op_append(t, in->st[V_CACHE], v, c->pos);
        k = in->st[K_CACHE];
        v = in->st[V_CACHE];
        o.q_pos = c->pos;
        o.k_len = c->pos + c->q_len;
    }
    return op_attend(t, parts->p[Q], k, v, c->lens, o);
}

static Tensor *finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x)
{
    (void)x;
    return op_linear(t, op_gate(t, ACT_SILU, parts->p[U], mixed), in->w[W_O], in->w[B_O]);
}

static int groups(const MixCtx *c)
{
    (void)c;
    return 1;
}

/* A_ij straight from the table of scalings. */
static void matrix(double *P, const HostParts *h, int g, const MixCtx *c)
{
    (void)g;
    int z = s_dim(c), kind = (int)c->opt[SCALING];
    double n = (double)c->n_norm;
    for (int64_t i = 0; i < h->len; i++)
        for (int64_t j = 0; j < h->len; j++) {
            double qk = 0;
            for (int a = 0; a < z; a++)
                qk += h->part[Q][i * z + a] * h->part[K][j * z + a];
            double s = kind == 0 ? qk : kind == 2 ? qk / sqrt((double)z) : qk / n;
            double r = s > 0 ? s * s : 0;
            int64_t visible = c->causal && i + 1 < h->valid ? i + 1 : h->valid;
            if (kind == 2)
                r /= c->opt[ROW_NORM] != 0 ? (double)visible : n;
            P[i * h->len + j] = j < h->valid && (!c->causal || j <= i) ? r : 0;
        }
}

/* 6 D E + 2 D S a position, 2 (S + E) a pair. */
static double flops(const MixCtx *c)
{
    double rows = (double)c->batch * (double)c->q_len, d = c->width, e = c->ffn, z = s_dim(c);
    double pairs = attend_pairs(c->batch, c->q_len, c->pos + c->q_len, c->pos, c->causal);
    return rows * (6 * d * e + 2 * d * z) + 2 * pairs * (z + e);
}

const Mixer mixer_gau = {
    .name = "gau",
    .caps = CAP_CAUSAL | CAP_BIDIRECTIONAL | CAP_STATEFUL | CAP_NAIVE,
    .n_params = N_PARAMS,
    .n_state = N_STATE,
    .n_parts = N_PARTS,
    .v_part = V,
    .finish_parts = 1u << U,
    .options = options,
    .accepts = accepts,
    .params = params,
    .state = state,
    .project = project,
    .mix = mix,
    .finish = finish,
    .groups = groups,
    .matrix = matrix,
    .flops = flops,
};

static int twice(int width)
{
    return 2 * width;
}

const Variant variant_gau = {
    .name = "gau",
    .title = "Gated attention unit, quadratic (FLASH-Quad)",
    .paper = "Hua 2022, arXiv:2202.10447",
    .time = "T^2 (S + E)",
    .state = "T (S + E)",
    .mixer = &mixer_gau,
    .norm = NORM_SCALE,
    .norm_eps = 1e-5,
    .blocks_per_layer = 2,
    .default_ffn = twice,
};
