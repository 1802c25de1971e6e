/* contrast.h - does B model a text better than A? Both are asked about the same held-out windows,
 * and what counts is the difference on each: windows differ far more than models do. */
#ifndef LONGMIX_CONTRAST_H
#define LONGMIX_CONTRAST_H

#include "kernels/base.h"

/* The mean of d_i = b_i - a_i over n windows that follow each other in the text, with its 99 %
 * interval: 2.576 standard errors, sd(d) / sqrt(n), widened by sqrt((1 + r) / (1 - r)) where
 * neighbours are alike (r: autocorrelation of d at distance 1, as far as it is positive). */
typedef struct Contrast {
    int n;
    double mean, lo, hi, lag1;
} Contrast;
Contrast contrast_of(const double *a, const double *b, int n); /* n >= 2 */

/* The contrasts of several seeds together. Lower is better: bits a byte. */
typedef enum Claim {
    CLAIM_BETTER,   /* B, in every seed, each with its interval below zero */
    CLAIM_WORSE,    /* likewise above zero */
    CLAIM_NONE,     /* seeds differ in sign, or an interval holds zero */
    CLAIM_FEW_SEEDS /* fewer than CLAIM_SEEDS: nothing is claimed */
} Claim;
enum { CLAIM_SEEDS = 3 };
Claim contrast_claim(const Contrast *seed, int n_seeds);

#endif
