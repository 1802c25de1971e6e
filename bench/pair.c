/* pair.c - see pair.h. */
#include "bench/pair.h"

#include "bench/measure.h"
#include "kernels/rng.h"
#include "report/stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double SAMPLE = 2.1e-3, NARROW = 0.03, TAKEN = 0.05;
enum { MAX_PAIRS = 100, LEAST_PAIRS = 8, WARM = 3, MAX_STEPS = 1 << 20 };

typedef struct Pairs {
    int n, steps[2];
    double seconds[MAX_PAIRS], rate[MAX_PAIRS], ratio[MAX_PAIRS];
    unsigned strain[MAX_PAIRS];
} Pairs;

/* Runs it warm, and finds how many steps make a sample. A step of a second needs no warming. */
static Status warm(const Runner *s, int *steps)
{
    double seconds = 0;
    *steps = 1;
    for (int i = 0; i < WARM && seconds < 1; i++) {
        TRY(s->run(s->ctx, *steps, &seconds));
        double one = fmax(seconds / *steps, SAMPLE / MAX_STEPS);
        *steps = (int)fmax(1, ceil(SAMPLE / one));
    }
    return ST_OK;
}

static Status sample(const Runner *s, int steps, double *seconds)
{
    double all = 0;
    TRY(s->run(s->ctx, steps, &all));
    *seconds = all / steps;
    return ST_OK;
}

static unsigned strain_of(const PairPlan *plan)
{
    return plan->strain != NULL ? plan->strain(plan->strain_ctx) : 0;
}

static Status add_pair(const Runner *side[2], const PairPlan *plan, Pairs *p)
{
    double seconds[2];
    int first = (int)(rng_bits(plan->seed, 0, (uint64_t)p->n) & 1);
    p->strain[p->n] = strain_of(plan);
    for (int k = 0; k < 2; k++) {
        int i = (first + k) % 2;
        TRY(sample(side[i], p->steps[i], &seconds[i]));
    }
    p->strain[p->n] |= strain_of(plan);
    p->seconds[p->n] = seconds[0];
    p->rate[p->n] = side[1]->work / seconds[1];
    p->ratio[p->n] = side[0]->work / seconds[0] / p->rate[p->n];
    p->n++;
    return ST_OK;
}

/* Sorts a copy: the median, and the ends of its interval. */
static void summarise(const double *x, int n, double *median, double *lo, double *hi)
{
    double sorted[MAX_PAIRS];
    memcpy(sorted, x, (size_t)n * sizeof *x);
    stats_sort(sorted, n);
    Ranks ranks = stats_sign_ranks(n, 0.01);
    *median = stats_quantile(sorted, n, 0.5);
    *lo = sorted[ranks.lo - 1];
    *hi = sorted[ranks.hi - 1];
}

static bool narrow(const Pairs *p, PairResult *out)
{
    summarise(p->ratio, p->n, &out->ratio, &out->lo, &out->hi);
    return p->n >= LEAST_PAIRS && out->hi - out->lo < NARROW * out->ratio;
}

static const char *stop_reason(const Pairs *p, double begin, const PairPlan *plan, PairResult *out)
{
    double now = plan->now();
    out->timing.quiet = narrow(p, out);
    if (out->timing.quiet)
        return "interval";
    if (p->n == MAX_PAIRS)
        return "samples";
    bool late = now > plan->deadline || (p->n >= LEAST_PAIRS && now - begin > plan->share);
    return late ? "time" : NULL;
}

static double stolen(const PairPlan *plan)
{
    return plan->stolen != NULL ? plan->stolen() : 0;
}

static void finish(const Pairs *p, const char *why, PairResult *out)
{
    double lo, hi;
    Timing *t = &out->timing;
    t->inner = p->steps[0];
    for (int i = 0; i < p->n; i++) {
        t->n = i + 1;
        timing_strain_sample(t, p->strain[i]);
    }
    memcpy(t->seconds, p->seconds, (size_t)p->n * sizeof *p->seconds);
    snprintf(t->stop_reason, sizeof t->stop_reason, "%s", why);
    timing_summarise(t);
    summarise(p->rate, p->n, &out->base_rate, &lo, &hi);
}

Status measure_pair(const Runner *subject, const Runner *base, const PairPlan *plan,
                    PairResult *out)
{
    const Runner *side[2] = {subject, base};
    Pairs p = {.n = 0};
    const char *why = NULL;
    *out = (PairResult){0};
    TRY(warm(subject, &p.steps[0]));
    TRY(warm(base, &p.steps[1]));
    double begin = plan->now(), before = stolen(plan);
    while (why == NULL) {
        TRY(add_pair(side, plan, &p));
        why = stop_reason(&p, begin, plan, out);
    }
    if (stolen(plan) - before > TAKEN * (plan->now() - begin)) {
        out->timing.quiet = false;
        why = "stolen";
    }
    finish(&p, why, out);
    return ST_OK;
}
