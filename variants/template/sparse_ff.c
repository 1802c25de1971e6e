/* sparse_ff.c - a feed-forward layer of which a controller picks one unit in every block of N
 * (Jaszczur 2021, section 3.1):
 *     z = x C1 C2 + cb                   logits of the F = K N units
 *     y = b2 + sum_k relu(x.w1_j) w2_j,  j the first largest z of block k
 * In training a coin falls once a call: with 1 - quant_prob all units count, softly,
 *     y = (relu(x w1') m) w2 + b2,       m = softmax of every block of z
 * and with quant_prob the unit j = argmax(z + tau g), g Gumbel noise, with the gradient that m_j
 * would have (straight through): both passes touch K of F units. */
#include "kernels/rng.h"
#include "variants/template/sparse.h"
#include "variants/template/sru.h"

#include <math.h>

enum { C1, C2, CB, W1, W2, B2, SRU, N_PARAMS = SRU + SRU_PARAMS };
enum { Z, PICK, N_PARTS };
enum { NOISE, COIN, N_DRAWS };
enum { RNG_NOISE = 8, RNG_COIN }; /* which draw of the layer; see mix_rng */
enum { BLOCK, RANK, TAU, QUANT_PROB, BY_CONTROLLER, KERNEL_SCALING, SRU_N, SRU_WIDTH };

enum { N_DEFAULT = 32 };
static const Option options[] = {
    {"block", N_DEFAULT, 1, 4096, true, "N: units of a block, of which one is used"},
    {"rank", 0, 0, 65536, true, "r: columns of C1; 0: the larger of 8 and D / N"},
    {"tau", 0.1, 0, 100, false, "size of the noise on the choice in training"},
    {"quant_prob", 0.3, 0, 1, false, "part of the training calls that use one unit of a block"},
    {"multiply_by_controller_output", 0, 0, 1, true, "units are multiplied by their soft mask"},
    {"kernel_scaling", 0, 0, 1, true, "initial w2 times sqrt(N)"},
    {"sru", 0, 0, SRU_LAYERS, true, "layers of a recurrent unit whose output is added; 0: none"},
    {"sru_width", 32, 1, 4096, true, "its width"},
    {0},
};

static int block_of(const MixCtx *c)
{
    return (int)c->ffn_opt[BLOCK];
}

static int rank_of(const MixCtx *c)
{
    int rank = (int)c->ffn_opt[RANK], usual = c->width / block_of(c);
    return rank > 0 ? rank : usual > 8 ? usual : 8;
}

static Status accepts(const MixCtx *c)
{
    if (c->ffn % block_of(c) != 0)
        return FAIL(ST_SHAPE, "%d units are not whole blocks of %d (block)", c->ffn, block_of(c));
    if (c->ffn_opt[SRU_N] > 0 && !c->causal)
        return FAIL(ST_UNSUPPORTED, "a recurrent unit (sru) goes from left to right");
    return ST_OK;
}

static int default_ffn(int width)
{
    return (4 * width + N_DEFAULT - 1) / N_DEFAULT * N_DEFAULT;
}

/* Normal with the variance of Glorot's uniform. */
static Slot glorot(const char *name, int64_t rows, int64_t cols, double in, double out)
{
    Slot s = slot_matrix(name, rows, cols);
    s.sd = sqrt(2.0 / (in + out));
    return s;
}

static Slot bias(const char *name, int64_t n)
{
    Slot s = slot_bias(name, n);
    s.init = INIT_NORMAL;
    s.sd = 1e-6;
    return s;
}

static void params(Slot s[], const MixCtx *c)
{
    int d = c->width, f = c->ffn, r = rank_of(c);
    s[C1] = glorot("c1", d, r, d, r);
    s[C2] = glorot("c2", r, f, r, f);
    s[CB] = bias("cb", f);
    s[W1] = glorot("w1", f, d, d, f); /* a unit is a row, here and in w2 */
    s[W2] = glorot("w2", f, d, f, d);
    s[W2].sd *= c->ffn_opt[KERNEL_SCALING] != 0 ? sqrt(block_of(c)) : 1;
    s[B2] = bias("b2", d);
    sru_params(s + SRU, c, (int)c->ffn_opt[SRU_N], (int)c->ffn_opt[SRU_WIDTH]);
}

static void state(Slot s[], const MixCtx *c)
{
    sru_state(s, c, (int)c->ffn_opt[SRU_N], (int)c->ffn_opt[SRU_WIDTH]);
}

static void draws(Slot s[], const MixCtx *c)
{
    s[NOISE] = (Slot){.name = "noise", .rank = 3, .dim = {c->batch, c->q_len, c->ffn}};
    s[COIN] = (Slot){.name = "coin", .rank = 1, .dim = {1}};
}

static void prepare(Tape *t, const MixIn *in, Tensor *x, Parts *parts)
{
    Tensor *const *w = in->w;
    parts->p[Z] = op_linear(t, op_linear(t, x, w[C1], NULL), w[C2], w[CB]); /* (B,T,F) */
}

/* The coin of this call: does it use one unit of a block? Evaluation always does. */
static bool is_hard(Tape *t, const MixIn *in)
{
    const MixCtx *c = in->ctx;
    RngAt at = mix_rng(in, RNG_COIN);
    double coin = rng_uniform(at.seed, at.stream, at.offset);
    if (c->ffn_draw[COIN] != NULL)
        tape_fail(t, dev_read_f64(tape_dev(t), &coin, c->ffn_draw[COIN]->buf, 0, 1));
    return !c->training || coin < c->ffn_opt[QUANT_PROB];
}

static void choose(Tape *t, const MixIn *in, Parts *parts)
{
    const MixCtx *c = in->ctx;
    RngAt at = mix_rng(in, RNG_NOISE);
    PickOpt o = {block_of(c), c->training ? c->ffn_opt[TAU] : 0, at.seed, at.offset, at.stream};
    if (is_hard(t, in))
        parts->p[PICK] = op_pick(t, parts->p[Z], c->training ? c->ffn_draw[NOISE] : NULL, o);
}

static Tensor *units(Tape *t, const MixIn *in, const Parts *parts, Tensor *x)
{
    const MixCtx *c = in->ctx;
    Tensor *const *w = in->w, *z = parts->p[Z];
    SparseFfOpt o = {block_of(c), c->ffn_opt[BY_CONTROLLER] != 0, c->training};
    if (parts->p[PICK] != NULL)
        return op_sparse_ff(t, x, o.scaled || o.estimate ? z : NULL, parts->p[PICK], w[W1], w[W2],
                            w[B2], o);
    Tensor *u = op_linear_rows(t, x, w[W1], NULL); /* (B,T,F) */
    Tensor *h = op_gate(t, ACT_RELU, u, op_soft_blocks(t, z, o.block));
    return op_linear(t, h, w[W2], w[B2]);
}

static Tensor *forward(Tape *t, const MixIn *in, const Parts *parts, Tensor *x)
{
    int layers = (int)in->ctx->ffn_opt[SRU_N];
    Tensor *y = units(t, in, parts, x);
    return layers > 0 ? op_add(t, y, sru_branch(t, in->w + SRU, in->st, x, layers)) : y;
}

/* In training: the mean over the coin. */
static double flops(const MixCtx *c)
{
    double rows = (double)c->batch * (double)c->q_len, d = c->width, f = c->ffn, r = rank_of(c);
    double hard = c->training ? c->ffn_opt[QUANT_PROB] : 1;
    return rows * (2 * r * (d + f) + 4 * d * f * (1 - hard + hard / block_of(c))) +
           sru_flops(c, (int)c->ffn_opt[SRU_N], (int)c->ffn_opt[SRU_WIDTH]);
}

const ChannelMixer channel_sparse = {
    .name = "sparse",
    .caps = CAP_CHOICES | CAP_DRAWS,
    .n_params = N_PARAMS,
    .n_state = SRU_STATE,
    .n_parts = N_PARTS,
    .n_draws = N_DRAWS,
    .options = options,
    .smooth_set = "quant_prob=0 multiply_by_controller_output=0",
    .accepts = accepts,
    .default_ffn = default_ffn,
    .ffn_multiple = block_of,
    .params = params,
    .state = state,
    .params_help =
        "c1: controller, to r columns; c2: to a logit for every unit; cb: its bias; "
        "w1: in, a row for every unit; w2: out, a row for every unit; b2: its bias; " SRU_HELP,
    .draws = draws,
    .prepare = prepare,
    .choose = choose,
    .choice_parts = 1u << PICK,
    .forward = forward,
    .flops = flops,
};
