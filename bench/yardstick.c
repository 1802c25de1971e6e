/* yardstick.c - see yardstick.h. */
#define _DEFAULT_SOURCE /* madvise */
#include "bench/yardstick.h"

#include "bench/clock.h"
#include "bench/limits.h"
#include "kernels/rng.h"

#include <cblas.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const Product yard_products[YARD_PRODUCTS] = {
    {512, 512, 512}, {2048, 512, 512}, {1024, 1024, 1024}};

double yard_flops(int product)
{
    const Product *p = &yard_products[product];
    return 2.0 * p->m * p->n * p->k;
}

/* Numbers of the largest operand of the first n products. */
static int64_t most_numbers(int n)
{
    int64_t most = 0;
    for (const Product *p = yard_products; p < yard_products + n; p++)
        most = max64(most, max64((int64_t)p->m * max64(p->n, p->k), (int64_t)p->n * p->k));
    return most;
}

static Status take_matrices(Yard *y, int64_t numbers)
{
    Buf *buf[] = {&y->a, &y->b, &y->c};
    CHECK(numbers > 0);
    float *x = malloc((size_t)numbers * sizeof *x);
    if (x == NULL)
        return FAIL(ST_OOM, "no memory for a matrix");
    rng_fill_uniform(x, numbers, 1.0, 1, RNG_INPUT, 0);
    Status st = ST_OK;
    for (int i = 0; i < COUNT(buf) && st == ST_OK; i++) {
        st = dev_alloc(y->dev, (size_t)numbers * dev_real(y->dev), MEM_INPUT, buf[i]);
        if (st == ST_OK)
            st = dev_write_f32(y->dev, *buf[i], 0, x, numbers);
    }
    free(x);
    return st;
}

Status yard_open(Yard *y, const Case *c, int n)
{
    *y = (Yard){.threads = c->threads};
    TRY(dev_open(&y->dev, c->backend, 0, 0));
    y->host = strcmp(dev_name(y->dev), "cpu") == 0;
    TRY(timer_new(y->dev, &y->timer));
    return take_matrices(y, most_numbers(n));
}

void yard_free(Yard *y)
{
    free(y->line);
    if (y->dev == NULL)
        return;
    timer_free(y->timer);
    dev_free(y->dev, &y->a);
    dev_free(y->dev, &y->b);
    dev_free(y->dev, &y->c);
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
Status yard_multiply(const Yard *y, int product, bool blas, double *seconds)
{
    const Product *s = &yard_products[product];
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

/* Huge pages where there are any: finding the pages' addresses is then not what takes the time. */
Status yard_lines(Yard *y)
{
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

Status yard_read(const Yard *y, double *seconds)
{
    double start = clock_now();
    uint64_t sum = read_all(y->line, y->n_lines);
    *seconds = clock_now() - start;
    return sum == 8 * (uint64_t)y->n_lines ? ST_OK
                                           : FAIL(ST_DEVICE, "memory holds what was not written");
}

double yard_bytes(const Yard *y)
{
    return (double)y->n_lines * (double)sizeof *y->line;
}
