/* sru.c - the simple recurrent unit, column by column, with its gradients by the chain rule:
 *   dc_t = r_t dh_t + f_{t+1} dc_{t+1},   dg_f = dc (c_{t-1} - g_y) f (1 - f),   dg_y = dc (1 - f),
 *   dg_r = dh (c - sqrt(3) x) r (1 - r),   dx = dh (1 - r) sqrt(3) */
#include "kernels/ref/ref.h"

static const double ROOT3 = 1.7320508075688772;

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

Status ref_sru_fwd(Dev *d, const Sru *a)
{
    const int64_t w = a->width;
    for (int64_t n = 0; n < a->batch * w; n++) {
        const int64_t b = n / w, i = n % w;
        double *state = a->state, c = state != NULL ? state[n] : 0.0;
        for (int64_t t = b * a->len; t < (b + 1) * a->len; t++) {
            const double *g = (const double *)a->g + t * 3 * w + i;
            const double r = sigmoid(g[0]), f = sigmoid(g[w]);
            c = f * c + (1.0 - f) * g[2 * w];
            ((double *)a->h)[t * w + i] =
                r * c + (1.0 - r) * ROOT3 * ((const double *)a->x)[t * w + i];
            if (a->c != NULL)
                ((double *)a->c)[t * w + i] = c;
        }
        if (state != NULL)
            state[n] = c;
    }
    dev_count_flops(d, 8.0 * (double)(a->batch * a->len * w));
    return ST_OK;
}

/* One column; the gradient of c runs back through time. */
static void column_bwd(const Sru *a, int64_t b, int64_t i)
{
    const int64_t w = a->width;
    double dc = 0.0;
    for (int64_t t = (b + 1) * a->len - 1; t >= b * a->len; t--) {
        const double *g = (const double *)a->g + t * 3 * w + i,
                     x = ((const double *)a->x)[t * w + i];
        const double *c = (const double *)a->c + t * w + i, dh = ((const double *)a->dh)[t * w + i];
        const double r = sigmoid(g[0]), f = sigmoid(g[w]), before = t > b * a->len ? c[-w] : 0.0;
        double *dg = ref_grad(a->dg, t * 3 * w + i), *dx = ref_grad(a->dx, t * w + i);
        dc += r * dh;
        if (dg != NULL) {
            dg[0] += dh * (c[0] - ROOT3 * x) * r * (1.0 - r);
            dg[w] += dc * (before - g[2 * w]) * f * (1.0 - f);
            dg[2 * w] += dc * (1.0 - f);
        }
        if (dx != NULL)
            *dx += dh * (1.0 - r) * ROOT3;
        dc *= f;
    }
}

Status ref_sru_bwd(Dev *d, const Sru *a)
{
    (void)d;
    for (int64_t n = 0; n < a->batch * a->width; n++)
        column_bwd(a, n / a->width, n % a->width);
    return ST_OK;
}
