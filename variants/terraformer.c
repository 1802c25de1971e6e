/* terraformer.c - Terraformer: reversible blocks of LSH attention on sparse projections and a
 * sparse feed-forward layer with a recurrent unit beside it.
 *
 * Jaszczur et al. 2021, "Sparse is Enough in Scaling Transformers", arXiv:2111.12763, section 4;
 * decoder alone. A block maps two streams, which begin as copies of x:
 *     a + attention(norm(c)), swap, a + ff(norm(c)), swap;       the model ends in (a + c) / 2
 * Projections (section 3.2): Y = mult(x), S modules of D / S columns; q, k, v = convolutions of Y
 * over 3 positions and 3, 3, 1 modules. The shared vector of LSH attention (template/lsh.c) is
 * (q + k) / 2; there is no output projection. Feed-forward: template/sparse_ff.c, with
 *     y = sparse(x) + SRU(x W_u) W_d                             (Lei 2018; sru layers of 32)
 * Buckets and picked units are kept and replayed when a block runs again: rounding in a = y - f(c)
 * could change them. Memory of activations O(T D), whatever the depth.
 *
 * Differs: one attention layer a block instead of two; rotary positions as in `vanilla`. */
#include "variants/template/lsh.h"
#include "variants/template/sparse.h"

#include <math.h>

enum { G, E, B, K_Q, B_Q, K_K, B_K, K_V, B_V, N_PARAMS };
enum { Y_ROWS = LSH_STATE, N_STATE };
enum { MODULES = LSH_N_OPTIONS, TAPS, SIDE, SIDE_V };

static const Option options[] = {
    LSH_OPTIONS(0, "1: one convolution for the shared vector; 0: the mean of two"),
    {"modules", 0, 0, 4096, true, "S: modules of D / S columns; 0: as many as heads"},
    {"taps", 3, 1, 16, true, "positions that a convolution sees; one if S is 1"},
    {"side", 3, 1, 15, true, "modules that the convolutions of q and k see (odd)"},
    {"side_v", 1, 1, 15, true, "modules that the convolution of v sees (odd)"},
    {0},
};

/* ---- sizes ---- */
static int modules(const MixCtx *c)
{
    return c->opt[MODULES] > 0 ? (int)c->opt[MODULES] : c->heads;
}
/* Of a convolution, in positions or modules: one if there is one module only. */
static int span(const MixCtx *c, int option)
{
    return modules(c) > 1 ? (int)c->opt[option] : 1;
}
static bool shared(const MixCtx *c)
{
    return c->opt[LSH_SHARE_QK] != 0;
}

static Status accepts(const MixCtx *c)
{
    if (c->width % modules(c) != 0)
        return FAIL(ST_SHAPE, "%d modules do not divide the width %d", modules(c), c->width);
    if (span(c, SIDE) % 2 == 0 || span(c, SIDE_V) % 2 == 0)
        return FAIL(ST_SHAPE, "convolutions over an odd number of modules, not side=%d side_v=%d",
                    span(c, SIDE), span(c, SIDE_V));
    return lsh_accepts(c);
}

/* ---- declarations ---- */

/* Normal with the variance of Glorot's uniform. */
static Slot kernel(const char *name, const MixCtx *c, int side)
{
    int m = c->width / modules(c), taps = span(c, TAPS);
    return (Slot){.name = name,
                  .init = INIT_NORMAL,
                  .sd = sqrt(1.0 / (taps * side * m)),
                  .decay = true,
                  .rank = 4,
                  .dim = {taps, side, m, m}};
}

static void params(Slot s[], const MixCtx *c)
{
    int m = c->width / modules(c);
    s[G] = slot_matrix("g", c->width, modules(c));
    s[G].sd = 0.5;
    s[E] = slot_matrix("e", c->width, m);
    s[E].sd = sqrt(2.0 / (c->width + m));
    s[B] = slot_bias("b", c->width);
    s[K_Q] = kernel("conv_q", c, span(c, SIDE));
    s[B_Q] = slot_bias("b_q", m);
    s[K_K] = kernel("conv_k", c, span(c, SIDE));
    s[B_K] = slot_bias("b_k", m);
    s[K_V] = kernel("conv_v", c, span(c, SIDE_V));
    s[B_V] = slot_bias("b_v", m);
    s[K_K].absent = s[B_K].absent = shared(c);
}

static void state(Slot s[], const MixCtx *c)
{
    bool any = span(c, TAPS) > 1; /* a single number where nothing is remembered */
    lsh_state(s, c);
    s[Y_ROWS] =
        slot_state("y", any ? c->batch : 1, any ? span(c, TAPS) - 1 : 1, any ? c->width : 1);
}

/* ---- stages ---- */
static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    const MixCtx *c = in->ctx;
    Tensor *const *w = in->w;
    Tensor *halo = in->st != NULL && span(c, TAPS) > 1 ? in->st[Y_ROWS] : NULL;
    Tensor *y = op_mult(t, x, w[G], w[E], w[B]); /* (B,T,S*M) */
    Tensor *q = op_modconv(t, y, w[K_Q], w[B_Q], halo);
    if (!shared(c))
        q = op_blend(t, 0.5, q, 0.5, op_modconv(t, y, w[K_K], w[B_K], halo));
    Tensor *v = op_modconv(t, y, w[K_V], w[B_V], halo);
    if (halo != NULL)
        op_keep_rows(t, halo, y);
    lsh_parts(t, c, q, v, out);
}

static Tensor *finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x)
{
    (void)t, (void)in, (void)parts, (void)x;
    return mixed;
}

static double flops(const MixCtx *c)
{
    double rows = (double)c->batch * (double)c->q_len, d = c->width, m = d / modules(c);
    double wide = (shared(c) ? 1 : 2) * span(c, SIDE) + span(c, SIDE_V);
    return rows * (2 * d * d + 2 * d * m * span(c, TAPS) * wide) + lsh_flops(c);
}

const Mixer mixer_terraformer = {
    .name = "terraformer",
    .caps = CAP_CAUSAL | CAP_STATEFUL | CAP_CHOICES | CAP_OWN_DECODE,
    .n_params = N_PARAMS,
    .n_state = N_STATE,
    .n_parts = LSH_PARTS,
    .v_part = LSH_V,
    .options = options,
    .accepts = accepts,
    .params = params,
    .params_help =
        "g: gates of the modules; e: projection that they share; b: bias of the product; "
        "conv_q: kernel of the queries; b_q: its bias; conv_k: of the keys, averaged "
        "with them; b_k: its bias; conv_v: of the values; b_v: its bias",
    .state = state,
    .project = project,
    .choose = lsh_choose,
    .choice_parts = 1u << LSH_BUCKET,
    .mix = lsh_mix,
    .finish = finish,
    .groups = lsh_groups,
    .matrix = lsh_matrix,
    .decode_matrix = lsh_decode_matrix,
    .flops = flops,
    .n_draws = 1,
    .draws = lsh_draws,
};

const Variant variant_terraformer = {
    .name = "terraformer",
    .title = "Terraformer: reversible, LSH attention, sparse projections, feed-forward and loss",
    .paper = "Jaszczur 2021, arXiv:2111.12763",
    .formula = "y1 = x1 + lsh((q + k) / 2, v) of norm(x2), q, k, v = conv(mult(.))\n"
               "y2 = x2 + sparse(norm(y1)) + SRU(norm(y1) W_u) W_d",
    .time = "T C D n_hashes",
    .state = "2 T D",
    .mixer = &mixer_terraformer,
    .mixer_set = "sru=1",
    .channel = &channel_sparse,
    .norm = NORM_LAYER,
    .norm_eps = 1e-6,
    .norm_bias = true,
    .blocks_per_layer = 1,
    .loss = &loss_mult,
    .topology = REVERSIBLE,
};
