/* random.c - random numbers as a tensor. */
#include "kernels/ops.h"

#include <string.h>

typedef struct NormalArg {
    uint64_t seed, offset;
    uint32_t stream;
} NormalArg;

static Status forward(const Call *c)
{
    NormalArg a;
    memcpy(&a, c->arg, sizeof a);
    TRY(call_needs(c, c->k->normal != NULL, "normal"));
    return c->k->normal(c->dev, tensor_size(c->out[0]), a.seed, a.stream, a.offset,
                        call_ptr(c->out[0]));
}

static const Op normal = {"normal", forward, NULL, NULL};

Tensor *op_normal(Tape *t, int rank, const int64_t dim[], uint64_t seed, uint32_t stream,
                  uint64_t offset)
{
    Call c = call_new(t, &(NormalArg){seed, offset, stream}, sizeof(NormalArg));
    call_out(&c, t, REAL, rank, dim);
    return tape_run(t, &normal, &c);
}
