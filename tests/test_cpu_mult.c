/* test_cpu_mult.c - the cpu backend's multiplicative layer, of few rows and of many, against plain
 * loops in double, with one and several threads. */
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <stdio.h>

typedef struct Shape {
    int64_t rows;
    int in, modules, m;
    bool bias;
} Shape;

static Status forward(Dev *d, const void *args)
{
    return dev_kernels(d)->mult_fwd(d, args);
}

/* y[r, s M + m] = bias + sum_i x[r,i] g[i,s] e[i,m] */
static double *wanted(const Shape *s, const float *x, const float *g, const float *e,
                      const float *bias)
{
    double *y = pool_doubles(s->rows * s->modules * s->m);
    for (int64_t r = 0; r < s->rows; r++)
        for (int k = 0; k < s->modules; k++)
            for (int m = 0; m < s->m; m++) {
                const int c = k * s->m + m;
                double sum = bias != NULL ? (double)bias[c] : 0;
                for (int64_t i = 0; i < s->in; i++)
                    sum += (double)x[r * s->in + i] * (double)g[i * s->modules + k] *
                           (double)e[i * s->m + m];
                y[r * s->modules * s->m + c] = sum;
            }
    return y;
}

static void check(Dev *d, const Shape *s)
{
    char what[64];
    const int64_t n = (int64_t)s->modules * s->m;
    float *x = pool_random(s->rows * s->in, 1, 1), *g = pool_random(s->in * s->modules, 1, 2);
    float *e = pool_random(s->in * s->m, 1, 3), *bias = s->bias ? pool_random(n, 1, 4) : NULL;
    float *y = pool_random(s->rows * n, 1, 5);
    const Mult a = {.rows = s->rows,
                    .in = s->in,
                    .modules = s->modules,
                    .m = s->m,
                    .x = x,
                    .g = g,
                    .e = e,
                    .bias = bias,
                    .y = y};
    const Out out = {y, s->rows * n, wanted(s, x, g, e, bias), 4 * sum_tol(s->in)};
    snprintf(what, sizeof what, "%s: %ld rows, %d in, %d modules of %d", dev_kernels(d)->isa,
             (long)s->rows, s->in, s->modules, s->m);
    cpu_expect(d, forward, &a, &out, 1, what);
}

/* Either factor on the left, blocks and spans with a rest, one and several blocks a span. */
static void shapes(Dev *d)
{
    static const Shape all[] = {
        {1, 300, 4, 16, true},    {2, 130, 5, 7, false},   {8, 257, 32, 64, true},
        {1, 2500, 16, 36, false}, {3, 70, 1, 33, true},    {1, 40, 33, 1, true},
        {2, 4200, 12, 5, true},   {1, 128, 64, 36, true},  {9, 90, 8, 24, true},
        {1, 513, 2, 300, true},   {2, 2100, 4, 70, false}, {40, 33, 70, 17, false},
    };
    for (int i = 0; i < COUNT(all); i++)
        check(d, &all[i]);
}

Test(cpu_mult, few_and_many_rows)
{
    each_isa(shapes);
}
