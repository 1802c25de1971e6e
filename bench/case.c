/* case.c - see case.h. */
#define _GNU_SOURCE /* malloc_trim */
#include "bench/case.h"
#include "bench/backend.h"
#include "bench/clock.h"

#include "bench/kernel_case.h"
#include "bench/limits.h"
#include "bench/measure.h"
#include "bench/rig.h"
#include "bench/roof.h"

#include <malloc.h>
#include <stdio.h>

void row_fail(Row *row, Status st)
{
    static const RowStatus status[] = {
        [ST_OK] = ROW_OK,    [ST_SHAPE] = ROW_UNSUPPORTED,      [ST_UNSUPPORTED] = ROW_UNSUPPORTED,
        [ST_OOM] = ROW_OOM,  [ST_NONFINITE] = ROW_FAILED_CHECK, [ST_DEVICE] = ROW_CRASH,
        [ST_IO] = ROW_CRASH, [ST_USAGE] = ROW_UNSUPPORTED};
    row->status = status[st];
    row->reason[0] = '\0';
    if (st != ST_OK)
        snprintf(row->reason, sizeof row->reason, "%s", status_reason());
}

Memory case_memory(const MemUse *m, int64_t n_allocs)
{
    return (Memory){.counted = (int64_t)m->peak_counted,
                    .param = (int64_t)m->peak[MEM_PARAM],
                    .grad = (int64_t)m->peak[MEM_GRAD],
                    .optim = (int64_t)m->peak[MEM_OPTIM],
                    .act = (int64_t)m->peak[MEM_ACT],
                    .state = (int64_t)m->peak[MEM_STATE],
                    .input = (int64_t)m->peak[MEM_INPUT],
                    .work = (int64_t)m->peak[MEM_WORK],
                    .n_allocs = n_allocs};
}

double case_executed(const Case *c, const Dev *d, double before)
{
    bool forward = c->pass == PASS_FWD || c->pass == PASS_PREFILL || c->pass == PASS_DECODE;
    return forward ? dev_counted_flops(d) - before : 0;
}

/* The first step: memory is that of a step with one input, whatever is rotated later. */
static Status first_step(Rig *r, double *seconds, Memory *memory)
{
    int64_t before = dev_mem(r->dev).n_allocs;
    dev_mem_reset_peak(r->dev);
    TRY(rig_run(r, 1, seconds));
    MemUse use = dev_mem(r->dev);
    *memory = case_memory(&use, use.n_allocs - before);
    return rig_check_finite(r);
}

/* ---- prediction ---- */
static Status predict(Rig *r, Dev *d, const Case *c, Row *row)
{
    double none = 0;
    TRY(rig_init(r, d, c));
    TRY(first_step(r, &none, &row->predicted));
    if (rig_walk(r) > 1)
        TRY(rig_run(r, rig_walk(r), &none));
    Cost cost = rig_cost(r);
    row->flops = cost.flops;
    row->bytes = cost.bytes;
    row->params = model_n_params(&r->m, false);
    row->tokens = rig_tokens(r);
    return ST_OK;
}

void case_predict(const Case *c, Row *row)
{
    Rig r = {0};
    Dev *d = NULL;
    if (c->level == LEVEL_KERNEL) {
        kernel_predict(c, row);
        return;
    }
    *row = (Row){.kind = ROW_CASE, .c = *c};
    Status st = dev_open(&d, "dry", 0, 0);
    if (st == ST_OK)
        st = predict(&r, d, c, row);
    row_fail(row, st);
    rig_free(&r);
    dev_close(d);
}

/* ---- measurement ---- */
static double wall(void *ctx)
{
    (void)ctx;
    return clock_now();
}

static Status run_steps(void *rig, int steps, double *seconds)
{
    return rig_run(rig, steps, seconds);
}

static unsigned strain_now(void *rig)
{
    const Rig *r = rig;
    return dev_strain(r->dev);
}

int64_t case_pool(const Dev *d)
{
    DevAbout a;
    dev_about(d, &a);
    return a.pool_peak;
}

/* The time limit counts from here: setting up, say a deep cache, is not what is measured. */
static Status time_it(Rig *r, const Case *c, int64_t baseline, Row *row)
{
    double first = 0, begin = wall(NULL), counted = dev_counted_flops(r->dev);
    Meter m = {r, run_steps, wall, rig_walk(r), strain_now};
    TRY(first_step(r, &first, &row->memory));
    row->executed = rig_walk(r) == 1 ? case_executed(c, r->dev, counted) : 0;
    row->gpu_use.pool_bytes = case_pool(r->dev);
    row->memory.rss = max64(0, limits_peak_rss() - baseline);
    rig_rotate(r, limits_cache());
    row->rotated_bytes = rig_rotated_bytes(r);
    TRY(measure(&m, first, begin + c->time_limit, measure_share(c->time_limit), &row->timing));
    row->segment_slope = rig_segment_slope(r);
    row->gpu_use.flushed_bytes = r->flushed;
    return rig_check_finite(r);
}

void case_run(const Case *c, Row *row)
{
    Rig r = {0};
    Dev *d = NULL;
    case_predict(c, row);
    if (row->status != ROW_OK)
        return;
    if (c->level == LEVEL_KERNEL) {
        kernel_measure(c, row);
        return;
    }
    Rates machine = roof_around(c);
    malloc_trim(0); /* what earlier cases left must not hide this one's memory */
    limits_reset_peak();
    int64_t baseline = limits_rss();
    Status st = backend_open(&d, c, (size_t)c->mem_limit);
    if (st == ST_OK)
        st = rig_init(&r, d, c);
    if (st == ST_OK)
        st = time_it(&r, c, baseline, row);
    if (st == ST_OK)
        roof_note(c, machine, row);
    row_fail(row, st);
    rig_free(&r);
    dev_close(d);
}
