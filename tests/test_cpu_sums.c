/* test_cpu_sums.c - copies, sums and constants of the cpu backend against plain loops in double. */
#include "tests/cpu_check.h"

#include <criterion/criterion.h>

static const int64_t sizes[] = {1, 3, 17, 64, 65, 1000, 20000, 200000};

/* Kernels without a struct of their own, called through one. */
typedef struct Flat {
    int64_t rows, n;
    double scale;
    const float *a, *b;
    float *y;
} Flat;

static Status add(Dev *d, const void *args)
{
    const Flat *f = args;
    return dev_kernels(d)->add(d, f->n, f->a, f->b, f->y);
}
static Status fill(Dev *d, const void *args)
{
    const Flat *f = args;
    return dev_kernels(d)->fill(d, f->n, f->scale, f->y);
}
static Status sum(Dev *d, const void *args)
{
    const Flat *f = args;
    return dev_kernels(d)->sum(d, f->n, f->scale, f->a, f->y);
}
static Status sumsq(Dev *d, const void *args)
{
    const Flat *f = args;
    return dev_kernels(d)->sumsq(d, f->n, f->a, f->y);
}
static Status colsum(Dev *d, const void *args)
{
    const Flat *f = args;
    return dev_kernels(d)->colsum(d, f->rows, f->n, f->a, f->y);
}
static Status copy(Dev *d, const void *args)
{
    return dev_kernels(d)->copy(d, args);
}

/* y = a + b, then y += b with y for a. */
static void adds(Dev *d)
{
    for (int i = 0; i < COUNT(sizes); i++) {
        int64_t n = sizes[i];
        float *a = pool_random(n, 1, 1), *b = pool_random(n, 1, 2);
        double *want = pool_doubles(n);
        for (int64_t j = 0; j < n; j++)
            want[j] = (double)(a[j] + b[j]);
        Flat f = {.n = n, .a = a, .b = b, .y = pool_zeros(n)};
        cpu_expect(d, add, &f, &(Out){f.y, n, want, 0}, 1, "add");
        f.y = a;
        cpu_expect(d, add, &f, &(Out){f.y, n, want, 0}, 1, "add in place");
        pool_free();
    }
}

Test(cpu_sums, add)
{
    each_isa(adds);
}

static void fills(Dev *d)
{
    for (int i = 0; i < COUNT(sizes); i++) {
        int64_t n = sizes[i];
        double *want = pool_doubles(n + 1);
        float *y = pool_random(n + 1, 1, 1);
        for (int64_t j = 0; j <= n; j++)
            want[j] = j < n ? 0.1 : (double)y[n]; /* the number behind is left alone */
        Flat f = {.n = n, .scale = 0.1, .y = y};
        cpu_expect(d, fill, &f, &(Out){f.y, n + 1, want, 1e-7}, 1, "fill");
        pool_free();
    }
}

Test(cpu_sums, fill)
{
    each_isa(fills);
}

/* A large mean: sums in float32 would be off in the fourth digit. */
static void totals(Dev *d)
{
    for (int i = 0; i < COUNT(sizes); i++) {
        int64_t n = sizes[i];
        float *x = pool_random(n, 1, 1), y[2] = {7.0f, 7.0f};
        double want = 0.0, squares = 7.0;
        for (int64_t j = 0; j < n; j++) {
            x[j] += 100.0f;
            want += 0.5 * (double)x[j];
            squares += (double)x[j] * (double)x[j];
        }
        Flat f = {.n = n, .scale = 0.5, .a = x, .y = y};
        cpu_expect(d, sum, &f, &(Out){y, 1, &want, 1e-7}, 1, "sum");
        f.y = y + 1;
        cpu_expect(d, sumsq, &f, &(Out){y + 1, 1, &squares, 1e-7}, 1, "sumsq");
        pool_free();
    }
}

Test(cpu_sums, sum_and_sumsq)
{
    each_isa(totals);
}

static void colsums(Dev *d)
{
    static const int64_t shapes[][2] = {{1, 1},   {3, 17},   {17, 3},     {64, 65},
                                        {65, 64}, {3, 1000}, {1000, 130}, {5000, 1}};
    for (int i = 0; i < COUNT(shapes); i++) {
        int64_t rows = shapes[i][0], n = shapes[i][1];
        float *x = pool_random(rows * n, 1, 1), *y = pool_random(n, 1, 2);
        double *want = pool_widen(y, n);
        for (int64_t j = 0; j < rows * n; j++)
            want[j % n] += (double)x[j];
        Flat f = {.rows = rows, .n = n, .a = x, .y = y};
        cpu_expect(d, colsum, &f, &(Out){y, n, want, sum_tol(rows)}, 1, "colsum");
        pool_free();
    }
}

Test(cpu_sums, colsum)
{
    each_isa(colsums);
}

/* src and dst have so many spare columns a row and spare rows a matrix. */
static void copy_case(Dev *d, const int64_t shape[3], int64_t src_gap, int64_t dst_gap, bool plus)
{
    int64_t batch = shape[0], rows = shape[1], width = shape[2];
    Copy c = {.batch = batch, .rows = rows, .width = width, .add = plus};
    c.src_row = width + src_gap, c.dst_row = width + dst_gap;
    c.src_batch = (rows + src_gap) * c.src_row, c.dst_batch = (rows + dst_gap) * c.dst_row;
    int64_t n = batch * c.dst_batch;
    float *src = pool_random(batch * c.src_batch, 1, 1), *dst = pool_random(n, 1, 2);
    double *want = pool_widen(dst, n);
    for (int64_t i = 0; i < batch * rows * width; i++) {
        int64_t b = i / width / rows, r = i / width % rows, j = i % width;
        float x = src[b * c.src_batch + r * c.src_row + j];
        int64_t at = b * c.dst_batch + r * c.dst_row + j;
        want[at] = plus ? (double)(dst[at] + x) : (double)x;
    }
    c.src = src, c.dst = dst;
    cpu_expect(d, copy, &c, &(Out){dst, n, want, 0}, 1, plus ? "copy and add" : "copy");
    pool_free();
}

static void copies(Dev *d)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {2, 3, 17},   {3, 17, 3},   {1, 65, 64},
                                        {4, 300, 65}, {3, 2, 1000}, {1, 2, 9000}, {2, 1, 9000}};
    for (int i = 0; i < COUNT(shapes); i++)
        for (int gaps = 0; gaps < 9; gaps++)
            for (int plus = 0; plus < 2; plus++)
                copy_case(d, shapes[i], gaps / 3, gaps % 3, plus);
}

Test(cpu_sums, copy)
{
    each_isa(copies);
}
