/* test_cpu_modules.c - the multiplicative layer and the convolution over modules of the cpu backend
 * against ref: one row and many, one module and as many as vectors and slabs are wide. */
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <stdio.h>

static Dev *ref;

static void open_ref(void)
{
    cr_assert(dev_open(&ref, "ref", 0, 0) == ST_OK);
}
static void close_ref(void)
{
    dev_close(ref);
}
TestSuite(cpu_modules, .init = open_ref, .fini = close_ref);

/* ---- multiplicative layer ---- */
static Status mult_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->mult_fwd(d, a);
}
static Status mult_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->mult_bwd(d, a);
}

static void mult_backward(Dev *d, Mult a, Mult w, bool dx, bool dw, const char *what)
{
    const int64_t n = a.rows * a.in, all = (int64_t)a.modules * a.m;
    const int64_t g = (int64_t)a.in * a.modules, e = (int64_t)a.in * a.m;
    const double tol = 4 * sum_tol(a.rows + all);
    a.dy = pool_random(a.rows * all, 1, 5);
    w.dy = pool_widen(a.dy, a.rows * all);
    a.dx = dx ? pool_random(n, 1, 6) : NULL;
    a.dg = dw ? pool_random(g, 1, 7) : NULL;
    a.de = dw ? pool_random(e, 1, 8) : NULL;
    a.dbias = pool_random(all, 1, 9);
    w.dx = dx ? pool_widen(a.dx, n) : NULL;
    w.dg = dw ? pool_widen(a.dg, g) : NULL;
    w.de = dw ? pool_widen(a.de, e) : NULL;
    w.dbias = pool_widen(a.dbias, all);
    cr_assert(mult_bwd(ref, &w) == ST_OK);
    Out out[] = {{a.dx, n, w.dx, tol},
                 {a.dg, g, w.dg, tol},
                 {a.de, e, w.de, tol},
                 {a.dbias, all, w.dbias, tol}};
    cpu_expect(d, mult_bwd, &a, out, COUNT(out), what);
}

static void expect_mult(Dev *d, int64_t rows, int in, int modules, int m)
{
    char what[64];
    const int64_t all = (int64_t)modules * m;
    snprintf(what, sizeof what, "%ld rows of %d, %d modules of %d", (long)rows, in, modules, m);
    Mult a = {.rows = rows, .in = in, .modules = modules, .m = m}, w = a;
    a.x = pool_random(rows * in, 1, 1);
    a.g = pool_random((int64_t)in * modules, 1, 2);
    a.e = pool_random((int64_t)in * m, 1, 3);
    a.bias = in % 2 != 0 ? pool_random(all, 1, 4) : NULL;
    a.y = pool_zeros(rows * all);
    w.x = pool_widen(a.x, rows * in);
    w.g = pool_widen(a.g, (int64_t)in * modules);
    w.e = pool_widen(a.e, (int64_t)in * m);
    w.bias = a.bias != NULL ? pool_widen(a.bias, all) : NULL;
    w.y = pool_doubles(rows * all);
    cr_assert(mult_fwd(ref, &w) == ST_OK);
    Out out[] = {{a.y, rows * all, w.y, 4 * sum_tol(in)}};
    cpu_expect(d, mult_fwd, &a, out, 1, what);
    mult_backward(d, a, w, true, true, what);
    mult_backward(d, a, w, rows % 2 == 0, rows % 2 != 0, what);
    pool_free();
}

static void mults(Dev *d)
{
    static const int counts[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 33};
    for (int i = 0; i < COUNT(counts); i++) {
        expect_mult(d, 1, 13, counts[i], 5);
        expect_mult(d, 1, 6, 5, counts[i]);
        expect_mult(d, 21, 7, counts[i], 3);
        expect_mult(d, 21, 7, 3, counts[i]);
        expect_mult(d, counts[i], counts[i], 4, 6);
    }
    expect_mult(d, 1, 1, 1, 1);
    expect_mult(d, 30, 1, 1, 1);
    expect_mult(d, 40, 19, 33, 33); /* two slabs of columns, cut within a module */
    expect_mult(d, 2, 300, 4, 530); /* two blocks of inputs, two of columns of e */
}
Test(cpu_modules, multiplicative_layer)
{
    each_isa(mults);
}

/* ---- convolution over positions and modules ---- */
static Status conv_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->modconv_fwd(d, a);
}
static Status conv_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->modconv_bwd(d, a);
}

static void conv_backward(Dev *d, ModConv a, ModConv w, bool dx, bool dw, const char *what)
{
    const int64_t rows = a.batch * a.len * a.modules, k = (int64_t)a.taps * a.side * a.in * a.out;
    const double tol = 4 * sum_tol(rows + a.taps * a.side * (a.in + a.out));
    a.halo = w.halo = NULL;
    a.dy = pool_random(rows * a.out, 1, 6);
    w.dy = pool_widen(a.dy, rows * a.out);
    a.dx = dx ? pool_random(rows * a.in, 1, 7) : NULL;
    a.dw = dw ? pool_random(k, 1, 8) : NULL;
    a.dbias = dw ? pool_random(a.out, 1, 9) : NULL;
    w.dx = dx ? pool_widen(a.dx, rows * a.in) : NULL;
    w.dw = dw ? pool_widen(a.dw, k) : NULL;
    w.dbias = dw ? pool_widen(a.dbias, a.out) : NULL;
    cr_assert(conv_bwd(ref, &w) == ST_OK);
    Out out[] = {
        {a.dx, rows * a.in, w.dx, tol}, {a.dw, k, w.dw, tol}, {a.dbias, a.out, w.dbias, tol}};
    cpu_expect(d, conv_bwd, &a, out, COUNT(out), what);
}

static void expect_conv(Dev *d, ModConv a, bool halo)
{
    char what[96];
    const int64_t rows = a.batch * a.len * a.modules, k = (int64_t)a.taps * a.side * a.in * a.out;
    const int64_t before = a.batch * (a.taps - 1) * a.modules * a.in;
    snprintf(what, sizeof what, "%ld x %ld x %d, %d to %d, %d taps, side %d%s", (long)a.batch,
             (long)a.len, a.modules, a.in, a.out, a.taps, a.side, halo ? ", halo" : "");
    a.x = pool_random(rows * a.in, 1, 1);
    a.w = pool_random(k, 1, 2);
    a.bias = a.side != 3 ? pool_random(a.out, 1, 3) : NULL;
    a.halo = halo && before > 0 ? pool_random(before, 1, 4) : NULL;
    a.y = pool_zeros(rows * a.out);
    ModConv w = a;
    w.x = pool_widen(a.x, rows * a.in);
    w.w = pool_widen(a.w, k);
    w.bias = a.bias != NULL ? pool_widen(a.bias, a.out) : NULL;
    w.halo = a.halo != NULL ? pool_widen(a.halo, before) : NULL;
    w.y = pool_doubles(rows * a.out);
    cr_assert(conv_fwd(ref, &w) == ST_OK);
    Out out[] = {{a.y, rows * a.out, w.y, 4 * sum_tol(a.taps * a.side * a.in)}};
    cpu_expect(d, conv_fwd, &a, out, 1, what);
    if (!halo) {
        conv_backward(d, a, w, true, true, what);
        conv_backward(d, a, w, a.len % 2 == 0, a.len % 2 != 0, what);
    }
    pool_free();
}

static ModConv sizes(int64_t batch, int64_t len, int modules, int in, int out, int taps, int side)
{
    return (ModConv){.batch = batch,
                     .len = len,
                     .modules = modules,
                     .in = in,
                     .out = out,
                     .taps = taps,
                     .side = side};
}

static void convolutions(Dev *d)
{
    static const int counts[] = {1, 2, 3, 8, 15, 16, 17, 33};
    for (int i = 0; i < COUNT(counts); i++) /* the module's neighbours, the width of a module */
        for (int halo = 0; halo < 2; halo++) {
            expect_conv(d, sizes(2, 5, counts[i], 3, 4, 3, 3), halo != 0);
            expect_conv(d, sizes(2, 4, 3, counts[i], 5, 2, 5), halo != 0);
            expect_conv(d, sizes(1, 5, 3, 5, counts[i], 3, 1), halo != 0);
            expect_conv(d, sizes(1, 1, 4, counts[i], counts[i], 3, 3), halo != 0);
        }
    expect_conv(d, sizes(1, 1, 1, 1, 1, 1, 1), false);
    expect_conv(d, sizes(2, 2, 2, 3, 3, 7, 9), true); /* sees more than there is */
    expect_conv(d, sizes(2, 2, 2, 3, 3, 7, 9), false);
    expect_conv(d, sizes(2, 60, 7, 9, 18, 3, 3), false); /* several tasks and slabs of rows */
    expect_conv(d, sizes(1, 9, 3, 90, 20, 3, 1), true);  /* two blocks of the line */
}
Test(cpu_modules, convolution)
{
    each_isa(convolutions);
}
