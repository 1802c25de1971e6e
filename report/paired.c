/* paired.c - see paired.h. */
#include "report/paired.h"

#include "report/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const int paired_looks[PAIRED_LOOKS] = {30, 60, 120, PAIRED_MAX};
const char *const finding_names[FINDINGS + 1] = {"slower",       "faster",      "equivalent",
                                                 "inconclusive", "environment", NULL};

/* ---- binomials ---- */

/* P(Bin(n, p) <= k); by logarithms, since 2^-n and p^n may vanish. */
static double binomial_cdf(int k, int n, double p)
{
    double sum = 0;
    if (k < 0)
        return 0;
    if (k >= n || p <= 0)
        return 1;
    if (p >= 1)
        return 0;
    for (int i = 0; i <= k; i++)
        sum += exp(lgamma(n + 1.0) - lgamma(i + 1.0) - lgamma(n - i + 1.0) + i * log(p) +
                   (n - i) * log1p(-p));
    return fmin(sum, 1);
}

double paired_sign_test(int n, int n_above, int n_below)
{
    int most = n_above > n_below ? n_above : n_below;
    return fmin(1, 2 * binomial_cdf(n - most, n, 0.5));
}

/* The rate at which P(Bin(n, rate) <= k) falls to `wanted`; it falls as the rate grows. */
static double rate_at(int k, int n, double wanted)
{
    double lo = 0, hi = 1;
    for (int i = 0; i < 60; i++) {
        double mid = 0.5 * (lo + hi);
        *(binomial_cdf(k, n, mid) > wanted ? &lo : &hi) = mid;
    }
    return 0.5 * (lo + hi);
}

Rate paired_rate(int k, int n, double level)
{
    CHECK(n >= 0 && k >= 0 && k <= n);
    double tail = (1 - level) / 2;
    return (Rate){k == 0 ? 0 : rate_at(k - 1, n, 1 - tail), k == n ? 1 : rate_at(k, n, tail)};
}

/* ---- families ---- */
typedef struct Ranked {
    double p;
    int at;
} Ranked;

static int by_p(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    return x->p != y->p ? (x->p > y->p) - (x->p < y->p) : x->at - y->at;
}

void paired_holm(const double *p, int n, double alpha, bool *rejected)
{
    Ranked *r = calloc((size_t)n + 1, sizeof *r);
    CHECK(r != NULL);
    for (int i = 0; i < n; i++)
        r[i] = (Ranked){p[i], i};
    qsort(r, (size_t)n, sizeof *r, by_p);
    bool going = true;
    for (int i = 0; i < n; i++) {
        going = going && r[i].p <= alpha / (n - i);
        rejected[r[i].at] = going;
    }
    free(r);
}

/* ---- one comparison ---- */
double paired_lag1(const double *d, int n)
{
    double mean = 0, square = 0, product = 0;
    for (int i = 0; i < n; i++)
        mean += d[i] / n;
    for (int i = 0; i < n; i++) {
        square += (d[i] - mean) * (d[i] - mean);
        product += i > 0 ? (d[i] - mean) * (d[i - 1] - mean) : 0;
    }
    return n < 3 || square <= 0 ? 0 : product / square;
}

static double test_above(const double *d, int n, double limit)
{
    int above = 0;
    for (int i = 0; i < n; i++)
        above += d[i] > limit;
    return above * 2 > n ? paired_sign_test(n, above, 0) : 1;
}

static void measure_difference(Paired *p)
{
    double d[PAIRED_MAX] = {0}, back[PAIRED_MAX] = {0}, limit = log1p(p->margin);
    for (int i = 0; i < p->n; i++) {
        d[i] = log(p->b[i] / p->a[i]);
        back[i] = -d[i];
    }
    p->lag1 = paired_lag1(d, p->n);
    p->p_slower = fmin(1, PAIRED_LOOKS * test_above(d, p->n, limit));
    p->p_faster = fmin(1, PAIRED_LOOKS * test_above(back, p->n, limit));
    stats_sort(d, p->n);
    Ranks r = stats_sign_ranks(p->n, PAIRED_ALPHA / PAIRED_LOOKS);
    p->ratio = exp(stats_quantile(d, p->n, 0.5));
    p->lo = exp(d[r.lo - 1]);
    p->hi = exp(d[r.hi - 1]);
}

/* Restless: the fixed kernel took another time than usually here, other machines took theirs, or
 * the sides were interrupted much more often than usually. Sharing a core costs up to some 300
 * interruptions a second; pairs stand that. */
static void mark_windows(Paired *p)
{
    static const double MOVED = 0.10, STOLEN = 0.05, JUMP = 4, FEW = 500;
    double sentinel[PAIRED_WINDOWS], switches[PAIRED_WINDOWS];
    p->n_marked = 0;
    if (p->n_windows == 0)
        return;
    for (int i = 0; i < p->n_windows; i++) {
        sentinel[i] = p->window[i].sentinel;
        switches[i] = p->window[i].switches;
    }
    stats_sort(sentinel, p->n_windows);
    stats_sort(switches, p->n_windows);
    double usual = stats_quantile(sentinel, p->n_windows, 0.5);
    double often = stats_quantile(switches, p->n_windows, 0.5);
    for (int i = 0; i < p->n_windows; i++) {
        Window *w = &p->window[i];
        w->marked = fabs(w->sentinel / usual - 1) > MOVED || w->stolen > STOLEN ||
                    w->switches > JUMP * often + FEW;
        p->n_marked += w->marked;
    }
}

/* Too few pairs have extremes for an interval, and those cover less than they should. */
static Finding find(const Paired *p)
{
    static const double RESTLESS = 0.3;
    double limit = 1 + p->margin;
    bool exact = stats_sign_ranks(p->n, PAIRED_ALPHA / PAIRED_LOOKS).exact;
    if (p->n_marked > RESTLESS * p->n_windows)
        return FINDING_ENVIRONMENT;
    if (exact && p->lo > limit)
        return FINDING_SLOWER;
    if (exact && p->hi < 1 / limit)
        return FINDING_FASTER;
    return exact && p->lo > 1 / limit && p->hi < limit ? FINDING_EQUIVALENT : FINDING_INCONCLUSIVE;
}

bool paired_judge(Paired *p, int family)
{
    CHECK(p->n >= 1 && p->n <= PAIRED_MAX && family >= 1);
    measure_difference(p);
    mark_windows(p);
    p->finding = find(p);
    const char *why = "";
    bool exact = stats_sign_ranks(p->n, PAIRED_ALPHA / PAIRED_LOOKS).exact;
    if ((p->finding == FINDING_SLOWER && p->p_slower * family <= PAIRED_ALPHA) ||
        (p->finding == FINDING_FASTER && p->p_faster * family <= PAIRED_ALPHA) ||
        p->finding == FINDING_EQUIVALENT)
        why = "decided";
    else if (exact && p->finding == FINDING_INCONCLUSIVE && log(p->hi / p->lo) <= log1p(p->margin))
        why = "narrow";
    else if (p->n == PAIRED_MAX)
        why = p->finding == FINDING_ENVIRONMENT ? "environment" : "pairs";
    snprintf(p->stop_reason, sizeof p->stop_reason, "%s", why);
    return why[0] != '\0';
}
