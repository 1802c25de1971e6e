/* law_gradients.c - gradients against four-point differences, on ref. */
#include "tests/law.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- gradients against four-point differences, on ref ---- */
static double loss_of(Stand *r, const double *dy, double *y)
{
    double sum = 0;
    stand_forward(r, y);
    for (int64_t i = 0; i < stand_size(r); i++)
        sum += dy[i] * y[i];
    return sum;
}

typedef void Setter(Stand *r, const double *x);

/* What the numbers belong to: set(x) puts them in place. */
typedef struct Probe {
    Stand *r;
    Setter *set;
    double *x;
    const double *dy;
    double *y;
} Probe;

/* Slope of the loss along number i, from four points at multiples of h. */
static double slope_at(const Probe *p, int64_t i, double h)
{
    const double at[4] = {2 * h, h, -h, -2 * h}, keep = p->x[i];
    double f[4];
    for (int k = 0; k < 4; k++) {
        p->x[i] = keep + at[k];
        p->set(p->r, p->x);
        f[k] = loss_of(p->r, p->dy, p->y);
    }
    p->x[i] = keep;
    return (8 * (f[1] - f[2]) - (f[0] - f[3])) / (12 * h);
}

/* Four points may lie on both sides of a kink of relu; a smaller step then has them on one, and a
 * wrong gradient stays wrong. Rounding is 1e-16 / h. */
static double slope_error(const Probe *p, int64_t i, double grad, double enough)
{
    double error = (double)INFINITY;
    for (double h = 1e-5; h > 5e-8 && !(error <= enough); h /= 10)
        error = fmin(error, worse(0, fabs(slope_at(p, i, h) - grad)));
    return error;
}

/* Largest error over every `step`-th of n numbers, as a share of the largest gradient. */
static double differences(const Probe *p, const double *grad, int64_t n, int64_t step)
{
    double most = 0, scale = 0;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(grad[i]));
    for (int64_t i = 0; i < n; i += step)
        most = worse(most, slope_error(p, i, grad[i], 1e-8 * scale));
    p->set(p->r, p->x);
    return most / (scale > 0 ? scale : 1);
}

static double gradients_at(const Setting *base)
{
    Setting s = *base;
    s.grads = true;
    s.len = 9;
    Stand r;
    stand_open(&r, &s);
    int64_t n = stand_size(&r), n_w = stand_n_params(&r);
    double *dy = numbers(n, 1, 9), *y = room(n), *dx = room(n), *dw = room(n_w), *w = room(n_w);
    double *x = numbers(n, 1, 1);
    stand_backward(&r, dy, y, dx, dw);
    stand_freeze(&r, true);
    stand_get_params(&r, w);
    double most = differences(&(Probe){&r, stand_set_input, x, dy, y}, dx, n, 1);
    most = worse(most, differences(&(Probe){&r, stand_set_params, w, dy, y}, dw, n_w, 3));
    free(dy);
    free(y);
    free(dx);
    free(dw);
    free(w);
    free(x);
    stand_close(&r);
    return most;
}

/* Without the gradients that are estimates. */
static double gradients_all(const Setting *base)
{
    Setting s = *base;
    const ChannelMixer *f = s.v->channel;
    if (f != NULL && f->smooth_set != NULL)
        snprintf(s.draws, sizeof s.draws, "%s", f->smooth_set);
    return over_options(&s, gradients_at);
}

double law_gradients(const Variant *v)
{
    return all_ways(v, "ref", gradients_all);
}
