/* conv.c - causal convolution over positions, one filter a column. */
#include "kernels/ops.h"

#include <string.h>

/* The halo is updated in place, so it is kept beside the operands, not among the inputs. */
static Conv conv_of(const Call *c)
{
    void *halo;
    memcpy(&halo, c->arg, sizeof halo);
    return (Conv){.batch = c->in[0]->dim[0],
                  .len = c->in[0]->dim[1],
                  .width = tensor_width(c->in[0]),
                  .taps = (int)c->in[1]->dim[0],
                  .x = call_ptr(c->in[0]),
                  .w = call_ptr(c->in[1]),
                  .bias = call_ptr(c->in[2]),
                  .y = call_ptr(c->out[0]),
                  .halo = halo,
                  .dy = c->out[0]->grad.ptr,
                  .dx = call_grad(c, 0),
                  .dw = call_grad(c, 1),
                  .dbias = call_grad(c, 2)};
}

static Status forward(const Call *c)
{
    Conv a = conv_of(c);
    TRY(call_needs(c, c->k->conv_fwd != NULL, "conv_fwd"));
    return c->k->conv_fwd(c->dev, &a);
}

static Status backward(const Call *c)
{
    Conv a = conv_of(c);
    TRY(call_needs(c, c->k->conv_bwd != NULL, "conv_bwd"));
    return c->k->conv_bwd(c->dev, &a);
}

static Cost cost(const Call *c)
{
    return (Cost){2.0 * (double)tensor_size(c->in[0]) * (double)c->in[1]->dim[0], call_bytes(c)};
}

static const Op conv = {"conv", forward, backward, cost};

Tensor *op_conv(Tape *t, Tensor *x, Tensor *w, Tensor *bias, Tensor *halo)
{
    void *rows = call_ptr(halo);
    CHECK(x->rank == 3 && w->rank == 2 && tensor_width(w) == tensor_width(x));
    CHECK(bias == NULL || tensor_size(bias) == tensor_width(x));
    CHECK(halo == NULL || (!tape_has_grad(t) && halo->dim[0] == x->dim[0] &&
                           halo->dim[1] == w->dim[0] - 1 && halo->dim[2] == x->dim[2]));
    Call c = call_new(t, &rows, sizeof rows);
    call_in(&c, x);
    call_in(&c, w);
    call_in(&c, bias);
    call_out_like(&c, t, x);
    return tape_run(t, &conv, &c);
}
