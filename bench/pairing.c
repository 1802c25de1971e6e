/* pairing.c - see pairing.h. */
#define _GNU_SOURCE /* sched_setaffinity */
#include "bench/pairing.h"

#include "bench/clock.h"
#include "bench/sentinel.h"
#include "kernels/rng.h"

#include <sched.h>
#include <string.h>
#include <time.h>

/* ---- cores ---- */
void pairing_pin(int cores)
{
    cpu_set_t all, some;
    CPU_ZERO(&some);
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    for (int i = CPU_SETSIZE - 1; i >= 0 && CPU_COUNT(&some) < cores; i--)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &some);
    (void)sched_setaffinity(0, sizeof some, &some);
}

/* The kernel leaves out what there is not. */
void pairing_unpin(void)
{
    cpu_set_t all;
    memset(&all, 0xff, sizeof all);
    (void)sched_setaffinity(0, sizeof all, &all);
}

/* ---- the arena ---- */
static uint32_t draw(Pairing *p, int below)
{
    return rng_bits(p->seed, 2, p->drawn++) % (uint32_t)below;
}

/* Each sample is of another copy of the case: where its buffers lie can make a difference of many
 * percent, which is then noise and not a bias. */
static Status sample(void *ctx, int side, int steps, double *seconds)
{
    Pairing *p = ctx;
    json_t *answer = NULL;
    json_t *request = json_pack("{s:i, s:i}", "steps", steps, "seat", (int)draw(p, p->seats));
    TRY(side_ask(&p->side[side], "time", request, &answer));
    *seconds = json_number_value(json_object_get(answer, "seconds"));
    p->switches += json_integer_value(json_object_get(answer, "switches"));
    json_decref(answer);
    return ST_OK;
}

/* A new process for each side, with copies that begin at other multiples of a cache line. */
static Status seat(Pairing *p, int *which)
{
    enum { LINE = 64, PLACES = 1024, SEATS = 8 };
    p->seats = SEATS;
    for (int i = 0; i < SIDES; i++) {
        json_t *request = case_request(&p->c), *answer = NULL, *shift = json_array();
        for (int k = 0; k < SEATS; k++)
            json_array_append_new(shift, json_integer((json_int_t)draw(p, PLACES) * LINE));
        json_object_set_new(request, "shift", shift);
        json_object_set_new(request, "drag", json_real(p->drag[i]));
        *which = i;
        side_stop(&p->side[i]);
        Status st = side_start(&p->side[i], p->program[i], NULL);
        p->side[i].limit = 30 + 2 * p->c.time_limit;
        if (st != ST_OK)
            json_decref(request);
        TRY(st);
        TRY(side_ask(&p->side[i], "open", request, &answer));
        p->seats = (int)min64(p->seats, json_integer_value(json_object_get(answer, "seats")));
        json_decref(answer);
    }
    return p->seats > 0 ? ST_OK : FAIL(ST_USAGE, "no copy of the case is open");
}

static Status move(void *ctx, int look)
{
    int which;
    (void)look;
    return seat(ctx, &which);
}

/* One tick of stolen time is too coarse to be seen in a window. */
static Status watch(void *ctx, Window *out)
{
    static const double TICK = 0.015; /* seconds */
    Pairing *p = ctx;
    double now = clock_now(), stolen = sentinel_stolen(), passed = now - p->watched;
    *out = (Window){.sentinel = sentinel_time(),
                    .stolen = stolen - p->stolen > TICK ? (stolen - p->stolen) / passed : 0,
                    .switches = (double)p->switches / passed};
    p->watched = now;
    p->stolen = stolen;
    p->switches = 0;
    return ST_OK;
}

static double now(void *ctx)
{
    (void)ctx;
    return clock_now();
}

static void rest(void *ctx, double seconds)
{
    (void)ctx;
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    nanosleep(&t, NULL);
}

Arena pairing_arena(Pairing *p)
{
    return (Arena){p, sample, move, watch, now, rest};
}

/* ---- opening ---- */
Status pairing_open(Pairing *p, const char *const program[SIDES], const Case *c, uint64_t seed,
                    int *which)
{
    p->c = *c;
    p->seed = seed;
    p->drawn = 0;
    for (int i = 0; i < SIDES; i++)
        p->program[i] = program[i];
    return seat(p, which);
}

void pairing_close(Pairing *p)
{
    for (int i = 0; i < SIDES; i++)
        side_stop(&p->side[i]);
}
