/* test_conv.c - causal convolution by columns: the cpu kernels against the formula in double, ref
 * on a worked example, segments with a halo against one pass, gradients of the op. */
#include "tests/cpu_check.h"
#include "tests/grads.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static Status conv_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->conv_fwd(d, a);
}
static Status conv_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->conv_bwd(d, a);
}

/* ---- the formula: rows of [halo, x] lie behind one another ---- */
typedef struct Size {
    int64_t batch, len;
    int width, taps;
} Size;

static void want_fwd(Size s, const double *rows, const double *w, const double *bias, double *y)
{
    for (int64_t b = 0; b < s.batch; b++)
        for (int64_t t = 0; t < s.len; t++)
            for (int c = 0; c < s.width; c++) {
                double *to = y + (b * s.len + t) * s.width + c;
                *to = bias[c];
                for (int k = 0; k < s.taps; k++)
                    *to += w[k * s.width + c] *
                           rows[(b * (s.taps - 1 + s.len) + s.taps - 1 + t - k) * s.width + c];
            }
}

/* [halo, x] in double, and the halo that stays behind. */
static double *join(Size s, const float *halo, const float *x, double *after)
{
    int64_t before = (int64_t)(s.taps - 1) * s.width, n = s.len * s.width;
    double *rows = pool_doubles(s.batch * (before + n));
    for (int64_t b = 0; b < s.batch; b++) {
        double *to = rows + b * (before + n);
        for (int64_t i = 0; i < before; i++)
            to[i] = halo != NULL ? (double)halo[b * before + i] : 0;
        for (int64_t i = 0; i < n; i++)
            to[before + i] = (double)x[b * n + i];
        memcpy(after + b * before, to + n, (size_t)before * sizeof *after);
    }
    return rows;
}

static void fwd_case(Dev *d, Size s, bool carried, bool with_bias)
{
    int64_t n = s.batch * s.len * s.width, n_halo = s.batch * (s.taps - 1) * s.width;
    float *x = pool_random(n, 1, 1), *w = pool_random(s.taps * (int64_t)s.width, 1, 2);
    float *bias = pool_random(s.width, 1, 3), *halo = pool_random(n_halo, 1, 4);
    double *y = pool_doubles(n), *after = pool_doubles(n_halo);
    double *b = with_bias ? pool_widen(bias, s.width) : pool_doubles(s.width);
    char what[96];
    double *rows = join(s, carried ? halo : NULL, x, after);
    snprintf(what, sizeof what, "conv %ld x %ld x %d, %d taps%s%s", (long)s.batch, (long)s.len,
             s.width, s.taps, carried ? ", halo" : "", with_bias ? ", bias" : "");
    want_fwd(s, rows, pool_widen(w, s.taps * (int64_t)s.width), b, y);
    Conv a = {.batch = s.batch,
              .len = s.len,
              .width = s.width,
              .taps = s.taps,
              .x = x,
              .w = w,
              .bias = with_bias ? bias : NULL,
              .y = pool_lines(n),
              .halo = carried ? halo : NULL};
    Out outs[] = {{a.y, n, y, 1e-6}, {a.halo, n_halo, after, 0}};
    cpu_expect(d, conv_fwd, &a, outs, 2, what);
    pool_free();
}

/* which: bits for dx, dw, dbias. */
static void bwd_case(Dev *d, Size s, int which)
{
    int64_t n = s.batch * s.len * s.width, n_w = s.taps * (int64_t)s.width;
    float *x = pool_random(n, 1, 1), *w = pool_random(n_w, 1, 2), *dy = pool_random(n, 1, 3);
    float *dx = pool_random(n, 1, 4), *dw = pool_random(n_w, 1, 5);
    float *dbias = pool_random(s.width, 1, 6);
    double *want_x = pool_widen(dx, n), *want_w = pool_widen(dw, n_w);
    double *want_b = pool_widen(dbias, s.width);
    char what[96];
    snprintf(what, sizeof what, "conv_bwd %ld x %ld x %d, %d taps, %d", (long)s.batch, (long)s.len,
             s.width, s.taps, which);
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < s.taps && k <= i / s.width % s.len; k++) {
            int64_t c = i % s.width, from = i - (int64_t)k * s.width;
            want_x[from] += (double)w[k * s.width + c] * (double)dy[i];
            want_w[k * s.width + c] += (double)x[from] * (double)dy[i];
            want_b[c] += k == 0 ? (double)dy[i] : 0;
        }
    Conv a = {.batch = s.batch,
              .len = s.len,
              .width = s.width,
              .taps = s.taps,
              .x = x,
              .w = w,
              .dy = dy,
              .dx = which & 1 ? dx : NULL,
              .dw = which & 2 ? dw : NULL,
              .dbias = which & 4 ? dbias : NULL};
    Out outs[] = {{a.dx, n, want_x, 1e-6},
                  {a.dw, n_w, want_w, sum_tol(s.batch * s.len)},
                  {a.dbias, s.width, want_b, sum_tol(s.batch * s.len)}};
    cpu_expect(d, conv_bwd, &a, outs, 3, what);
    pool_free();
}

static const Size sizes[] = {{1, 1, 1, 3},  {2, 1, 17, 3},   {2, 2, 16, 3}, {3, 5, 33, 3},
                             {1, 7, 8, 1},  {2, 3, 5, 2},    {2, 9, 64, 5}, {1, 3, 20, 6},
                             {2, 50, 7, 4}, {1, 700, 96, 3}, {5, 40, 48, 3}};

static void forwards(Dev *d)
{
    for (int i = 0; i < COUNT(sizes); i++)
        for (int how = 0; how < 4; how++)
            fwd_case(d, sizes[i], how & 1, how & 2);
}
static void backwards(Dev *d)
{
    for (int i = 0; i < COUNT(sizes); i++)
        for (int which = 1; which < 8; which++)
            bwd_case(d, sizes[i], which);
}

/* An output that is written past the caches; its last block is of fewer rows. */
static void streamed(Dev *d)
{
    fwd_case(d, (Size){2, 515, 1024, 3}, true, true);
}

Test(conv, cpu_forward)
{
    each_isa(forwards);
    each_isa(streamed);
}
Test(conv, cpu_backward)
{
    each_isa(backwards);
}

static void too_many(Dev *d)
{
    Conv a = {.batch = 1, .len = 1, .width = 1, .taps = CONV_TAPS_MAX + 1};
    cr_expect_eq(conv_fwd(d, &a), ST_UNSUPPORTED);
    cr_expect_not_null(strstr(status_reason(), "33 taps (1 to 32)"), "%s", status_reason());
}
Test(conv, cpu_refuses_too_many_taps)
{
    each_isa(too_many);
}

/* ---- ref ---- */
static double far(const double *got, const double *want, int n)
{
    double most = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, fabs(got[i] - want[i]));
    return most;
}

static Dev *open_ref(void)
{
    Dev *d = NULL;
    cr_assert_eq(dev_open(&d, "ref", 0, 0), ST_OK, "%s", status_reason());
    return d;
}

/* Primer's initial taps on four tokens, by hand. */
Test(conv, worked_example)
{
    const double x[] = {1, 2, -1, 4}, w[] = {0.5, 1.0 / 6, 1.0 / 6}, dy[] = {1, -2, 0.5, 3};
    const double want_y[] = {0.5, 7.0 / 6, 0, 13.0 / 6}, want_w[] = {8.5, -4, 6.5};
    const double want_x[] = {0.25, -5.0 / 12, 0.75, 1.5};
    double y[4], dx[4] = {0}, dw[3] = {0};
    Dev *d = open_ref();
    Conv a = {.batch = 1, .len = 4, .width = 1, .taps = 3, .x = x, .w = w, .y = y};
    a.dy = dy, a.dx = dx, a.dw = dw;
    cr_assert_eq(conv_fwd(d, &a), ST_OK);
    cr_assert_eq(conv_bwd(d, &a), ST_OK);
    cr_expect_lt(far(y, want_y, 4), 1e-15);
    cr_expect_lt(far(dx, want_x, 4), 1e-15);
    cr_expect_lt(far(dw, want_w, 3), 1e-15);
    cr_expect_eq(dev_counted_flops(d), 4 * 3 * 2);
    dev_close(d);
}

/* However a sequence is cut, rows and halo come out as in one pass. */
Test(conv, ref_segments)
{
    enum { T = 7, W = 3, K = 4 };
    double x[T * W], w[K * W], bias[W] = {1, 2, 3}, whole[T * W], y[T * W];
    for (int i = 0; i < T * W; i++)
        x[i] = sin(i + 1);
    for (int i = 0; i < K * W; i++)
        w[i] = cos(3 * i);
    Dev *d = open_ref();
    Conv a = {.batch = 1, .len = T, .width = W, .taps = K, .x = x, .w = w, .bias = bias};
    a.y = whole;
    cr_assert_eq(conv_fwd(d, &a), ST_OK);
    for (int step = 1; step <= T; step++) {
        double halo[(K - 1) * W] = {0};
        a.halo = halo;
        for (int at = 0; at < T; at += step) {
            a.x = x + at * W, a.y = y + at * W;
            a.len = min64(step, T - at);
            cr_assert_eq(conv_fwd(d, &a), ST_OK);
        }
        cr_expect_eq(far(y, whole, T * W), 0, "segments of %d", step);
        cr_expect_eq(far(halo, x + (T - K + 1) * W, (K - 1) * W), 0, "segments of %d", step);
    }
    dev_close(d);
}

/* ---- the op ---- */
static Tensor *conv(Tape *t, Tensor *const x[], const void *arg)
{
    (void)arg;
    return op_conv(t, x[0], x[1], x[2], NULL);
}

Test(conv, op_gradients)
{
    Problem p = {"conv", conv, NULL, 2, {{3, {2, 5, 3}}, {2, {3, 3}}, {1, {3}}}, {3, {2, 5, 3}}};
    grads_check(&p);
    p.n_in = 3;
    p.name = "conv with bias";
    grads_check(&p);
    p.in[0].dim[1] = p.out.dim[1] = 2; /* shorter than the filter: its last row has no gradient */
    p.in[1].dim[0] = 2;
    p.name = "conv, two positions";
    grads_check(&p);
}
