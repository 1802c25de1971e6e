/* rel.c - biases by the distance of key and query. */
#include "kernels/ref/ref.h"

/* Pair i of a vector turned by one position more. */
typedef struct Pair {
    int first, second; /* columns */
    double angle;
} Pair;

static Pair pair_of(const Rel *a, int i)
{
    const double angle = pow(a->base, -2.0 * i / a->width);
    return a->half ? (Pair){i, i + a->width / 2, angle} : (Pair){2 * i, 2 * i + 1, angle};
}

/* <x, y turned by t> */
static double turned_dot(const Rel *a, const double *x, const double *y, double t)
{
    double sum = 0.0;
    for (int i = 0; i < a->width / 2; i++) {
        const Pair p = pair_of(a, i);
        const double c = cos(t * p.angle), s = sin(t * p.angle);
        sum += x[p.first] * (y[p.first] * c - y[p.second] * s);
        sum += x[p.second] * (y[p.second] * c + y[p.first] * s);
    }
    return sum;
}

/* grad += weight * (y turned by t) */
static void add_turned(const Rel *a, double weight, const double *y, double t, double *grad)
{
    for (int i = 0; i < a->width / 2 && grad != NULL; i++) {
        const Pair p = pair_of(a, i);
        const double c = cos(t * p.angle), s = sin(t * p.angle);
        grad[p.first] += weight * (y[p.first] * c - y[p.second] * s);
        grad[p.second] += weight * (y[p.second] * c + y[p.first] * s);
    }
}

Status ref_rel_fwd(Dev *d, const Rel *a)
{
    (void)d;
    CHECK(a->kind != REL_ROPE || a->width % 2 == 0);
    for (int64_t e = 0; e < a->n; e++) {
        const int64_t t = a->first + e;
        ((double *)a->y)[e] = a->kind == REL_ROPE
                                  ? turned_dot(a, a->a, a->c, (double)t)
                                  : a->scale * ((const double *)a->a)[rel_bucket(a->causal, t)];
    }
    return ST_OK;
}

Status ref_rel_bwd(Dev *d, const Rel *a)
{
    (void)d;
    for (int64_t e = 0; e < a->n; e++) {
        const int64_t t = a->first + e;
        const double dy = ((const double *)a->dy)[e];
        if (a->kind == REL_BUCKET && a->da != NULL)
            ((double *)a->da)[rel_bucket(a->causal, t)] += a->scale * dy;
        if (a->kind == REL_ROPE) {
            add_turned(a, dy, a->c, (double)t, a->da);
            add_turned(a, dy, a->a, (double)-t, a->dc);
        }
    }
    return ST_OK;
}
