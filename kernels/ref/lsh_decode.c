/* lsh_decode.c - decode of LSH attention by its definition: all positions ranked by priority, the
 * first `window` of them attended. */
#include "kernels/ref/ref.h"

#include <stdlib.h>

static const double EPS = 1e-6, SELF = 1e5;

/* One query of one head at position p. */
typedef struct Step {
    const LshDecode *a;
    int64_t b, h, i, p;
    int64_t *rank; /* (cap) priorities, the largest first */
    double *s;     /* (window) */
} Step;

static bool same_bucket(const Step *f, int64_t j)
{
    const LshDecode *a = f->a;
    const double *bucket =
        (const double *)a->bucket + (f->b * a->heads + f->h) * a->rounds * a->cap;
    for (int r = 0; r < a->rounds; r++, bucket += a->cap)
        if (bucket[j] == bucket[f->p])
            return true;
    return false;
}

static int falling(const void *x, const void *y)
{
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a < b) - (a > b);
}

/* Priority j, plus cap for a match; returns how many keys there are to see. */
static int64_t rank_keys(const Step *f)
{
    const int64_t n = f->p + 1;
    for (int64_t j = 0; j < n; j++)
        f->rank[j] = j + (same_bucket(f, j) ? f->a->cap : 0);
    qsort(f->rank, (size_t)n, sizeof *f->rank, falling);
    return min64(n, f->a->window);
}

static const double *cached(const Step *f, const void *base, int64_t j, int width)
{
    return (const double *)base + ((f->b * f->a->cap + j) * f->a->heads + f->h) * width;
}

/* Returns how many keys were seen. */
static int64_t one_step(const Step *f)
{
    const LshDecode *a = f->a;
    const int64_t row = (f->b * a->q_len + f->i) * a->heads + f->h;
    const double *q = (const double *)a->q + row * a->d;
    double *o = (double *)a->o + row * a->dv, top = -HUGE_VAL, sum = 0.0;
    for (int c = 0; c < a->dv; c++)
        o[c] = 0.0;
    if (a->lens != NULL && f->p >= a->lens[f->b])
        return 0;
    const int64_t n = rank_keys(f);
    for (int64_t k = 0; k < n; k++) {
        const int64_t j = f->rank[k] % a->cap;
        const double *key = cached(f, a->keys, j, a->d);
        f->s[k] = ref_dot(q, key, a->d) / sqrt(ref_dot(key, key, a->d) + EPS * a->d);
        f->s[k] -= j == f->p ? SELF : 0.0;
        top = fmax(top, f->s[k]);
    }
    for (int64_t k = 0; k < n; k++)
        sum += f->s[k] = exp(f->s[k] - top);
    for (int64_t k = 0; k < n; k++)
        ref_add_scaled(o, f->s[k] / sum, cached(f, a->v, f->rank[k] % a->cap, a->dv), a->dv);
    return n;
}

static void remember(const LshDecode *a)
{
    for (int64_t n = 0; n < a->batch * a->heads * a->rounds; n++)
        for (int64_t i = 0; i < a->q_len; i++)
            ((double *)a->bucket)[n * a->cap + a->pos + i] = a->fresh[n * a->q_len + i];
}

Status ref_lsh_decode(Dev *d, const LshDecode *a)
{
    void *room = NULL;
    int64_t pairs = 0;
    TRY(dev_scratch(d, (size_t)(a->cap + a->window) * sizeof(double), &room));
    int64_t *rank = room;
    remember(a);
    for (int64_t n = 0; n < a->batch * a->q_len * a->heads; n++) {
        Step f = {.a = a, .rank = rank, .s = (void *)(rank + a->cap)};
        f.h = n % a->heads;
        f.i = n / a->heads % a->q_len;
        f.b = n / a->heads / a->q_len;
        f.p = a->pos + f.i;
        pairs += one_step(&f);
    }
    dev_count_flops(d, 2.0 * (double)pairs * (a->d + a->dv));
    return ST_OK;
}
