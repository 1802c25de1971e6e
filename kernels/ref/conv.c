/* conv.c - causal convolution over positions, column by column:
 *   y_t = bias + sum_k w_k x_(t-k),   dx_t = sum_k w_k dy_(t+k),   dw_k = sum_t dy_t x_(t-k). */
#include "kernels/ref/ref.h"

static int64_t at(const Conv *a, int64_t b, int64_t t, int64_t c)
{
    return (b * a->len + t) * a->width + c;
}

/* Position t of batch row b, which may lie before the call. */
static double input(const Conv *a, int64_t b, int64_t t, int64_t c)
{
    const int64_t before = a->taps - 1;
    if (t >= 0)
        return ((const double *)a->x)[at(a, b, t, c)];
    return a->halo != NULL ? ((const double *)a->halo)[(b * before + before + t) * a->width + c]
                           : 0.0;
}

/* Row i of the new halo is position len - (taps - 1) + i; rows are filled from the oldest on, each
 * from a row that is not yet overwritten. */
static void keep_halo(const Conv *a)
{
    const int64_t before = a->taps - 1;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t i = 0; i < before; i++)
            for (int64_t c = 0; c < a->width; c++)
                ((double *)a->halo)[(b * before + i) * a->width + c] =
                    input(a, b, a->len - before + i, c);
}

Status ref_conv_fwd(Dev *d, const Conv *a)
{
    const double *w = a->w, *bias = a->bias;
    double *y = a->y;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t t = 0; t < a->len; t++)
            for (int64_t c = 0; c < a->width; c++) {
                double sum = bias != NULL ? bias[c] : 0.0;
                for (int64_t k = 0; k < a->taps; k++)
                    sum += w[k * a->width + c] * input(a, b, t - k, c);
                y[at(a, b, t, c)] = sum;
            }
    if (a->halo != NULL)
        keep_halo(a);
    dev_count_flops(d, 2.0 * (double)(a->batch * a->len) * a->width * a->taps);
    return ST_OK;
}

Status ref_conv_bwd(Dev *d, const Conv *a)
{
    const double *w = a->w, *dy = a->dy;
    double *dx = a->dx, *dw = a->dw, *dbias = a->dbias;
    (void)d;
    CHECK(a->halo == NULL);
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t t = 0; t < a->len; t++)
            for (int64_t c = 0; c < a->width; c++) {
                const double pull = dy[at(a, b, t, c)];
                for (int64_t k = 0; k < a->taps && dx != NULL && k <= t; k++)
                    dx[at(a, b, t - k, c)] += w[k * a->width + c] * pull;
                for (int64_t k = 0; k < a->taps && dw != NULL; k++)
                    dw[k * a->width + c] += pull * input(a, b, t - k, c);
                if (dbias != NULL)
                    dbias[c] += pull;
            }
    return ST_OK;
}
