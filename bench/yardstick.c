/* yardstick.c - see yardstick.h. */
#define _DEFAULT_SOURCE /* madvise */
#include "bench/yardstick.h"

#include "bench/backend.h"
#include "bench/clock.h"
#include "bench/limits.h"
#include "kernels/rng.h"

#include <cblas.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const Product yard_products[YARD_PRODUCTS] = {
    {512, 512, 512}, {2048, 512, 512}, {1024, 1024, 1024}, {4096, 4096, 4096}, {8192, 8192, 8192}};

double yard_flops(int product)
{
    const Product *p = &yard_products[product];
    return 2.0 * p->m * p->n * p->k;
}

static Status take_matrix(Yard *y, const float *x, Buf *b)
{
    dev_free(y->dev, b);
    TRY(dev_alloc(y->dev, (size_t)y->numbers * dev_real(y->dev), MEM_INPUT, b));
    return dev_write_f32(y->dev, *b, 0, x, y->numbers);
}

/* At least so many numbers in each matrix. */
static Status take_matrices(Yard *y, int64_t numbers)
{
    Buf *buf[] = {&y->a, &y->b, &y->c};
    Status st = ST_OK;
    if (numbers <= y->numbers)
        return ST_OK;
    float *x = malloc((size_t)numbers * sizeof *x);
    if (x == NULL)
        return FAIL(ST_OOM, "no memory for a matrix");
    rng_fill_uniform(x, numbers, 1.0, 1, RNG_INPUT, 0);
    y->numbers = numbers;
    for (int i = 0; i < COUNT(buf) && st == ST_OK; i++)
        st = take_matrix(y, x, buf[i]);
    free(x);
    y->numbers = st == ST_OK ? numbers : 0;
    return st;
}

Status yard_open(Yard *y, const Case *c)
{
    *y = (Yard){.threads = c->threads};
    TRY(backend_open(&y->dev, c, 0));
    y->host = strcmp(dev_name(y->dev), "cpu") == 0;
    y->products = dev_flushes(y->dev) ? YARD_PRODUCTS : YARD_HOST_PRODUCTS;
    return timer_new(y->dev, &y->timer);
}

void yard_free(Yard *y)
{
    Buf *buf[] = {&y->a, &y->b, &y->c, &y->on_device, &y->sum};
    free(y->line);
    if (y->dev == NULL)
        return;
    timer_free(y->timer);
    for (int i = 0; i < COUNT(buf); i++)
        dev_free(y->dev, buf[i]);
    dev_close(y->dev);
    *y = (Yard){0};
}

/* ---- products ---- */
static Status own(const Yard *y, const Product *s)
{
    return dev_kernels(y->dev)->gemm(y->dev, &(Gemm){.m = s->m,
                                                     .n = s->n,
                                                     .k = s->k,
                                                     .alpha = 1,
                                                     .a = y->a.ptr,
                                                     .b = y->b.ptr,
                                                     .c = y->c.ptr,
                                                     .lda = s->k,
                                                     .ldb = s->n,
                                                     .ldc = s->n});
}

static Status timed(const Yard *y, const Product *s, bool blas, double *seconds)
{
    TRY(timer_start(y->timer));
    if (blas)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, s->m, s->n, s->k, 1.0f, y->a.ptr,
                    s->k, y->b.ptr, s->n, 0.0f, y->c.ptr, s->n);
    else
        TRY(own(y, s));
    return timer_stop(y->timer, seconds);
}

/* The library has one thread elsewhere; here it may use all of them. Its setter may change the
 * number of OpenMP's threads as well, for all that runs later. */
Status yard_multiply(Yard *y, int product, bool blas, double *seconds)
{
    const Product *s = &yard_products[product];
    TRY(take_matrices(y, max64((int64_t)s->m * max64(s->n, s->k), (int64_t)s->n * s->k)));
    if (!blas)
        return timed(y, s, false, seconds);
    CHECK(y->host);
    int others = omp_get_max_threads();
    openblas_set_num_threads(y->threads);
    Status st = timed(y, s, true, seconds);
    openblas_set_num_threads(1);
    omp_set_num_threads(others);
    return st;
}

/* ---- reading ---- */

static Status device_lines(Yard *y)
{
    DevAbout a;
    dev_about(y->dev, &a);
    y->n_lines = ceil_div(4 * a.cache, (int64_t)sizeof(Line));
    size_t size = (size_t)y->n_lines * sizeof(Line);
    TRY(dev_alloc(y->dev, size, MEM_INPUT, &y->on_device));
    TRY(dev_alloc(y->dev, sizeof(double), MEM_INPUT, &y->sum));
    return dev_kernels(y->dev)->fill(y->dev, (int64_t)(size / dev_real(y->dev)), 0.0,
                                     y->on_device.ptr);
}

/* Huge pages where there are any: finding the pages' addresses is then not what takes the time. */
Status yard_lines(Yard *y)
{
    if (dev_flushes(y->dev))
        return device_lines(y);
    const size_t huge = (size_t)2 << 20;
    size_t size = (size_t)ceil_div(4 * limits_cache(), (int64_t)huge) * huge;
    y->line = aligned_alloc(huge, size);
    if (y->line == NULL)
        return FAIL(ST_OOM, "no memory for reading %zu bytes", size);
    y->n_lines = (int64_t)(size / sizeof *y->line);
    madvise(y->line, size, MADV_HUGEPAGE); /* a wish */
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < y->n_lines; i++)
        y->line[i] = (Line){{1, 1, 1, 1, 1, 1, 1, 1}};
    return ST_OK;
}

/* Integers, since their sum may be reordered and so is not what limits. Asking for the line one
 * page ahead reads a fifth faster than leaving it to the processor. */
static uint64_t read_all(const Line *line, int64_t n)
{
    enum { AHEAD = 4096 / sizeof(Line) };
    uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        const uint64_t *x = line[i].x;
        __builtin_prefetch(line + i + AHEAD);
        sum += (x[0] + x[1]) + (x[2] + x[3]) + ((x[4] + x[5]) + (x[6] + x[7]));
    }
    return sum;
}

static Status read_device(const Yard *y, double *seconds)
{
    const size_t half = y->on_device.size / 2;
    Buf to = y->on_device, from = y->on_device;
    double reading = 0, copying = 0;
    to.size = from.size = half;
    from.ptr = (char *)from.ptr + half;
    TRY(timer_start(y->timer));
    TRY(dev_kernels(y->dev)->sumsq(y->dev, (int64_t)(y->on_device.size / dev_real(y->dev)),
                                   y->on_device.ptr, y->sum.ptr));
    TRY(timer_stop(y->timer, &reading));
    TRY(timer_start(y->timer));
    TRY(dev_copy(y->dev, to, from, half));
    TRY(timer_stop(y->timer, &copying));
    *seconds = reading < copying ? reading : copying;
    return ST_OK;
}

Status yard_read(const Yard *y, double *seconds)
{
    if (y->on_device.ptr != NULL)
        return read_device(y, seconds);
    double start = clock_now();
    uint64_t sum = read_all(y->line, y->n_lines);
    *seconds = clock_now() - start;
    return sum == 8 * (uint64_t)y->n_lines ? ST_OK
                                           : FAIL(ST_DEVICE, "memory holds what was not written");
}

double yard_bytes(const Yard *y)
{
    return (double)y->n_lines * (double)sizeof(Line);
}
