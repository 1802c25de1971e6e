/* test_tape.c - records, failures that stick, memory that goes in time, and blocks run again. */
#include "kernels/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6, WIDTH = 8, N = ROWS * WIDTH, DEPTH = 8 };

/* A device, a tape, x (2,3,8) and a square matrix. */
typedef struct Desk {
    Dev *d;
    Tape *t;
    Tensor x, w;
} Desk;

static void must(Status st)
{
    cr_assert_eq(st, ST_OK, "%s", status_reason());
}

static void fill(Dev *d, Tensor *x, double scale)
{
    double value[N + WIDTH * WIDTH];
    for (int64_t i = 0; i < tensor_size(x); i++)
        value[i] = scale * sin(1.0 + 2.0 * (double)i);
    must(dev_write_f64(d, x->buf, 0, value, tensor_size(x)));
}

static Desk desk_open(const char *backend)
{
    Desk k = {0};
    must(dev_open(&k.d, backend, 0, 0));
    must(tape_new(&k.t, k.d));
    must(tensor_new(k.d, &k.x, REAL, MEM_INPUT, 3, (int64_t[]){2, 3, WIDTH}));
    must(tensor_new(k.d, &k.w, REAL, MEM_PARAM, 2, (int64_t[]){WIDTH, WIDTH}));
    fill(k.d, &k.x, 1.0);
    fill(k.d, &k.w, 0.4);
    return k;
}

static void desk_close(Desk *k)
{
    tape_free(k->t);
    tensor_free(k->d, &k->x);
    tensor_free(k->d, &k->w);
    dev_close(k->d);
}

static size_t live(const Desk *k)
{
    return dev_mem(k->d).live[MEM_ACT];
}

static void read_all(const Desk *k, Buf b, double *out, int64_t n)
{
    must(dev_read_f64(k->d, out, b, 0, n));
}

/* ---- failures ---- */
Test(tape, a_failure_sticks_until_reset)
{
    Desk k = desk_open("ref");
    k.w.needs_grad = true;
    tape_grad(k.t, true);
    Tensor *a = op_linear(k.t, &k.x, &k.w, NULL);
    must(tape_status(k.t));
    size_t before = live(&k);
    dev_fail_alloc(k.d, 1);
    Tensor *b = op_act(k.t, ACT_SILU, a);
    cr_expect_eq(tape_status(k.t), ST_OOM);
    Tensor *heads = op_attend(k.t, b, b, b, NULL, (AttendOpt){.heads = 2, .scale = 1});
    Tensor *c = op_linear(k.t, op_norm(k.t, NORM_RMS, 1e-5, heads, NULL, NULL), &k.w, NULL);
    cr_expect(b->rank == 3 && c->rank == 3 && c->dim[0] == 2 && c->dim[1] == 3 &&
              c->dim[2] == WIDTH);
    cr_expect(b->buf.ptr == NULL && c->buf.ptr == NULL && live(&k) == before);
    cr_expect_eq(tape_n_ops(k.t), 1, "only the first op ran");
    cr_expect_eq(tape_backward(k.t, c, NULL), ST_OOM);
    cr_expect_null(k.w.grad.ptr);
    tape_fail(k.t, ST_SHAPE);
    cr_expect_eq(tape_status(k.t), ST_OOM, "the first failure stays");

    tape_reset(k.t);
    cr_expect_eq(tape_status(k.t), ST_OK);
    cr_expect(live(&k) == 0 && tape_n_ops(k.t) == 0 && tape_cost(k.t).flops == 0);
    must(tape_backward(k.t, op_linear(k.t, &k.x, &k.w, NULL), NULL));
    cr_expect_not_null(k.w.grad.ptr);
    desk_close(&k);
}

static Status refuse(const Call *c)
{
    return call_needs(c, false, "fft");
}

Test(tape, a_missing_kernel_is_unsupported_by_name)
{
    static const Op op = {"longconv", refuse, NULL, NULL};
    Desk k = desk_open("cpu");
    Call c = call_new(k.t, NULL, 0);
    call_in(&c, &k.x);
    call_out_like(&c, k.t, &k.x);
    tape_run(k.t, &op, &c);
    cr_expect_eq(tape_status(k.t), ST_UNSUPPORTED);
    cr_expect_not_null(strstr(status_reason(), "fft"));
    cr_expect_not_null(strstr(status_reason(), "cpu"));
    desk_close(&k);
}

/* Every allocation of a backward pass may fail: each is reported, and nothing stays behind. */
Test(tape, backward_that_runs_out_of_memory_says_so)
{
    for (int strategy = TAPE_STORE; strategy <= TAPE_RECOMPUTE; strategy++) {
        Status st = ST_OOM;
        int64_t n = 1;
        for (; st != ST_OK && n < 100; n++) {
            Desk k = desk_open("ref");
            k.w.needs_grad = true;
            tape_grad(k.t, true);
            tape_strategy(k.t, (Strategy)strategy);
            Tensor *y = op_act(k.t, ACT_GELU, op_linear(k.t, &k.x, &k.w, NULL));
            must(tape_status(k.t));
            dev_fail_alloc(k.d, n);
            st = tape_backward(k.t, y, NULL);
            cr_assert(st == ST_OK || st == ST_OOM);
            cr_assert_eq(tape_status(k.t), st);
            dev_fail_alloc(k.d, 0);
            tape_reset(k.t);
            cr_assert_eq(live(&k), k.w.grad.size);
            desk_close(&k);
        }
        cr_expect(st == ST_OK && n > 3);
    }
}

Test(tape, tensors_too_large_to_count_are_out_of_memory)
{
    Tensor x;
    Desk k = desk_open("dry");
    const int64_t huge[] = {(int64_t)1 << 20, (int64_t)1 << 20, (int64_t)1 << 20, 16};
    cr_expect_eq(tensor_new(k.d, &x, REAL, MEM_INPUT, 4, huge), ST_OOM, "2^64 numbers");
    cr_expect_null(x.buf.ptr);
    desk_close(&k);
}

Test(tape, operands_that_do_not_fit_are_broken_promises, .signal = SIGABRT)
{
    Desk k = desk_open("ref");
    fclose(stderr);
    op_affine(k.t, &k.x, &k.w, NULL); /* 64 gains for 8 columns */
}

/* ---- release ---- */
Test(tape, release_frees_what_is_not_kept)
{
    double before[N], after[N];
    Desk k = desk_open("ref");
    Tensor *first = op_act(k.t, ACT_RELU, &k.x);
    int mark = tape_mark(k.t);
    Tensor *a = op_add(k.t, first, first), *b = op_act(k.t, ACT_SILU, a), *c = op_add(k.t, a, b);
    must(tape_status(k.t));
    read_all(&k, b->buf, before, N);
    cr_expect_eq(live(&k), 4 * first->buf.size);
    tape_release(k.t, mark, (Tensor *[]){&k.x, b, NULL}, 3);
    cr_expect_eq(live(&k), 2 * first->buf.size, "b and what was before the mark");
    (void)c;
    read_all(&k, b->buf, after, N);
    cr_expect_eq(memcmp(before, after, sizeof before), 0);
    Tensor *d = op_add(k.t, b, first);
    must(tape_status(k.t));
    tape_release(k.t, mark, &d, 1);
    cr_expect_eq(live(&k), 2 * first->buf.size, "b was kept once, not for ever");
    tape_release(k.t, 0, NULL, 0);
    cr_expect_eq(live(&k), 0);
    desk_close(&k);
}

Test(tape, release_does_nothing_while_recording)
{
    Desk k = desk_open("ref");
    k.w.needs_grad = true;
    tape_grad(k.t, true);
    Tensor *a = op_linear(k.t, &k.x, &k.w, NULL), *b = op_act(k.t, ACT_SILU, a);
    tape_release(k.t, 0, &b, 1);
    cr_expect_eq(live(&k), 2 * a->buf.size);
    must(tape_backward(k.t, b, NULL));
    desk_close(&k);
}

/* ---- backward ---- */
Test(tape, backward_frees_activations_as_it_goes)
{
    Desk k = desk_open("ref");
    k.w.needs_grad = true;
    must(dev_alloc(k.d, k.w.buf.size, MEM_GRAD, &k.w.grad));
    must(tensor_fill(k.d, &(Tensor){.buf = k.w.grad, .rank = 1, .dim = {WIDTH * WIDTH}}, 0));
    tape_grad(k.t, true);
    Tensor *y = &k.x;
    for (int i = 0; i < DEPTH; i++)
        y = op_act(k.t, ACT_SILU, op_linear(k.t, y, &k.w, NULL));
    size_t one = y->buf.size;
    cr_expect_eq(live(&k), 2 * DEPTH * one);
    must(tape_backward(k.t, y, NULL));
    cr_expect_eq(live(&k), 0, "all was done with");
    cr_expect_leq(dev_mem(k.d).peak[MEM_ACT], (2 * DEPTH + 2) * one, "two gradients at a time");
    cr_expect_null(k.x.grad.ptr);
    desk_close(&k);
}

Test(tape, without_gradients_nothing_is_recorded)
{
    Desk k = desk_open("ref");
    tape_grad(k.t, true);
    Tensor *y = op_linear(k.t, &k.x, &k.w, NULL);
    cr_expect_not(y->needs_grad);
    must(tape_backward(k.t, y, NULL));
    cr_expect(y->grad.ptr == NULL && k.w.grad.ptr == NULL);
    k.w.needs_grad = true;
    tape_grad(k.t, false);
    y = op_linear(k.t, &k.x, &k.w, NULL);
    cr_expect_not(y->needs_grad);
    desk_close(&k);
}

/* By-products carry no gradient: what is made of them leaves the weights alone. */
Test(tape, no_gradient_flows_through_byproducts)
{
    static const int32_t target[ROWS] = {0, 1, 2, 3, 4, 5};
    Tensor ids, *nll;
    double dw[WIDTH * WIDTH];
    Desk k = desk_open("ref");
    must(tensor_new(k.d, &ids, I32, MEM_INPUT, 1, (int64_t[]){ROWS}));
    must(dev_write(k.d, ids.buf, target, sizeof target));
    k.w.needs_grad = true;
    for (int i = 0; i < 2; i++) {
        dev_free(k.d, &k.w.grad);
        tape_reset(k.t);
        tape_grad(k.t, true);
        Tensor *loss = op_cross_entropy(k.t, op_linear(k.t, &k.x, &k.w, NULL), &ids, ROWS, &nll);
        cr_expect_not(nll->needs_grad);
        Tensor *extra = op_act(k.t, ACT_SILU, nll);
        cr_expect_not(extra->needs_grad);
        must(tape_backward(k.t, i == 0 ? loss : extra, NULL));
        if (i == 0)
            read_all(&k, k.w.grad, dw, WIDTH * WIDTH);
        else
            cr_expect_null(k.w.grad.ptr);
    }
    cr_expect_neq(dw[0], 0);
    tensor_free(k.d, &ids);
    desk_close(&k);
}

/* y1 = x, y2 = 2 x: an op with two results. */
static Status split_forward(const Call *c)
{
    const double *x = c->in[0]->buf.ptr;
    for (int64_t i = 0; i < N; i++) {
        ((double *)c->out[0]->buf.ptr)[i] = x[i];
        ((double *)c->out[1]->buf.ptr)[i] = 2 * x[i];
    }
    return ST_OK;
}

static Status split_backward(const Call *c)
{
    const double *a = c->out[0]->grad.ptr, *b = c->out[1]->grad.ptr;
    double *dx = call_grad(c, 0);
    for (int64_t i = 0; i < N; i++)
        dx[i] += a[i] + 2 * b[i];
    return ST_OK;
}

Test(tape, results_that_nobody_used_have_zero_gradients)
{
    static const Op op = {"split", split_forward, split_backward, NULL};
    for (int used = 0; used < 2; used++) {
        double dx[N];
        Desk k = desk_open("ref");
        k.x.needs_grad = true;
        tape_grad(k.t, true);
        Call c = call_new(k.t, NULL, 0);
        call_in(&c, &k.x);
        call_out_like(&c, k.t, &k.x);
        call_out_like(&c, k.t, &k.x);
        tape_run(k.t, &op, &c);
        must(tape_backward(k.t, op_act(k.t, ACT_NONE, c.out[used]), NULL));
        read_all(&k, k.x.grad, dx, N);
        cr_expect(dx[0] == 1 + used && dx[N - 1] == 1 + used);
        desk_close(&k);
    }
}

/* Gradients of one tensor in several roles land in one place: the kernels get equal addresses. */
static void fan_out(const char *backend, bool naive, double *dw)
{
    Desk k = desk_open(backend);
    AttendOpt o = {.kind = ATTN_SOFTMAX, .naive = naive, .causal = true, .heads = 2, .scale = 0.5};
    k.w.needs_grad = true;
    tape_grad(k.t, true);
    Tensor *h = op_linear(k.t, &k.x, &k.w, NULL);
    Tensor *y = op_attend(k.t, h, h, h, NULL, o);
    y = op_add(k.t, op_gate(k.t, ACT_SILU, y, y), op_gate(k.t, ACT_GELU, h, y));
    must(tape_backward(k.t, op_add(k.t, y, y), NULL));
    read_all(&k, k.w.grad, dw, WIDTH * WIDTH);
    desk_close(&k);
}

Test(tape, a_tensor_may_be_used_many_times)
{
    double ref[WIDTH * WIDTH], cpu[WIDTH * WIDTH], most = 0;
    for (int naive = 0; naive < 2; naive++) {
        fan_out("ref", naive != 0, ref);
        fan_out("cpu", naive != 0, cpu);
        for (int i = 0; i < WIDTH * WIDTH; i++)
            most = fmax(most, fabs(ref[i]));
        for (int i = 0; i < WIDTH * WIDTH; i++)
            cr_expect_float_eq(cpu[i], ref[i], 1e-5 * most, "%g, not %g", cpu[i], ref[i]);
        cr_expect_gt(most, 0.1);
    }
}

/* ---- the caches ---- */
Test(tape, append_writes_rows_in_every_sequence)
{
    double cache[2 * 5 * WIDTH], x[N];
    Tensor c;
    Desk k = desk_open("ref");
    must(tensor_new(k.d, &c, REAL, MEM_STATE, 3, (int64_t[]){2, 5, WIDTH}));
    must(tensor_fill(k.d, &c, 7.0));
    op_append(k.t, &c, &k.x, 1);
    must(tape_status(k.t));
    read_all(&k, c.buf, cache, 2 * 5 * WIDTH);
    read_all(&k, k.x.buf, x, N);
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < 5 * WIDTH; i++) {
            bool new_row = i >= WIDTH && i < 4 * WIDTH;
            cr_assert_eq(cache[b * 5 * WIDTH + i], new_row ? x[b * 3 * WIDTH + i - WIDTH] : 7.0);
        }
    tensor_free(k.d, &c);
    desk_close(&k);
}
