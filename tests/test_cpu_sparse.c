/* test_cpu_sparse.c - the cpu backend's sparse feed-forward layer, of few rows (cut by units and
 * columns) and of many (tiles of rows, blocks in turn), against plain loops in double; and the
 * first of the largest logits, with ties and without numbers. */
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

/* ---- the layer ---- */
typedef struct Shape {
    int64_t rows;
    int width, blocks, block;
    bool bias, scaled;
} Shape;

static Status forward(Dev *d, const void *args)
{
    return dev_kernels(d)->sparse_ff_fwd(d, args);
}

static double dot(const float *x, const float *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

static double soft(const float *z, int n, int pick)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp((double)z[i] - (double)z[pick]);
    return 1 / sum;
}

static void wanted(const SparseFf *a, double *u, double *y)
{
    const float *bias = a->bias;
    for (int64_t r = 0; r < a->rows; r++) {
        for (int c = 0; c < a->width; c++)
            y[r * a->width + c] = bias != NULL ? (double)bias[c] : 0;
        for (int64_t k = 0; k < a->blocks; k++) {
            const int64_t at = r * a->blocks + k, unit = k * a->block + a->pick[at];
            const float *z = (const float *)a->z + at * a->block;
            u[at] = dot((const float *)a->x + r * a->width, (const float *)a->w1 + unit * a->width,
                        a->width);
            double h = fmax(u[at], 0) * (a->scaled ? soft(z, a->block, a->pick[at]) : 1);
            for (int c = 0; c < a->width; c++)
                y[r * a->width + c] += h * (double)((const float *)a->w2)[unit * a->width + c];
        }
    }
}

static void check(Dev *d, const Shape *s)
{
    char what[80];
    const int64_t units = (int64_t)s->blocks * s->block, n = s->rows * s->width;
    double *u = pool_doubles(s->rows * s->blocks), *y = pool_doubles(n);
    const SparseFf a = {.rows = s->rows,
                        .width = s->width,
                        .blocks = s->blocks,
                        .block = s->block,
                        .scaled = s->scaled,
                        .pick = pool_ids(s->rows * s->blocks, s->block, 1),
                        .x = pool_random(n, 1, 2),
                        .w1 = pool_random(units * s->width, 1, 3),
                        .w2 = pool_random(units * s->width, 1, 4),
                        .bias = s->bias ? pool_random(s->width, 1, 5) : NULL,
                        .z = pool_random(s->rows * units, 1, 6),
                        .y = pool_random(n, 1, 7),
                        .u = pool_random(s->rows * s->blocks, 1, 8)};
    wanted(&a, u, y);
    const double tol = sum_tol(s->width);
    const Out outs[] = {{a.u, s->rows * s->blocks, u, tol},
                        {a.y, n, y, tol * sqrt((double)s->width * s->blocks)}};
    snprintf(what, sizeof what, "%s: %ld rows of %d, %d blocks of %d", dev_kernels(d)->isa,
             (long)s->rows, s->width, s->blocks, s->block);
    cpu_expect(d, forward, &a, outs, COUNT(outs), what);
}

static void shapes(Dev *d)
{
    static const Shape all[] = {
        {1, 20, 3, 4, true, false},     {1, 1300, 21, 3, false, false}, {2, 700, 5, 2, true, true},
        {16, 33, 9, 5, false, false},   {17, 33, 9, 5, true, false},    {64, 48, 8, 16, true, true},
        {150, 70, 21, 33, false, true}, {65, 16, 1, 1, true, false},
    };
    for (int i = 0; i < COUNT(all); i++)
        check(d, &all[i]);
}

Test(cpu_sparse, rows_cut_in_every_way)
{
    each_isa(shapes);
}

/* ---- choices ---- */
static int first_largest(const float *z, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (z[i] > z[best] || (isnan(z[best]) && !isnan(z[i])))
            best = i;
    return best;
}

/* Few different values, so that ties are everywhere; blocks of infinities and of no numbers. */
static void picks(Dev *d)
{
    static const int blocks[] = {1, 2, 5, 16, 31, 32, 33, 100};
    enum { N = 60 };
    for (int b = 0; b < COUNT(blocks); b++) {
        const int block = blocks[b];
        float *z = pool_zeros((int64_t)N * block);
        int32_t *values = pool_ids((int64_t)N * block, 1 + block / 4, 9), got[N];
        for (int i = 0; i < N * block; i++)
            z[i] = i / block == 7 ? -INFINITY : i / block == 8 ? NAN : (float)(values[i] - 3);
        const Pick a = {.n = N, .block = block, .z = z, .pick = got};
        cr_assert_eq(dev_kernels(d)->pick(d, &a), ST_OK);
        for (int i = 0; i < N; i++)
            cr_expect_eq(got[i], first_largest(z + (int64_t)i * block, block), "%s: %d of %d",
                         dev_kernels(d)->isa, i, block);
    }
}

Test(cpu_sparse, the_first_of_the_largest)
{
    each_isa(picks);
}
