/* rel.c - tables of additive biases by the distance of key and query. */
#include "kernels/ops.h"

#include <string.h>

typedef struct RelArg {
    RelKind kind;
    RelOpt o;
} RelArg;

static Rel rel_of(const Call *c)
{
    RelArg a;
    memcpy(&a, c->arg, sizeof a);
    return (Rel){.kind = a.kind,
                 .half = a.o.half,
                 .causal = a.o.causal,
                 .n = a.o.n,
                 .first = a.o.first,
                 .width = tensor_width(c->in[0]),
                 .base = a.o.base,
                 .scale = a.o.scale,
                 .a = call_ptr(c->in[0]),
                 .c = call_ptr(c->in[1]),
                 .y = call_ptr(c->out[0]),
                 .dy = c->out[0]->grad.ptr,
                 .da = call_grad(c, 0),
                 .dc = call_grad(c, 1)};
}

static Status forward(const Call *c)
{
    Rel a = rel_of(c);
    TRY(call_needs(c, c->k->rel_fwd != NULL, "rel_fwd"));
    return c->k->rel_fwd(c->dev, &a);
}

static Status backward(const Call *c)
{
    Rel a = rel_of(c);
    TRY(call_needs(c, c->k->rel_bwd != NULL, "rel_bwd"));
    return c->k->rel_bwd(c->dev, &a);
}

static const Op rel = {"rel", forward, backward, NULL};

static Tensor *run(Tape *t, RelKind kind, Tensor *a, Tensor *c, RelOpt o)
{
    Call call = call_new(t, &(RelArg){kind, o}, sizeof(RelArg));
    call_in(&call, a);
    call_in(&call, c);
    call_out(&call, t, REAL, 1, &o.n);
    return tape_run(t, &rel, &call);
}

Tensor *op_rel_rope(Tape *t, Tensor *a, Tensor *c, RelOpt o)
{
    CHECK(tensor_size(a) == tensor_size(c) && tensor_size(a) % 2 == 0);
    return run(t, REL_ROPE, a, c, o);
}

Tensor *op_rel_buckets(Tape *t, Tensor *buckets, RelOpt o)
{
    CHECK(tensor_size(buckets) == REL_BUCKETS);
    return run(t, REL_BUCKET, buckets, NULL, o);
}
