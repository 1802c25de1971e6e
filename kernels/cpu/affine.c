/* affine.c - y = x * gain + bias by columns (OffsetScale of GAU), and its gradients. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#include <string.h>

static inline vf times_gain(const Affine *a, vf x, int64_t c)
{
    const float *gain = a->gain;
    return gain != NULL ? x * vget(gain + c, a->width - c) : x;
}

Status CPU(affine_fwd)(Dev *d, const Affine *a)
{
    (void)d;
    const float *bias = a->bias;
    int64_t n = a->width;
#pragma omp parallel for schedule(static) if (a->rows * n > PARALLEL_FROM)
    for (int64_t r = 0; r < a->rows; r++) {
        const float *x = (const float *)a->x + r * n;
        float *y = (float *)a->y + r * n;
        for (int64_t c = 0; c < n; c += VW) {
            vf t = times_gain(a, vget(x + c, n - c), c);
            vput(y + c, bias != NULL ? t + vget(bias + c, n - c) : t, n - c);
        }
    }
    return ST_OK;
}

/* One row; dgain and dbias are a slab's partial sums. All three gradients may be NULL. */
static void row_bwd(const Affine *a, const float *x, const float *dy, float *dx, float *dgain,
                    float *dbias)
{
    int64_t n = a->width;
    for (int64_t c = 0; c < n; c += VW) {
        vf t = vget(dy + c, n - c);
        if (dx != NULL)
            vput(dx + c, vget(dx + c, n - c) + times_gain(a, t, c), n - c);
        if (dgain != NULL)
            vput(dgain + c, vget(dgain + c, n - c) + t * vget(x + c, n - c), n - c);
        if (dbias != NULL)
            vput(dbias + c, vget(dbias + c, n - c) + t, n - c);
    }
}

/* Rows [r0, r1); part: (2, width) partial sums of dgain and dbias. */
static void slab_bwd(const Affine *a, int64_t r0, int64_t r1, float *part)
{
    float *dgain = a->dgain != NULL ? part : NULL;
    float *dbias = a->dbias != NULL ? part + a->width : NULL;
    memset(part, 0, 2 * (size_t)a->width * sizeof *part);
    for (int64_t r = r0; r < r1; r++) {
        int64_t at = r * a->width;
        row_bwd(a, (const float *)a->x + at, (const float *)a->dy + at,
                a->dx != NULL ? (float *)a->dx + at : NULL, dgain, dbias);
    }
}

Status CPU(affine_bwd)(Dev *d, const Affine *a)
{
    void *scratch;
    Slabs slabs = slabs_of(a->rows);
    int64_t stride = 2 * (int64_t)a->width;
    TRY(dev_scratch(d, (size_t)slabs.n * (size_t)stride * sizeof(float), &scratch));
    float *part = scratch;
#pragma omp parallel for schedule(static) if (a->rows * a->width > PARALLEL_FROM)
    for (int i = 0; i < slabs.n; i++)
        slab_bwd(a, slab_begin(&slabs, i), slab_end(&slabs, i), part + i * stride);
    if (a->dgain != NULL)
        slabs_fold(part, slabs.n, stride, a->width, a->dgain);
    if (a->dbias != NULL)
        slabs_fold(part + a->width, slabs.n, stride, a->width, a->dbias);
    return ST_OK;
}
