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
static Status sample(void *ctx, int side, int steps, double *seconds)
{
    Pairing *p = ctx;
    json_t *answer = NULL;
    TRY(side_ask(&p->side[side], "time", json_pack("{s:i}", "steps", steps), &answer));
    *seconds = json_number_value(json_object_get(answer, "seconds"));
    p->switches += json_integer_value(json_object_get(answer, "switches"));
    json_decref(answer);
    return ST_OK;
}

/* Blocks begin at other multiples of a cache line, and at other ones on both sides. */
static Status seat(Pairing *p, int *which)
{
    enum { LINE = 64, PLACES = 1024 };
    for (int i = 0; i < SIDES; i++) {
        json_t *request = case_request(&p->c), *answer = NULL;
        uint32_t place = rng_bits(p->seed, 2, (uint64_t)p->seat++) % PLACES;
        json_object_set_new(request, "shift", json_integer((json_int_t)place * LINE));
        json_object_set_new(request, "drag", json_real(p->drag[i]));
        *which = i;
        TRY(side_ask(&p->side[i], "open", request, &answer));
        json_decref(answer);
    }
    return ST_OK;
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
    p->seat = 0;
    for (int i = 0; i < SIDES; i++) {
        *which = i;
        TRY(side_start(&p->side[i], program[i], NULL));
        p->side[i].limit = 30 + 2 * c->time_limit;
    }
    return seat(p, which);
}

void pairing_close(Pairing *p)
{
    for (int i = 0; i < SIDES; i++)
        side_stop(&p->side[i]);
}
