/* measure.h - how often to repeat a step before its time is known.
 *
 * The first step has been run already (its memory was measured), and mostly counts as warming up:
 *   above 10 s    it is the only sample ("single")
 *   above 0.5 s   it is the whole warm-up
 *   else          samples go on until two successive medians of 3 differ by less than 5 %, or for 1
 * s
 * A sample repeats the step until it lasts 2 ms, a multiple of `unit` times if that can be had.
 * Sampling stops when the 99 % sign interval of
 * the median is narrower than 5 % of it ("interval", 8 samples or more), at 100 samples, or 3 of
 * steps above 1 s ("samples"), after its share of the time or before the deadline ("time"). There
 * is always one sample: the first step, where the time allows no other. */
#ifndef LONGMIX_MEASURE_H
#define LONGMIX_MEASURE_H

#include "report/row.h"

/* Sampling may take this part of a case's time limit. */
static inline double measure_share(double time_limit)
{
    return time_limit / 8;
}

typedef struct Meter {
    void *ctx;
    /* Runs so many steps; *seconds is the time of all of them, without what is not to be timed. */
    Status (*run)(void *ctx, int steps, double *seconds);
    double (*now)(void *ctx); /* wall clock, seconds */
    int unit; /* steps that only together are alike; given up where they take 1/16 of the share */
    /* Why the device is slowed down right now, as bits of dev_strain; NULL: never. Asked before and
     * after each sample. */
    unsigned (*strain)(void *ctx);
} Meter;

/* first: seconds of the first step; deadline: on the meter's clock; share: seconds that sampling
 * may take. Fails as `run` does. */
Status measure(const Meter *m, double first, double deadline, double share, Timing *out);

/* Adds reasons to those of a timing. */
void timing_strain(Timing *t, unsigned strain);
/* The same of its newest sample, which is marked if there are any. */
void timing_strain_sample(Timing *t, unsigned strain);

#endif
