/* schedule.c - order, predictions and verdicts; see schedule.h. */
#include "bench/schedule.h"

#include "bench/measure.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool same_curve(const Case *a, const Case *b)
{
    char one[ROW_KEY_SIZE], other[ROW_KEY_SIZE];
    Case x = *a, y = *b;
    x.n = y.n = 1;
    x.batch = y.batch = 1;
    x.segment = y.segment = 0;
    if (x.level != y.level || x.pass != y.pass || x.impl != y.impl ||
        strcmp(x.variant, y.variant) != 0)
        return false;
    case_key(&x, one, sizeof one);
    case_key(&y, other, sizeof other);
    return strcmp(one, other) == 0;
}

/* ---- predictions ---- */

/* Usual share of the SGEMM rate, before anything of a curve was measured. */
static double usual_share(const Case *c)
{
    static const double share[PASSES] = {0.4, 0.3, 0.3, 0.4, 0.4};
    return share[c->pass] * (c->impl == IMPL_NAIVE ? 0.25 : 1.0);
}

/* The longest measured length of the same curve that is shorter; NULL if there is none. */
static const Job *measured_below(const Plan *p, const Job *j)
{
    const Job *best = NULL;
    for (int i = 0; i < p->n; i++) {
        const Job *k = &p->job[i];
        if (k->done && k->status == ROW_OK && k->seconds > 0 && k->c.n < j->c.n &&
            (best == NULL || k->c.n > best->c.n) && same_curve(&k->c, &j->c))
            best = k;
    }
    return best;
}

double plan_seconds(const Plan *p, const Job *j)
{
    const Job *known = measured_below(p, j);
    double traffic = j->bytes / p->rates.bytes;
    if (known == NULL)
        return fmax(j->flops / (p->rates.flops * usual_share(&j->c)), traffic);
    if (known->flops > 0 && j->flops > 0)
        return known->seconds * j->flops / known->flops;
    return known->seconds * (double)j->c.n / (double)known->c.n;
}

/* By the rules of measure.h. Short steps: 14 samples of at least 2 ms; from 0.2 s on a second of
 * warm-up and the share of the limit. Setting up touches every byte once, at some 1 GB/s. */
double case_cost(double step, double setup_bytes, double time_limit)
{
    double share = measure_share(time_limit);
    double steps = step > 10   ? step
                   : step > 1  ? fmax(step, fmin(4 * step, time_limit))
                   : step > .2 ? 1 + fmax(3 * step, fmin(8 * step, share))
                               : fmax(0.05, 14 * fmax(step, 2e-3));
    return 0.02 + setup_bytes / 1e9 + steps;
}

/* Kernels are timed in turn with their roof for about a second, and for eight pairs at least. */
static double kernel_cost(double step)
{
    return 0.8 + 12 * step;
}

static double setup_bytes(const Memory *m)
{
    return (double)m->param + (double)m->state + (double)m->input;
}

/* How much longer than predicted: learnt over some ten cases, with a second of prejudice. */
static double pace_of(const Pace *p)
{
    double factor = (p->took + 1) / (p->expected + 1);
    return fmin(fmax(factor, 0.5), 5);
}

void plan_learn(Plan *p, double cost, double took)
{
    const double keep = 0.9;
    double predicted = cost / pace_of(&p->pace);
    p->pace.took = keep * p->pace.took + took;
    p->pace.expected = keep * p->pace.expected + predicted;
}

void plan_predict(Plan *p)
{
    for (int i = 0; i < p->n; i++) {
        Job *j = &p->job[i];
        if (j->done || j->fixed)
            continue;
        j->predicted_seconds = plan_seconds(p, j);
        j->cost = j->c.level == LEVEL_KERNEL
                      ? kernel_cost(j->predicted_seconds)
                      : pace_of(&p->pace) * case_cost(j->predicted_seconds,
                                                      setup_bytes(&j->predicted), j->c.time_limit);
    }
}

/* ---- order ---- */

/* Costs within a factor of two count as equal; then all variants take turns at one length. */
static int cost_class(const Job *j)
{
    return (int)floor(log2(fmax(j->cost, 1e-3)));
}

static int by_cost(const void *x, const void *y)
{
    const Job *a = x, *b = y;
    int ca = cost_class(a), cb = cost_class(b);
    if (ca != cb)
        return ca < cb ? -1 : 1;
    if (a->c.n != b->c.n)
        return a->c.n < b->c.n ? -1 : 1;
    if (a->c.pass != b->c.pass)
        return a->c.pass < b->c.pass ? -1 : 1;
    int names = strcmp(a->c.variant, b->c.variant);
    return names != 0 ? names
                      : (int)a->c.level - (int)b->c.level + 8 * ((int)a->c.impl - (int)b->c.impl);
}

/* A longer case must not look cheaper than a shorter one of its curve. */
static void make_monotone(Plan *p)
{
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < p->n; k++) {
            const Job *a = &p->job[k];
            Job *b = &p->job[i];
            if (a->c.n < b->c.n && a->cost > b->cost && same_curve(&a->c, &b->c))
                b->cost = a->cost;
        }
}

void plan_sort(Plan *p)
{
    make_monotone(p);
    qsort(p->job, (size_t)p->n, sizeof *p->job, by_cost);
}

/* ---- verdicts ---- */
static bool real_failure(const Job *j)
{
    return j->done && (j->status == ROW_OOM || j->status == ROW_TIMEOUT || j->status == ROW_CRASH);
}

/* The shortest length of the curve, below the job's, that failed in earnest; NULL if none did. */
static const Job *failed_below(const Plan *p, const Job *j)
{
    const Job *first = NULL;
    for (int i = 0; i < p->n; i++) {
        const Job *k = &p->job[i];
        if (real_failure(k) && k->c.n < j->c.n && (first == NULL || k->c.n < first->c.n) &&
            same_curve(&k->c, &j->c))
            first = k;
    }
    return first;
}

/* What the cases that must run will still take. */
static double reserve(const Plan *p, const Job *but)
{
    double sum = 0;
    for (int i = 0; i < p->n; i++) {
        const Job *k = &p->job[i];
        if (k != but && k->must && !k->done && !k->fixed)
            sum += k->cost;
    }
    return sum;
}

static Verdict no(RowStatus status)
{
    return (Verdict){.status = status};
}

Verdict plan_verdict(const Plan *p, const Job *j, double elapsed)
{
    Verdict v = {.run = true, .status = ROW_OK};
    const Job *failed = failed_below(p, j);
    double gib = 0x1p30;
    if (j->fixed) {
        v = no(j->status);
        memcpy(v.reason, j->reason, sizeof v.reason);
    } else if (failed != NULL) {
        v = no(ROW_SKIPPED_AFTER);
        snprintf(v.reason, sizeof v.reason, "after the %s at %" PRId64 " tokens",
                 row_status_names[failed->status], failed->c.n);
    } else if (j->c.mem_limit > 0 && j->predicted.counted + j->predicted.work > j->c.mem_limit) {
        v = no(ROW_OOM_PREDICTED);
        snprintf(v.reason, sizeof v.reason, "would take %.2f GiB, the memory limit is %.2f GiB",
                 (double)(j->predicted.counted + j->predicted.work) / gib,
                 (double)j->c.mem_limit / gib);
    } else if (!j->must && j->predicted_seconds > j->c.time_limit) {
        v = no(ROW_TIMEOUT_PREDICTED);
        snprintf(v.reason, sizeof v.reason, "a step would take %.3g s, the time limit is %.3g s",
                 j->predicted_seconds, j->c.time_limit);
    } else if (p->budget > 0 && !j->must && elapsed + j->cost + reserve(p, j) > p->budget) {
        v = no(ROW_SKIPPED_BUDGET);
        snprintf(v.reason, sizeof v.reason, "would take %.3g s of the %.3g s left of %.3g s",
                 j->cost, fmax(0.0, p->budget - elapsed - reserve(p, j)), p->budget);
    }
    return v;
}

double plan_remaining(const Plan *p, int from, double elapsed)
{
    double sum = 0;
    for (int i = from; i < p->n; i++)
        if (!p->job[i].done && plan_verdict(p, &p->job[i], elapsed + sum).run)
            sum += p->job[i].cost;
    return sum;
}
