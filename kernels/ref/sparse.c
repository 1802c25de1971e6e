/* sparse.c - blocks of units of which one is chosen: soft masks, choices, the feed-forward layer.
 */
#include "kernels/ref/ref.h"
#include "kernels/rng.h"

/* ---- softmax of blocks ---- */
static void soft_block(const double *z, int n, double *m)
{
    const double lse = ref_log_sum_exp(z, n);
    for (int i = 0; i < n; i++)
        m[i] = exp(z[i] - lse);
}

Status ref_soft_blocks_fwd(Dev *d, const SoftBlocks *a)
{
    (void)d;
    for (int64_t i = 0; i < a->n; i++)
        soft_block((const double *)a->z + i * a->block, a->block, (double *)a->m + i * a->block);
    return ST_OK;
}

Status ref_soft_blocks_bwd(Dev *d, const SoftBlocks *a)
{
    (void)d;
    for (int64_t i = 0; i < a->n; i++) {
        const int64_t at = i * a->block;
        const double *m = (const double *)a->m + at, *dm = (const double *)a->dm + at;
        const double mean = ref_dot(m, dm, a->block);
        for (int64_t n = 0; n < a->block; n++)
            ((double *)a->dz)[at + n] += m[n] * (dm[n] - mean);
    }
    return ST_OK;
}

/* ---- choosing ---- */
static double gumbel(const Pick *a, int64_t i)
{
    double u = a->u != NULL ? ((const double *)a->u)[i]
                            : rng_uniform(a->seed, a->stream, a->offset + (uint64_t)i);
    return -log(-log(fmin(fmax(u, 1e-6), 1 - 1e-6)));
}

Status ref_pick(Dev *d, const Pick *a)
{
    (void)d;
    for (int64_t i = 0; i < a->n; i++) {
        double best = -HUGE_VAL;
        a->pick[i] = 0;
        for (int n = 0; n < a->block; n++) {
            const int64_t at = i * a->block + n;
            double score = ((const double *)a->z)[at] + (a->tau > 0 ? a->tau * gumbel(a, at) : 0.0);
            if (score > best) {
                best = score;
                a->pick[i] = n;
            }
        }
    }
    return ST_OK;
}

/* ---- the layer ---- */
static int64_t unit_of(const SparseFf *a, int64_t r, int k)
{
    return (int64_t)k * a->block + a->pick[r * a->blocks + k];
}

/* Soft mask of unit n of block k of row r. */
static double mask(const SparseFf *a, int64_t r, int k, int64_t n)
{
    const double *z = (const double *)a->z + (r * a->blocks + k) * a->block;
    return exp(z[n] - ref_log_sum_exp(z, a->block));
}

static double factor(const SparseFf *a, int64_t r, int k)
{
    return a->scaled ? mask(a, r, k, a->pick[r * a->blocks + k]) : 1.0;
}

Status ref_sparse_ff_fwd(Dev *d, const SparseFf *a)
{
    const int64_t w = a->width;
    const double *bias = a->bias;
    for (int64_t r = 0; r < a->rows; r++) {
        double *y = (double *)a->y + r * w, *u = (double *)a->u + r * a->blocks;
        for (int64_t c = 0; c < w; c++)
            y[c] = bias != NULL ? bias[c] : 0.0;
        for (int k = 0; k < a->blocks; k++) {
            const int64_t at = unit_of(a, r, k) * w;
            u[k] = ref_dot((const double *)a->x + r * w, (const double *)a->w1 + at, w);
            ref_add_scaled(y, ref_relu(u[k]) * factor(a, r, k), (const double *)a->w2 + at, w);
        }
    }
    dev_count_flops(d, 4.0 * (double)a->rows * a->blocks * a->width);
    return ST_OK;
}

static void sparse_ff_bwd_at(const SparseFf *a, int64_t r, int k)
{
    const int64_t w = a->width, at = unit_of(a, r, k) * w;
    const double *x = (const double *)a->x + r * w, *dy = (const double *)a->dy + r * w;
    const double u = ((const double *)a->u)[r * a->blocks + k], c = factor(a, r, k);
    const double dh = c * ref_dot(dy, (const double *)a->w2 + at, w), du = u > 0 ? dh : 0.0;
    ref_add_scaled(ref_grad(a->dw2, at), ref_relu(u) * c, dy, w);
    ref_add_scaled(ref_grad(a->dw1, at), du, x, w);
    ref_add_scaled(ref_grad(a->dx, r * w), du, (const double *)a->w1 + at, w);
    if (a->dz == NULL)
        return;
    double *dz = (double *)a->dz + (r * a->blocks + k) * a->block;
    const int64_t j = a->pick[r * a->blocks + k];
    const double m = mask(a, r, k, j);
    for (int64_t n = 0; n < a->block; n++)
        dz[n] += m * ((n == j ? 1.0 : 0.0) - mask(a, r, k, n)) * du * u;
}

Status ref_sparse_ff_bwd(Dev *d, const SparseFf *a)
{
    (void)d;
    for (int64_t r = 0; r < a->rows; r++) {
        for (int k = 0; k < a->blocks; k++)
            sparse_ff_bwd_at(a, r, k);
        ref_add_scaled(a->dbias, 1.0, (const double *)a->dy + r * a->width, a->width);
    }
    return ST_OK;
}
