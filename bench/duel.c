/* duel.c - see duel.h. */
#include "bench/duel.h"

#include "kernels/rng.h"
#include "report/stats.h"

#include <math.h>
#include <stdio.h>

static const double MARGIN = 0.02, MARGIN_SHORT = 0.05, SHORT = 100e-6; /* , , seconds */
static const double STABLE = 0.03, WARM_UP = 1;                         /* , seconds */
static const double CORRELATED = 0.3;
enum { WARM_SAMPLES = 5, SETTLE_SAMPLES = 2, MAX_STEPS = 1 << 20 };

typedef struct Round {
    const Arena *arena;
    const DuelSpec *spec;
    Paired *p;
    double deadline;
    double gap; /* seconds of rest between pairs */
} Round;

static Status sample(const Round *r, int side, int steps, double *seconds)
{
    TRY(r->arena->sample(r->arena->ctx, side, steps, seconds));
    if (*seconds > 0)
        return ST_OK;
    return FAIL(ST_DEVICE, "%d steps took %g s: the clock is too coarse", steps, *seconds);
}

/* ---- warming up ---- */

/* Seconds of a step, as the median of a few samples of each side in turn. */
static Status median_of_few(Round *r, int steps, double step[SIDES])
{
    double s[SIDES][WARM_SAMPLES];
    for (int i = 0; i < WARM_SAMPLES; i++)
        for (int side = 0; side < SIDES; side++)
            TRY(sample(r, side, steps, &s[side][i]));
    for (int side = 0; side < SIDES; side++) {
        stats_sort(s[side], WARM_SAMPLES);
        step[side] = stats_quantile(s[side], WARM_SAMPLES, 0.5) / steps;
    }
    return ST_OK;
}

/* Both sides take the same number of steps, so that each is at the same place of its work. */
static int steps_for(const Round *r, const double step[SIDES])
{
    double least = fmax(fmin(step[SIDE_A], step[SIDE_B]), r->spec->sample / MAX_STEPS);
    return (int)fmin(fmax(ceil(r->spec->sample / least), 1), MAX_STEPS);
}

static bool settled(const double now[SIDES], const double before[SIDES])
{
    return fabs(now[SIDE_A] / before[SIDE_A] - 1) < STABLE &&
           fabs(now[SIDE_B] / before[SIDE_B] - 1) < STABLE;
}

static Status warm_up(Round *r)
{
    const Arena *a = r->arena;
    double end = a->now(a->ctx) + fmin(WARM_UP, r->spec->time_limit / 4), step[SIDES],
           before[SIDES] = {(double)INFINITY, (double)INFINITY};
    for (int side = 0; side < SIDES; side++)
        TRY(sample(r, side, 1, &step[side]));
    for (int i = 0; i == 0 || a->now(a->ctx) < end; i++) {
        TRY(median_of_few(r, steps_for(r, step), step));
        if (settled(step, before))
            break;
        before[SIDE_A] = step[SIDE_A];
        before[SIDE_B] = step[SIDE_B];
    }
    r->p->inner = steps_for(r, step);
    r->p->margin = r->spec->margin > 0                        ? r->spec->margin
                   : fmin(step[SIDE_A], step[SIDE_B]) < SHORT ? MARGIN_SHORT
                                                              : MARGIN;
    return ST_OK;
}

/* ---- pairs ---- */

/* Is B first in pair i? Each two pairs are AB BA or BA AB. */
static bool b_first(uint64_t seed, int i)
{
    return ((rng_bits(seed, 0, (uint64_t)i / 2) ^ (uint32_t)i) & 1) != 0;
}

static Status take_pair(Round *r)
{
    Paired *p = r->p;
    double seconds[SIDES];
    int first = b_first(r->spec->seed, p->n) ? SIDE_B : SIDE_A;
    if (r->gap > 0)
        r->arena->rest(r->arena->ctx, r->gap);
    for (int k = 0; k < SIDES; k++) {
        int side = k == 0 ? first : 1 - first;
        TRY(sample(r, side, p->inner, &seconds[side]));
    }
    p->a[p->n] = seconds[SIDE_A] / p->inner;
    p->b[p->n] = seconds[SIDE_B] / p->inner;
    p->n++;
    if (r->arena->watch != NULL && p->n % PAIRED_WINDOW == 0)
        TRY(r->arena->watch(r->arena->ctx, &p->window[p->n_windows++]));
    return ST_OK;
}

/* New places for the buffers, and a few samples that do not count. */
static Status move(Round *r, int look)
{
    const Arena *a = r->arena;
    double none = 0;
    Window unused;
    if (a->move == NULL)
        return ST_OK;
    TRY(a->move(a->ctx, look));
    for (int i = 0; i < SETTLE_SAMPLES * SIDES; i++)
        TRY(sample(r, i % SIDES, r->p->inner, &none));
    return a->watch != NULL ? a->watch(a->ctx, &unused) : ST_OK;
}

/* Pairs that follow each other too alike are taken further apart. */
static void space_out(Round *r)
{
    double pair = (r->p->a[r->p->n - 1] + r->p->b[r->p->n - 1]) * r->p->inner;
    if (r->p->lag1 > CORRELATED)
        r->gap = r->gap > 0 ? 2 * r->gap : pair;
}

/* Up to the next look, or the end of the time. */
static Status take_pairs(Round *r, int until)
{
    const Arena *a = r->arena;
    while (r->p->n < until && (r->p->n == 0 || a->now(a->ctx) < r->deadline))
        TRY(take_pair(r));
    return ST_OK;
}

Status duel(const Arena *arena, const DuelSpec *spec, Paired *out)
{
    Round r = {arena, spec, out, arena->now(arena->ctx) + spec->time_limit, 0};
    Window unused;
    int most = spec->max_pairs > 0 ? spec->max_pairs : PAIRED_MAX;
    bool done = false;
    *out = (Paired){.n = 0};
    TRY(warm_up(&r));
    if (arena->watch != NULL)
        TRY(arena->watch(arena->ctx, &unused));
    for (int look = 0; look < PAIRED_LOOKS && !done; look++) {
        int until = paired_looks[look] < most ? paired_looks[look] : most;
        if (look > 0)
            TRY(move(&r, look));
        TRY(take_pairs(&r, until));
        done = paired_judge(out, spec->family);
        bool late = arena->now(arena->ctx) >= r.deadline;
        if (!done && (late || out->n == most)) {
            snprintf(out->stop_reason, sizeof out->stop_reason, late ? "time" : "pairs");
            done = true;
        }
        space_out(&r);
    }
    return ST_OK;
}
