/* loss.c - the dense loss layer: logits = x W, x (B,T,D), W (D,V). */
#include "variants/template/mixer.h"

static void params(Slot s[], const MixCtx *c)
{
    s[0] = slot_matrix("head", c->width, c->vocab);
}

static Tensor *logits(Tape *t, Tensor *const w[], const MixCtx *c, Tensor *x)
{
    (void)c;
    return op_linear(t, x, w[0], NULL);
}

static double flops(const MixCtx *c)
{
    return 2.0 * (double)c->batch * (double)c->q_len * c->width * c->vocab;
}

const LossLayer loss_dense = {
    .name = "dense", .n_params = 1, .params = params, .logits = logits, .flops = flops};
