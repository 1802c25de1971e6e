/* linear.c - x w + bias, with w (in,out), or by rows of the output, (out,in). One GEMM forward, two
 * backward; the bias gradient is a column sum. */
#include "kernels/ops.h"

typedef struct Layout {
    bool by_rows;
} Layout;

typedef struct Shape {
    int64_t rows, in, out, ldw;
    bool by_rows;
} Shape;

static Shape shape_of(const Call *c)
{
    const Layout *l = (const Layout *)c->arg;
    const int64_t in = tensor_width(c->in[0]), ldw = tensor_width(c->in[1]);
    return (Shape){tensor_rows(c->in[0]), in, l->by_rows ? c->in[1]->dim[0] : ldw, ldw, l->by_rows};
}

static Status forward(const Call *c)
{
    Shape s = shape_of(c);
    TRY(call_needs(c, c->k->gemm != NULL, "gemm"));
    return c->k->gemm(c->dev, &(Gemm){.m = s.rows,
                                      .n = s.out,
                                      .k = s.in,
                                      .tb = s.by_rows,
                                      .alpha = 1,
                                      .a = call_ptr(c->in[0]),
                                      .b = call_ptr(c->in[1]),
                                      .bias = call_ptr(c->in[2]),
                                      .c = call_ptr(c->out[0]),
                                      .lda = s.in,
                                      .ldb = s.ldw,
                                      .ldc = s.out});
}

/* dx += dy w';  dw += x' dy, or by rows dy' x;  dbias += column sums of dy. */
static Status backward(const Call *c)
{
    Shape s = shape_of(c);
    const void *dy = c->out[0]->grad.ptr, *x = call_ptr(c->in[0]);
    Gemm dx = {.m = s.rows,
               .n = s.in,
               .k = s.out,
               .tb = !s.by_rows,
               .alpha = 1,
               .beta = call_fresh(c, 0) ? 0 : 1,
               .a = dy,
               .b = call_ptr(c->in[1]),
               .c = call_grad(c, 0),
               .lda = s.out,
               .ldb = s.ldw,
               .ldc = s.in};
    Gemm dw = {.m = s.by_rows ? s.out : s.in,
               .n = s.ldw,
               .k = s.rows,
               .ta = true,
               .alpha = 1,
               .beta = 1,
               .a = s.by_rows ? dy : x,
               .b = s.by_rows ? x : dy,
               .c = call_grad(c, 1),
               .lda = s.by_rows ? s.out : s.in,
               .ldb = s.ldw,
               .ldc = s.ldw};
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

static const Op linear = {"linear", forward, backward, cost};
static const Op linear_rows = {"linear_rows", forward, backward, cost};

static Tensor *run(Tape *t, Tensor *x, Tensor *w, Tensor *bias, Layout l)
{
    const int in = l.by_rows ? 1 : 0;
    CHECK(w->rank == 2 && w->dim[in] == tensor_width(x));
    CHECK(bias == NULL || tensor_size(bias) == w->dim[1 - in]);
    Call c = call_new(t, &l, sizeof l);
    int64_t dim[MAX_RANK];
    for (int i = 0; i < x->rank; i++)
        dim[i] = x->dim[i];
    dim[x->rank - 1] = w->dim[1 - in];
    call_in(&c, x);
    call_in(&c, w);
    call_in(&c, bias);
    c.overwrites = 1;
    call_out(&c, t, REAL, x->rank, dim);
    return tape_run(t, l.by_rows ? &linear_rows : &linear, &c);
}

Tensor *op_linear(Tape *t, Tensor *x, Tensor *w, Tensor *bias)
{
    return run(t, x, w, bias, (Layout){.by_rows = false});
}

Tensor *op_linear_rows(Tape *t, Tensor *x, Tensor *w, Tensor *bias)
{
    return run(t, x, w, bias, (Layout){.by_rows = true});
}
