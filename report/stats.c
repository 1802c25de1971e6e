/* stats.c - quantiles, the sign interval, exponents and crossings. */
#include "report/stats.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void stats_sort(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, ascending);
}

double stats_quantile(const double *sorted, int n, double q)
{
    CHECK(n >= 1 && q >= 0 && q <= 1);
    double at = q * (n - 1);
    int i = (int)at;
    return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

Ranks stats_sign_ranks(int n, double alpha)
{
    CHECK(n >= 1 && n <= 1000);             /* 2^-n must not vanish */
    double term = ldexp(1, -n), sum = term; /* P(Bin = k), P(Bin <= k) */
    int k = 0;
    while (sum <= alpha / 2) {
        term *= (double)(n - k) / (k + 1);
        sum += term;
        k++;
    }
    return k == 0 ? (Ranks){1, n, false} : (Ranks){k, n + 1 - k, true};
}

void timing_summarise(Timing *t)
{
    CHECK(t->n >= 1 && t->n <= ROW_MAX_SAMPLES);
    double x[ROW_MAX_SAMPLES];
    for (int i = 0; i < t->n; i++)
        x[i] = t->seconds[i];
    stats_sort(x, t->n);
    Ranks r = stats_sign_ranks(t->n, 0.01);
    t->median = stats_quantile(x, t->n, 0.5);
    t->p20 = stats_quantile(x, t->n, 0.2);
    t->p80 = stats_quantile(x, t->n, 0.8);
    t->min = x[0];
    t->ci_lo = x[r.lo - 1];
    t->ci_hi = x[r.hi - 1];
}

Fit stats_exponent(const double *x, const double *y, int n)
{
    CHECK(n >= 2);
    double mx = 0, my = 0, sxx = 0, sxy = 0, rest = 0;
    for (int i = 0; i < n; i++) {
        mx += log(x[i]) / n;
        my += log(y[i]) / n;
    }
    for (int i = 0; i < n; i++) {
        sxx += (log(x[i]) - mx) * (log(x[i]) - mx);
        sxy += (log(x[i]) - mx) * (log(y[i]) - my);
    }
    double slope = sxy / sxx;
    for (int i = 0; i < n; i++) {
        double off = log(y[i]) - my - slope * (log(x[i]) - mx);
        rest += off * off;
    }
    return (Fit){n, slope, n > 2 ? sqrt(rest / (n - 2) / sxx) : (double)NAN};
}

double curve_at(Curve c, double x)
{
    for (int i = 0; i < c.n; i++) {
        if (c.x[i] == x)
            return c.y[i];
        if (i > 0 && c.x[i - 1] < x && x < c.x[i]) {
            double part = log(x / c.x[i - 1]) / log(c.x[i] / c.x[i - 1]);
            return c.y[i - 1] * pow(c.y[i] / c.y[i - 1], part);
        }
    }
    return (double)NAN;
}

/* The next point of either curve after x; infinity when there is none. */
static double next_x(Curve a, Curve b, double x)
{
    double next = (double)INFINITY;
    for (int i = 0; i < a.n; i++)
        next = a.x[i] > x ? fmin(next, a.x[i]) : next;
    for (int i = 0; i < b.n; i++)
        next = b.x[i] > x ? fmin(next, b.x[i]) : next;
    return next;
}

/* log of how much higher the curve is than the base */
static double above(Curve c, Curve base, double x)
{
    return log(curve_at(c, x) / curve_at(base, x));
}

Cross curve_cross(Curve c, Curve base)
{
    Cross cross = {.kind = CROSS_NONE};
    if (c.n == 0 || base.n == 0)
        return cross;
    cross.from = fmax(c.x[0], base.x[0]);
    cross.to = fmin(c.x[c.n - 1], base.x[base.n - 1]);
    if (cross.from > cross.to)
        return cross;

    /* Both are straight between the points of either, so a change of sign has one place. */
    double x = cross.from, d = above(c, base, x);
    cross.kind = d < 0 ? CROSS_BELOW : CROSS_ABOVE;
    while (x < cross.to) {
        double x1 = next_x(c, base, x), d1 = above(c, base, x1);
        if ((d < 0) != (d1 < 0)) {
            cross.last = x * pow(x1 / x, d / (d - d1));
            if (cross.n++ == 0) {
                cross.kind = d < 0 ? CROSS_UP : CROSS_DOWN;
                cross.at = cross.last;
            }
        }
        x = x1;
        d = d1;
    }
    return cross;
}
