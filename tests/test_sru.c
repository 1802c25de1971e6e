/* test_sru.c - the simple recurrent unit: gradients against differences, cpu against ref, segments
 * with carried state against one pass. */
#include "tests/cpu_check.h"
#include "tests/grads.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static Tensor *sru(Tape *t, Tensor *const x[], const void *arg)
{
    (void)arg;
    return op_sru(t, x[0], x[1], NULL);
}

Test(sru, gradients)
{
    grads_check(&(Problem){"sru", sru, NULL, 2, {{3, {2, 5, 3}}, {3, {2, 5, 9}}}, {3, {2, 5, 3}}});
    grads_check(
        &(Problem){"sru of 1", sru, NULL, 2, {{3, {2, 1, 3}}, {3, {2, 1, 9}}}, {3, {2, 1, 3}}});
}

static Status sru_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->sru_fwd(d, a);
}
static Status sru_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->sru_bwd(d, a);
}

static void expect_sru(Dev *d, Dev *ref, int64_t batch, int64_t len, int width)
{
    char what[64];
    const int64_t n = batch * len * width;
    Sru a = {.batch = batch, .len = len, .width = width}, w;
    a.g = pool_random(3 * n, 1, 1);
    a.x = pool_random(n, 1, 2);
    a.dh = pool_random(n, 1, 3);
    a.h = pool_zeros(n);
    a.c = pool_zeros(n);
    a.dg = pool_random(3 * n, 1, 4);
    a.dx = pool_random(n, 1, 5);
    w = a;
    w.g = pool_widen(a.g, 3 * n);
    w.x = pool_widen(a.x, n);
    w.dh = pool_widen(a.dh, n);
    w.h = pool_doubles(n);
    w.c = pool_doubles(n);
    w.dg = pool_widen(a.dg, 3 * n);
    w.dx = pool_widen(a.dx, n);
    cr_assert(sru_fwd(ref, &w) == ST_OK && sru_bwd(ref, &w) == ST_OK);
    snprintf(what, sizeof what, "B %ld T %ld W %d", (long)batch, (long)len, width);
    Out fwd[] = {{a.h, n, w.h, 2e-6}, {a.c, n, w.c, 2e-6}};
    cpu_expect(d, sru_fwd, &a, fwd, 2, what);
    Out bwd[] = {{a.dg, 3 * n, w.dg, 5e-6}, {a.dx, n, w.dx, 5e-6}};
    cpu_expect(d, sru_bwd, &a, bwd, 2, what);
    pool_free();
}

static void sizes(Dev *d)
{
    Dev *ref;
    cr_assert(dev_open(&ref, "ref", 0, 0) == ST_OK);
    expect_sru(d, ref, 1, 1, 1);
    expect_sru(d, ref, 2, 7, 32);
    expect_sru(d, ref, 3, 300, 37);
    dev_close(ref);
}

Test(sru, cpu)
{
    each_isa(sizes);
}

/* 20 positions at once, and 1 + 12 + 7 with state: the same bits. */
static void segments(Dev *d)
{
    enum { T = 20, W = 5 };
    static const int64_t cuts[] = {0, 1, 13, T};
    float *state = pool_zeros(W), *h = pool_zeros(T * W), *parts = pool_zeros(T * W);
    Sru a = {.batch = 1,
             .len = T,
             .width = W,
             .g = pool_random(3 * T * W, 1, 1),
             .x = pool_random(T * W, 1, 2),
             .h = h};
    cr_assert(sru_fwd(d, &a) == ST_OK);
    for (int i = 0; i < 3; i++) {
        Sru s = a;
        s.len = cuts[i + 1] - cuts[i];
        s.g = (const float *)a.g + cuts[i] * 3 * W;
        s.x = (const float *)a.x + cuts[i] * W;
        s.h = parts + cuts[i] * W;
        s.state = state;
        cr_assert(sru_fwd(d, &s) == ST_OK);
    }
    cr_assert_arr_eq(parts, h, T * W * sizeof *h);
}

Test(sru, segments_are_one_pass)
{
    each_isa(segments);
}
