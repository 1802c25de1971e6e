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

/* Largest error over every `step`-th of n numbers that set(x) puts in place. */
static double differences(Stand *r, Setter *set, double *x, const double *grad, int64_t n,
                          int64_t step, const double *dy, double *y)
{
    const double h = 1e-5; /* rounding is 1e-16 / h; across the kink of a relu^2 it errs by h */
    double most = 0, scale = 0;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(grad[i]));
    for (int64_t i = 0; i < n; i += step) {
        double keep = x[i], f[4];
        const double at[4] = {2 * h, h, -h, -2 * h};
        for (int k = 0; k < 4; k++) {
            x[i] = keep + at[k];
            set(r, x);
            f[k] = loss_of(r, dy, y);
        }
        x[i] = keep;
        double slope = (8 * (f[1] - f[2]) - (f[0] - f[3])) / (12 * h);
        most = worse(most, fabs(slope - grad[i]));
    }
    set(r, x);
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
    double most = differences(&r, stand_set_input, x, dx, n, 1, dy, y);
    most = worse(most, differences(&r, stand_set_params, w, dw, n_w, 3, dy, y));
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
