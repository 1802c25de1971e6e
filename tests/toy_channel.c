/* toy_channel.c - see toy_channel.h. Brings its own ops, on the host, as a variant may. */
#include "tests/toy_channel.h"

#include "kernels/rng.h"

#include <string.h>

enum { LIFT };
enum { PICK, ROWS, N_PARTS };
enum { X, CHOICE, BEFORE, NOISE }; /* operands */

static const Option options[] = {{"lift", 2, 0, 3, true, "factor of every row"}, {0}};

static double get(const Call *c, const void *p, int64_t i)
{
    return dev_real(c->dev) == sizeof(double) ? ((const double *)p)[i]
                                              : (double)((const float *)p)[i];
}

static void put(const Call *c, void *p, int64_t i, double x)
{
    if (dev_real(c->dev) == sizeof(double))
        ((double *)p)[i] = x;
    else
        ((float *)p)[i] = (float)x;
}

/* ---- choosing: x -> I32 (B,T) ---- */
static Status pick_forward(const Call *c)
{
    if (dev_is_dry(c->dev))
        return ST_OK;
    int64_t w = tensor_width(c->in[X]);
    int32_t *out = call_ptr(c->out[0]);
    for (int64_t r = 0; r < tensor_rows(c->in[X]); r++) {
        out[r] = 0;
        for (int i = 1; i < w; i++)
            if (get(c, call_ptr(c->in[X]), r * w + i) > get(c, call_ptr(c->in[X]), r * w + out[r]))
                out[r] = i;
    }
    return ST_OK;
}

static const Op pick = {"pick", pick_forward, NULL, NULL};

static void prepare(Tape *t, const MixIn *in, Tensor *x, Parts *parts)
{
    (void)t, (void)in;
    parts->p[ROWS] = x;
}

static void choose(Tape *t, const MixIn *in, Parts *parts)
{
    (void)in;
    Call c = call_new(t, NULL, 0);
    bool grad = tape_has_grad(t);
    call_in(&c, parts->p[ROWS]);
    call_out(&c, t, I32, 2, parts->p[ROWS]->dim);
    tape_grad(t, false);
    parts->p[PICK] = tape_run(t, &pick, &c);
    tape_grad(t, grad);
}

/* ---- y_t = f_t x_t[j] x_(t-1) ---- */
typedef struct Arg {
    double lift;
    RngAt rng;
    bool noisy;
} Arg;

static Arg arg_of(const Call *c)
{
    Arg a;
    memcpy(&a, c->arg, sizeof a);
    return a;
}

static double factor(const Call *c, const Arg *a, int64_t row)
{
    if (c->in[NOISE] != NULL)
        return a->lift + get(c, call_ptr(c->in[NOISE]), row);
    return a->lift +
           (a->noisy ? rng_uniform(a->rng.seed, a->rng.stream, a->rng.offset + (uint64_t)row) : 0);
}

static double before(const Call *c, int64_t b, int64_t t, int64_t i)
{
    int64_t T = c->in[X]->dim[1], w = tensor_width(c->in[X]);
    if (t > 0)
        return get(c, call_ptr(c->in[X]), (b * T + t - 1) * w + i);
    return c->in[BEFORE] != NULL ? get(c, call_ptr(c->in[BEFORE]), b * w + i) : 0;
}

static Status shift_forward(const Call *c)
{
    if (dev_is_dry(c->dev))
        return ST_OK;
    Arg a = arg_of(c);
    int64_t B = c->in[X]->dim[0], T = c->in[X]->dim[1], w = tensor_width(c->in[X]);
    const int32_t *at = call_ptr(c->in[CHOICE]);
    for (int64_t r = 0; r < B * T; r++)
        for (int64_t i = 0; i < w; i++)
            put(c, call_ptr(c->out[0]), r * w + i,
                factor(c, &a, r) * get(c, call_ptr(c->in[X]), r * w + at[r]) *
                    before(c, r / T, r % T, i));
    for (int64_t b = 0; b < B && c->in[BEFORE] != NULL; b++)
        for (int64_t i = 0; i < w; i++)
            put(c, call_ptr(c->in[BEFORE]), b * w + i,
                get(c, call_ptr(c->in[X]), (b * T + T - 1) * w + i));
    return ST_OK;
}

static Status shift_backward(const Call *c)
{
    if (dev_is_dry(c->dev))
        return ST_OK;
    Arg a = arg_of(c);
    int64_t B = c->in[X]->dim[0], T = c->in[X]->dim[1], w = tensor_width(c->in[X]);
    const int32_t *at = call_ptr(c->in[CHOICE]);
    void *dx = call_grad(c, X);
    for (int64_t r = 0; r < B * T; r++) {
        double f = factor(c, &a, r), x = get(c, call_ptr(c->in[X]), r * w + at[r]), dxj = 0;
        for (int64_t i = 0; i < w; i++) {
            double dy = get(c, c->out[0]->grad.ptr, r * w + i);
            dxj += dy * f * before(c, r / T, r % T, i);
            if (r % T > 0)
                put(c, dx, (r - 1) * w + i, get(c, dx, (r - 1) * w + i) + dy * f * x);
        }
        put(c, dx, r * w + at[r], get(c, dx, r * w + at[r]) + dxj);
    }
    return ST_OK;
}

static const Op shift = {"shift", shift_forward, shift_backward, NULL};

static Tensor *forward(Tape *t, const MixIn *in, const Parts *parts, Tensor *x)
{
    Arg a = {in->ctx->ffn_opt[LIFT], mix_rng(in, 8), in->ctx->training};
    Call c = call_new(t, &a, sizeof a);
    call_in(&c, x);
    call_in(&c, parts->p[PICK]);
    call_in(&c, in->st != NULL ? in->st[0] : NULL);
    call_in(&c, in->ctx->training ? in->ctx->ffn_draw[0] : NULL);
    call_out_like(&c, t, x);
    return tape_run(t, &shift, &c);
}

/* ---- declarations ---- */
static Status accepts(const MixCtx *c)
{
    return c->width > 1 ? ST_OK : FAIL(ST_SHAPE, "toy_channel chooses among 2 columns or more");
}

static int width_itself(int width)
{
    return width;
}

static void params(Slot s[], const MixCtx *c)
{
    (void)s, (void)c;
}

static void state(Slot s[], const MixCtx *c)
{
    s[0] = slot_state("before", c->batch, 1, c->width);
}

static void draws(Slot s[], const MixCtx *c)
{
    s[0] = (Slot){.name = "noise", .rank = 2, .dim = {c->batch, c->q_len}};
}

static double flops(const MixCtx *c)
{
    (void)c;
    return 0;
}

static const ChannelMixer channel = {
    .name = "toy",
    .caps = CAP_CHOICES | CAP_DRAWS,
    .lacks = CAP_BIDIRECTIONAL,
    .n_state = 1,
    .n_parts = N_PARTS,
    .n_draws = 1,
    .options = options,
    .accepts = accepts,
    .default_ffn = width_itself,
    .params = params,
    .state = state,
    .draws = draws,
    .prepare = prepare,
    .choose = choose,
    .choice_parts = 1u << PICK,
    .forward = forward,
    .flops = flops,
};

const Variant toy_channel = {
    .name = "toy_channel",
    .title = "a shift and a choice behind attention",
    .mixer = &mixer_attention,
    .mixer_set = "lift=1",
    .channel = &channel,
    .norm = NORM_RMS,
    .norm_eps = 1e-6,
    .blocks_per_layer = 1,
};
