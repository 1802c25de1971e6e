/* pointwise.c - activations, gates, sums, gains and biases, norms, rotary positions. */
#include "kernels/ops.h"

#include <string.h>

/* ---- y = f(a) * b ---- */
static Gate gate_of(const Call *c)
{
    Act act;
    memcpy(&act, c->arg, sizeof act);
    return (Gate){.act = act,
                  .n = tensor_size(c->in[0]),
                  .a = call_ptr(c->in[0]),
                  .b = call_ptr(c->in[1]),
                  .y = call_ptr(c->out[0]),
                  .dy = c->out[0]->grad.ptr,
                  .da = call_grad(c, 0),
                  .db = call_grad(c, 1),
                  .set_da = call_fresh(c, 0),
                  .set_db = call_fresh(c, 1)};
}

static Status gate_forward(const Call *c)
{
    Gate a = gate_of(c);
    TRY(call_needs(c, c->k->gate_fwd != NULL, "gate_fwd"));
    return c->k->gate_fwd(c->dev, &a);
}

static Status gate_backward(const Call *c)
{
    Gate a = gate_of(c);
    TRY(call_needs(c, c->k->gate_bwd != NULL, "gate_bwd"));
    return c->k->gate_bwd(c->dev, &a);
}

static const Op gate = {"gate", gate_forward, gate_backward, NULL};

Tensor *op_gate(Tape *t, Act f, Tensor *a, Tensor *b)
{
    CHECK(b == NULL || tensor_size(a) == tensor_size(b));
    Call c = call_new(t, &f, sizeof f);
    call_in(&c, a);
    call_in(&c, b);
    c.overwrites = c.k->overwrites ? 1 | 2 : 0;
    call_out_like(&c, t, a);
    return tape_run(t, &gate, &c);
}

Tensor *op_act(Tape *t, Act f, Tensor *x)
{
    return op_gate(t, f, x, NULL);
}

/* ---- y = a + b ---- */
static Status add_forward(const Call *c)
{
    TRY(call_needs(c, c->k->add != NULL, "add"));
    return c->k->add(c->dev, tensor_size(c->in[0]), call_ptr(c->in[0]), call_ptr(c->in[1]),
                     call_ptr(c->out[0]));
}

static Status add_backward(const Call *c)
{
    TRY(call_pass(c, 0, false));
    return call_pass(c, 1, true);
}

static const Op add = {"add", add_forward, add_backward, NULL};

Tensor *op_add(Tape *t, Tensor *a, Tensor *b)
{
    CHECK(tensor_size(a) == tensor_size(b));
    Call c = call_new(t, NULL, 0);
    call_in(&c, a);
    call_in(&c, b);
    c.passes = 1 | 2;
    call_out_like(&c, t, a);
    return tape_run(t, &add, &c);
}

/* ---- y = x ---- */
static Status copy_forward(const Call *c)
{
    int64_t n = tensor_size(c->in[0]);
    TRY(call_needs(c, c->k->copy != NULL, "copy"));
    return c->k->copy(c->dev, &(Copy){.batch = 1,
                                      .rows = 1,
                                      .width = n,
                                      .src = call_ptr(c->in[0]),
                                      .dst = call_ptr(c->out[0]),
                                      .src_row = n,
                                      .dst_row = n});
}

static Status copy_backward(const Call *c)
{
    return call_pass(c, 0, true);
}

static const Op copy = {"copy", copy_forward, copy_backward, NULL};

Tensor *op_copy(Tape *t, Tensor *x)
{
    Call c = call_new(t, NULL, 0);
    call_in(&c, x);
    c.passes = 1;
    call_out_like(&c, t, x);
    return tape_run(t, &copy, &c);
}

/* ---- y = a x + b z ---- */
typedef struct BlendArg {
    double a, b;
} BlendArg;

static BlendArg blend_arg(const Call *c)
{
    BlendArg f;
    memcpy(&f, c->arg, sizeof f);
    return f;
}

static Status blend_forward(const Call *c)
{
    BlendArg f = blend_arg(c);
    TRY(call_needs(c, c->k->blend != NULL, "blend"));
    return c->k->blend(c->dev, tensor_size(c->in[0]), f.a, call_ptr(c->in[0]), f.b,
                       call_ptr(c->in[1]), call_ptr(c->out[0]));
}

static Status blend_backward(const Call *c)
{
    BlendArg f = blend_arg(c);
    for (int i = 0; i < 2; i++)
        if (call_grad(c, i) != NULL)
            TRY(c->k->blend(c->dev, tensor_size(c->in[0]), 1, call_grad(c, i), i == 0 ? f.a : f.b,
                            c->out[0]->grad.ptr, call_grad(c, i)));
    return ST_OK;
}

static const Op blend = {"blend", blend_forward, blend_backward, NULL};

Tensor *op_blend(Tape *t, double a, Tensor *x, double b, Tensor *z)
{
    CHECK(tensor_size(x) == tensor_size(z));
    Call c = call_new(t, &(BlendArg){a, b}, sizeof(BlendArg));
    call_in(&c, x);
    call_in(&c, z);
    call_out_like(&c, t, x);
    return tape_run(t, &blend, &c);
}

/* ---- y = x * gain + bias ---- */
static bool fits(const Tensor *x, int64_t n)
{
    return x == NULL || tensor_size(x) == n;
}

static Affine affine_of(const Call *c)
{
    return (Affine){.rows = tensor_rows(c->in[0]),
                    .width = tensor_width(c->in[0]),
                    .x = call_ptr(c->in[0]),
                    .gain = call_ptr(c->in[1]),
                    .bias = call_ptr(c->in[2]),
                    .y = call_ptr(c->out[0]),
                    .dy = c->out[0]->grad.ptr,
                    .dx = call_grad(c, 0),
                    .dgain = call_grad(c, 1),
                    .dbias = call_grad(c, 2)};
}

static Status affine_forward(const Call *c)
{
    Affine a = affine_of(c);
    TRY(call_needs(c, c->k->affine_fwd != NULL, "affine_fwd"));
    return c->k->affine_fwd(c->dev, &a);
}

static Status affine_backward(const Call *c)
{
    Affine a = affine_of(c);
    TRY(call_needs(c, c->k->affine_bwd != NULL, "affine_bwd"));
    return c->k->affine_bwd(c->dev, &a);
}

static const Op affine = {"affine", affine_forward, affine_backward, NULL};

Tensor *op_affine(Tape *t, Tensor *x, Tensor *gain, Tensor *bias)
{
    CHECK(fits(gain, tensor_width(x)) && fits(bias, tensor_width(x)));
    Call c = call_new(t, NULL, 0);
    call_in(&c, x);
    call_in(&c, gain);
    call_in(&c, bias);
    call_out_like(&c, t, x);
    return tape_run(t, &affine, &c);
}

/* ---- norms ---- */
typedef struct NormArg {
    NormKind kind;
    double eps;
} NormArg;

static Norm norm_of(const Call *c)
{
    NormArg a;
    memcpy(&a, c->arg, sizeof a);
    return (Norm){.kind = a.kind,
                  .rows = tensor_rows(c->in[0]),
                  .width = tensor_width(c->in[0]),
                  .eps = a.eps,
                  .x = call_ptr(c->in[0]),
                  .gain = call_ptr(c->in[1]),
                  .bias = call_ptr(c->in[2]),
                  .y = call_ptr(c->out[0]),
                  .stats = call_ptr(c->out[1]),
                  .dy = c->out[0]->grad.ptr,
                  .dx = call_grad(c, 0),
                  .dgain = call_grad(c, 1),
                  .dbias = call_grad(c, 2)};
}

static Status norm_forward(const Call *c)
{
    Norm a = norm_of(c);
    TRY(call_needs(c, c->k->norm_fwd != NULL, "norm_fwd"));
    return c->k->norm_fwd(c->dev, &a);
}

static Status norm_backward(const Call *c)
{
    Norm a = norm_of(c);
    TRY(call_needs(c, c->k->norm_bwd != NULL, "norm_bwd"));
    return c->k->norm_bwd(c->dev, &a);
}

static const Op norm = {"norm", norm_forward, norm_backward, NULL};

Tensor *op_norm(Tape *t, NormKind kind, double eps, Tensor *x, Tensor *gain, Tensor *bias)
{
    if (kind == NORM_NONE)
        return x;
    CHECK(fits(gain, kind == NORM_SCALE ? 1 : tensor_width(x)) && fits(bias, tensor_width(x)));
    Call c = call_new(t, &(NormArg){kind, eps}, sizeof(NormArg));
    call_in(&c, x);
    call_in(&c, gain);
    call_in(&c, bias);
    call_out_like(&c, t, x);
    call_out_aside(&c, t, 2, (int64_t[]){tensor_rows(x), 2});
    return tape_run(t, &norm, &c);
}

/* ---- rotary positions ---- */
static Rope rope_of(const Call *c)
{
    RopeOpt o;
    memcpy(&o, c->arg, sizeof o);
    int d = tensor_width(c->in[0]) / o.heads;
    return (Rope){.rows = tensor_rows(c->in[0]),
                  .len = c->in[0]->dim[1],
                  .pos = o.pos,
                  .heads = o.heads,
                  .d = d,
                  .rot = o.rot > 0 ? o.rot : d,
                  .base = o.base,
                  .half = o.half};
}

static Status rope_forward(const Call *c)
{
    Rope a = rope_of(c);
    a.x = call_ptr(c->in[0]);
    a.y = call_ptr(c->out[0]);
    TRY(call_needs(c, c->k->rope != NULL, "rope"));
    return c->k->rope(c->dev, &a);
}

static Status rope_backward(const Call *c)
{
    Rope a = rope_of(c);
    a.inverse = true;
    a.add = !call_fresh(c, 0);
    a.x = c->out[0]->grad.ptr;
    a.y = call_grad(c, 0);
    return c->k->rope(c->dev, &a);
}

static const Op rope = {"rope", rope_forward, rope_backward, NULL};

Tensor *op_rope(Tape *t, Tensor *x, RopeOpt o)
{
    CHECK(x->rank == 3 && tensor_width(x) % o.heads == 0);
    CHECK(o.rot % 2 == 0 && o.rot <= tensor_width(x) / o.heads);
    Call c = call_new(t, &o, sizeof o);
    call_in(&c, x);
    c.overwrites = 1;
    call_out_like(&c, t, x);
    return tape_run(t, &rope, &c);
}
