/* modules.c - multiplicative layer, and convolution over positions and modules. */
#include "kernels/ops.h"

#include <string.h>

#include <string.h>

/* ---- multiplicative layer ---- */
static Mult mult_of(const Call *c)
{
    return (Mult){.rows = tensor_rows(c->in[0]),
                  .in = tensor_width(c->in[0]),
                  .modules = tensor_width(c->in[1]),
                  .m = tensor_width(c->in[2]),
                  .x = call_ptr(c->in[0]),
                  .g = call_ptr(c->in[1]),
                  .e = call_ptr(c->in[2]),
                  .bias = call_ptr(c->in[3]),
                  .y = call_ptr(c->out[0]),
                  .dy = c->out[0]->grad.ptr,
                  .dx = call_grad(c, 0),
                  .dg = call_grad(c, 1),
                  .de = call_grad(c, 2),
                  .dbias = call_grad(c, 3)};
}

static Status mult_forward(const Call *c)
{
    Mult a = mult_of(c);
    TRY(call_needs(c, c->k->mult_fwd != NULL, "mult_fwd"));
    return c->k->mult_fwd(c->dev, &a);
}

static Status mult_backward(const Call *c)
{
    Mult a = mult_of(c);
    TRY(call_needs(c, c->k->mult_bwd != NULL, "mult_bwd"));
    return c->k->mult_bwd(c->dev, &a);
}

static Cost mult_cost(const Call *c)
{
    return (Cost){2.0 * (double)tensor_size(c->in[0]) * tensor_width(c->out[0]), call_bytes(c)};
}

static const Op mult = {"mult", mult_forward, mult_backward, mult_cost};

Tensor *op_mult(Tape *t, Tensor *x, Tensor *g, Tensor *e, Tensor *bias)
{
    CHECK(g->rank == 2 && e->rank == 2 && g->dim[0] == tensor_width(x) && e->dim[0] == g->dim[0]);
    Call c = call_new(t, NULL, 0);
    int64_t dim[MAX_RANK];
    for (int i = 0; i < x->rank; i++)
        dim[i] = x->dim[i];
    dim[x->rank - 1] = g->dim[1] * e->dim[1];
    CHECK(bias == NULL || tensor_size(bias) == dim[x->rank - 1]);
    call_in(&c, x);
    call_in(&c, g);
    call_in(&c, e);
    call_in(&c, bias);
    call_out(&c, t, REAL, x->rank, dim);
    return tape_run(t, &mult, &c);
}

/* ---- convolution ---- */
static ModConv conv_of(const Call *c)
{
    const Tensor *x = c->in[0], *w = c->in[1];
    return (ModConv){.batch = x->dim[0],
                     .len = x->dim[1],
                     .modules = (int)(x->dim[2] / w->dim[2]),
                     .in = (int)w->dim[2],
                     .out = (int)w->dim[3],
                     .taps = (int)w->dim[0],
                     .side = (int)w->dim[1],
                     .x = call_ptr(x),
                     .w = call_ptr(w),
                     .bias = call_ptr(c->in[2]),
                     .halo = call_ptr(c->in[3]),
                     .y = call_ptr(c->out[0]),
                     .dy = c->out[0]->grad.ptr,
                     .dx = call_grad(c, 0),
                     .dw = call_grad(c, 1),
                     .dbias = call_grad(c, 2)};
}

static Status conv_forward(const Call *c)
{
    ModConv a = conv_of(c);
    TRY(call_needs(c, c->k->modconv_fwd != NULL, "modconv_fwd"));
    return c->k->modconv_fwd(c->dev, &a);
}

static Status conv_backward(const Call *c)
{
    ModConv a = conv_of(c);
    TRY(call_needs(c, c->k->modconv_bwd != NULL, "modconv_bwd"));
    return c->k->modconv_bwd(c->dev, &a);
}

static Cost conv_cost(const Call *c)
{
    const Tensor *w = c->in[1];
    double each = (double)tensor_size(w) / (double)w->dim[3];
    return (Cost){2.0 * (double)tensor_size(c->out[0]) * each, call_bytes(c)};
}

static const Op modconv = {"modconv", conv_forward, conv_backward, conv_cost};

Tensor *op_modconv(Tape *t, Tensor *x, Tensor *w, Tensor *bias, Tensor *halo)
{
    CHECK(x->rank == 3 && w->rank == 4 && x->dim[2] % w->dim[2] == 0 && w->dim[1] % 2 == 1);
    CHECK(bias == NULL || tensor_size(bias) == w->dim[3]);
    CHECK(halo == NULL || (!tape_has_grad(t) && halo->dim[0] == x->dim[0] &&
                           halo->dim[1] == w->dim[0] - 1 && halo->dim[2] == x->dim[2]));
    const int64_t dim[] = {x->dim[0], x->dim[1], x->dim[2] / w->dim[2] * w->dim[3]};
    Call c = call_new(t, NULL, 0);
    call_in(&c, x);
    call_in(&c, w);
    call_in(&c, bias);
    call_in(&c, halo);
    call_out(&c, t, REAL, 3, dim);
    return tape_run(t, &modconv, &c);
}

/* ---- chunks of two tensors in turn ---- */
static Copy interleave_of(const Call *c, int which)
{
    int64_t chunk;
    memcpy(&chunk, c->arg, sizeof chunk);
    return (Copy){.batch = 1,
                  .rows = tensor_size(c->in[which]) / chunk,
                  .width = chunk,
                  .src = call_ptr(c->in[which]),
                  .dst = (char *)c->out[0]->buf.ptr + (size_t)(which * chunk) * dev_real(c->dev),
                  .src_row = chunk,
                  .dst_row = 2 * chunk};
}

static Status interleave_forward(const Call *c)
{
    TRY(call_needs(c, c->k->copy != NULL, "copy"));
    for (int which = 0; which < 2; which++) {
        Copy a = interleave_of(c, which);
        TRY(c->k->copy(c->dev, &a));
    }
    return ST_OK;
}

static Status interleave_backward(const Call *c)
{
    for (int which = 0; which < 2; which++) {
        Copy a = interleave_of(c, which);
        a.src = (char *)c->out[0]->grad.ptr + (size_t)(which * a.width) * dev_real(c->dev);
        a.dst = call_grad(c, which);
        a.src_row = 2 * a.width;
        a.dst_row = a.width;
        a.add = true;
        if (a.dst != NULL)
            TRY(c->k->copy(c->dev, &a));
    }
    return ST_OK;
}

static const Op interleave = {"interleave", interleave_forward, interleave_backward, NULL};

Tensor *op_interleave(Tape *t, Tensor *a, Tensor *b, int64_t chunk)
{
    CHECK(tensor_size(a) == tensor_size(b) && tensor_width(a) % chunk == 0);
    Call c = call_new(t, &chunk, sizeof chunk);
    int64_t dim[MAX_RANK];
    for (int i = 0; i < a->rank; i++)
        dim[i] = a->dim[i];
    dim[a->rank - 1] *= 2;
    call_in(&c, a);
    call_in(&c, b);
    call_out(&c, t, REAL, a->rank, dim);
    return tape_run(t, &interleave, &c);
}

/* ---- rows to remember ---- */

/* Row `from` of x replaces row `to` of the halo, in every sequence. */
static Status keep_row(const Call *c, const Tensor *x, int64_t from, int64_t to)
{
    const Tensor *halo = c->in[0];
    const int64_t w = halo->dim[2];
    const size_t real = dev_real(c->dev);
    return c->k->copy(c->dev, &(Copy){.batch = halo->dim[0],
                                      .rows = 1,
                                      .width = w,
                                      .src = (const char *)x->buf.ptr + (size_t)(from * w) * real,
                                      .dst = (char *)halo->buf.ptr + (size_t)(to * w) * real,
                                      .src_row = w,
                                      .dst_row = w,
                                      .src_batch = x->dim[1] * w,
                                      .dst_batch = halo->dim[1] * w});
}

/* From the oldest on, each from a row that is not yet overwritten. */
static Status keep_forward(const Call *c)
{
    const Tensor *halo = c->in[0], *x = c->in[1];
    const int64_t n = halo->dim[1], len = x->dim[1];
    TRY(call_needs(c, c->k->copy != NULL, "copy"));
    for (int64_t i = 0; i < n; i++) {
        const int64_t t = len - n + i;
        TRY(keep_row(c, t < 0 ? halo : x, t < 0 ? n + t : t, i));
    }
    return ST_OK;
}

static const Op keep_rows = {"keep_rows", keep_forward, NULL, NULL};

void op_keep_rows(Tape *t, Tensor *halo, Tensor *x)
{
    CHECK(!tape_has_grad(t) && halo->rank == 3 && x->rank == 3 && halo->dim[2] == x->dim[2]);
    Call c = call_new(t, NULL, 0);
    call_in(&c, halo);
    call_in(&c, x);
    tape_run(t, &keep_rows, &c);
}
