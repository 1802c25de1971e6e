/* paired.h - is B slower than A? Statistics of paired times, free of distributions.
 *
 * Pair i times A and B one after the other, in random order. Noise on a shared machine is slow and
 * multiplicative, so it falls on both of a pair alike: what is looked at is d_i = ln(b_i / a_i) and
 * its median, by sign tests alone. No pair is ever dropped. */
#ifndef LONGMIX_PAIRED_H
#define LONGMIX_PAIRED_H

#include "kernels/base.h"

/* Looks are taken after 30, 60, 120 and 240 pairs; each may err with probability PAIRED_ALPHA / 4,
 * so that together they err with at most PAIRED_ALPHA. */
enum { PAIRED_LOOKS = 4, PAIRED_MAX = 240, PAIRED_WINDOW = 10, PAIRED_WINDOWS = 24 };
extern const int paired_looks[PAIRED_LOOKS];
#define PAIRED_ALPHA 0.01

typedef enum Finding {
    FINDING_SLOWER,       /* B takes longer than A by more than the margin */
    FINDING_FASTER,       /* A takes longer than B by more than the margin */
    FINDING_EQUIVALENT,   /* they differ by less than the margin */
    FINDING_INCONCLUSIVE, /* the interval holds an end of the margin */
    FINDING_ENVIRONMENT,  /* the machine was too restless to say */
    FINDINGS
} Finding;
extern const char *const finding_names[FINDINGS + 1]; /* "slower", ... */

/* What a fixed kernel and the system said about the machine around ten pairs. */
typedef struct Window {
    double sentinel; /* seconds of the fixed kernel */
    double stolen;   /* fraction of the window's time that other machines took */
    double switches; /* times that a side was interrupted, a second */
    bool marked;     /* restless */
} Window;

typedef struct Paired {
    int n, inner;                        /* pairs; steps in a sample */
    double a[PAIRED_MAX], b[PAIRED_MAX]; /* seconds of a step */
    int n_windows;
    Window window[PAIRED_WINDOWS];
    double margin; /* fraction: 0.02 */

    /* paired_judge */
    double ratio, lo, hi;      /* exp of the median of d; its interval at the level of a look */
    double p_slower, p_faster; /* sign tests against the margin, times the number of looks */
    double lag1;               /* autocorrelation of d at distance 1 */
    int n_marked;              /* windows */
    Finding finding;           /* of this comparison alone */
    char stop_reason[24];      /* "decided", "narrow", "pairs", "time", "environment" */
} Paired;

/* Looks at the pairs so far: fills what is below them and says whether to stop. family: how many
 * comparisons are made together; a difference ends the sampling only when it would also count
 * among so many. */
bool paired_judge(Paired *p, int family);

/* Two-sided sign test of n differences of which n_above are above zero and n_below below it; ties
 * speak for no difference. */
double paired_sign_test(int n, int n_above, int n_below);
/* Lag-1 autocorrelation, 0 for fewer than 3 numbers or equal ones. */
double paired_lag1(const double *d, int n);

/* Holm's step-down: which of n p-values count when at most a fraction alpha of families may have
 * one that should not. */
void paired_holm(const double *p, int n, double alpha, bool *rejected);

/* Clopper-Pearson: the rates for which k of n is not too unlikely on either side. */
typedef struct Rate {
    double lo, hi;
} Rate;
Rate paired_rate(int k, int n, double level);

#endif
