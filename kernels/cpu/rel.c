/* rel.c - biases by the distance of key and query.
 *
 * With pairs (a1, a2) of a and (c1, c2) of c, <a, c turned by t> is a sum over pairs of
 *     A cos(t theta) + B sin(t theta),   A = a1 c1 + a2 c2,   B = a2 c1 - a1 c2
 * so tables and gradients are sums over cosines and sines, which turn from one distance to the
 * next, in double, and are made anew for every block. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

enum { DISTANCES = 256, PAIRS_MAX = 512 }; /* of a block; of a vector */

/* One entry a pair. */
typedef struct Waves {
    double cos[PAIRS_MAX], sin[PAIRS_MAX], step_cos[PAIRS_MAX], step_sin[PAIRS_MAX];
} Waves;

static void waves_set(Waves *w, const Rel *a, int64_t t)
{
    for (int i = 0; i < a->width / 2; i++) {
        const double theta = pow(a->base, -2.0 * i / a->width);
        w->cos[i] = cos((double)t * theta);
        w->sin[i] = sin((double)t * theta);
        w->step_cos[i] = cos(theta);
        w->step_sin[i] = sin(theta);
    }
}

static void waves_step(Waves *w, int pairs)
{
    for (int i = 0; i < pairs; i++) {
        const double c = w->cos[i], s = w->sin[i];
        w->cos[i] = c * w->step_cos[i] - s * w->step_sin[i];
        w->sin[i] = s * w->step_cos[i] + c * w->step_sin[i];
    }
}

/* Columns of pair i. */
static int first_of(const Rel *a, int i)
{
    return a->half ? i : 2 * i;
}
static int second_of(const Rel *a, int i)
{
    return a->half ? i + a->width / 2 : 2 * i + 1;
}

/* sums (2, pairs): A and B. */
static void amplitudes(const Rel *a, double *sums)
{
    const float *x = a->a, *y = a->c;
    const int pairs = a->width / 2;
    for (int i = 0; i < pairs; i++) {
        const double x1 = (double)x[first_of(a, i)], x2 = (double)x[second_of(a, i)];
        const double y1 = (double)y[first_of(a, i)], y2 = (double)y[second_of(a, i)];
        sums[i] = x1 * y1 + x2 * y2;
        sums[pairs + i] = x2 * y1 - x1 * y2;
    }
}

static void block_fwd(const Rel *a, int64_t e0, const double *sums)
{
    Waves w;
    const int pairs = a->width / 2;
    waves_set(&w, a, a->first + e0);
    for (int64_t e = e0; e < min64(e0 + DISTANCES, a->n); e++) {
        double y = 0.0;
        for (int i = 0; i < pairs; i++)
            y += sums[i] * w.cos[i] + sums[pairs + i] * w.sin[i];
        ((float *)a->y)[e] = (float)y;
        waves_step(&w, pairs);
    }
}

/* Gradients of A and B from one block. */
static void block_bwd(const Rel *a, int64_t e0, double *sums)
{
    Waves w;
    const int pairs = a->width / 2;
    waves_set(&w, a, a->first + e0);
    memset(sums, 0, 2 * (size_t)pairs * sizeof *sums);
    for (int64_t e = e0; e < min64(e0 + DISTANCES, a->n); e++) {
        const double dy = (double)((const float *)a->dy)[e];
        for (int i = 0; i < pairs; i++) {
            sums[i] += dy * w.cos[i];
            sums[pairs + i] += dy * w.sin[i];
        }
        waves_step(&w, pairs);
    }
}

/* grad += by_a x + by_b (x turned by a quarter, sign 1 or -1) pair by pair. */
static void add_pairs(const Rel *a, const double *by, const float *x, double sign, float *grad)
{
    const int pairs = a->width / 2;
    for (int i = 0; i < pairs && grad != NULL; i++) {
        const double x1 = (double)x[first_of(a, i)], x2 = (double)x[second_of(a, i)];
        grad[first_of(a, i)] += (float)(by[i] * x1 - sign * by[pairs + i] * x2);
        grad[second_of(a, i)] += (float)(by[i] * x2 + sign * by[pairs + i] * x1);
    }
}

static Status fits(const Rel *a)
{
    CHECK(a->kind != REL_ROPE || a->width % 2 == 0);
    if (a->kind == REL_ROPE && a->width > 2 * PAIRS_MAX)
        return FAIL(ST_UNSUPPORTED, "relative biases of vectors of %d, at most %d", a->width,
                    2 * PAIRS_MAX);
    return ST_OK;
}

/* Fails: ST_UNSUPPORTED for wider vectors than the tables hold. */
Status CPU(rel_fwd)(Dev *d, const Rel *a)
{
    double sums[2 * PAIRS_MAX];
    (void)d;
    TRY(fits(a));
    if (a->kind == REL_BUCKET) {
        for (int64_t e = 0; e < a->n; e++)
            ((float *)a->y)[e] =
                (float)a->scale * ((const float *)a->a)[rel_bucket(a->causal, a->first + e)];
        return ST_OK;
    }
    amplitudes(a, sums);
#pragma omp parallel for schedule(static) if (a->n * a->width > PARALLEL_FROM)
    for (int64_t e = 0; e < a->n; e += DISTANCES)
        block_fwd(a, e, sums);
    return ST_OK;
}

static void buckets_bwd(const Rel *a)
{
    double sums[REL_BUCKETS] = {0};
    for (int64_t e = 0; e < a->n; e++)
        sums[rel_bucket(a->causal, a->first + e)] += a->scale * (double)((const float *)a->dy)[e];
    for (int i = 0; i < REL_BUCKETS && a->da != NULL; i++)
        ((float *)a->da)[i] += (float)sums[i];
}

Status CPU(rel_bwd)(Dev *d, const Rel *a)
{
    const int64_t blocks = ceil_div(a->n, DISTANCES), width = a->width;
    void *scratch;
    TRY(fits(a));
    if (a->kind == REL_BUCKET) {
        buckets_bwd(a);
        return ST_OK;
    }
    TRY(dev_scratch(d, (size_t)(blocks * width) * sizeof(double), &scratch));
    double *part = scratch;
#pragma omp parallel for schedule(static) if (a->n * a->width > PARALLEL_FROM)
    for (int64_t i = 0; i < blocks; i++)
        block_bwd(a, i * DISTANCES, part + i * width);
    for (int64_t i = 1; i < blocks; i++)
        for (int64_t c = 0; c < width; c++)
            part[c] += part[i * width + c];
    add_pairs(a, part, a->c, 1.0, a->da);
    add_pairs(a, part, a->a, -1.0, a->dc);
    return ST_OK;
}
