/* plain.c - copies, sums and the optimiser's step. */
#include "kernels/ref/ref.h"
#include "kernels/rng.h"

Status ref_copy(Dev *d, const Copy *a)
{
    (void)d;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t r = 0; r < a->rows; r++) {
            const double *src = (const double *)a->src + b * a->src_batch + r * a->src_row;
            double *dst = (double *)a->dst + b * a->dst_batch + r * a->dst_row;
            for (int64_t c = 0; c < a->width; c++)
                dst[c] = a->add ? dst[c] + src[c] : src[c];
        }
    return ST_OK;
}

Status ref_add(Dev *d, int64_t n, const void *a, const void *b, void *y)
{
    (void)d;
    for (int64_t i = 0; i < n; i++)
        ((double *)y)[i] = ((const double *)a)[i] + ((const double *)b)[i];
    return ST_OK;
}

Status ref_blend(Dev *d, int64_t n, double a, const void *x, double b, const void *z, void *y)
{
    (void)d;
    for (int64_t i = 0; i < n; i++)
        ((double *)y)[i] = a * ((const double *)x)[i] + b * ((const double *)z)[i];
    return ST_OK;
}

/* Through a piece of floats, so that both backends have the same numbers. */
Status ref_normal(Dev *d, int64_t n, uint64_t seed, uint32_t stream, uint64_t offset, void *y)
{
    enum { PIECE = 1024 };
    float piece[PIECE];
    (void)d;
    for (int64_t at = 0; at < n; at += PIECE) {
        const int64_t m = min64(PIECE, n - at);
        rng_fill_normal(piece, m, 1.0, seed, stream, offset + (uint64_t)at);
        for (int64_t i = 0; i < m; i++)
            ((double *)y)[at + i] = (double)piece[i];
    }
    return ST_OK;
}

Status ref_colsum(Dev *d, int64_t rows, int64_t width, const void *x, void *y)
{
    (void)d;
    for (int64_t r = 0; r < rows; r++)
        ref_add_scaled(y, 1.0, (const double *)x + r * width, width);
    return ST_OK;
}

Status ref_fill(Dev *d, int64_t n, double value, void *y)
{
    (void)d;
    for (int64_t i = 0; i < n; i++)
        ((double *)y)[i] = value;
    return ST_OK;
}

Status ref_sum(Dev *d, int64_t n, double scale, const void *x, void *y)
{
    double sum = 0.0;
    (void)d;
    for (int64_t i = 0; i < n; i++)
        sum += ((const double *)x)[i];
    *(double *)y = scale * sum;
    return ST_OK;
}

Status ref_sumsq(Dev *d, int64_t n, const void *x, void *y)
{
    (void)d;
    *(double *)y += ref_dot(x, x, n);
    return ST_OK;
}

/* w -= lr (m^ / (sqrt(v^) + eps) + decay w), with m^ and v^ corrected for their start at zero. */
Status ref_adamw(Dev *d, const AdamW *a)
{
    const double fix1 = 1.0 - pow(a->beta1, (double)a->step);
    const double fix2 = 1.0 - pow(a->beta2, (double)a->step);
    double *w = a->w, *m = a->m, *v = a->v, scale = a->grad_scale;
    (void)d;
    CHECK(a->step >= 1);
    if (a->norm2 != NULL)
        scale = adamw_scale(a, *(const double *)a->norm2);
    for (int64_t i = 0; i < a->n && isfinite(scale); i++) {
        double g = scale * ((const double *)a->grad)[i];
        m[i] = a->beta1 * m[i] + (1.0 - a->beta1) * g;
        v[i] = a->beta2 * v[i] + (1.0 - a->beta2) * g * g;
        w[i] -= a->lr * (m[i] / fix1 / (sqrt(v[i] / fix2) + a->eps) + a->decay * w[i]);
    }
    return ST_OK;
}
