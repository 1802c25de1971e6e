/* op_clock.c - see op_clock.h. Pieces of work nest, and each is charged with what it did itself;
 * all that is in no piece is the tape's own. */
#include "bench/op_clock.h"

#include "bench/backend.h"
#include "bench/case.h"
#include "bench/clock.h"
#include "bench/rig.h"
#include "bench/roof.h"
#include "report/stats.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 25, DEPTH = 16, OTHER = 0 };
static const double PATIENCE = 4;     /* seconds, and no more than */
static const double SHARE = 1.0 / 30; /* of a case's time limit */

/* ---- one step ---- */
typedef struct Frame {
    int op;
    double start, inside; /* when it began; seconds of the pieces in it */
} Frame;

typedef struct OpClock {
    const Dev *dev;
    int n, depth;
    int64_t allocs; /* of the device, when the last op ended */
    double seconds; /* of the step */
    OpShare op[ROW_MAX_OPS];
    Frame frame[DEPTH];
} OpClock;

/* Seconds since `begin`; of a decode from cold caches, what was timed of them: drawing the token
 * and emptying the caches are no part of the step. */
static double step_seconds(const Rig *r, double begin, double timed)
{
    return r->c.evict ? timed : clock_now() - begin;
}

/* Its place in the list; what does not fit goes with the rest. */
static int place_of(OpClock *k, const char *what, bool backward)
{
    for (int i = 0; i < k->n; i++)
        if (k->op[i].backward == backward && strcmp(k->op[i].op, what) == 0)
            return i;
    if (k->n == ROW_MAX_OPS)
        return OTHER;
    OpShare *op = &k->op[k->n];
    *op = (OpShare){.backward = backward};
    snprintf(op->op, sizeof op->op, "%s", what);
    return k->n++;
}

static void enter(void *ctx, const char *what, bool backward)
{
    OpClock *k = ctx;
    CHECK(k->depth < DEPTH);
    k->frame[k->depth++] = (Frame){.op = place_of(k, what, backward), .start = clock_now()};
}

static void leave(void *ctx, double flops, double bytes)
{
    OpClock *k = ctx;
    Frame f = k->frame[--k->depth];
    OpShare *op = &k->op[f.op];
    double seconds = clock_now() - f.start;
    op->seconds += seconds - f.inside;
    op->flops += flops;
    op->bytes += bytes;
    op->calls++;
    if (k->depth > 0)
        k->frame[k->depth - 1].inside += seconds;
    if (flops <= 0 && bytes <= 0)
        return; /* what moves nothing does not ask for memory */
    int64_t all = dev_mem(k->dev).n_allocs;
    op->allocs += all - k->allocs;
    k->allocs = all;
}

static Status watched_step(Rig *r, OpClock *k)
{
    double timed = 0;
    *k = (OpClock){.dev = r->dev, .allocs = dev_mem(r->dev).n_allocs};
    const Watch watch = {k, enter, leave};
    dev_watch(r->dev, &watch);
    enter(k, "tape", false);
    double start = clock_now();
    Status st = rig_run(r, 1, &timed);
    k->seconds = step_seconds(r, start, timed);
    k->frame[0].start = clock_now() - k->seconds;
    leave(k, 0, 0);
    dev_watch(r->dev, NULL);
    return st;
}

/* ---- several ---- */
static int by_seconds(const void *a, const void *b)
{
    double x = ((const OpClock *)a)->seconds, y = ((const OpClock *)b)->seconds;
    return (x > y) - (x < y);
}

static int by_time(const void *a, const void *b)
{
    double x = ((const OpShare *)a)->seconds, y = ((const OpShare *)b)->seconds;
    return (x < y) - (x > y);
}

/* Seconds to start and end a team of threads with nothing to do. */
static double region_seconds(void)
{
    enum { REGIONS = 200, WARM = 20 };
    double begin = 0;
    int n = 0;
    for (int i = 0; i < WARM + REGIONS; i++) {
        if (i == WARM)
            begin = clock_now();
#pragma omp parallel reduction(+ : n)
        n++;
    }
    CHECK(n > 0);
    return (clock_now() - begin) / REGIONS;
}

static void share_out(const OpClock *k, Rates machine, Row *row)
{
    double sum = 0;
    row->n_ops = k->n;
    memcpy(row->op, k->op, sizeof row->op);
    qsort(row->op, (size_t)row->n_ops, sizeof *row->op, by_time);
    for (OpShare *op = row->op; op < row->op + row->n_ops; op++) {
        op->roof = roof_of(op->flops, op->bytes, machine);
        double work = op->roof == ROOF_SGEMM ? op->flops : op->bytes;
        if (op->roof != ROOF_NONE && op->seconds > 0)
            op->roof_fraction = work / op->seconds / roof_rate(machine, op->roof);
        sum += op->seconds;
    }
    row->watched_seconds = sum;
}

static Status watch_steps(Rig *r, OpClock *clocks, Row *row)
{
    double bare[STEPS], none = 0;
    double end = clock_now() + fmin(PATIENCE, SHARE * r->c.time_limit);
    int n = 0;
    TRY(rig_run(r, 1, &none)); /* the second: memory has been asked for */
    int64_t system = dev_mem(r->dev).n_backend;
    while (n < STEPS && (n < 3 || clock_now() < end)) {
        double start = clock_now();
        TRY(rig_run(r, 1, &none));
        bare[n] = step_seconds(r, start, none);
        TRY(watched_step(r, &clocks[n++]));
    }
    row->system_allocs = dev_mem(r->dev).n_backend - system;
    stats_sort(bare, n);
    row->step_seconds = stats_quantile(bare, n, 0.5);
    qsort(clocks, (size_t)n, sizeof *clocks, by_seconds);
    share_out(&clocks[n / 2], roof_sample(&r->c), row);
    row->region_seconds = region_seconds();
    return ST_OK;
}

static Status watch(Rig *r, Dev *d, const Case *c, Row *row)
{
    double none = 0;
    if (c->level == LEVEL_KERNEL)
        return FAIL(ST_UNSUPPORTED, "a kernel has no ops inside");
    TRY(rig_init(r, d, c));
    TRY(rig_run(r, 1, &none));
    OpClock *clocks = calloc(STEPS, sizeof *clocks);
    if (clocks == NULL)
        return FAIL(ST_OOM, "no memory for the clocks of %d steps", STEPS);
    Status st = watch_steps(r, clocks, row);
    free(clocks);
    return st;
}

void ops_run(const Case *c, Row *row)
{
    Rig r = {0};
    Dev *d = NULL;
    *row = (Row){.kind = ROW_OPS, .c = *c};
    Status st = backend_open(&d, c, (size_t)c->mem_limit);
    if (st == ST_OK)
        st = watch(&r, d, c, row);
    row_fail(row, st);
    rig_free(&r);
    dev_close(d);
}
