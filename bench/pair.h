/* pair.h - two things timed in turn, so that what slows the machine slows both. */
#ifndef LONGMIX_PAIR_H
#define LONGMIX_PAIR_H

#include "report/row.h"

/* One of the two. */
typedef struct Runner {
    void *ctx;
    /* Runs so many steps; *seconds is the time of all of them. */
    Status (*run)(void *ctx, int steps, double *seconds);
    double work; /* of one step, in the unit of the rate */
} Runner;

/* Pairs in random order, each sample 2 ms or more, until the 99 % sign interval of the ratio is
 * narrower than 3 %, or at 100 pairs, or after `share` seconds with 8 pairs, or at the deadline on
 * the clock of `now` (one pair at least). */
typedef struct PairPlan {
    double (*now)(void);
    double share, deadline;
    uint64_t seed;          /* of the order */
    double (*stolen)(void); /* seconds that others took from this machine so far; NULL: none */
    /* As in Meter; of the subject's device. */
    unsigned (*strain)(void *ctx);
    void *strain_ctx;
} PairPlan;

/* Rates are the medians over the pairs, ratio that of subject / base; lo and hi its interval. The
 * Timing is the subject's; quiet says that the interval became narrow, and that others took less
 * than a twentieth of the time meanwhile. */
typedef struct PairResult {
    double base_rate, ratio, lo, hi;
    Timing timing;
} PairResult;

Status measure_pair(const Runner *subject, const Runner *base, const PairPlan *plan,
                    PairResult *out);

#endif
