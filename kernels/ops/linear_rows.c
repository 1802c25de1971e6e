/* linear_rows.c - x w' + bias with w stored by rows of the output. */
#include "kernels/ops.h"

typedef struct Shape {
    int64_t rows, in, out;
} Shape;

static Shape shape_of(const Call *c)
{
    return (Shape){tensor_rows(c->in[0]), tensor_width(c->in[0]), c->in[1]->dim[0]};
}

static Status forward(const Call *c)
{
    Shape s = shape_of(c);
    TRY(call_needs(c, c->k->gemm != NULL, "gemm"));
    return c->k->gemm(c->dev, &(Gemm){.m = s.rows,
                                      .n = s.out,
                                      .k = s.in,
                                      .tb = true,
                                      .alpha = 1,
                                      .a = call_ptr(c->in[0]),
                                      .b = call_ptr(c->in[1]),
                                      .bias = call_ptr(c->in[2]),
                                      .c = call_ptr(c->out[0]),
                                      .lda = s.in,
                                      .ldb = s.in,
                                      .ldc = s.out});
}

/* dx += dy w;  dw += dy' x;  dbias += column sums of dy. */
static Status backward(const Call *c)
{
    Shape s = shape_of(c);
    const void *dy = c->out[0]->grad.ptr;
    Gemm dx = {.m = s.rows,
               .n = s.in,
               .k = s.out,
               .alpha = 1,
               .beta = 1,
               .a = dy,
               .b = call_ptr(c->in[1]),
               .c = call_grad(c, 0),
               .lda = s.out,
               .ldb = s.in,
               .ldc = s.in};
    Gemm dw = {.m = s.out,
               .n = s.in,
               .k = s.rows,
               .ta = true,
               .alpha = 1,
               .beta = 1,
               .a = dy,
               .b = call_ptr(c->in[0]),
               .c = call_grad(c, 1),
               .lda = s.out,
               .ldb = s.in,
               .ldc = s.in};
    if (dx.c != NULL)
        TRY(c->k->gemm(c->dev, &dx));
    if (dw.c != NULL)
        TRY(c->k->gemm(c->dev, &dw));
    if (call_grad(c, 2) != NULL)
        TRY(c->k->colsum(c->dev, s.rows, s.out, dy, call_grad(c, 2)));
    return ST_OK;
}

static Cost cost(const Call *c)
{
    Shape s = shape_of(c);
    return (Cost){2.0 * (double)s.rows * (double)s.in * (double)s.out, call_bytes(c)};
}

static const Op linear_rows = {"linear_rows", forward, backward, cost};

Tensor *op_linear_rows(Tape *t, Tensor *x, Tensor *w, Tensor *bias)
{
    CHECK(w->rank == 2 && w->dim[1] == tensor_width(x));
    CHECK(bias == NULL || tensor_size(bias) == w->dim[0]);
    Call c = call_new(t, NULL, 0);
    int64_t dim[MAX_RANK];
    for (int i = 0; i < x->rank; i++)
        dim[i] = x->dim[i];
    dim[x->rank - 1] = w->dim[0];
    call_in(&c, x);
    call_in(&c, w);
    call_in(&c, bias);
    call_out(&c, t, REAL, x->rank, dim);
    return tape_run(t, &linear_rows, &c);
}
