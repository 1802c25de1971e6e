/* contrast.c - see contrast.h. */
#include "report/contrast.h"

#include "report/paired.h"

#include <math.h>
#include <stdlib.h>

static double mean_of(const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    return sum / n;
}

static double standard_error(const double *x, int n, double mean)
{
    double square = 0;
    for (int i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    return sqrt(square / (n - 1) / n);
}

Contrast contrast_of(const double *a, const double *b, int n)
{
    static const double most_alike = 0.99, quantile = 2.5758293035489; /* 0.995 of the normal */
    double *d = malloc((size_t)n * sizeof *d);
    CHECK(d != NULL && n >= 2);
    for (int i = 0; i < n; i++)
        d[i] = b[i] - a[i];
    Contrast c = {.n = n, .mean = mean_of(d, n), .lag1 = paired_lag1(d, n)};
    double r = fmin(fmax(c.lag1, 0), most_alike);
    double half = quantile * standard_error(d, n, c.mean) * sqrt((1 + r) / (1 - r));
    free(d);
    c.lo = c.mean - half;
    c.hi = c.mean + half;
    return c;
}

Claim contrast_claim(const Contrast *seed, int n_seeds)
{
    int below = 0, above = 0;
    for (int i = 0; i < n_seeds; i++) {
        below += seed[i].hi < 0;
        above += seed[i].lo > 0;
    }
    if (n_seeds < CLAIM_SEEDS)
        return CLAIM_FEW_SEEDS;
    return below == n_seeds ? CLAIM_BETTER : above == n_seeds ? CLAIM_WORSE : CLAIM_NONE;
}
