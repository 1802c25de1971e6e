/* cpu_check.c - see cpu_check.h. */
#include "tests/cpu_check.h"

#include "kernels/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static const char *const isa_names[] = {"base", "avx2", "avx512"};

/* NULL where this machine lacks the instructions. */
static Dev *cpu_open(int isa)
{
    Dev *d = NULL;
    setenv("LONGMIX_ISA", isa_names[isa], 1);
    Status st = dev_open(&d, "cpu", 0, 0);
    cr_assert(st == ST_OK || isa > 0, "base: %s", status_reason());
    if (d != NULL)
        cr_assert_str_eq(dev_kernels(d)->isa, isa_names[isa]);
    return d;
}

void each_isa(void (*body)(Dev *d))
{
    for (int isa = 0; isa < COUNT(isa_names); isa++) {
        Dev *d = cpu_open(isa);
        if (d == NULL)
            continue;
        body(d);
        pool_free();
        dev_close(d);
    }
}

double sum_tol(int64_t n)
{
    return 4e-7 * (4.0 + sqrt((double)n));
}

/* A block of the pool; the numbers follow it. */
typedef struct Block {
    struct Block *next;
    double numbers[];
} Block;

static Block *pool;

static void *pool_take(size_t bytes)
{
    Block *b = calloc(1, sizeof *b + bytes + sizeof(double));
    cr_assert_not_null(b);
    b->next = pool;
    pool = b;
    return b->numbers;
}

void pool_free(void)
{
    while (pool != NULL) {
        Block *b = pool;
        pool = b->next;
        free(b);
    }
}

float *pool_zeros(int64_t n)
{
    return pool_take((size_t)n * sizeof(float));
}

float *pool_lines(int64_t n)
{
    enum { LINE = 16 };
    float *x = pool_zeros(n + LINE);
    return x + (LINE - (uintptr_t)x / sizeof *x % LINE) % LINE;
}

double *pool_doubles(int64_t n)
{
    return pool_take((size_t)n * sizeof(double));
}

float *pool_random(int64_t n, double sd, uint32_t seed)
{
    float *x = pool_zeros(n);
    rng_fill_normal(x, n, sd, seed, 1, 0);
    return x;
}

double *pool_widen(const float *x, int64_t n)
{
    double *y = pool_doubles(n);
    for (int64_t i = 0; i < n; i++)
        y[i] = (double)x[i];
    return y;
}

int32_t *pool_ids(int64_t n, int32_t below, uint32_t seed)
{
    int32_t *ids = pool_take((size_t)n * sizeof *ids);
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)(rng_bits(seed, 2, (uint64_t)i) % (uint32_t)below);
    return ids;
}

static void expect_near(const Out *o, const char *what, int out)
{
    for (int64_t i = 0; i < o->n; i++) {
        double got = (double)o->got[i], want = o->want[i];
        bool near = isnan(want) ? isnan(got) : fabs(got - want) <= o->tol * (1.0 + fabs(want));
        cr_assert(near || got == want, "%s, output %d, element %ld of %ld: %.9g, not %.9g", what,
                  out, (long)i, (long)o->n, got, want);
    }
}

void cpu_expect(Dev *d, CpuCall call, const void *args, const Out *outs, int n_outs,
                const char *what)
{
    enum { MOST = 8 };
    float *before[MOST], *first[MOST];
    cr_assert(n_outs <= MOST);
    for (int i = 0; i < n_outs; i++) {
        size_t size = outs[i].got != NULL ? (size_t)outs[i].n * sizeof(float) : 0;
        before[i] = pool_take(size);
        first[i] = pool_take(size);
        memcpy(before[i], size > 0 ? outs[i].got : before[i], size);
    }
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        for (int i = 0; i < n_outs; i++)
            if (outs[i].got != NULL)
                memcpy(outs[i].got, before[i], (size_t)outs[i].n * sizeof(float));
        cr_assert_eq(call(d, args), ST_OK, "%s: %s", what, status_reason());
        for (int i = 0; i < n_outs; i++) {
            size_t size = (size_t)outs[i].n * sizeof(float);
            if (outs[i].got == NULL)
                continue;
            if (threads == 1) {
                expect_near(&outs[i], what, i);
                memcpy(first[i], outs[i].got, size);
            }
            cr_assert(memcmp(first[i], outs[i].got, size) == 0, "%s: %d threads, other bits", what,
                      threads);
        }
    }
}
