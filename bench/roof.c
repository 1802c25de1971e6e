/* roof.c - see roof.h. */
#define _DEFAULT_SOURCE /* madvise */
#include "bench/roof.h"

#include "bench/case.h"
#include "bench/limits.h"
#include "kernels/kernels.h"
#include "kernels/rng.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct Shape {
    int m, n, k;
} Shape;
static const Shape shapes[] = {{512, 512, 512}, {2048, 512, 512}, {1024, 1024, 1024}};

static const double PATIENCE = 0.25; /* seconds a shape */
static const double GLANCE = 4e-3;   /* seconds of half a sample */
static const double SLOW = 1;        /* seconds after which no shape is begun, as on ref */
enum { ROUNDS = 40, LEAST_ROUNDS = 1, BIGGEST = 2048 * 512, READS = 5, FEW_READS = 2 };
static const double DRIFT = 0.1;

/* One matrix each for A, B and C; every shape is a corner of them. */
typedef struct Bed {
    Dev *dev;
    Timer *timer;
    Buf a, b, c;
    bool host; /* OpenBLAS can reach them */
} Bed;

/* n: numbers in each matrix. */
static Status bed_init(Bed *bed, Dev *d, int64_t n)
{
    size_t size = (size_t)n * dev_real(d);
    Buf *buf[] = {&bed->a, &bed->b, &bed->c};
    bed->dev = d;
    bed->host = strcmp(dev_name(d), "cpu") == 0;
    TRY(timer_new(d, &bed->timer));
    float *x = malloc((size_t)n * sizeof *x);
    if (x == NULL)
        return FAIL(ST_OOM, "no memory for a matrix");
    rng_fill_uniform(x, n, 1.0, 1, RNG_INPUT, 0);
    Status st = ST_OK;
    for (int i = 0; i < COUNT(buf) && st == ST_OK; i++) {
        st = dev_alloc(d, size, MEM_INPUT, buf[i]);
        if (st == ST_OK)
            st = dev_write_f32(d, *buf[i], 0, x, n);
    }
    free(x);
    return st;
}

static void bed_free(Bed *bed)
{
    timer_free(bed->timer);
    dev_free(bed->dev, &bed->a);
    dev_free(bed->dev, &bed->b);
    dev_free(bed->dev, &bed->c);
}

/* ---- products ---- */
typedef Status ProductFn(const Bed *bed, Shape s);

static Status own(const Bed *bed, Shape s)
{
    return dev_kernels(bed->dev)->gemm(bed->dev, &(Gemm){.m = s.m,
                                                         .n = s.n,
                                                         .k = s.k,
                                                         .alpha = 1,
                                                         .a = bed->a.ptr,
                                                         .b = bed->b.ptr,
                                                         .c = bed->c.ptr,
                                                         .lda = s.k,
                                                         .ldb = s.n,
                                                         .ldc = s.n});
}

static Status blas(const Bed *bed, Shape s)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, s.m, s.n, s.k, 1.0f, bed->a.ptr, s.k,
                bed->b.ptr, s.n, 0.0f, bed->c.ptr, s.n);
    return ST_OK;
}

static Status time_product(const Bed *bed, ProductFn *fn, Shape s, double *best)
{
    double seconds = 0;
    TRY(timer_start(bed->timer));
    TRY(fn(bed, s));
    TRY(timer_stop(bed->timer, &seconds));
    *best = fmax(*best, 2.0 * s.m * s.n * s.k / seconds);
    return ST_OK;
}

/* The backend's kernels call the library with one thread; here it may use all of them. Its setter
 * may change the number of OpenMP's threads as well, for all that runs later. */
static Status time_blas(const Bed *bed, Shape s, int threads, double *best)
{
    int others = omp_get_max_threads();
    openblas_set_num_threads(threads);
    Status st = time_product(bed, blas, s, best);
    openblas_set_num_threads(1);
    omp_set_num_threads(others);
    return st;
}

static Status time_shape(const Bed *bed, Shape s, int threads, double patience, Row *row)
{
    double end = omp_get_wtime() + patience;
    for (int i = 0; i < ROUNDS && (i < LEAST_ROUNDS || omp_get_wtime() < end); i++) {
        TRY(time_product(bed, own, s, &row->sgemm_own));
        if (bed->host)
            TRY(time_blas(bed, s, threads, &row->sgemm_blas));
    }
    return ST_OK;
}

/* ---- bandwidth ---- */

typedef struct Line {
    uint64_t x[8];
} Line;

/* Integers, since their sum may be reordered and so is not what limits. */
static uint64_t read_all(const Line *line, int64_t n)
{
    uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        const uint64_t *x = line[i].x;
        sum += (x[0] + x[1]) + (x[2] + x[3]) + ((x[4] + x[5]) + (x[6] + x[7]));
    }
    return sum;
}

/* Four times the last-level cache, in huge pages where there are any: the pages' addresses are then
 * not what takes the time. NULL when there is no memory. */
static Line *lines_new(int64_t *n)
{
    const size_t huge = (size_t)2 << 20;
    size_t size = (size_t)ceil_div(4 * limits_cache(), (int64_t)huge) * huge;
    Line *line = aligned_alloc(huge, size);
    *n = (int64_t)(size / sizeof *line);
    if (line != NULL)
        madvise(line, size, MADV_HUGEPAGE); /* a wish: without it reading is a little slower */
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < (line != NULL ? *n : 0); i++)
        line[i] = (Line){{1, 1, 1, 1, 1, 1, 1, 1}};
    return line;
}

static Status bandwidth(int rounds, double *best)
{
    int64_t n;
    uint64_t sum = 0;
    Line *line = lines_new(&n);
    if (line == NULL)
        return FAIL(ST_OOM, "no memory for reading %lld lines", (long long)n);
    for (int i = 0; i < rounds; i++) {
        double start = omp_get_wtime();
        sum += read_all(line, n);
        *best = fmax(*best, (double)n * (double)sizeof *line / (omp_get_wtime() - start));
    }
    free(line);
    return sum == (uint64_t)rounds * 8 * (uint64_t)n
               ? ST_OK
               : FAIL(ST_DEVICE, "memory holds what was not written");
}

/* ---- a whole roof, and a glance at it ---- */
static Status measure_roof(const Case *c, Row *row)
{
    Dev *d = NULL;
    Bed bed = {0};
    TRY(dev_open(&d, c->backend, 0, (size_t)c->mem_limit));
    Status st = bed_init(&bed, d, BIGGEST);
    double end = omp_get_wtime() + SLOW;
    for (int i = 0; i < COUNT(shapes) && st == ST_OK && omp_get_wtime() < end; i++)
        st = time_shape(&bed, shapes[i], c->threads, PATIENCE, row);
    bed_free(&bed);
    dev_close(d);
    return st == ST_OK ? bandwidth(READS, &row->read_bandwidth) : st;
}

static Status sample_product(const Case *c, Row *row)
{
    Dev *d = NULL;
    Bed bed = {0};
    const Shape s = shapes[0];
    TRY(dev_open(&d, c->backend, 0, 0));
    Status st = bed_init(&bed, d, (int64_t)s.m * s.k);
    for (int i = 0; i < 2 && st == ST_OK; i++) /* two rounds at least: the first may be cold */
        st = time_shape(&bed, s, c->threads, GLANCE, row);
    bed_free(&bed);
    dev_close(d);
    return st;
}

static double sample(const Case *c, Roof roof)
{
    Row row = {0};
    if (strcmp(c->backend, "cpu") != 0)
        return 0;
    if (roof == ROOF_BANDWIDTH)
        return bandwidth(FEW_READS, &row.read_bandwidth) == ST_OK ? row.read_bandwidth : 0;
    return sample_product(c, &row) == ST_OK ? fmax(row.sgemm_own, row.sgemm_blas) : 0;
}

Rates roof_sample(const Case *c)
{
    return (Rates){sample(c, ROOF_SGEMM), sample(c, ROOF_BANDWIDTH)};
}

/* ---- which roof ---- */
Roof roof_of(double flops, double bytes, Rates machine)
{
    if (machine.bytes > 0 && bytes / machine.bytes > flops / fmax(machine.flops, 1))
        return ROOF_BANDWIDTH;
    return machine.flops > 0 && flops > 0 ? ROOF_SGEMM : ROOF_NONE;
}

double roof_rate(Rates machine, Roof roof)
{
    return roof == ROOF_SGEMM ? machine.flops : roof == ROOF_BANDWIDTH ? machine.bytes : 0;
}

double roof_work(const Row *row)
{
    return row->roof == ROOF_SGEMM ? row->flops : row->roof == ROOF_BANDWIDTH ? row->bytes : 0;
}

void roof_note(const Case *c, Rates before, Row *row)
{
    row->roof = roof_of(row->flops, row->bytes, before);
    if (row->roof == ROOF_NONE)
        return;
    double first = roof_rate(before, row->roof), after = sample(c, row->roof);
    row->roof_rate = fmax(first, after);
    if (fmin(first, after) < (1 - DRIFT) * row->roof_rate)
        row->timing.quiet = false;
}

void roof_run(const Case *c, Row *row)
{
    *row = (Row){.kind = ROW_ROOF, .c = *c};
    snprintf(row->blas_core, sizeof row->blas_core, "%s", openblas_get_corename());
    row_fail(row, measure_roof(c, row));
}
