/* measure.c - see measure.h. */
#include "bench/measure.h"

#include "kernels/device.h"
#include "report/stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double SINGLE = 10, LONG = 1, NO_WARM_UP = 0.5, WARM_UP = 1; /* seconds */
static const double SAMPLE = 2.1e-3; /* seconds; a little above 2 ms, for steps vary */
static const double STABLE = 0.05, NARROW = 0.05, UNIT_SHARE = 1.0 / 16;
enum { MAX_INNER = 1 << 20, MAX_SAMPLES = 100, LONG_SAMPLES = 3, WARM_SAMPLES = 3 };

static int inner_for(const Meter *m, double step, double share)
{
    double n = ceil(SAMPLE / fmax(step, SAMPLE / MAX_INNER));
    double unit = m->unit > 1 && m->unit * step < UNIT_SHARE * share ? m->unit : 1;
    n = fmin(ceil(n / unit) * unit, MAX_INNER);
    return n < 1 ? 1 : (int)n;
}

/* Seconds of a step, as the mean over one sample. */
static Status sample(const Meter *m, int inner, double *step)
{
    double seconds = 0;
    TRY(m->run(m->ctx, inner, &seconds));
    *step = seconds / inner;
    return ST_OK;
}

void timing_strain(Timing *t, unsigned strain)
{
    for (unsigned bit = 1; bit != 0 && bit <= strain; bit <<= 1) {
        char word[sizeof t->throttle];
        size_t used = strlen(t->throttle);
        strain_words(strain & bit, word, sizeof word);
        if (word[0] != '\0' && strstr(t->throttle, word) == NULL)
            snprintf(t->throttle + used, sizeof t->throttle - used, "%s%s", used > 0 ? " " : "",
                     word);
    }
}

void timing_strain_sample(Timing *t, unsigned strain)
{
    timing_strain(t, strain);
    if (strain != 0)
        t->throttled[t->n_throttled++] = t->n - 1;
}

static unsigned strain_of(const Meter *m)
{
    return m->strain != NULL ? m->strain(m->ctx) : 0;
}

static Status median_of_few(const Meter *m, int inner, double *median)
{
    double s[WARM_SAMPLES];
    for (int i = 0; i < WARM_SAMPLES; i++)
        TRY(sample(m, inner, &s[i]));
    stats_sort(s, WARM_SAMPLES);
    *median = stats_quantile(s, WARM_SAMPLES, 0.5);
    return ST_OK;
}

/* Until stable; *step goes in as the first guess and comes out as the last median. */
static Status warm_up(const Meter *m, double deadline, double share, double *step)
{
    double end = fmin(deadline, m->now(m->ctx) + WARM_UP), before = (double)INFINITY;
    while (m->now(m->ctx) < end) {
        TRY(median_of_few(m, inner_for(m, *step, share), step));
        if (fabs(*step / before - 1) < STABLE)
            break;
        before = *step;
    }
    return ST_OK;
}

static void stop(Timing *t, const char *reason)
{
    snprintf(t->stop_reason, sizeof t->stop_reason, "%s", reason);
}

static bool narrow(Timing *t)
{
    if (!stats_sign_ranks(t->n, 0.01).exact)
        return false;
    timing_summarise(t);
    return t->ci_hi - t->ci_lo < NARROW * t->median;
}

static Status take_samples(const Meter *m, double step, double deadline, double share, Timing *t)
{
    double begin = m->now(m->ctx);
    int most = step > LONG ? LONG_SAMPLES : MAX_SAMPLES;
    t->inner = inner_for(m, step, share);
    while (t->stop_reason[0] == '\0') {
        unsigned strain = strain_of(m);
        TRY(sample(m, t->inner, &t->seconds[t->n]));
        t->n++;
        timing_strain_sample(t, strain | strain_of(m));
        double now = m->now(m->ctx), last = t->seconds[t->n - 1] * t->inner;
        t->quiet = narrow(t);
        if (t->quiet)
            stop(t, "interval");
        else if (t->n == most)
            stop(t, "samples");
        else if (now + last > deadline ||
                 (t->n >= LONG_SAMPLES && now - begin > share && step <= LONG))
            stop(t, "time");
    }
    return ST_OK;
}

Status measure(const Meter *m, double first, double deadline, double share, Timing *out)
{
    double step = first;
    bool alone = first > SINGLE;
    *out = (Timing){.inner = 1};
    if (!alone && first <= NO_WARM_UP)
        TRY(warm_up(m, deadline, share, &step));
    if (alone || m->now(m->ctx) + first > deadline) {
        out->n = 1;
        out->seconds[0] = first;
        timing_strain_sample(out, strain_of(m));
        stop(out, alone ? "single" : "time");
    } else {
        TRY(take_samples(m, step, deadline, share, out));
    }
    timing_summarise(out);
    return ST_OK;
}
