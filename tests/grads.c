/* grads.c - see grads.h. */
#include "tests/grads.h"

#include "kernels/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NUMBERS = 256 };

static const double STEP = 1e-5;  /* rounding 1e-16 / STEP and truncation STEP^2 are of one size */
static const double BOUND = 1e-8; /* of an input's largest gradient */

typedef struct Bench {
    const Problem *p;
    Dev *d;
    Tape *t;
    Tensor x[GRADS_MAX_IN], dy;
    Tensor *in[GRADS_MAX_IN];
} Bench;

static void must(Status st)
{
    cr_assert_eq(st, ST_OK, "%s", status_reason());
}

static void draw(Bench *b, Tensor *x, Shape s, uint32_t stream)
{
    double number[MAX_NUMBERS];
    must(tensor_new(b->d, x, REAL, MEM_INPUT, s.rank, s.dim));
    int64_t n = tensor_size(x);
    cr_assert_leq(n, MAX_NUMBERS);
    for (int64_t i = 0; i < n; i++)
        number[i] = 2.0 * rng_uniform(1, stream, (uint64_t)i) - 1.0;
    must(dev_write_f64(b->d, x->buf, 0, number, n));
}

static void bench_open(Bench *b, const Problem *p)
{
    *b = (Bench){.p = p};
    must(dev_open(&b->d, "ref", 0, 0));
    must(tape_new(&b->t, b->d));
    draw(b, &b->dy, p->out, GRADS_MAX_IN);
    for (int i = 0; i < p->n_in; i++) {
        draw(b, &b->x[i], p->in[i], (uint32_t)i);
        b->x[i].needs_grad = true;
        b->in[i] = &b->x[i];
    }
}

static void bench_close(Bench *b)
{
    tape_free(b->t);
    for (int i = 0; i < b->p->n_in; i++)
        tensor_free(b->d, &b->x[i]);
    tensor_free(b->d, &b->dy);
    dev_close(b->d);
}

static Tensor *forward(Bench *b, bool grad)
{
    tape_reset(b->t);
    tape_grad(b->t, grad);
    Tensor *y = b->p->build(b->t, b->in, b->p->arg);
    must(tape_status(b->t));
    cr_assert_eq(y->rank, b->p->out.rank, "%s", b->p->name);
    for (int i = 0; i < y->rank; i++)
        cr_assert_eq(y->dim[i], b->p->out.dim[i], "%s: dimension %d", b->p->name, i);
    return y;
}

/* sum of y * dy, read on the host: ref and the host share memory. */
static double loss(Bench *b)
{
    double sum = 0;
    const Tensor *y = forward(b, false);
    const double *value = y->buf.ptr, *dy = b->dy.buf.ptr;
    for (int64_t i = 0; i < tensor_size(y); i++)
        sum += value[i] * dy[i];
    return sum;
}

/* Gradients are added to what is there: they begin at 1. */
static void backward(Bench *b)
{
    for (int i = 0; i < b->p->n_in; i++)
        if (b->x[i].needs_grad) {
            dev_free(b->d, &b->x[i].grad);
            must(dev_alloc(b->d, b->x[i].buf.size, MEM_GRAD, &b->x[i].grad));
            must(dev_kernels(b->d)->fill(b->d, tensor_size(&b->x[i]), 1.0, b->x[i].grad.ptr));
        }
    must(tape_backward(b->t, forward(b, true), &b->dy));
}

static double slope(Bench *b, double *number)
{
    double keep = *number;
    *number = keep + STEP;
    double above = loss(b);
    *number = keep - STEP;
    double below = loss(b);
    *number = keep;
    return (above - below) / (2 * STEP);
}

/* Largest error over the input's largest gradient; infinite if it has none. */
static double input_error(Bench *b, int i)
{
    double most = 0, scale = 0, *x = b->x[i].buf.ptr;
    const double *dx = b->x[i].grad.ptr;
    for (int64_t j = 0; j < tensor_size(&b->x[i]); j++) {
        double want = slope(b, &x[j]), error = fabs(dx[j] - 1.0 - want);
        most = error > most || isnan(error) ? error : most;
        scale = fmax(scale, fabs(want));
    }
    return scale > 1e-3 ? most / scale : HUGE_VAL;
}

/* One input without a gradient: the others get the same bits, it gets nothing. */
static void check_without(Bench *b, int which)
{
    double kept[GRADS_MAX_IN][MAX_NUMBERS];
    int n = b->p->n_in;
    backward(b);
    for (int i = 0; i < n; i++)
        must(dev_read_f64(b->d, kept[i], b->x[i].grad, 0, tensor_size(&b->x[i])));
    dev_free(b->d, &b->x[which].grad);
    b->x[which].needs_grad = false;
    backward(b);
    cr_expect_null(b->x[which].grad.ptr, "%s: input %d", b->p->name, which);
    for (int i = 0; i < n && n > 1; i++)
        for (int64_t j = 0; i != which && j < tensor_size(&b->x[i]); j++)
            cr_assert_eq(((double *)b->x[i].grad.ptr)[j], kept[i][j], "%s: input %d without %d",
                         b->p->name, i, which);
    b->x[which].needs_grad = true;
}

void grads_check(const Problem *p)
{
    Bench b;
    double most = 0;
    bench_open(&b, p);
    backward(&b);
    for (int i = 0; i < p->n_in; i++) {
        double error = input_error(&b, i);
        cr_expect(error <= BOUND, "%s: the gradient of input %d is off by %g", p->name, i, error);
        most = error > most || isnan(error) ? error : most;
    }
    for (int i = 0; i < p->n_in; i++)
        check_without(&b, i);
    printf("%-34s %.1e\n", p->name, most);
    bench_close(&b);
}

/* Puts an integer tensor on the tape, so that it goes with it. */
static Status give(const Call *c)
{
    const int32_t *value;
    memcpy(&value, c->arg, sizeof value);
    return dev_write(c->dev, c->out[0]->buf, value, c->out[0]->buf.size);
}

Tensor *grads_ints(Tape *t, int rank, const int64_t dim[], const int32_t *value)
{
    static const Op op = {"given", give, NULL, NULL};
    Call c = call_new(t, &value, sizeof value);
    call_out(&c, t, I32, rank, dim);
    return tape_run(t, &op, &c);
}
