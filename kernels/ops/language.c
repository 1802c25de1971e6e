/* language.c - token embedding and cross-entropy: the two ends of a language model. */
#include "kernels/ops.h"

#include <string.h>

/* ---- table[ids] ---- */
static Embed embed_of(const Call *c)
{
    return (Embed){.rows = tensor_size(c->in[1]),
                   .width = tensor_width(c->in[0]),
                   .vocab = (int)c->in[0]->dim[0],
                   .ids = call_ptr(c->in[1]),
                   .table = call_ptr(c->in[0]),
                   .y = call_ptr(c->out[0]),
                   .dy = c->out[0]->grad.ptr,
                   .dtable = call_grad(c, 0)};
}

static Status embed_forward(const Call *c)
{
    Embed a = embed_of(c);
    TRY(call_needs(c, c->k->embed_fwd != NULL, "embed_fwd"));
    return c->k->embed_fwd(c->dev, &a);
}

static Status embed_backward(const Call *c)
{
    Embed a = embed_of(c);
    TRY(call_needs(c, c->k->embed_bwd != NULL, "embed_bwd"));
    return a.dtable != NULL ? c->k->embed_bwd(c->dev, &a) : ST_OK;
}

static Cost embed_cost(const Call *c)
{
    return (Cost){0, 2.0 * (double)c->out[0]->buf.size};
}

static const Op embed = {"embed", embed_forward, embed_backward, embed_cost};

Tensor *op_embed(Tape *t, Tensor *table, Tensor *ids)
{
    CHECK(ids->dtype == I32 && ids->rank == 2 && table->rank == 2);
    Call c = call_new(t, NULL, 0);
    call_in(&c, table);
    call_in(&c, ids);
    call_out(&c, t, REAL, 3, (int64_t[]){ids->dim[0], ids->dim[1], table->dim[1]});
    return tape_run(t, &embed, &c);
}

/* ---- mean cross-entropy; outputs: loss (1), nll (rows) ---- */
static Xent xent_of(const Call *c)
{
    int64_t counted;
    memcpy(&counted, c->arg, sizeof counted);
    return (Xent){.rows = tensor_rows(c->in[0]),
                  .vocab = tensor_width(c->in[0]),
                  .logits = call_ptr(c->in[0]),
                  .target = call_ptr(c->in[1]),
                  .nll = call_ptr(c->out[1]),
                  .weight = 1.0 / (double)counted,
                  .dloss = c->out[0]->grad.ptr,
                  .dlogits = call_grad(c, 0)};
}

static Status xent_forward(const Call *c)
{
    Xent a = xent_of(c);
    TRY(call_needs(c, c->k->xent_fwd != NULL && c->k->sum != NULL, "xent_fwd"));
    TRY(c->k->xent_fwd(c->dev, &a));
    return c->k->sum(c->dev, a.rows, a.weight, a.nll, call_ptr(c->out[0]));
}

static Status xent_backward(const Call *c)
{
    Xent a = xent_of(c);
    TRY(call_needs(c, c->k->xent_bwd != NULL, "xent_bwd"));
    return a.dlogits != NULL ? c->k->xent_bwd(c->dev, &a) : ST_OK;
}

static const Op xent = {"cross_entropy", xent_forward, xent_backward, NULL};

Tensor *op_cross_entropy(Tape *t, Tensor *logits, Tensor *target, int64_t counted, Tensor **nll)
{
    CHECK(target->dtype == I32 && tensor_size(target) == tensor_rows(logits) && counted > 0);
    Call c = call_new(t, &counted, sizeof counted);
    call_in(&c, logits);
    call_in(&c, target);
    call_out(&c, t, REAL, 1, (int64_t[]){1});
    call_out_aside(&c, t, 1, (int64_t[]){tensor_rows(logits)});
    if (nll != NULL)
        *nll = c.out[1];
    return tape_run(t, &xent, &c);
}
