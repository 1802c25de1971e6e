/* test_choices.c - discrete decisions are saved, replayed when a block runs again, and can be
 * frozen, so that everything else is tested with the decision held fixed. */
#include "tests/stand.h"
#include "tests/toy_choice.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void open_toy(Stand *r, const char *backend, int blocks, bool recompute)
{
    Setting s = setting_small(&toy_choice, backend);
    s.blocks = blocks;
    s.grads = true;
    s.recompute = recompute;
    stand_open(r, &s);
}

static double *room(int64_t n)
{
    return calloc((size_t)n, sizeof(double));
}

Test(choices, frozen_ones_are_replayed)
{
    Stand r;
    open_toy(&r, "ref", 1, false);
    int64_t n = stand_size(&r), T = r.s.len, B = r.s.batch;
    double *x = numbers(n, 1, 1), *y = room(n), *z = room(n);
    int32_t before[64], after[64];
    stand_forward(&r, y);
    Tensor *pick = &r.m.block[0].choices.part[3];
    cr_assert(pick->dtype == I32 && dev_read(r.d, before, pick->buf, (size_t)(B * T) * 4) == ST_OK);
    for (int64_t i = 0; i < n; i++)
        x[i] = sin(5.0 * (double)i); /* quite another input: other choices */
    stand_set_input(&r, x);
    r.m.block[0].choices.frozen = true;
    stand_forward(&r, z);
    cr_assert(dev_read(r.d, after, pick->buf, (size_t)(B * T) * 4) == ST_OK);
    cr_assert(memcmp(before, after, (size_t)(B * T) * 4) == 0, "a frozen choice changed");
    r.m.block[0].choices.frozen = false;
    stand_forward(&r, y);
    cr_assert(dev_read(r.d, after, pick->buf, (size_t)(B * T) * 4) == ST_OK);
    cr_assert(memcmp(before, after, (size_t)(B * T) * 4) != 0,
              "the new input should choose otherwise");
    cr_assert(worst(y, z, n) > 1e-3, "the frozen choice should have mattered");
    free(x);
    free(y);
    free(z);
    stand_close(&r);
}

Test(choices, recompute_replays_them)
{
    Stand r[2];
    double *y[2], *dx[2], *dw[2];
    for (int i = 0; i < 2; i++) {
        open_toy(&r[i], "ref", 3, i == 1);
        int64_t n = stand_size(&r[i]);
        double *dy = numbers(n, 1, 9);
        y[i] = room(n);
        dx[i] = room(n);
        dw[i] = room(stand_n_params(&r[i]));
        stand_backward(&r[i], dy, y[i], dx[i], dw[i]);
        free(dy);
    }
    cr_assert(worst(dx[1], dx[0], stand_size(&r[0])) == 0);
    cr_assert(worst(dw[1], dw[0], stand_n_params(&r[0])) == 0);
    for (int i = 0; i < 2; i++) {
        free(y[i]);
        free(dx[i]);
        free(dw[i]);
        stand_close(&r[i]);
    }
}

/* Between forward and backward pass the seed changes: who chose anew would choose otherwise. */
static void backward_with_another_seed(Stand *r, double *dx)
{
    Tensor *y;
    tape_reset(r->m.tape);
    tape_grad(r->m.tape, true);
    cr_assert(model_zero_grads(&r->m) == ST_OK);
    r->x.needs_grad = true;
    y = model_blocks(&r->m, &r->x);
    cr_assert(tape_status(r->m.tape) == ST_OK);
    r->m.ctx.seed ^= 1;
    cr_assert(tape_backward(r->m.tape, y, NULL) == ST_OK);
    r->m.ctx.seed ^= 1;
    cr_assert(dev_read_f64(r->d, dx, r->x.grad, 0, stand_size(r)) == ST_OK);
    dev_free(r->d, &r->x.grad);
    tape_reset(r->m.tape);
}

Test(choices, a_block_that_runs_again_does_not_choose)
{
    Stand stored, again;
    open_toy(&stored, "ref", 2, false);
    open_toy(&again, "ref", 2, true);
    int64_t n = stand_size(&stored);
    double *dx = room(n), *dx2 = room(n);
    backward_with_another_seed(&stored, dx);
    backward_with_another_seed(&again, dx2);
    cr_assert(worst(dx2, dx, n) == 0, "%g", worst(dx2, dx, n));
    again.m.ctx.seed ^= 1; /* the test would notice: with this seed all choices differ */
    stand_forward(&stored, dx);
    stand_forward(&again, dx2);
    cr_assert(worst(dx2, dx, n) > 1e-3);
    free(dx);
    free(dx2);
    stand_close(&stored);
    stand_close(&again);
}

Test(choices, a_variant_may_bring_its_own_op_on_any_host_backend)
{
    Stand a, b;
    open_toy(&a, "ref", 1, false);
    open_toy(&b, "cpu", 1, false);
    int64_t n = stand_size(&a);
    double *y = room(n), *z = room(n);
    stand_forward(&a, y);
    stand_forward(&b, z);
    cr_assert(worst(z, y, n) < 1e-5);
    free(y);
    free(z);
    stand_close(&a);
    stand_close(&b);
}
