/* peer.c - see peer.h. */
#include "bench/peer.h"

#include "bench/backend.h"
#include "bench/case.h"
#include "bench/clock.h"
#include "bench/kernel_rig.h"
#include "bench/measure.h"
#include "bench/pair.h"
#include "bench/sentinel.h"
#include "bench/side.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Attention as above a thousand tokens of each batch; layers as wide as a small model's. */
const PeerCase peer_cases[] = {
    {"attention", LEVEL_KERNEL, PASS_FWD, 512, 1, 8, 512, "", 1}, /* d = 64 */
    {"attention", LEVEL_KERNEL, PASS_FWD, 2048, 1, 4, 256, "", 1},
    {"attention", LEVEL_KERNEL, PASS_FWD, 4096, 1, 2, 128, "", 1},
    {"attention", LEVEL_KERNEL, PASS_FWD, 512, 1, 8, 1024, "", 1}, /* d = 128 */
    {"attention", LEVEL_KERNEL, PASS_FWD, 2048, 1, 4, 512, "", 1},
    {"attention", LEVEL_KERNEL, PASS_BWD, 512, 1, 8, 512, "", 1},
    {"attention", LEVEL_KERNEL, PASS_BWD, 2048, 1, 4, 256, "", 1},
    {"attention", LEVEL_KERNEL, PASS_BWD, 512, 1, 8, 1024, "", 1},
    {"attention", LEVEL_KERNEL, PASS_BWD, 2048, 1, 4, 512, "", 1},
    {"vanilla", LEVEL_LAYER, PASS_FWD, 512, 1, 8, 512, "", 1},
    {"vanilla", LEVEL_LAYER, PASS_FWD, 1024, 1, 8, 512, "", 1},
    {"vanilla", LEVEL_LAYER, PASS_FWD, 2048, 1, 8, 512, "", 1},
    {"vanilla", LEVEL_LAYER, PASS_FWD, 4096, 1, 8, 512, "", 1},
    {"vanilla", LEVEL_LAYER, PASS_BWD, 512, 1, 8, 512, "", 1},
    {"vanilla", LEVEL_LAYER, PASS_BWD, 2048, 1, 8, 512, "", 1},
    {"gau", LEVEL_LAYER, PASS_FWD, 512, 1, 8, 512, "", 1},
    {"gau", LEVEL_LAYER, PASS_FWD, 1024, 1, 8, 512, "", 1},
    {"gau", LEVEL_LAYER, PASS_FWD, 2048, 1, 8, 512, "", 1},
    {"gau", LEVEL_LAYER, PASS_FWD, 4096, 1, 8, 512, "", 1},
    {"gau", LEVEL_LAYER, PASS_BWD, 512, 1, 8, 512, "", 1},
    {"gau", LEVEL_LAYER, PASS_BWD, 2048, 1, 8, 512, "", 1},
    {"lm_step", LEVEL_KERNEL, PASS_TRAIN, 512, 4, 4, 256, "layers=4", 1.2},
    {.variant = NULL},
};

/* At sizes that fill a GPU: 16k tokens of attention, beside cuDNN's fused one. Nothing is asked
 * for: no GPU has told yet what can be. */
const PeerCase peer_cases_gpu[] = {
    {"attention", LEVEL_KERNEL, PASS_FWD, 512, 32, 16, 1024, "", 0}, /* d = 64 */
    {"attention", LEVEL_KERNEL, PASS_FWD, 2048, 8, 16, 1024, "", 0},
    {"attention", LEVEL_KERNEL, PASS_FWD, 8192, 2, 16, 1024, "", 0},
    {"attention", LEVEL_KERNEL, PASS_FWD, 16384, 1, 16, 1024, "", 0},
    {"attention", LEVEL_KERNEL, PASS_FWD, 2048, 8, 16, 2048, "", 0}, /* d = 128 */
    {"attention", LEVEL_KERNEL, PASS_FWD, 16384, 1, 16, 2048, "", 0},
    {"attention", LEVEL_KERNEL, PASS_BWD, 512, 32, 16, 1024, "", 0},
    {"attention", LEVEL_KERNEL, PASS_BWD, 2048, 8, 16, 1024, "", 0},
    {"attention", LEVEL_KERNEL, PASS_BWD, 16384, 1, 16, 1024, "", 0},
    {"attention", LEVEL_KERNEL, PASS_BWD, 2048, 8, 16, 2048, "", 0},
    {"attention", LEVEL_KERNEL, PASS_BWD, 16384, 1, 16, 2048, "", 0},
    {"vanilla", LEVEL_LAYER, PASS_FWD, 2048, 8, 16, 1024, "", 0},
    {"vanilla", LEVEL_LAYER, PASS_BWD, 2048, 8, 16, 1024, "", 0},
    {"gau", LEVEL_LAYER, PASS_FWD, 2048, 8, 16, 1024, "", 0},
    {"gau", LEVEL_LAYER, PASS_BWD, 2048, 8, 16, 1024, "", 0},
    {"lm_step", LEVEL_KERNEL, PASS_TRAIN, 1024, 16, 16, 1024, "layers=4", 0},
    {.variant = NULL},
};

const PeerCase *peer_cases_of(const char *backend)
{
    return backend_is_host(backend) ? peer_cases : peer_cases_gpu;
}

Case peer_case(const PeerCase *p, const char *backend, const char *dtype, int threads,
               int64_t mem_limit)
{
    Case c = {.level = p->level,
              .pass = p->pass,
              .n = p->n,
              .batch = p->batch,
              .heads = p->heads,
              .width = p->width,
              .layers = 1,
              .threads = threads,
              .causal = true,
              .hot = true,
              .seed = 1,
              .time_limit = 60,
              .mem_limit = mem_limit};
    snprintf(c.backend, sizeof c.backend, "%s", backend);
    snprintf(c.dtype, sizeof c.dtype, "%s", dtype);
    snprintf(c.variant, sizeof c.variant, "%s", p->variant);
    snprintf(c.set, sizeof c.set, "%s", p->set);
    return c;
}

static double bar_of(const Case *c)
{
    for (const PeerCase *p = peer_cases_of(c->backend); p->variant != NULL; p++)
        if (strcmp(p->variant, c->variant) == 0 && p->pass == c->pass && p->n == c->n &&
            p->width == c->width)
            return p->bar;
    return 0;
}

/* ---- our side ---- */
typedef struct Ours {
    KernelRig kernel; /* level kernel */
    Rig rig;          /* the others */
    Dev *dev;
    bool is_kernel;
} Ours;

static Status ours_run(void *ctx, int steps, double *seconds)
{
    Ours *o = ctx;
    return o->is_kernel ? kernel_rig_run(&o->kernel, steps, seconds)
                        : rig_run(&o->rig, steps, seconds);
}

static Status ours_init(Ours *o, const Case *c)
{
    *o = (Ours){.is_kernel = c->level == LEVEL_KERNEL};
    TRY(backend_open(&o->dev, c, (size_t)c->mem_limit));
    return o->is_kernel ? kernel_rig_init(&o->kernel, o->dev, c) : rig_init(&o->rig, o->dev, c);
}

static void ours_free(Ours *o)
{
    kernel_rig_free(&o->kernel);
    rig_free(&o->rig);
    dev_close(o->dev);
}

/* ---- the other ---- */
static Status theirs_run(void *ctx, int steps, double *seconds)
{
    json_t *answer = NULL;
    TRY(side_ask(ctx, "time", json_pack("{s:i}", "steps", steps), &answer));
    *seconds = json_number_value(json_object_get(answer, "seconds"));
    json_decref(answer);
    return *seconds > 0 ? ST_OK
                        : FAIL(ST_DEVICE, "the peer says that %d steps take no time", steps);
}

static Status theirs_open(Side *s, const Case *c, Row *row)
{
    const char *program = getenv("LONGMIX_PEER");
    json_t *answer = NULL;
    if (program == NULL)
        return FAIL(ST_USAGE, "no peer is named");
    TRY(side_start(s, program, NULL));
    snprintf(row->peer, sizeof row->peer, "%s", s->compiler);
    s->limit = c->time_limit;
    TRY(side_ask(s, "open", case_request(c), &answer));
    const char *what = json_string_value(json_object_get(answer, "what"));
    snprintf(row->peer_runs, sizeof row->peer_runs, "%s", what != NULL ? what : "");
    json_decref(answer);
    return ST_OK;
}

/* ---- both ---- */
static unsigned strain_now(void *ours)
{
    const Ours *o = ours;
    return dev_strain(o->dev);
}

static Status compare(Ours *o, Side *s, const Case *c, Row *row)
{
    static const double SHARE = 2.5; /* seconds */
    PairResult pair;
    Runner ours = {o, ours_run, 1}, theirs = {s, theirs_run, 1};
    PairPlan plan = {clock_now,
                     fmin(SHARE, measure_share(c->time_limit)),
                     clock_now() + c->time_limit,
                     c->seed,
                     sentinel_stolen,
                     strain_now,
                     o};
    TRY(ours_init(o, c));
    TRY(theirs_open(s, c, row));
    TRY(measure_pair(&ours, &theirs, &plan, &pair));
    row->timing = pair.timing;
    row->peer_seconds = 1 / pair.base_rate;
    row->ratio = pair.ratio;
    row->ratio_lo = pair.lo;
    row->ratio_hi = pair.hi;
    row->bar = bar_of(c);
    return ST_OK;
}

void peer_run(const Case *c, Row *row)
{
    Ours ours = {.dev = NULL};
    Side side = {.program = NULL};
    *row = (Row){.kind = ROW_PEER, .c = *c};
    Status st = compare(&ours, &side, c, row);
    row_fail(row, st);
    side_stop(&side);
    ours_free(&ours);
}
