/* norm.c - layer, RMS and scale norms: a row is read from memory once, then from L1. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { WAYS = 4 }; /* chains of a sum: one alone would wait for itself */

typedef struct Stats {
    float mean, rstd;
} Stats;

/* Sums of x - mean or of its square over a row: whole vectors in WAYS chains, then the rest. */
INLINE float row_sum(const bool squares, const float *x, float mean, int64_t n)
{
    vf sum[WAYS] = {{0}};
    int64_t c = 0;
    for (; c + WAYS * VW <= n; c += WAYS * VW)
        for (int w = 0; w < WAYS; w++) {
            vf t = vload(x + c + w * VW) - mean;
            sum[w] += squares ? t * t : t;
        }
    for (; c < n; c += VW) {
        vf t = vkeep(vget(x + c, n - c) - mean, n - c);
        sum[0] += squares ? t * t : t;
    }
    return vsum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static Stats stats_of(const Norm *a, const float *x)
{
    int64_t n = a->width;
    float mean = a->kind == NORM_LAYER ? row_sum(false, x, 0.0f, n) / (float)n : 0.0f;
    double var = (double)row_sum(true, x, mean, n) / (double)n;
    return (Stats){mean, (float)(1.0 / sqrt(var + a->eps))};
}

/* gain[c..c+VW) of a row of n columns; ScaleNorm has one number for all of them */
static inline vf gain_at(const Norm *a, int64_t c)
{
    const float *gain = a->gain;
    if (gain == NULL)
        return vset(1.0f);
    return a->kind == NORM_SCALE ? vset(gain[0]) : vget(gain + c, a->width - c);
}

/* y[c..c+VW); whole: the row does not end before. */
INLINE void columns_fwd(const bool whole, const Norm *a, Stats s, const float *x, float *y,
                        int64_t c)
{
    const float *gain = a->gain, *bias = a->bias;
    const int64_t n = whole ? VW : a->width - c;
    vf t = (vget(x + c, n) - s.mean) * s.rstd;
    if (gain != NULL)
        t *= a->kind == NORM_SCALE ? vset(gain[0]) : vget(gain + c, n);
    vput(y + c, bias != NULL ? t + vget(bias + c, n) : t, n);
}

static void row_fwd(const Norm *a, Stats s, const float *x, float *y)
{
    int64_t c = 0;
    for (; c + VW <= a->width; c += VW)
        columns_fwd(true, a, s, x, y, c);
    if (c < a->width)
        columns_fwd(false, a, s, x, y, c);
}

Status CPU(norm_fwd)(Dev *d, const Norm *a)
{
    (void)d;
    CHECK(a->kind != NORM_NONE);
    float *stats = a->stats;
#pragma omp parallel for schedule(static) if (a->rows * a->width > PARALLEL_FROM)
    for (int64_t r = 0; r < a->rows; r++) {
        const float *x = (const float *)a->x + r * a->width;
        Stats s = stats_of(a, x);
        row_fwd(a, s, x, (float *)a->y + r * a->width);
        if (stats != NULL) {
            stats[2 * r] = s.mean;
            stats[2 * r + 1] = s.rstd;
        }
    }
    return ST_OK;
}

/* Means over the row of g = dy gain and of g xhat, xhat = (x - mean) rstd. */
typedef struct Pull {
    float g, gx;
} Pull;

/* Also adds dy xhat to dgain (one number for ScaleNorm) and dy to dbias: partial sums of a slab. */
static Pull row_pull(const Norm *a, Stats s, const float *x, const float *dy, float *dgain,
                     float *dbias)
{
    int64_t n = a->width;
    bool columns = dgain != NULL && a->kind != NORM_SCALE;
    vf sum_g = {0}, sum_gx = {0}, sum_scale = {0};
    for (int64_t c = 0; c < n; c += VW) {
        vf t = vget(dy + c, n - c); /* zeros behind the row: so are the products */
        vf tx = t * (vget(x + c, n - c) - s.mean) * s.rstd;
        vf gain = gain_at(a, c);
        sum_g += t * gain;
        sum_gx += tx * gain;
        if (columns)
            vput(dgain + c, vget(dgain + c, n - c) + tx, n - c);
        else
            sum_scale += tx;
        if (dbias != NULL)
            vput(dbias + c, vget(dbias + c, n - c) + t, n - c);
    }
    if (dgain != NULL && !columns)
        dgain[0] += vsum(sum_scale);
    float mean_g = a->kind == NORM_LAYER ? vsum(sum_g) / (float)n : 0.0f;
    return (Pull){mean_g, vsum(sum_gx) / (float)n};
}

/* dx += rstd (g - mean(g) - xhat mean(g xhat)) */
static void row_bwd(const Norm *a, Stats s, Pull p, const float *x, const float *dy, float *dx)
{
    int64_t n = a->width;
    for (int64_t c = 0; c < n; c += VW) {
        vf xhat = (vget(x + c, n - c) - s.mean) * s.rstd;
        vf t = (vget(dy + c, n - c) * gain_at(a, c) - p.g - xhat * p.gx) * s.rstd;
        vput(dx + c, vget(dx + c, n - c) + t, n - c);
    }
}

/* Rows [r0, r1); part: (2, width) partial sums of dgain and dbias. */
static void slab_bwd(const Norm *a, int64_t r0, int64_t r1, float *part)
{
    float *dgain = a->dgain != NULL ? part : NULL;
    float *dbias = a->dbias != NULL ? part + a->width : NULL;
    const float *stats = a->stats;
    memset(part, 0, 2 * (size_t)a->width * sizeof *part);
    for (int64_t r = r0; r < r1; r++) {
        Stats s = {stats[2 * r], stats[2 * r + 1]};
        const float *x = (const float *)a->x + r * a->width;
        const float *dy = (const float *)a->dy + r * a->width;
        Pull p = row_pull(a, s, x, dy, dgain, dbias);
        if (a->dx != NULL)
            row_bwd(a, s, p, x, dy, (float *)a->dx + r * a->width);
    }
}

Status CPU(norm_bwd)(Dev *d, const Norm *a)
{
    void *scratch;
    Slabs slabs = slabs_of(a->rows);
    int64_t stride = 2 * (int64_t)a->width;
    CHECK(a->kind != NORM_NONE);
    TRY(dev_scratch(d, (size_t)slabs.n * (size_t)stride * sizeof(float), &scratch));
    float *part = scratch;
#pragma omp parallel for schedule(static) if (a->rows * a->width > PARALLEL_FROM)
    for (int i = 0; i < slabs.n; i++)
        slab_bwd(a, slab_begin(&slabs, i), slab_end(&slabs, i), part + i * stride);
    if (a->dgain != NULL)
        slabs_fold(part, slabs.n, stride, a->kind == NORM_SCALE ? 1 : a->width, a->dgain);
    if (a->dbias != NULL)
        slabs_fold(part + a->width, slabs.n, stride, a->width, a->dbias);
    return ST_OK;
}
