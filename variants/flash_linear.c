/* flash_linear.c - FLASH: mixed chunk attention, quadratic inside chunks and linear across them.
 *
 * Hua et al. 2022, "Transformer Quality in Linear Time", arXiv:2202.10447, section 3. U, V, Z and
 * the gate as in gau.c; Z gives four heads by gain, bias and rotation (global index):
 *
 *     O_i = post sum_{j in chunk(i)} relu(alpha Qq_i.Kq_j)^2 V_j + Ql_i M_g
 *     M_g = c_g sum_{h<g} Kl_h' V_h, finished chunks only; bidirectional: over all chunks
 *
 * time O(T (C (S+E) + S E)), state O(S E + C (S+E)), independent of T. The option `norm` chooses
 * the constants of the published forms (C the chunk; bidirectional c in brackets):
 *
 *     0  main text       alpha 1      post 1          c 1        (1)
 *     1  appendix        alpha 1/C    post 1          c 1/(C g)  (1/(C chunks))
 *     2  lucidrains      alpha 1/C    post 1          c 1/C      (1/T)
 *     3  J. Su           alpha 1      post 1/(C S)    c 1/(C g)  (1/T)
 *
 * The first chunk has no M. The option `rel_bias` adds b_(j-i) to the scaled scores inside the
 * chunk (template/relative.h), not by default. Two blocks make one Transformer layer. */
#include "variants/template/gated.h"
#include "variants/template/relative.h"

#include <math.h>

enum { N_HEAD_PARAMS = 8, REL = HEAD_GAIN + N_HEAD_PARAMS, N_PARAMS = REL + REL_SLOTS };
enum { SUM, PART, KEYS, VALS, N_STATE };
enum { QQ = HEAD, KQ, QL, KL, N_PARTS };
enum { S_DIM, CHUNK, NORM, ROPE_HALF, ROPE_ROT, ROPE, REL_BIAS };

static const Option options[] = {
    {"s", 128, 2, 4096, true, "width S of the shared queries and keys, even"},
    {"c", 256, 1, 1 << 20, true, "chunk length C"},
    {"norm", 1, 0, 3, true, "constants: 0 main text, 1 appendix, 2 lucidrains, 3 Su"},
    {"rope_half", 1, 0, 1, true, "1: rotary pairs (i, i + r/2); 0: neighbours (2i, 2i + 1)"},
    {"rope_rot", 0, 0, 4096, true, "rotated columns; 0: all of them"},
    {"rope", 1, 0, 1, true, "1: rotary positions; 0: none"},
    {"rel_bias", 0, 0, 4, true,
     "bias by distance: 0 none, 1 published (2 up to 512, else 3), 2 table, 3 turned vectors, 4 "
     "T5"},
    {0},
};

static int s_dim(const MixCtx *c)
{
    return (int)c->opt[S_DIM];
}

static int chunk(const MixCtx *c)
{
    return (int)c->opt[CHUNK];
}

static GatedTurn turn(const MixCtx *c)
{
    return (GatedTurn){c->opt[ROPE] != 0, c->opt[ROPE_HALF] != 0, (int)c->opt[ROPE_ROT]};
}

/* Of positions in a chunk. */
static Relative relative(const MixCtx *c)
{
    return (Relative){.kind = (int)c->opt[REL_BIAS],
                      .width = s_dim(c),
                      .n_max = chunk(c),
                      .causal = c->causal,
                      .half = c->opt[ROPE_HALF] != 0,
                      .scale = sqrt((double)s_dim(c))};
}

static Status accepts(const MixCtx *c)
{
    return gated_accepts(s_dim(c), turn(c));
}

static void params(Slot s[], const MixCtx *c)
{
    static const char *const heads[N_HEAD_PARAMS] = {"qq_gain", "qq_bias", "kq_gain", "kq_bias",
                                                     "ql_gain", "ql_bias", "kl_gain", "kl_bias"};
    Relative r = relative(c);
    gated_params(s, c, s_dim(c), heads, N_HEAD_PARAMS);
    relative_params(s + REL, &r);
}

static void state(Slot s[], const MixCtx *c)
{
    s[SUM] = slot_state("sum", c->batch, s_dim(c), c->ffn);
    s[PART] = slot_state("part", c->batch, s_dim(c), c->ffn);
    s[KEYS] = slot_state("keys", c->batch, chunk(c), s_dim(c));
    s[VALS] = slot_state("vals", c->batch, chunk(c), c->ffn);
}

static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    gated_project(t, in, x, N_HEAD_PARAMS / 2, turn(in->ctx), out);
}

/* The published constants are numbers, not code paths. */
static ChunksOpt constants(const MixCtx *c)
{
    double C = chunk(c), n = (double)(c->pos + c->q_len);
    const double alpha[] = {1, 1 / C, 1 / C, 1}, post[] = {1, 1, 1, 1 / (C * s_dim(c))};
    const double causal[] = {1, 1 / C, 1 / C, 1 / C}, both[] = {1, 1 / C, 1 / n, 1 / n};
    int kind = (int)c->opt[NORM];
    return (ChunksOpt){.chunk = chunk(c),
                       .causal = c->causal,
                       .lin_mean = kind == 1 || (kind == 3 && c->causal),
                       .pos = c->pos,
                       .local_scale = alpha[kind],
                       .local_post = post[kind],
                       .lin_scale = c->causal ? causal[kind] : both[kind],
                       .bias_scale = 1};
}

static Tensor *mix(Tape *t, const MixIn *in, const Parts *parts)
{
    int64_t zero;
    Relative r = relative(in->ctx);
    ChunksOpt o = constants(in->ctx);
    o.bias = relative_table(t, in->w + REL, &r, o.chunk, &zero); /* (2 C - 1), zero is C - 1 */
    return op_chunks(t, parts->p + QQ, parts->p[V], in->ctx->lens, in->st, o);
}

/* c_g of section 3.2: the factor of the linear part for queries of chunk g. */
static double linear_factor(const HostParts *h, int64_t g, const MixCtx *c)
{
    double C = chunk(c), all = (double)((h->valid + chunk(c) - 1) / chunk(c));
    switch ((int)c->opt[NORM]) {
    case 0:
        return 1;
    case 1:
        return 1 / (C * (c->causal ? (double)g : all));
    case 2:
        return c->causal ? 1 / C : 1 / (double)h->len;
    default:
        return c->causal ? 1 / (C * (double)g) : 1 / (double)h->len;
    }
}

/* P_ij = local weight if i and j share a chunk, plus c_g Ql_i.Kl_j if j's chunk is summed. */
static void matrix(double *P, const HostParts *h, int group, const MixCtx *c)
{
    (void)group;
    int z = s_dim(c), kind = (int)c->opt[NORM];
    double C = chunk(c);
    Relative rel = relative(c);
    for (int64_t i = 0; i < h->len; i++)
        for (int64_t j = 0; j < h->len; j++) {
            int64_t gi = i / chunk(c), gj = j / chunk(c);
            double s = gated_dot(h->part[QQ] + i * z, h->part[KQ] + j * z, z), p = 0;
            s = kind == 1 || kind == 2 ? s / C : s;
            s += gi == gj ? relative_bias(h->w + REL, &rel, i % chunk(c), j % chunk(c)) : 0;
            if (gi == gj && (!c->causal || j <= i) && s > 0)
                p += kind == 3 ? s * s / (C * z) : s * s;
            if (!c->causal || gj < gi)
                p += linear_factor(h, gi, c) *
                     gated_dot(h->part[QL] + i * z, h->part[KL] + j * z, z);
            P[i * h->len + j] = j < h->valid ? p : 0;
        }
}

/* Pairs inside chunks for positions [pos, pos + q_len), of one sequence. */
static double local_pairs(const MixCtx *c)
{
    double pairs = 0;
    int64_t end = c->pos + c->q_len, C = chunk(c);
    for (int64_t at = c->pos; at < end;) {
        int64_t stop = min64(end, (at / C + 1) * C), from = at % C, n = stop - at;
        int64_t repeat = from == 0 && n == C ? (end - at) / C : 1; /* whole chunks are alike */
        double one = c->causal ? (double)n * (double)(2 * from + n + 1) / 2 : (double)n * (double)n;
        pairs += (double)repeat * one;
        at += repeat * n;
    }
    return pairs;
}

/* The projections, 2 (S + E) a local pair, 2 S E into and 2 S E out of the sums. The first chunk of
 * a causal pass has nothing before it; the last, if no state is carried on, nothing after. */
static double flops(const MixCtx *c)
{
    double b = (double)c->batch, len = (double)c->q_len, e = c->ffn, z = s_dim(c);
    double reads = c->causal ? (double)max64(0, c->pos + c->q_len - max64(c->pos, chunk(c))) : len;
    double adds = c->causal && !c->carried ? (double)((c->q_len - 1) / chunk(c) * chunk(c)) : len;
    return gated_flops(c, s_dim(c)) +
           b * (2 * local_pairs(c) * (z + e) + 2 * z * e * (adds + reads));
}

extern const Mixer mixer_gau;

/* One chunk and no global part is GAU with n = C. */
static const Equal equals[] = {
    {"s=6 c=64 norm=1", true, 13, 64, &mixer_gau, "s=6 scaling=1",
     "qq_gain=q_gain qq_bias=q_bias kq_gain=k_gain kq_bias=k_bias", NULL},
    {"s=6 c=64 norm=1 rel_bias=1", true, 13, 64, &mixer_gau, "s=6 scaling=1 rel_bias=1",
     "qq_gain=q_gain qq_bias=q_bias kq_gain=k_gain kq_bias=k_bias", NULL},
    {0},
};

const Mixer mixer_flash_linear = {
    .name = "flash_linear",
    .caps = CAP_CAUSAL | CAP_BIDIRECTIONAL | CAP_STATEFUL | CAP_LINEAR_STATE,
    .n_params = N_PARAMS,
    .n_state = N_STATE,
    .n_parts = N_PARTS,
    .v_part = V,
    .finish_parts = 1u << U,
    .options = options,
    .equals = equals,
    .accepts = accepts,
    .params = params,
    .params_help = GATED_HELP "qq_gain: scales Z to queries inside a chunk; qq_bias: shifts them; "
                              "kq_gain: keys inside a chunk; kq_bias: their shift; "
                              "ql_gain: queries across chunks; ql_bias: their shift; "
                              "kl_gain: keys across chunks; kl_bias: their shift" REL_HELP,
    .state = state,
    .project = project,
    .mix = mix,
    .finish = gated_finish,
    .groups = gated_groups,
    .matrix = matrix,
    .flops = flops,
};

const Variant variant_flash_linear = {
    .name = "flash_linear",
    .title = "FLASH: mixed chunk attention, linear in T",
    .paper = "Hua 2022, arXiv:2202.10447",
    .time = "T (C (S + E) + S E)",
    .state = "2 S E + C (S + E)",
    .formula = "U, V, Z and the gate as in gau; Z gives Qq, Kq, Ql, Kl by gain, bias and rope\n"
               "O_i = post sum over j in i's chunk of relu(alpha Qq_i.Kq_j)^2 V_j + Ql_i M_g\n"
               "M_g = c_g sum over chunks h < g of Kl_h' V_h  (bidirectional: over all chunks)\n"
               "norm 1: alpha 1/C, post 1, c_g 1/(C g); 0, 2, 3: see variants/flash_linear.c",
    .mixer = &mixer_flash_linear,
    .norm = NORM_SCALE,
    .norm_eps = 1e-5,
    .blocks_per_layer = 2,
    .default_ffn = gated_ffn,
};
