/* loss_mult.c - a multiplicative loss layer (Jaszczur 2021, section 3.3):
 *     logits[s M + m] = b + sum_i x_i g[i,s] e[i,m],   M = V / S
 * d (S + V / S) weights in place of d V. */
#include "variants/template/sparse.h"

#include <math.h>

enum { HEAD_G, HEAD_E, HEAD_B, N_PARAMS };
enum { LOSS_MODULES };

static const Option options[] = {
    {"loss_modules", 4, 1, 4096, true, "S of the loss layer: modules, which share a projection"},
    {0},
};

static int modules(const MixCtx *c)
{
    return (int)c->loss_opt[LOSS_MODULES];
}

static Status accepts(const MixCtx *c)
{
    if (c->vocab % modules(c) != 0)
        return FAIL(ST_SHAPE, "%d loss modules do not divide the vocabulary %d", modules(c),
                    c->vocab);
    return ST_OK;
}

static void params(Slot s[], const MixCtx *c)
{
    int64_t m = c->vocab / modules(c);
    s[HEAD_G] = slot_matrix("head.g", c->width, modules(c));
    s[HEAD_G].sd = 0.5;
    s[HEAD_E] = slot_matrix("head.e", c->width, m);
    s[HEAD_E].sd = sqrt(2.0 / (double)(c->width + m));
    s[HEAD_B] = slot_vector("head.b", INIT_ZERO, 0, c->vocab);
}

static Tensor *logits(Tape *t, Tensor *const w[], const MixCtx *c, Tensor *x)
{
    (void)c;
    return op_mult(t, x, w[HEAD_G], w[HEAD_E], w[HEAD_B]);
}

static double flops(const MixCtx *c)
{
    return 2.0 * (double)c->batch * (double)c->q_len * c->width * c->vocab;
}

const LossLayer loss_mult = {
    .name = "multiplicative",
    .n_params = N_PARAMS,
    .options = options,
    .accepts = accepts,
    .params = params,
    .logits = logits,
    .flops = flops,
};
