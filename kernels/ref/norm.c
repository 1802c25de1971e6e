/* norm.c - LayerNorm, RMSNorm and ScaleNorm over rows.
 *
 * With xh = (x - mean) rstd and y = xh gain + bias, the gradient of a row is, for g = dy gain,
 *   dx = rstd (g - mean_c(g) - xh mean_c(g xh)), without mean_c(g) where the mean is fixed at 0. */
#include "kernels/ref/ref.h"

typedef struct Stats {
    double mean, rstd;
} Stats;

static Stats stats_of(const Norm *a, const double *x)
{
    double mean = 0.0, var = 0.0;
    for (int c = 0; c < a->width && a->kind == NORM_LAYER; c++)
        mean += x[c] / a->width;
    for (int c = 0; c < a->width; c++)
        var += (x[c] - mean) * (x[c] - mean) / a->width;
    return (Stats){mean, 1.0 / sqrt(var + a->eps)};
}

/* Where the gain of column c is. */
static int gain_at(const Norm *a, int c)
{
    return a->kind == NORM_SCALE ? 0 : c;
}

static double gain_of(const Norm *a, int c)
{
    return a->gain != NULL ? ((const double *)a->gain)[gain_at(a, c)] : 1.0;
}

Status ref_norm_fwd(Dev *d, const Norm *a)
{
    const double *bias = a->bias;
    (void)d;
    CHECK(a->kind != NORM_NONE);
    for (int64_t r = 0; r < a->rows; r++) {
        const double *x = (const double *)a->x + r * a->width;
        double *y = (double *)a->y + r * a->width;
        const Stats st = stats_of(a, x);
        for (int c = 0; c < a->width; c++)
            y[c] = (x[c] - st.mean) * st.rstd * gain_of(a, c) + (bias != NULL ? bias[c] : 0.0);
        if (a->stats != NULL) {
            ((double *)a->stats)[2 * r] = st.mean;
            ((double *)a->stats)[2 * r + 1] = st.rstd;
        }
    }
    return ST_OK;
}

static void dx_row(const Norm *a, Stats st, const double *x, const double *dy, double *dx)
{
    double mean_g = 0.0, mean_gx = 0.0;
    for (int c = 0; c < a->width; c++) {
        double g = dy[c] * gain_of(a, c);
        mean_g += a->kind == NORM_LAYER ? g / a->width : 0.0;
        mean_gx += g * (x[c] - st.mean) * st.rstd / a->width;
    }
    for (int c = 0; c < a->width; c++) {
        double g = dy[c] * gain_of(a, c), xh = (x[c] - st.mean) * st.rstd;
        dx[c] += st.rstd * (g - mean_g - xh * mean_gx);
    }
}

/* Mean and rstd are computed again from x: nothing hangs on what a forward pass left. */
Status ref_norm_bwd(Dev *d, const Norm *a)
{
    double *dgain = a->dgain, *dbias = a->dbias;
    (void)d;
    CHECK(a->kind != NORM_NONE);
    for (int64_t r = 0; r < a->rows; r++) {
        const double *x = (const double *)a->x + r * a->width;
        const double *dy = (const double *)a->dy + r * a->width;
        const Stats st = stats_of(a, x);
        if (a->dx != NULL)
            dx_row(a, st, x, dy, (double *)a->dx + r * a->width);
        for (int c = 0; c < a->width && dgain != NULL; c++)
            dgain[gain_at(a, c)] += dy[c] * (x[c] - st.mean) * st.rstd;
        for (int c = 0; c < a->width && dbias != NULL; c++)
            dbias[c] += dy[c];
    }
    return ST_OK;
}
