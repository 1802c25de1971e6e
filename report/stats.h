/* stats.h - the few statistics that a report rests on: all free of distributions and of random
 * numbers, so the same samples give the same bytes. */
#ifndef LONGMIX_STATS_H
#define LONGMIX_STATS_H

#include "report/row.h"

void stats_sort(double *x, int n); /* ascending */
/* Quantile q of n >= 1 sorted numbers, interpolated between ranks: q = 0 the least, 1 the largest.
 */
double stats_quantile(const double *sorted, int n, double q);

/* Ranks, from 1, between which the median lies with probability 1 - alpha or more, for independent
 * samples of any distribution: lo is the smallest k with P(Bin(n,1/2) <= k) > alpha/2, hi is
 * n + 1 - lo. exact is false, and the ranks are 1 and n, where even the extremes cover less (for
 * alpha = 0.01 below 8 samples). n from 1 to 1000. */
typedef struct Ranks {
    int lo, hi;
    bool exact;
} Ranks;
Ranks stats_sign_ranks(int n, double alpha);

/* Fills median, p20, p80, min, ci_lo and ci_hi (99 %) from the n >= 1 samples. */
void timing_summarise(Timing *t);

/* Slope of log y on log x by least squares, with its standard error (NaN for two points). n >= 2.
 */
typedef struct Fit {
    int n;
    double slope, error;
} Fit;
Fit stats_exponent(const double *x, const double *y, int n);

/* Points of ascending x > 0, y > 0, joined by straight lines in a log-log plot. */
typedef struct Curve {
    int n;
    const double *x, *y;
} Curve;
double curve_at(Curve c, double x); /* NaN outside of its points */

/* Where a curve and a base cross, over the lengths that both have. */
typedef enum CrossKind {
    CROSS_NONE,  /* they share no stretch of lengths */
    CROSS_BELOW, /* never crosses: the curve is the lower one throughout */
    CROSS_ABOVE, /* never crosses: the curve is the higher one throughout */
    CROSS_DOWN,  /* higher at first, lower from `at` on */
    CROSS_UP     /* lower at first, higher from `at` on */
} CrossKind;
typedef struct Cross {
    CrossKind kind;
    int n;           /* how many times they cross; more than once within noise of each other */
    double at, last; /* the first and the last crossing */
    double from, to; /* what both have */
} Cross;
Cross curve_cross(Curve c, Curve base);

#endif
