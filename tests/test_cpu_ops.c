/* test_cpu_ops.c - norms, gates and affine maps of the cpu backend against the formulas of
 * kernels.h in double. */
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One vector or less, tails, and enough rows for several slabs and threads. */
static const struct {
    int64_t rows;
    int width;
} shapes[] = {{1, 1}, {3, 17}, {17, 3}, {65, 64}, {64, 65}, {3, 1000}, {1100, 65}, {4000, 17}};

/* Bits of `with`: which of the optional arrays there are. */
enum { GAIN = 1, BIAS = 2, DX = 4, ALL = 7 };

/* ---- norms ---- */

static Status norm_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->norm_fwd(d, a);
}
static Status norm_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->norm_bwd(d, a);
}

static double gain_of(const Norm *a, int c)
{
    const float *gain = a->gain;
    return gain == NULL ? 1.0 : (double)gain[a->kind == NORM_SCALE ? 0 : c];
}

/* mean and 1 / sqrt(var + eps) of one row */
static void norm_stats(const Norm *a, const float *x, double st[2])
{
    double mean = 0.0, var = 0.0;
    for (int c = 0; c < a->width && a->kind == NORM_LAYER; c++)
        mean += (double)x[c] / a->width;
    for (int c = 0; c < a->width; c++)
        var += ((double)x[c] - mean) * ((double)x[c] - mean) / a->width;
    st[0] = mean;
    st[1] = 1.0 / sqrt(var + a->eps);
}

static void expect_norm_fwd(Dev *d, Norm a, const char *what)
{
    int64_t n = a.rows * a.width;
    double *y = pool_doubles(n), *stats = pool_doubles(2 * a.rows);
    for (int64_t r = 0; r < a.rows; r++) {
        const float *x = (const float *)a.x + r * a.width;
        double *st = stats + 2 * r;
        norm_stats(&a, x, st);
        for (int c = 0; c < a.width; c++)
            y[r * a.width + c] = ((double)x[c] - st[0]) * st[1] * gain_of(&a, c) +
                                 (a.bias != NULL ? (double)((const float *)a.bias)[c] : 0.0);
    }
    Out outs[] = {{a.y, n, y, 1e-5}, {a.stats, 2 * a.rows, stats, 1e-5}};
    cpu_expect(d, norm_fwd, &a, outs, 2, what);
}

/* dx = d/dx of sum(dy y): by the chain rule through mean and rstd */
static void norm_row_bwd(const Norm *a, const float *x, const float *dy, double *dx, double *dgain,
                         double *dbias)
{
    double st[2], g_sum = 0.0, gx_sum = 0.0, n = a->width;
    norm_stats(a, x, st);
    for (int c = 0; c < a->width; c++) {
        double g = (double)dy[c] * gain_of(a, c), xhat = ((double)x[c] - st[0]) * st[1];
        g_sum += a->kind == NORM_LAYER ? g : 0.0;
        gx_sum += g * xhat;
        dgain[a->kind == NORM_SCALE ? 0 : c] += (double)dy[c] * xhat;
        dbias[c] += (double)dy[c];
    }
    for (int c = 0; c < a->width; c++) {
        double g = (double)dy[c] * gain_of(a, c), xhat = ((double)x[c] - st[0]) * st[1];
        dx[c] += st[1] * (g - g_sum / n - xhat * gx_sum / n);
    }
}

static void expect_norm_bwd(Dev *d, Norm a, int with, const char *what)
{
    int64_t n = a.rows * a.width;
    float *start_x = pool_random(n, 1, 5), *start_g = pool_random(a.width, 1, 6);
    float *start_b = pool_random(a.width, 1, 7);
    double *dx = pool_widen(start_x, n), *dgain = pool_widen(start_g, a.width);
    double *dbias = pool_widen(start_b, a.width);
    int gains = a.kind == NORM_SCALE ? 1 : a.width;
    a.dy = pool_random(n, 1, 4);
    for (int64_t r = 0; r < a.rows; r++)
        norm_row_bwd(&a, (const float *)a.x + r * a.width, (const float *)a.dy + r * a.width,
                     dx + r * a.width, dgain, dbias);
    a.dx = with & DX ? start_x : NULL;
    a.dgain = with & GAIN ? start_g : NULL;
    a.dbias = with & BIAS ? start_b : NULL;
    double tol = sum_tol(a.kind == NORM_SCALE ? n : a.rows);
    Out outs[] = {
        {a.dx, n, dx, 1e-5}, {a.dgain, gains, dgain, tol}, {a.dbias, a.width, dbias, tol}};
    cpu_expect(d, norm_bwd, &a, outs, 3, what);
}

static void norm_case(Dev *d, NormKind kind, int shape, int with)
{
    int64_t rows = shapes[shape].rows;
    int width = shapes[shape].width;
    char what[80];
    Norm a = {.kind = kind, .rows = rows, .width = width, .eps = 1e-2};
    snprintf(what, sizeof what, "norm %d, %ld x %d, with %d", (int)kind, (long)rows, width, with);
    float *x = pool_random(rows * width, 2, 1);
    for (int64_t i = 0; i < rows * width; i++)
        x[i] += 3.0f;
    a.x = x;
    a.gain = with & GAIN ? pool_random(width, 1, 2) : NULL;
    a.bias = with & BIAS ? pool_random(width, 1, 3) : NULL;
    a.y = pool_zeros(rows * width);
    a.stats = pool_zeros(2 * rows);
    expect_norm_fwd(d, a, what);
    expect_norm_bwd(d, a, with, what);
    pool_free();
}

static void norms(Dev *d)
{
    for (NormKind kind = NORM_LAYER; kind <= NORM_SCALE; kind++)
        for (int i = 0; i < COUNT(shapes); i++)
            for (int with = 0; with <= ALL; with++)
                norm_case(d, kind, i, with);
}

Test(cpu_ops, norm)
{
    each_isa(norms);
}

/* ---- gates ---- */

static Status gate_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->gate_fwd(d, a);
}
static Status gate_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->gate_bwd(d, a);
}

static double act_at(Act act, double x)
{
    switch (act) {
    case ACT_RELU:
        return x > 0.0 ? x : 0.0;
    case ACT_RELU2:
        return x > 0.0 ? x * x : 0.0;
    case ACT_SILU:
        return x / (1.0 + exp(-x));
    case ACT_GELU:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case ACT_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case ACT_NONE:
        break;
    }
    return x;
}

/* By central differences, which is what a derivative is; kinks are not near the inputs. */
static double slope_at(Act act, double x)
{
    const double h = 1e-5;
    return (act_at(act, x + h) - act_at(act, x - h)) / (2.0 * h);
}

/* b and db if with & 1, da if with & 2; if with & 4 they hold garbage to be overwritten */
static void gate_case(Dev *d, Act act, int64_t n, int with)
{
    char what[64];
    float *a = pool_random(n, 3, 1), *b = with & 1 ? pool_random(n, 1, 2) : NULL;
    float *dy = pool_random(n, 1, 3), *da = pool_random(n, 1, 4), *db = pool_random(n, 1, 5);
    double *y = pool_doubles(n), *want_a = pool_widen(da, n), *want_b = pool_widen(db, n);
    snprintf(what, sizeof what, "act %d, n %ld, with %d", (int)act, (long)n, with);
    for (int64_t i = 0; i < n; i++) {
        double f = act_at(act, (double)a[i]), up = b != NULL ? (double)b[i] : 1.0;
        if (with & 4) {
            da[i] = db[i] = NAN;
            want_a[i] = want_b[i] = 0.0;
        }
        y[i] = f * up;
        want_a[i] += (double)dy[i] * up * slope_at(act, (double)a[i]);
        want_b[i] += (double)dy[i] * f;
    }
    Gate g = {.act = act, .n = n, .a = a, .b = b, .y = pool_zeros(n), .dy = dy};
    g.da = with & 2 ? da : NULL;
    g.db = with & 1 ? db : NULL;
    g.set_da = g.set_db = (with & 4) != 0;
    cpu_expect(d, gate_fwd, &g, &(Out){g.y, n, y, 2e-6}, 1, what);
    Out outs[] = {{g.da, n, want_a, 1e-5}, {g.db, n, want_b, 1e-5}};
    cpu_expect(d, gate_bwd, &g, outs, 2, what);
    pool_free();
}

static void gates(Dev *d)
{
    static const int64_t sizes[] = {1, 3, 17, 64, 65, 1000, 100000};
    for (Act act = ACT_NONE; act <= ACT_SIGMOID; act++)
        for (int i = 0; i < COUNT(sizes); i++)
            for (int with = 0; with < 8; with++)
                gate_case(d, act, sizes[i], with);
}

Test(cpu_ops, gate)
{
    each_isa(gates);
}

/* Far out an activation is 0, 1 or x to within rounding, and not a number stays one. */
static void far_gates(Dev *d)
{
    float a[] = {-1e30f, -100.0f, -20.0f, 20.0f, 100.0f, 1e30f, NAN};
    double want[COUNT(a)];
    for (Act act = ACT_RELU; act <= ACT_SIGMOID; act++) {
        float y[COUNT(a)] = {0};
        for (int i = 0; i < COUNT(a); i++)
            want[i] = isnan(a[i]) ? (double)NAN : act_at(act, (double)a[i]);
        if (act == ACT_RELU2)
            want[5] = (double)INFINITY;
        Gate g = {.act = act, .n = COUNT(a), .a = a, .y = y};
        cpu_expect(d, gate_fwd, &g, &(Out){y, COUNT(a), want, 1e-6}, 1, "far out");
    }
}

Test(cpu_ops, gate_far_out)
{
    each_isa(far_gates);
}

/* ---- affine ---- */

static Status affine_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->affine_fwd(d, a);
}
static Status affine_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->affine_bwd(d, a);
}

static void affine_case(Dev *d, int64_t rows, int width, int with)
{
    int64_t n = rows * width;
    char what[64];
    float *x = pool_random(n, 1, 1), *gain = pool_random(width, 1, 2), *dy = pool_random(n, 1, 4);
    float *bias = pool_random(width, 1, 3), *dx = pool_random(n, 1, 5);
    float *dgain = pool_random(width, 1, 6), *dbias = pool_random(width, 1, 7);
    double *y = pool_doubles(n), *want_x = pool_widen(dx, n);
    double *want_g = pool_widen(dgain, width), *want_b = pool_widen(dbias, width);
    snprintf(what, sizeof what, "affine %ld x %d, with %d", (long)rows, width, with);
    for (int64_t i = 0; i < n; i++) {
        double g = with & GAIN ? (double)gain[i % width] : 1.0;
        y[i] = (double)x[i] * g + (with & BIAS ? (double)bias[i % width] : 0.0);
        want_x[i] += (double)dy[i] * g;
        want_g[i % width] += (double)dy[i] * (double)x[i];
        want_b[i % width] += (double)dy[i];
    }
    Affine a = {.rows = rows, .width = width, .x = x, .y = pool_zeros(n), .dy = dy};
    a.gain = with & GAIN ? gain : NULL;
    a.bias = with & BIAS ? bias : NULL;
    a.dx = with & DX ? dx : NULL;
    a.dgain = with & GAIN ? dgain : NULL;
    a.dbias = with & BIAS ? dbias : NULL;
    cpu_expect(d, affine_fwd, &a, &(Out){a.y, n, y, 1e-6}, 1, what);
    Out outs[] = {{a.dx, n, want_x, 1e-6},
                  {a.dgain, width, want_g, sum_tol(rows)},
                  {a.dbias, width, want_b, sum_tol(rows)}};
    cpu_expect(d, affine_bwd, &a, outs, 3, what);
    pool_free();
}

static void affines(Dev *d)
{
    for (int i = 0; i < COUNT(shapes); i++)
        for (int with = 0; with <= ALL; with++)
            affine_case(d, shapes[i].rows, shapes[i].width, with);
}

Test(cpu_ops, affine)
{
    each_isa(affines);
}
