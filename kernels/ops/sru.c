/* sru.c - the simple recurrent unit. */
#include "kernels/ops.h"

#include <string.h>

static Sru sru_of(const Call *c)
{
    Sru a = {.batch = c->in[0]->dim[0],
             .len = c->in[0]->dim[1],
             .width = tensor_width(c->in[0]),
             .x = call_ptr(c->in[0]),
             .g = call_ptr(c->in[1]),
             .h = call_ptr(c->out[0]),
             .c = c->n_out > 1 ? call_ptr(c->out[1]) : NULL};
    memcpy(&a.state, c->arg, sizeof a.state);
    return a;
}

static Status forward(const Call *c)
{
    Sru a = sru_of(c);
    TRY(call_needs(c, c->k->sru_fwd != NULL, "sru_fwd"));
    return c->k->sru_fwd(c->dev, &a);
}

static Status backward(const Call *c)
{
    Sru a = sru_of(c);
    a.dh = c->out[0]->grad.ptr;
    a.dx = call_grad(c, 0);
    a.dg = call_grad(c, 1);
    TRY(call_needs(c, c->k->sru_bwd != NULL, "sru_bwd"));
    return c->k->sru_bwd(c->dev, &a);
}

/* Four multiply-adds a number: two for c, two for h. */
static Cost cost(const Call *c)
{
    return (Cost){8.0 * (double)tensor_size(c->in[0]), call_bytes(c)};
}

static const Op sru = {"sru", forward, backward, cost};

Tensor *op_sru(Tape *t, Tensor *x, Tensor *g, Tensor *state)
{
    void *carried = state != NULL ? state->buf.ptr : NULL;
    CHECK(x->rank == 3 && tensor_rows(g) == tensor_rows(x));
    CHECK(tensor_width(g) == 3 * tensor_width(x) && (state == NULL || !tape_has_grad(t)));
    CHECK(state == NULL || tensor_size(state) == x->dim[0] * tensor_width(x));
    Call c = call_new(t, &carried, sizeof carried);
    call_in(&c, x);
    call_in(&c, g);
    call_out_like(&c, t, x);
    if (tape_has_grad(t))
        call_out_aside(&c, t, 3, x->dim);
    return tape_run(t, &sru, &c);
}
