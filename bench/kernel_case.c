/* kernel_case.c - see kernel_case.h. */
#define _GNU_SOURCE /* malloc_trim */
#include "bench/kernel_case.h"

#include "bench/backend.h"
#include "bench/case.h"
#include "bench/clock.h"
#include "bench/kernel_flat.h"
#include "bench/kernel_rig.h"
#include "bench/limits.h"
#include "bench/measure.h"
#include "bench/pair.h"
#include "bench/roof.h"
#include "bench/sentinel.h"
#include "bench/yardstick.h"

#include <malloc.h>
#include <math.h>
#include <stdio.h>

/* ---- prediction ---- */
static Status predict(KernelRig *r, Dev *d, const Case *c, Row *row)
{
    double none = 0;
    TRY(kernel_rig_init(r, d, c));
    dev_mem_reset_peak(d);
    TRY(kernel_rig_run(r, 1, &none));
    MemUse use = dev_mem(d);
    Cost cost = kernel_rig_cost(r);
    row->predicted = case_memory(&use, use.n_allocs);
    row->flops = cost.flops;
    row->bytes = cost.bytes;
    row->tokens = kernel_rig_tokens(r);
    row->bar = kernel_bar(c);
    return ST_OK;
}

void kernel_predict(const Case *c, Row *row)
{
    KernelRig r = {.kernel = NULL};
    Dev *d = NULL;
    *row = (Row){.kind = ROW_CASE, .c = *c};
    Status st = dev_open(&d, "dry", 0, 0);
    if (st == ST_OK)
        st = predict(&r, d, c, row);
    row_fail(row, st);
    kernel_rig_free(&r);
    dev_close(d);
}

/* ---- the roof beside it ---- */

/* A yardstick as one side of a pair. */
typedef struct Beside {
    Yard yard;
    Roof roof;
    int product;
    bool blas;
    double work;
} Beside;

static Status beside_run(void *ctx, int steps, double *seconds)
{
    Beside *b = ctx;
    *seconds = 0;
    for (int i = 0; i < steps; i++) {
        double one = 0;
        TRY(b->roof == ROOF_SGEMM ? yard_multiply(&b->yard, b->product, b->blas, &one)
                                  : yard_read(&b->yard, &one));
        *seconds += one;
    }
    return ST_OK;
}

/* The product that is fastest here and now; the first round warms. Those that take long are left
 * out. */
static Status choose_product(Beside *b)
{
    enum { ROUNDS = 5, SIDES = 2 };
    static const double LONG = 0.25; /* seconds */
    const int n = b->yard.products;
    double best = 0, seen = 0;
    for (int i = 0; i < ROUNDS * n * SIDES; i++) {
        int product = i / SIDES % n;
        bool blas = i % SIDES != 0;
        double seconds = 0;
        bool too_long = !b->yard.host && product > 0 && yard_flops(product) > LONG * seen;
        if (too_long || (blas && !b->yard.host))
            continue;
        TRY(yard_multiply(&b->yard, product, blas, &seconds));
        double rate = yard_flops(product) / seconds;
        seen = fmax(seen, rate);
        if (i < n * SIDES || rate <= best)
            continue;
        best = rate;
        b->product = product;
        b->blas = blas;
    }
    b->work = yard_flops(b->product);
    return ST_OK;
}

static Status beside_init(Beside *b, const Case *c, Roof roof)
{
    *b = (Beside){.roof = roof};
    TRY(yard_open(&b->yard, c));
    if (roof == ROOF_SGEMM)
        return choose_product(b);
    TRY(yard_lines(&b->yard));
    b->work = yard_bytes(&b->yard);
    return ST_OK;
}

static unsigned strain_now(void *dev)
{
    return dev_strain(dev);
}

static Status time_beside(KernelRig *r, Dev *d, const Case *c, double begin, Row *row)
{
    static const double MOST = 0.7; /* seconds */
    Beside b;
    PairResult pair;
    Roof roof = roof_of(row->flops, row->bytes, roof_sample(c));
    if (roof == ROOF_NONE)
        return FAIL(ST_UNSUPPORTED, "no roof is measured on backend %s", c->backend);
    Status st = beside_init(&b, c, roof);
    row->roof = roof;
    Runner subject = {r, kernel_rig_run, roof_work(row)}, base = {&b, beside_run, b.work};
    PairPlan plan = {clock_now,
                     fmin(MOST, measure_share(c->time_limit)),
                     begin + c->time_limit,
                     c->seed,
                     sentinel_stolen,
                     strain_now,
                     d};
    if (st == ST_OK)
        st = measure_pair(&subject, &base, &plan, &pair);
    yard_free(&b.yard);
    if (st != ST_OK)
        return st;
    row->timing = pair.timing;
    row->roof_rate = pair.base_rate;
    row->roof_fraction = pair.ratio;
    row->fraction_lo = pair.lo;
    row->fraction_hi = pair.hi;
    return ST_OK;
}

/* ---- measurement ---- */
static Status time_it(KernelRig *r, Dev *d, const Case *c, Row *row)
{
    double first = 0, begin = clock_now();
    int64_t baseline = limits_rss();
    bool flat = c->pass == PASS_PREFILL; /* one pass, beside short ones */
    TRY(kernel_rig_init(r, d, c));
    dev_mem_reset_peak(d);
    double counted = dev_counted_flops(d);
    TRY(flat ? kernel_flat(r->whole, row) : kernel_rig_run(r, 1, &first));
    row->executed = flat ? 0 : case_executed(c, d, counted);
    MemUse use = dev_mem(d);
    row->memory = case_memory(&use, use.n_allocs);
    row->gpu_use.pool_bytes = case_pool(d);
    row->memory.rss = max64(0, limits_peak_rss() - baseline);
    if (flat)
        return ST_OK;
    TRY(kernel_rig_rotate(r, limits_cache()));
    row->rotated_bytes = kernel_rig_rotated(r);
    Status st = time_beside(r, d, c, begin, row);
    row->gpu_use.flushed_bytes = kernel_rig_flushed(r);
    return st;
}

void kernel_measure(const Case *c, Row *row)
{
    KernelRig r = {.kernel = NULL};
    Dev *d = NULL;
    malloc_trim(0);
    limits_reset_peak();
    Status st = backend_open(&d, c, (size_t)c->mem_limit);
    if (st == ST_OK)
        st = time_it(&r, d, c, row);
    row_fail(row, st);
    kernel_rig_free(&r);
    dev_close(d);
}
