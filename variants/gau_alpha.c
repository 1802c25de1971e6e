/* gau_alpha.c - gated attention unit with softmax, norm behind the sum, and no biases.
 *
 * Su et al. 2022, "GAU-alpha" (ZhuiyiTechnology/GAU-alpha, kexue.fm/archives/9052):
 *     U = silu(x W_u)   V = silu(x W_v)   Z = silu(x W_z)   Q = rope(Z g_q)   K = rope(Z g_k)
 *     P = softmax(lambda(l) Q K' / sqrt(S)),   lambda(l) = ln max(l, 16) / ln 512
 *     y = norm(x + (U * P V) W_o),             norm without gain
 * with l the keys that the row sees: i + 1 when causal, all valid ones when not, so that the
 * entropy of a row does not depend on its length. time O(T^2 (S+E)), state O(T (S+E)). log_floor=1
 * is the PyTorch port, which does not clamp l. With biases=1 heads have offsets, too. Differs:
 * dense weights start as everywhere here, without the factor of depth. Two blocks make one
 * Transformer layer. */
#include "variants/template/gated.h"

#include <math.h>

enum { N_HEAD_PARAMS = 4, N_PARAMS = HEAD_GAIN + N_HEAD_PARAMS };
enum { Q = HEAD, K, N_PARTS };
enum { S_DIM, ROPE_HALF, ROPE_ROT, ROPE, LOG_BASE, LOG_FLOOR };

static const Option options[] = {
    {"s", 128, 2, 4096, true, "width S of the shared queries and keys, even"},
    {"rope_half", 0, 0, 1, true, "1: rotary pairs (i, i + r/2); 0: neighbours (2i, 2i + 1)"},
    {"rope_rot", 0, 0, 4096, true, "rotated columns; 0: all of them"},
    {"rope", 1, 0, 1, true, "1: rotary positions; 0: none"},
    {"log_base", 512, 0, 1e9, false, "scores are scaled by log(keys) / log(this); 0: they are not"},
    {"log_floor", 16, 1, 1e9, true, "fewer keys than this count as this many; 1: no clamp"},
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

static Status accepts(const MixCtx *c)
{
    if (c->opt[LOG_BASE] != 0 && c->opt[LOG_BASE] <= 1)
        return FAIL(ST_SHAPE, "log_base %g (above 1, or 0 for none)", c->opt[LOG_BASE]);
    return gated_accepts(s_dim(c), turn(c));
}

static void params(Slot s[], const MixCtx *c)
{
    static const char *const heads[N_HEAD_PARAMS] = {"q_gain", "q_bias", "k_gain", "k_bias"};
    gated_params(s, c, s_dim(c), heads, N_HEAD_PARAMS);
}

static void state(Slot s[], const MixCtx *c)
{
    gated_caches(s, c, s_dim(c));
}

static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    gated_project(t, in, x, N_HEAD_PARAMS / 2, turn(in->ctx), out);
}

static Tensor *mix(Tape *t, const MixIn *in, const Parts *p)
{
    const MixCtx *c = in->ctx;
    AttendOpt o = {.kind = ATTN_SOFTMAX,
                   .naive = c->naive,
                   .causal = c->causal,
                   .heads = 1,
                   .scale = 1 / sqrt((double)s_dim(c)),
                   .log_base = c->opt[LOG_BASE],
                   .log_floor = c->opt[LOG_FLOOR]};
    return attend_cached(t, in, p->p[Q], p->p[K], p->p[V], o);
}

static double lambda(const MixCtx *c, int64_t keys)
{
    double l = fmax((double)keys, c->opt[LOG_FLOOR]);
    return c->opt[LOG_BASE] != 0 ? log(l) / log(c->opt[LOG_BASE]) : 1;
}

/* Row by row: a softmax over the keys it sees. */
static void matrix(double *P, const HostParts *h, int g, const MixCtx *c)
{
    (void)g;
    int z = s_dim(c);
    for (int64_t i = 0; i < h->len; i++) {
        int64_t keys = c->causal && i + 1 < h->valid ? i + 1 : h->valid;
        double *row = P + i * h->len, sum = 0;
        for (int64_t j = 0; j < h->len; j++) {
            double s = gated_dot(h->part[Q] + i * z, h->part[K] + j * z, z) / sqrt((double)z);
            row[j] = j < keys ? exp(lambda(c, keys) * s) : 0;
            sum += row[j];
        }
        for (int64_t j = 0; j < keys; j++)
            row[j] /= sum;
    }
}

static double flops(const MixCtx *c)
{
    return gated_pair_flops(c, s_dim(c));
}

static const Mixer mixer = {
    .name = "gau_alpha",
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
                              "k_gain: scales Z to keys; k_bias: shifts them",
    .state = state,
    .project = project,
    .mix = mix,
    .finish = gated_finish,
    .groups = gated_groups,
    .matrix = matrix,
    .flops = flops,
};

const Variant variant_gau_alpha = {
    .name = "gau_alpha",
    .title = "GAU-alpha: gated attention unit with softmax, log-length scale, post-norm",
    .paper = "Su 2022, github.com/ZhuiyiTechnology/GAU-alpha",
    .time = "T^2 (S + E)",
    .state = "T (S + E)",
    .formula =
        "U = silu(x W_u)  V = silu(x W_v)  Z = silu(x W_z)  Q = rope(Z q_gain)  K = rope(Z "
        "k_gain)\n"
        "P = softmax(lambda(l) Q K' / sqrt(S)), lambda(l) = ln max(l, 16) / ln 512, l keys seen\n"
        "y = norm(x + (U * P V) W_o)",
    .mixer = &mixer,
    .norm = NORM_RMS,
    .norm_eps = 1e-7,
    .no_norm_gain = true,
    .mixer_norm = NORM_POST,
    .no_biases = true,
    .blocks_per_layer = 2,
    .default_ffn = gated_ffn,
};
