/* sparse.c - blocks of units of which one is chosen: soft masks, choices, the feed-forward layer.
 */
#include "kernels/ops.h"

#include <string.h>

/* ---- soft masks ---- */
static SoftBlocks soft_of(const Call *c)
{
    int block;
    memcpy(&block, c->arg, sizeof block);
    return (SoftBlocks){.n = tensor_size(c->in[0]) / block,
                        .block = block,
                        .z = call_ptr(c->in[0]),
                        .m = call_ptr(c->out[0]),
                        .dm = c->out[0]->grad.ptr,
                        .dz = call_grad(c, 0)};
}

static Status soft_forward(const Call *c)
{
    SoftBlocks a = soft_of(c);
    TRY(call_needs(c, c->k->soft_blocks_fwd != NULL, "soft_blocks_fwd"));
    return c->k->soft_blocks_fwd(c->dev, &a);
}

static Status soft_backward(const Call *c)
{
    SoftBlocks a = soft_of(c);
    TRY(call_needs(c, c->k->soft_blocks_bwd != NULL, "soft_blocks_bwd"));
    return c->k->soft_blocks_bwd(c->dev, &a);
}

static const Op soft_blocks = {"soft_blocks", soft_forward, soft_backward, NULL};

Tensor *op_soft_blocks(Tape *t, Tensor *z, int block)
{
    CHECK(tensor_width(z) % block == 0);
    Call c = call_new(t, &block, sizeof block);
    call_in(&c, z);
    call_out_like(&c, t, z);
    return tape_run(t, &soft_blocks, &c);
}

/* ---- choices ---- */
static Status pick_forward(const Call *c)
{
    PickOpt o;
    memcpy(&o, c->arg, sizeof o);
    Pick a = {.n = tensor_size(c->out[0]),
              .block = o.block,
              .tau = o.tau,
              .z = call_ptr(c->in[0]),
              .u = call_ptr(c->in[1]),
              .seed = o.seed,
              .offset = o.offset,
              .stream = o.stream,
              .pick = call_ptr(c->out[0])};
    TRY(call_needs(c, c->k->pick != NULL, "pick"));
    return c->k->pick(c->dev, &a);
}

static const Op pick_op = {"pick", pick_forward, NULL, NULL};

Tensor *op_pick(Tape *t, Tensor *z, Tensor *u, PickOpt o)
{
    CHECK(z->rank == 3 && z->dim[2] % o.block == 0);
    CHECK(u == NULL || tensor_size(u) == tensor_size(z));
    const int64_t dim[] = {z->dim[0], z->dim[1], z->dim[2] / o.block};
    Call c = call_new(t, &o, sizeof o);
    bool grad = tape_has_grad(t);
    call_in(&c, z);
    call_in(&c, u);
    call_out(&c, t, I32, 3, dim);
    tape_grad(t, false); /* a choice has no gradient */
    Tensor *pick = tape_run(t, &pick_op, &c);
    tape_grad(t, grad);
    return pick;
}

/* ---- the layer ---- */
enum { X, Z, W1, W2, BIAS, PICK };

static SparseFf ff_of(const Call *c)
{
    SparseFfOpt o;
    memcpy(&o, c->arg, sizeof o);
    return (SparseFf){.rows = tensor_rows(c->in[X]),
                      .width = tensor_width(c->in[X]),
                      .blocks = tensor_width(c->in[PICK]),
                      .block = o.block,
                      .scaled = o.scaled,
                      .pick = call_ptr(c->in[PICK]),
                      .x = call_ptr(c->in[X]),
                      .w1 = call_ptr(c->in[W1]),
                      .w2 = call_ptr(c->in[W2]),
                      .bias = call_ptr(c->in[BIAS]),
                      .z = call_ptr(c->in[Z]),
                      .y = call_ptr(c->out[0]),
                      .u = call_ptr(c->out[1]),
                      .dy = c->out[0]->grad.ptr,
                      .dx = call_grad(c, X),
                      .dw1 = call_grad(c, W1),
                      .dw2 = call_grad(c, W2),
                      .dbias = call_grad(c, BIAS),
                      .dz = o.estimate ? call_grad(c, Z) : NULL};
}

static Status ff_forward(const Call *c)
{
    SparseFf a = ff_of(c);
    TRY(call_needs(c, c->k->sparse_ff_fwd != NULL, "sparse_ff_fwd"));
    return c->k->sparse_ff_fwd(c->dev, &a);
}

static Status ff_backward(const Call *c)
{
    SparseFf a = ff_of(c);
    TRY(call_needs(c, c->k->sparse_ff_bwd != NULL, "sparse_ff_bwd"));
    return c->k->sparse_ff_bwd(c->dev, &a);
}

/* Of the weights, the rows of the chosen units are read, at most all of them. */
static Cost ff_cost(const Call *c)
{
    SparseFf a = ff_of(c);
    double units = (double)a.rows * a.blocks, real = (double)dev_real(c->dev);
    double all = (double)a.blocks * a.block, saved = units < all ? all - units : 0;
    return (Cost){4.0 * units * a.width, call_bytes(c) - 2 * saved * a.width * real};
}

static const Op sparse_ff = {"sparse_ff", ff_forward, ff_backward, ff_cost};

Tensor *op_sparse_ff(Tape *t, Tensor *x, Tensor *z, Tensor *pick, Tensor *w1, Tensor *w2,
                     Tensor *bias, SparseFfOpt o)
{
    CHECK(x->rank == 3 && pick->dtype == I32 && w1->dim[1] == x->dim[2] && w2->dim[1] == x->dim[2]);
    CHECK(w1->dim[0] == pick->dim[2] * o.block && w2->dim[0] == w1->dim[0]);
    CHECK(z != NULL ? tensor_width(z) == w1->dim[0] : !o.scaled && !o.estimate);
    Call c = call_new(t, &o, sizeof o);
    call_in(&c, x);
    call_in(&c, z);
    call_in(&c, w1);
    call_in(&c, w2);
    call_in(&c, bias);
    call_in(&c, pick);
    call_out_like(&c, t, x);
    call_out_aside(&c, t, 3, pick->dim);
    return tape_run(t, &sparse_ff, &c);
}
