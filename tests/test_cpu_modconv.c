/* test_cpu_modconv.c - the cpu backend's convolution over positions and modules, long (in place)
 * and short, forward and the gradient of x, against plain loops in double. */
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <stdio.h>

typedef struct Shape {
    int64_t batch, len;
    int modules, in, out, taps, side;
    bool bias, halo;
} Shape;

static Status forward(Dev *d, const void *args)
{
    return dev_kernels(d)->modconv_fwd(d, args);
}
static Status backward(Dev *d, const void *args)
{
    return dev_kernels(d)->modconv_bwd(d, args);
}

/* Vector (t, s) of batch row b of the input: NULL where there is none. */
static const float *vector(const ModConv *a, int64_t b, int64_t t, int s)
{
    const int64_t before = a->taps - 1, row = (int64_t)a->modules * a->in;
    if (s < 0 || s >= a->modules || t >= a->len || (t < 0 && a->halo == NULL))
        return NULL;
    return (t < 0 ? (const float *)a->halo + (b * before + before + t) * row
                  : (const float *)a->x + (b * a->len + t) * row) +
           (int64_t)s * a->in;
}

/* Calls for every product of the definition: input vector, row of weights, place in y. */
typedef void Each(const ModConv *a, const float *x, int64_t x_at, const float *w, int64_t y_at,
                  double *sum);

static void each(const ModConv *a, Each *fn, double *sum)
{
    for (int64_t i = 0; i < a->batch * a->len * a->modules * a->taps * a->side; i++) {
        const int j = (int)(i % a->side), k = (int)(i / a->side % a->taps);
        const int64_t row = i / a->side / a->taps, b = row / a->modules / a->len;
        const int64_t t = row / a->modules % a->len + k - (a->taps - 1);
        const int s = (int)(row % a->modules) + j - (a->side - 1) / 2;
        const float *x = vector(a, b, t, s);
        if (x != NULL)
            fn(a, x, t < 0 ? -1 : ((b * a->len + t) * a->modules + s) * a->in,
               (const float *)a->w + (int64_t)(k * a->side + j) * a->in * a->out, row * a->out,
               sum);
    }
}

static void into_y(const ModConv *a, const float *x, int64_t x_at, const float *w, int64_t y_at,
                   double *y)
{
    (void)x_at;
    for (int i = 0; i < a->in; i++)
        for (int o = 0; o < a->out; o++)
            y[y_at + o] += (double)x[i] * (double)w[i * a->out + o];
}

static void into_dx(const ModConv *a, const float *x, int64_t x_at, const float *w, int64_t y_at,
                    double *dx)
{
    (void)x;
    for (int i = 0; i < a->in; i++)
        for (int o = 0; o < a->out; o++)
            dx[x_at + i] += (double)((const float *)a->dy)[y_at + o] * (double)w[i * a->out + o];
}

static void check(Dev *d, const Shape *s)
{
    char what[96];
    const int64_t rows = s->batch * s->len * s->modules, n_x = rows * s->in, n_y = rows * s->out;
    const int64_t n_halo = s->batch * (s->taps - 1) * s->modules * s->in;
    ModConv a = {.batch = s->batch,
                 .len = s->len,
                 .modules = s->modules,
                 .in = s->in,
                 .out = s->out,
                 .taps = s->taps,
                 .side = s->side,
                 .x = pool_random(n_x, 1, 1),
                 .w = pool_random((int64_t)s->taps * s->side * s->in * s->out, 1, 2),
                 .bias = s->bias ? pool_random(s->out, 1, 3) : NULL,
                 .halo = s->halo ? pool_random(n_halo, 1, 4) : NULL,
                 .y = pool_random(n_y, 1, 5)};
    double *y = pool_doubles(n_y);
    for (int64_t i = 0; i < n_y && s->bias; i++)
        y[i] = (double)((const float *)a.bias)[i % s->out];
    each(&a, into_y, y);
    const Out out = {a.y, n_y, y, 4 * sum_tol((int64_t)s->taps * s->side * s->in)};
    snprintf(what, sizeof what, "%s: %ld x %ld, %d modules, %d to %d, %d taps, side %d",
             dev_kernels(d)->isa, (long)s->batch, (long)s->len, s->modules, s->in, s->out, s->taps,
             s->side);
    cpu_expect(d, forward, &a, &out, 1, what);

    float *dx = pool_random(n_x, 1, 6);
    double *want = pool_widen(dx, n_x);
    a.halo = NULL;
    a.dy = pool_random(n_y, 1, 7);
    a.dx = dx;
    each(&a, into_dx, want);
    const Out pull = {dx, n_x, want, 4 * sum_tol((int64_t)s->taps * s->side * s->out)};
    cpu_expect(d, backward, &a, &pull, 1, what);
}

/* Lengths about that from which positions are made in place, a rest of a tile, ends with and
 * without rows before, taps too wide for it. */
static void shapes(Dev *d)
{
    static const Shape all[] = {
        {1, 98, 3, 5, 7, 3, 3, true, true},      {2, 99, 3, 5, 7, 3, 3, true, true},
        {2, 201, 2, 16, 16, 3, 3, false, false}, {1, 130, 5, 8, 33, 2, 5, true, false},
        {1, 110, 1, 12, 20, 4, 1, false, true},  {1, 120, 4, 6, 6, 1, 3, true, false},
        {1, 100, 2, 130, 8, 2, 3, true, true},   {3, 1, 4, 6, 10, 3, 3, true, true},
        {1, 7, 30, 4, 32, 3, 3, false, true},
    };
    for (int i = 0; i < COUNT(all); i++)
        check(d, &all[i]);
}

Test(cpu_modconv, long_and_short)
{
    each_isa(shapes);
}
