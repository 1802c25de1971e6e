/* modules.c - attention whose projections share a multiplicative layer and differ by a small
 * convolution (Jaszczur 2021, section 3.2), S modules of M = D / S columns:
 *     Y = mult(x),   q, k, v = conv_q(Y), conv_k(Y), conv_v(Y)
 * over `taps` positions, the past ones, and `side` modules, with M -> M channels. Then causal
 * softmax attention; no output projection by default.
 * Differs from the paper: rotary positions (rope=0: none), so that any T works. */
#include "variants/template/sparse.h"

#include <math.h>

enum { G, E, B, K_Q, B_Q, K_K, B_K, K_V, B_V, O_G, O_E, O_B, K_O, B_O, N_PARAMS };
enum { K_CACHE, V_CACHE, Y_ROWS, YX_ROWS, OUT_ROWS, N_STATE };
enum { Q, K, V, N_PARTS };
enum { MODULES, TAPS, SIDE, SIDE_V, SHARE_QK, V_CONCAT, OUTPUT, ROPE };
enum { CONCAT_NONE, CONCAT_MODULES, CONCAT_WHOLE };
enum { OUT_NONE, OUT_MULT, OUT_CONV, OUT_MULTCONV };
enum { SIDE_OUT = 3 };

static const Option options[] = {
    {"modules", 0, 0, 4096, true, "S: modules of D / S columns; 0: as many as heads"},
    {"taps", 3, 1, 9, true, "positions that a convolution sees; one if S is 1"},
    {"side", 3, 1, 15, true, "modules that the convolutions of q and k see (odd)"},
    {"side_v", 1, 1, 15, true, "modules that the convolution of v sees (odd)"},
    {"share_qk", 0, 0, 1, true, "one convolution for q and k"},
    {"v_concat", 0, 0, 2, true, "v sees: 0 Y; 1 Y and x, module by module; 2 [Y x] cut into S"},
    {"output", 0, 0, 3, true, "projection: 0 none, 1 multiplicative, 2 convolution, 3 1 then 2"},
    {"rope", 1, 0, 2, true, "rotary positions: 0 none, 1 pairs (i, i + r/2), 2 (2i, 2i + 1)"},
    {0},
};

/* ---- sizes ---- */
static int option(const MixCtx *c, int which)
{
    return (int)c->opt[which];
}
static int modules(const MixCtx *c)
{
    return option(c, MODULES) > 0 ? option(c, MODULES) : c->heads;
}
static int taps(const MixCtx *c)
{
    return modules(c) > 1 ? option(c, TAPS) : 1;
}
static int side(const MixCtx *c, int which)
{
    return modules(c) > 1 ? option(c, which) : 1;
}
static bool has_mult(const MixCtx *c)
{
    return option(c, OUTPUT) == OUT_MULT || option(c, OUTPUT) == OUT_MULTCONV;
}
static bool has_conv(const MixCtx *c)
{
    return option(c, OUTPUT) >= OUT_CONV;
}

static Status accepts(const MixCtx *c)
{
    int d = c->width / c->heads;
    if (c->width % modules(c) != 0)
        return FAIL(ST_SHAPE, "%d modules do not divide the width %d", modules(c), c->width);
    if (option(c, SIDE) % 2 == 0 || option(c, SIDE_V) % 2 == 0)
        return FAIL(ST_SHAPE, "convolutions over an odd number of modules, not side=%d side_v=%d",
                    option(c, SIDE), option(c, SIDE_V));
    if (option(c, ROPE) != 0 && d % 2 != 0)
        return FAIL(ST_SHAPE, "rotary positions need an even head width, not %d / %d = %d",
                    c->width, c->heads, d);
    return ST_OK;
}

/* ---- declarations ---- */
static Slot gate(const char *name, const MixCtx *c)
{
    Slot s = slot_matrix(name, c->width, modules(c));
    s.sd = 0.5;
    return s;
}

static Slot projection(const char *name, const MixCtx *c)
{
    int m = c->width / modules(c);
    Slot s = slot_matrix(name, c->width, m);
    s.sd = sqrt(2.0 / (c->width + m));
    return s;
}

static Slot kernel(const char *name, const MixCtx *c, int wide, int in)
{
    int m = c->width / modules(c), fan = taps(c) * wide * (in + m);
    return (Slot){.name = name,
                  .init = INIT_NORMAL,
                  .sd = sqrt(2.0 / fan),
                  .decay = true,
                  .rank = 4,
                  .dim = {taps(c), wide, in, m}};
}

static void params(Slot s[], const MixCtx *c)
{
    int m = c->width / modules(c), in_v = option(c, V_CONCAT) != 0 ? 2 * m : m;
    bool qk = option(c, SHARE_QK) == 0;
    s[G] = gate("g", c);
    s[E] = projection("e", c);
    s[B] = slot_bias("b", c->width);
    s[K_Q] = kernel("conv_q", c, side(c, SIDE), m);
    s[B_Q] = slot_bias("b_q", m);
    s[K_K] = kernel("conv_k", c, side(c, SIDE), m);
    s[B_K] = slot_bias("b_k", m);
    s[K_V] = kernel("conv_v", c, side(c, SIDE_V), in_v);
    s[B_V] = slot_bias("b_v", m);
    s[O_G] = gate("g_o", c);
    s[O_E] = projection("e_o", c);
    s[O_B] = slot_bias("b_o", c->width);
    s[K_O] = kernel("conv_o", c, modules(c) > 1 ? SIDE_OUT : 1, m);
    s[B_O] = slot_bias("bias_o", m);
    s[K_K].absent = s[B_K].absent = !qk;
    s[O_G].absent = s[O_E].absent = s[O_B].absent = !has_mult(c);
    s[K_O].absent = s[B_O].absent = !has_conv(c);
}

/* The rows that convolutions remember; a single number where there are none to remember. */
static Slot remembered(const char *name, const MixCtx *c, bool used, int width)
{
    bool any = used && taps(c) > 1;
    return slot_state(name, any ? c->batch : 1, any ? taps(c) - 1 : 1, any ? width : 1);
}

static void state(Slot s[], const MixCtx *c)
{
    s[K_CACHE] = slot_state("k", c->batch, c->cap, c->width);
    s[V_CACHE] = slot_state("v", c->batch, c->cap, c->width);
    s[Y_ROWS] = remembered("y", c, true, c->width);
    s[YX_ROWS] = remembered("yx", c, option(c, V_CONCAT) != 0, 2 * c->width);
    s[OUT_ROWS] = remembered("out", c, has_conv(c), c->width);
}

/* ---- the three stages ---- */
static Tensor *convolved(Tape *t, const MixIn *in, Tensor *x, int kernel, int rows)
{
    Tensor *halo = in->st != NULL && taps(in->ctx) > 1 ? in->st[rows] : NULL;
    return op_modconv(t, x, in->w[kernel], in->w[kernel + 1], halo);
}

static void remember(Tape *t, const MixIn *in, Tensor *x, int rows)
{
    if (in->st != NULL && taps(in->ctx) > 1)
        op_keep_rows(t, in->st[rows], x);
}

static Tensor *turned(Tape *t, const MixCtx *c, Tensor *x)
{
    RopeOpt rope = {c->pos, c->heads, 0, 10000, option(c, ROPE) == 1};
    return option(c, ROPE) != 0 ? op_rope(t, x, rope) : x;
}

static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    const MixCtx *c = in->ctx;
    Tensor *const *w = in->w, *y = op_mult(t, x, w[G], w[E], w[B]), *for_v = y; /* (B,T,S*M) */
    int concat = option(c, V_CONCAT), rows = concat != CONCAT_NONE ? YX_ROWS : Y_ROWS;
    if (concat != CONCAT_NONE)
        for_v = op_interleave(t, y, x, concat == CONCAT_WHOLE ? c->width : c->width / modules(c));
    out->p[Q] = turned(t, c, convolved(t, in, y, K_Q, Y_ROWS));
    out->p[K] = option(c, SHARE_QK) ? out->p[Q] : turned(t, c, convolved(t, in, y, K_K, Y_ROWS));
    out->p[V] = convolved(t, in, for_v, K_V, rows);
    remember(t, in, y, Y_ROWS);
    if (rows != Y_ROWS)
        remember(t, in, for_v, rows);
}

static Tensor *mix(Tape *t, const MixIn *in, const Parts *parts)
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
    Tensor *const *w = in->w, *y = mixed;
    (void)parts, (void)x;
    if (has_mult(in->ctx))
        y = op_mult(t, y, w[O_G], w[O_E], w[O_B]);
    if (!has_conv(in->ctx))
        return y;
    Tensor *out = convolved(t, in, y, K_O, OUT_ROWS);
    remember(t, in, y, OUT_ROWS);
    return out;
}

/* ---- the definition ---- */
static int groups(const MixCtx *c)
{
    return c->heads;
}

/* P_ij = exp(s_ij) / sum_j exp(s_ij) over the visible keys, s = q.k / sqrt(d). */
static void matrix(double *P, const HostParts *h, int g, const MixCtx *c)
{
    int d = c->width / c->heads;
    for (int64_t i = 0; i < h->len; i++) {
        double *row = P + i * h->len, sum = 0, top = -HUGE_VAL;
        int64_t seen = c->causal ? min64(h->valid, i + 1) : h->valid;
        for (int64_t j = 0; j < h->len; j++)
            row[j] = 0;
        for (int64_t j = 0; j < seen; j++) {
            for (int a = g * d; a < (g + 1) * d; a++)
                row[j] += h->part[Q][i * c->width + a] * h->part[K][j * c->width + a] / sqrt(d);
            top = fmax(top, row[j]);
        }
        for (int64_t j = 0; j < seen; j++)
            sum += row[j] = exp(row[j] - top);
        for (int64_t j = 0; j < seen; j++)
            row[j] /= sum;
    }
}

static double flops(const MixCtx *c)
{
    double rows = (double)c->batch * (double)c->q_len, d = c->width, m = d / modules(c);
    double pairs = attend_pairs(c->batch, c->q_len, c->pos + c->q_len, c->pos, c->causal);
    double wide = (option(c, SHARE_QK) ? 1 : 2) * side(c, SIDE) +
                  (option(c, V_CONCAT) != 0 ? 2 : 1) * side(c, SIDE_V);
    double mults = has_mult(c) ? 2 : 1;
    if (has_conv(c))
        wide += modules(c) > 1 ? SIDE_OUT : 1;
    return rows * (2 * mults * d * d + 2 * d * m * taps(c) * wide) + 4 * pairs * d;
}

const Mixer mixer_modules = {
    .name = "modules",
    .caps = CAP_CAUSAL | CAP_STATEFUL | CAP_NAIVE,
    .n_params = N_PARAMS,
    .n_state = N_STATE,
    .n_parts = N_PARTS,
    .v_part = V,
    .options = options,
    .accepts = accepts,
    .params = params,
    .params_help =
        "g: gates of the modules; e: projection that they share; b: bias of the product; "
        "conv_q: kernel of the queries; b_q: its bias; conv_k: of the keys; b_k: its bias; "
        "conv_v: of the values; b_v: its bias; g_o: gates of the output; e_o: its projection; "
        "b_o: its bias; conv_o: kernel of the output; bias_o: its bias",
    .state = state,
    .project = project,
    .mix = mix,
    .finish = finish,
    .groups = groups,
    .matrix = matrix,
    .flops = flops,
};
