/* gau.c - gated attention unit (FLASH-Quad): one weak head, gated by the values' own GLU.
 *
 * Hua et al. 2022, "Transformer Quality in Linear Time", arXiv:2202.10447, section 2:
 *     U = silu(x W_u + b_u)   V = silu(x W_v + b_v)   Z = silu(x W_z + b_z)
 *     Q = rope(Z g_q + b_q)   K = rope(Z g_k + b_k)
 *     A = relu(alpha Q K')^2 post, masked              y = (U * A V) W_o + b_o
 * time O(T^2 (S+E)), state O(T (S+E)). The published text and code disagree on alpha and post; the
 * option `scaling` chooses: 0 (main text) 1, 1; 1 (appendix, default) 1/n, 1; 2 (J. Su)
 * 1/sqrt(S), 1/n, or 1/visible keys with row_norm; 3 (lucidrains) as 1, with a bias divided by n.
 * The option `rel_bias` adds b_(j-i) to the scaled scores (template/relative.h).
 * Differs from the paper: no relative position bias unless asked for; n is a constant, the training
 * length, so that decode and every segment use what training used; initial gains
 * (template/gated.c). Two GAU blocks make one Transformer layer. */
#include "variants/template/gated.h"
#include "variants/template/relative.h"

#include <math.h>

enum { N_HEAD_PARAMS = 4, REL = HEAD_GAIN + N_HEAD_PARAMS, N_PARAMS = REL + REL_SLOTS };
enum { Q = HEAD, K, N_PARTS };
enum { S_DIM, SCALING, ROW_NORM, ROPE_HALF, ROPE_ROT, ROPE, REL_BIAS, REL_MAX };

static const Option options[] = {
    {"s", 128, 2, 4096, true, "width S of the shared queries and keys, even"},
    {"scaling", 1, 0, 3, true, "0: none; 1: qk/n; 2: qk/sqrt(s), /n outside; 3: (qk+b)/n"},
    {"row_norm", 0, 0, 1, true, "with scaling=2: divide by the row's visible keys instead of n"},
    {"rope_half", 1, 0, 1, true, "1: rotary pairs (i, i + r/2); 0: neighbours (2i, 2i + 1)"},
    {"rope_rot", 0, 0, 4096, true, "rotated columns; 0: all of them"},
    {"rope", 1, 0, 1, true, "1: rotary positions; 0: none"},
    {"rel_bias", 0, 0, 4, true,
     "bias by distance: 0 none, 1 published (2 up to 512, else 3), 2 table, 3 turned vectors, 4 "
     "T5"},
    {"rel_max", 0, 0, 1 << 20, true, "positions that rel_bias knows; 0: the training length"},
    {0},
};

static int s_dim(const MixCtx *c)
{
    return (int)c->opt[S_DIM];
}

static GatedTurn turn(const MixCtx *c)
{
    return (GatedTurn){c->opt[ROPE] != 0, c->opt[ROPE_HALF] != 0, (int)c->opt[ROPE_ROT]};
}

static Relative relative(const MixCtx *c)
{
    return (Relative){.kind = (int)c->opt[REL_BIAS],
                      .width = s_dim(c),
                      .n_max = c->opt[REL_MAX] != 0 ? (int64_t)c->opt[REL_MAX] : c->n_norm,
                      .causal = c->causal,
                      .half = c->opt[ROPE_HALF] != 0,
                      .scale = sqrt((double)c->width)};
}

static Status accepts(const MixCtx *c)
{
    Relative r = relative(c);
    TRY(gated_accepts(s_dim(c), turn(c)));
    if (c->opt[ROW_NORM] != 0 && c->opt[SCALING] != 2)
        return FAIL(ST_SHAPE, "row_norm=1 goes with scaling=2, not %d", (int)c->opt[SCALING]);
    if (c->n_norm < 1)
        return FAIL(ST_SHAPE, "the length normaliser n must be positive, not %lld",
                    (long long)c->n_norm);
    return relative_accepts(&r, c->cap);
}

static void params(Slot s[], const MixCtx *c)
{
    static const char *const heads[N_HEAD_PARAMS] = {"q_gain", "q_bias", "k_gain", "k_bias"};
    Relative r = relative(c);
    gated_params(s, c, s_dim(c), heads, N_HEAD_PARAMS);
    relative_params(s + REL, &r);
}

static void state(Slot s[], const MixCtx *c)
{
    gated_caches(s, c, s_dim(c));
}

static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    gated_project(t, in, x, N_HEAD_PARAMS / 2, turn(in->ctx), out);
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
                       .bias_scale = kind == 3 ? 1 / n : 1,
                       .post = rows ? 1 : post[kind]};
}

static Tensor *mix(Tape *t, const MixIn *in, const Parts *p)
{
    const MixCtx *c = in->ctx;
    Relative r = relative(c);
    AttendOpt o = scores(c);
    o.bias = relative_table(t, in->w + REL, &r, c->pos + c->q_len, &o.bias_zero);
    return attend_cached(t, in, p->p[Q], p->p[K], p->p[V], o);
}

/* A_ij straight from the table of scalings. */
static void matrix(double *P, const HostParts *h, int g, const MixCtx *c)
{
    (void)g;
    int z = s_dim(c), kind = (int)c->opt[SCALING];
    double n = (double)c->n_norm;
    Relative rel = relative(c);
    for (int64_t i = 0; i < h->len; i++)
        for (int64_t j = 0; j < h->len; j++) {
            double qk = gated_dot(h->part[Q] + i * z, h->part[K] + j * z, z);
            double b = relative_bias(h->w + REL, &rel, i, j);
            double s = kind == 0   ? qk + b
                       : kind == 1 ? qk / n + b
                       : kind == 2 ? qk / sqrt((double)z) + b
                                   : (qk + b) / n;
            double r = s > 0 ? s * s : 0;
            int64_t visible = c->causal && i + 1 < h->valid ? i + 1 : h->valid;
            if (kind == 2)
                r /= c->opt[ROW_NORM] != 0 ? (double)visible : n;
            P[i * h->len + j] = j < h->valid && (!c->causal || j <= i) ? r : 0;
        }
}

static double flops(const MixCtx *c)
{
    return gated_pair_flops(c, s_dim(c));
}

const Mixer mixer_gau = {
    .name = "gau",
    .caps = CAP_CAUSAL | CAP_BIDIRECTIONAL | CAP_STATEFUL | CAP_NAIVE,
    .n_params = N_PARAMS,
    .n_state = GATED_CACHES,
    .n_parts = N_PARTS,
    .v_part = V,
    .finish_parts = 1u << U,
    .options = options,
    .accepts = accepts,
    .params = params,
    .params_help = GATED_HELP "q_gain: scales Z to queries; q_bias: shifts them; "
                              "k_gain: scales Z to keys; k_bias: shifts them" REL_HELP,
    .state = state,
    .project = project,
    .mix = mix,
    .finish = gated_finish,
    .groups = gated_groups,
    .matrix = matrix,
    .flops = flops,
};

const Variant variant_gau = {
    .name = "gau",
    .title = "Gated attention unit, quadratic (FLASH-Quad)",
    .paper = "Hua 2022, arXiv:2202.10447",
    .time = "T^2 (S + E)",
    .state = "T (S + E)",
    .formula = "U = silu(x W_u + b_u)  V = silu(x W_v + b_v)  Z = silu(x W_z + b_z)\n"
               "Q = rope(Z q_gain + q_bias)  K = rope(Z k_gain + k_bias)\n"
               "A = relu(alpha Q K')^2 post, masked\n"
               "y = x + (U * A V) W_o + b_o, with x normed before the branch\n"
               "scaling 0: alpha 1, post 1; 1, 3: 1/n, 1; 2: 1/sqrt(S), 1/n",
    .mixer = &mixer_gau,
    .norm = NORM_SCALE,
    .norm_eps = 1e-5,
    .blocks_per_layer = 2,
    .default_ffn = gated_ffn,
};
