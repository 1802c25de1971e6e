/* relative.c - see relative.h. */
#include "variants/template/relative.h"

#include <math.h>

enum { W, A, C, T5 };         /* parameters */
enum { LONGEST_TABLE = 512 }; /* of the published code */
static const double INIT_SD = 0.02, BASE = 10000;

static int kind_of(const Relative *r)
{
    return r->kind != REL_PAPER ? r->kind : r->n_max <= LONGEST_TABLE ? REL_TABLE : REL_VECTORS;
}

void relative_params(Slot s[REL_SLOTS], const Relative *r)
{
    const int kind = kind_of(r);
    s[W] = slot_vector("rel_w", INIT_NORMAL, INIT_SD, 2 * r->n_max - 1);
    s[W].absent = kind != REL_TABLE;
    s[A] = slot_vector("rel_a", INIT_NORMAL, INIT_SD, r->width);
    s[C] = slot_vector("rel_c", INIT_NORMAL, INIT_SD, r->width);
    s[A].absent = s[C].absent = kind != REL_VECTORS;
    s[T5] = slot_vector("rel_t5", INIT_NORMAL, INIT_SD, REL_BUCKETS);
    s[T5].absent = kind != REL_T5;
}

Status relative_accepts(const Relative *r, int64_t len)
{
    if (kind_of(r) == REL_TABLE && len > r->n_max)
        return FAIL(ST_SHAPE,
                    "rel_bias=%d has a table for %lld positions, not %lld (rel_max sets how many; "
                    "rel_bias=3 or 4 needs no table)",
                    r->kind, (long long)r->n_max, (long long)len);
    return ST_OK;
}

Tensor *relative_table(Tape *t, Tensor *const w[], const Relative *r, int64_t len, int64_t *zero)
{
    RelOpt o = {.first = 1 - len,
                .n = 2 * len - 1,
                .causal = r->causal,
                .half = r->half,
                .base = BASE,
                .scale = r->scale};
    *zero = len - 1;
    switch (kind_of(r)) {
    case REL_TABLE:
        *zero = r->n_max - 1;
        return w[W];
    case REL_VECTORS:
        return op_rel_rope(t, w[A], w[C], o);
    case REL_T5:
        return op_rel_buckets(t, w[T5], o);
    default:
        return NULL;
    }
}

/* ---- the definition ---- */

/* Pair p of x, turned to position i: real and imaginary part. */
static void turned(const double *x, const Relative *r, int p, int64_t i, double out[2])
{
    const double angle = (double)i * pow(BASE, -2.0 * p / r->width);
    const double re = x[r->half ? p : 2 * p], im = x[r->half ? p + r->width / 2 : 2 * p + 1];
    out[0] = re * cos(angle) - im * sin(angle);
    out[1] = re * sin(angle) + im * cos(angle);
}

static double dot_turned(const double *a, const double *c, const Relative *r, int64_t i, int64_t j)
{
    double sum = 0;
    for (int p = 0; p < r->width / 2; p++) {
        double x[2], y[2];
        turned(a, r, p, i, x);
        turned(c, r, p, j, y);
        sum += x[0] * y[0] + x[1] * y[1];
    }
    return sum;
}

/* Half of the buckets exactly, the others by the logarithm up to 128; the boundaries at powers of
 * two are met from below. */
static int t5_bucket(bool causal, int64_t back)
{
    const int n = causal ? REL_BUCKETS : REL_BUCKETS / 2, exact = n / 2;
    const int64_t d = causal && back < 0 ? 0 : back < 0 ? -back : back;
    double i = (double)d;
    if (d >= exact)
        i = exact + floor(log((double)d / exact) / log(128.0 / exact) * (n - exact) + 1e-9);
    return (int)fmin(i, n - 1) + (!causal && back < 0 ? n : 0);
}

double relative_bias(const double *const w[], const Relative *r, int64_t i, int64_t j)
{
    switch (kind_of(r)) {
    case REL_TABLE:
        return w[W][j - i + r->n_max - 1];
    case REL_VECTORS:
        return dot_turned(w[A], w[C], r, i, j);
    case REL_T5:
        return r->scale * w[T5][t5_bucket(r->causal, i - j)];
    default:
        return 0;
    }
}
