/* test_rel.c - tables of biases by distance: the cpu kernels against turned vectors and T5's
 * formula, on all distances that tables are made for. */
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Status rel_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->rel_fwd(d, a);
}
static Status rel_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->rel_bwd(d, a);
}

/* out = x turned by t. */
static void turn(const Rel *a, const float *x, double t, double *out)
{
    for (int i = 0; i < a->width / 2; i++) {
        int p = a->half ? i : 2 * i, q = a->half ? i + a->width / 2 : 2 * i + 1;
        double angle = t * pow(a->base, -2.0 * i / a->width);
        out[p] = (double)x[p] * cos(angle) - (double)x[q] * sin(angle);
        out[q] = (double)x[q] * cos(angle) + (double)x[p] * sin(angle);
    }
}

static void rope_case(Dev *d, Rel a)
{
    char what[96];
    float *x = pool_random(a.width, 1, 1), *c = pool_random(a.width, 1, 2);
    float *dy = pool_random(a.n, 1, 3), *da = pool_random(a.width, 1, 4);
    float *dc = pool_random(a.width, 1, 5);
    double *y = pool_doubles(a.n), *to = pool_doubles(a.width);
    double *want_a = pool_widen(da, a.width), *want_c = pool_widen(dc, a.width);
    a.base = 10000;
    for (int64_t e = 0; e < a.n; e++) {
        turn(&a, c, (double)(a.first + e), to);
        for (int i = 0; i < a.width; i++) {
            y[e] += (double)x[i] * to[i];
            want_a[i] += (double)dy[e] * to[i];
        }
        turn(&a, x, (double)-(a.first + e), to);
        for (int i = 0; i < a.width; i++)
            want_c[i] += (double)dy[e] * to[i];
    }
    a.a = x, a.c = c, a.dy = dy, a.da = da, a.dc = dc;
    a.y = pool_zeros(a.n);
    snprintf(what, sizeof what, "rel rope %ld from %ld, width %d", (long)a.n, (long)a.first,
             a.width);
    cpu_expect(d, rel_fwd, &a, &(Out){a.y, a.n, y, 1e-6 * a.width}, 1, what);
    Out outs[] = {{da, a.width, want_a, 1e-6 * sqrt((double)a.n)},
                  {dc, a.width, want_c, 1e-6 * sqrt((double)a.n)}};
    cpu_expect(d, rel_bwd, &a, outs, 2, what);
    pool_free();
}

static void ropes(Dev *d)
{
    static const Rel cases[] = {{.n = 1, .first = 0, .width = 2},
                                {.n = 25, .first = -12, .width = 6},
                                {.n = 1000, .first = -999, .width = 34},
                                {.n = 5000, .first = -70000, .width = 128}};
    for (int i = 0; i < COUNT(cases); i++)
        for (int half = 0; half < 2; half++) {
            Rel a = cases[i];
            a.half = half;
            rope_case(d, a);
        }
}

Test(rel, turned_vectors)
{
    each_isa(ropes);
}

/* ---- buckets ---- */

/* T5's formula; on the powers of two between, a logarithm may round to either side. */
static int by_logarithm(bool causal, int64_t distance)
{
    int n = causal ? 32 : 16, exact = n / 2;
    int64_t far = causal ? (distance < 0 ? -distance : 0) : (distance < 0 ? -distance : distance);
    int i = (int)far;
    if (far >= exact)
        i = exact + (int)(log((double)far / exact) / log(128.0 / exact) * (n - exact) + 1e-9);
    return (i < n ? i : n - 1) + (!causal && distance > 0 ? 16 : 0);
}

Test(rel, buckets_are_those_of_t5)
{
    for (int64_t t = -100000; t < 100000; t += llabs((long long)t) < 1000 ? 1 : 997)
        for (int causal = 0; causal < 2; causal++)
            cr_assert_eq(rel_bucket(causal, t), by_logarithm(causal, t), "%ld, causal %d: %d",
                         (long)t, causal, rel_bucket(causal, t));
    cr_expect(rel_bucket(true, 5) == 0 && rel_bucket(true, INT64_MIN + 1) == 31);
    cr_expect(rel_bucket(false, INT64_MAX) == 31 && rel_bucket(false, -128) == 15);
}

static void buckets(Dev *d)
{
    enum { N = 400 };
    for (int causal = 0; causal < 2; causal++) {
        float *w = pool_random(REL_BUCKETS, 1, 1), *dw = pool_random(REL_BUCKETS, 1, 2);
        float *dy = pool_random(N, 1, 3);
        double *y = pool_doubles(N), *want = pool_widen(dw, REL_BUCKETS);
        for (int e = 0; e < N; e++) {
            int i = by_logarithm(causal, e - 200);
            y[e] = 1.5 * (double)w[i];
            want[i] += 1.5 * (double)dy[e];
        }
        Rel a = {.kind = REL_BUCKET, .causal = causal, .n = N, .first = -200, .scale = 1.5};
        a.a = w, a.dy = dy, a.da = dw;
        a.y = pool_zeros(N);
        cpu_expect(d, rel_fwd, &a, &(Out){a.y, N, y, 1e-6}, 1, "buckets");
        cpu_expect(d, rel_bwd, &a, &(Out){dw, REL_BUCKETS, want, 1e-5}, 1, "buckets_bwd");
        pool_free();
    }
}

Test(rel, buckets)
{
    each_isa(buckets);
}

static void too_wide(Dev *d)
{
    Rel a = {.n = 1, .width = 1026};
    cr_expect(rel_fwd(d, &a) == ST_UNSUPPORTED && rel_bwd(d, &a) == ST_UNSUPPORTED);
    cr_expect_not_null(strstr(status_reason(), "1026, at most 1024"), "%s", status_reason());
}

Test(rel, too_wide)
{
    each_isa(too_wide);
}
