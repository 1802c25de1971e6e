/* lsh.c - LSH attention by its definition: one sort of 64-bit keys, then every row's explicit list
 * of the keys that it sees, over all rounds, and one softmax over the list.
 *
 * p_j = exp(s_j) / sum_m exp(s_m); ds_j = p_j (do.v_j - sum_m p_m do.v_m); dq_i += ds_j k_j,
 * dk_j += ds_j q_i, dv_j += p_j do_i. With c = 1 / sqrt(|q|^2 + 1e-6 d) and k = c q,
 * dq += c dk - c^3 (q.dk) q. */
#include "kernels/ref/ref.h"

#include <omp.h>
#include <stdlib.h>

static const double EPS = 1e-6, SELF = 1e5;

/* ---- hashing ---- */

/* argmax of [y ; -y] for the n / 2 columns of y = x R that begin at column `first`. */
static int32_t one_bucket(const LshHash *a, const double *x, const double *rot, int first, int n)
{
    const int row = (a->n1 + a->n2) / 2;
    double best = -HUGE_VAL;
    int32_t bucket = 0;
    for (int i = 0; i < n; i++) {
        double y = 0.0;
        for (int c = 0; c < a->d; c++)
            y += x[c] * rot[c * row + first + i % (n / 2)];
        y = i < n / 2 ? y : -y;
        if (y > best) {
            best = y;
            bucket = i;
        }
    }
    return bucket;
}

static int64_t valid_rows(const int32_t *lens, int64_t b, int64_t len)
{
    return lens != NULL ? max64(0, min64(lens[b], len)) : len;
}

Status ref_lsh_hash(Dev *d, const LshHash *a)
{
    const int64_t rounds = a->batch * a->heads * a->rounds, width = a->heads * a->d;
    const int64_t matrix = (int64_t)a->d * (a->n1 + a->n2) / 2;
#pragma omp parallel for if (rounds * a->len * matrix > REF_PARALLEL_WORK)
    for (int64_t n = 0; n < rounds; n++) {
        const int64_t h = n / a->rounds % a->heads, b = n / a->rounds / a->heads;
        const double *rot = ref_grad((void *)a->rot, n % (a->heads * a->rounds) * matrix);
        for (int64_t t = 0; t < a->len; t++) {
            const double *x = (const double *)a->x + (b * a->len + t) * width + h * a->d;
            int32_t *out = a->bucket + n * a->len + t;
            *out = a->n1 > 0 ? one_bucket(a, x, rot, 0, a->n1) : 0;
            if (a->n2 > 0)
                *out += a->n1 * one_bucket(a, x, rot, a->n1 / 2, a->n2);
            if (a->lens != NULL && a->pos + t >= a->lens[b])
                *out = a->n1 * (a->n2 > 0 ? a->n2 : 1);
        }
    }
    dev_count_flops(d, 2.0 * (double)(rounds * a->len) * (double)matrix);
    return ST_OK;
}

/* ---- one head: its items in order, and the keys that a row sees ---- */
typedef struct Head {
    const Lsh *a;
    int64_t b, h, valid, items;
    int64_t *key;   /* (items) sort keys */
    int64_t *place; /* (rounds, padded) where an item went */
    int64_t *j;     /* (rounds * window) keys of a row, */
    double *s, *p;  /* their scores and weights */
    double *c;      /* (len) k = c q */
    double *dk;     /* (len,d) */
    double pairs;   /* of valid items that met */
} Head;

static int64_t window_of(const Lsh *a)
{
    return (a->before + 1 + a->after) * a->chunk;
}

static int by_key(const void *x, const void *y)
{
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

static void sort_items(Head *f)
{
    const Lsh *a = f->a;
    for (int64_t n = 0; n < f->items; n++) {
        const int64_t r = n / a->padded, t = n % a->padded;
        int64_t bucket = a->n_buckets;
        if (t < f->valid)
            bucket = a->bucket[((f->b * a->heads + f->h) * a->rounds + r) * a->len + t];
        f->key[n] = a->padded * (bucket + r * (a->n_buckets + 1)) + t;
    }
    qsort(f->key, (size_t)f->items, sizeof *f->key, by_key);
    for (int64_t n = 0; n < f->items; n++) {
        const int64_t r = f->key[n] / a->padded / (a->n_buckets + 1), t = f->key[n] % a->padded;
        f->place[r * a->padded + t] = n;
    }
}

static const double *row_of(const Head *f, const void *base, int64_t t, int width)
{
    return (const double *)base + ((f->b * f->a->len + t) * f->a->heads + f->h) * width;
}

static void key_factors(Head *f)
{
    for (int64_t t = 0; t < f->valid; t++) {
        const double *q = row_of(f, f->a->q, t, f->a->d);
        f->c[t] = 1.0 / sqrt(ref_dot(q, q, f->a->d) + EPS * f->a->d);
    }
}

/* Fills j and s for query i; returns how many keys it sees, over all rounds. */
static int64_t seen_by(Head *f, int64_t i)
{
    const Lsh *a = f->a;
    const int64_t chunks = f->items / a->chunk;
    const double *q = row_of(f, a->q, i, a->d);
    int64_t n = 0;
    for (int64_t r = 0; r < a->rounds; r++)
        for (int64_t near = -a->before; near <= a->after; near++) {
            const int64_t mine = f->place[r * a->padded + i] / a->chunk;
            const int64_t chunk = ((mine + near) % chunks + chunks) % chunks;
            for (int64_t k = chunk * a->chunk; k < (chunk + 1) * a->chunk; k++) {
                const int64_t j = f->key[k] % a->padded;
                f->pairs += j < f->valid;
                if (j >= f->valid || (a->causal && j > i))
                    continue;
                f->j[n] = j;
                f->s[n] = f->c[j] * ref_dot(q, row_of(f, a->q, j, a->d), a->d);
                f->s[n++] -= i == j ? SELF : 0.0;
            }
        }
    return n;
}

/* p from s; returns log sum exp. Differences to the largest first: 1e5 has no room for digits. */
static double weights(Head *f, int64_t n)
{
    double top = -HUGE_VAL, sum = 0.0;
    CHECK(n > 0); /* a query's own position is among them */
    for (int64_t k = 0; k < n; k++)
        top = fmax(top, f->s[k]);
    for (int64_t k = 0; k < n; k++)
        sum += f->p[k] = exp(f->s[k] - top);
    for (int64_t k = 0; k < n; k++)
        f->p[k] /= sum;
    return top + log(sum);
}

static void row_fwd(Head *f, int64_t i)
{
    const Lsh *a = f->a;
    double *o = (double *)row_of(f, a->o, i, a->dv), lse = -HUGE_VAL;
    for (int c = 0; c < a->dv; c++)
        o[c] = 0.0;
    if (i < f->valid) {
        const int64_t n = seen_by(f, i);
        lse = weights(f, n);
        for (int64_t k = 0; k < n; k++)
            ref_add_scaled(o, f->p[k], row_of(f, a->v, f->j[k], a->dv), a->dv);
    }
    if (a->lse != NULL)
        ((double *)a->lse)[(f->b * a->heads + f->h) * a->len + i] = lse;
}

static double *grad_row(const Head *f, void *base, int64_t t, int width)
{
    return base != NULL ? (double *)row_of(f, base, t, width) : NULL;
}

static void row_bwd(Head *f, int64_t i)
{
    const Lsh *a = f->a;
    const double *d_o = row_of(f, a->d_o, i, a->dv), *q = row_of(f, a->q, i, a->d);
    const int64_t n = seen_by(f, i);
    double mean = 0.0;
    weights(f, n);
    for (int64_t k = 0; k < n; k++)
        mean += f->p[k] * ref_dot(d_o, row_of(f, a->v, f->j[k], a->dv), a->dv);
    for (int64_t k = 0; k < n; k++) {
        const int64_t j = f->j[k];
        const double ds = f->p[k] * (ref_dot(d_o, row_of(f, a->v, j, a->dv), a->dv) - mean);
        ref_add_scaled(grad_row(f, a->dq, i, a->d), ds * f->c[j], row_of(f, a->q, j, a->d), a->d);
        ref_add_scaled(f->dk + j * a->d, ds, q, a->d);
        ref_add_scaled(grad_row(f, a->dv_, j, a->dv), f->p[k], d_o, a->dv);
    }
}

/* The keys' gradients, through their normalisation, to the shared vectors. */
static void shared_bwd(const Head *f)
{
    const Lsh *a = f->a;
    for (int64_t t = 0; t < f->valid; t++) {
        const double *q = row_of(f, a->q, t, a->d), *dk = f->dk + t * a->d, c = f->c[t];
        double *dq = grad_row(f, a->dq, t, a->d);
        ref_add_scaled(dq, c, dk, a->d);
        ref_add_scaled(dq, -c * c * c * ref_dot(q, dk, a->d), q, a->d);
    }
}

/* ---- all heads; each thread has room for one ---- */
static size_t head_room(const Lsh *a)
{
    const int64_t items = a->rounds * a->padded, seen = a->rounds * window_of(a);
    return (size_t)(2 * items + 3 * seen + a->len * (1 + a->d)) * sizeof(double);
}

static Head head_at(const Lsh *a, int64_t n, char *room)
{
    Head f = {.a = a, .b = n / a->heads, .h = n % a->heads, .items = a->rounds * a->padded};
    const int64_t seen = a->rounds * window_of(a);
    f.valid = valid_rows(a->lens, f.b, a->len);
    f.key = (int64_t *)room;
    f.place = f.key + f.items;
    f.j = f.place + f.items;
    f.s = (void *)(f.j + seen);
    f.p = f.s + seen;
    f.c = f.p + seen;
    f.dk = f.c + a->len;
    sort_items(&f);
    key_factors(&f);
    return f;
}

static void head_fwd(Head *f)
{
    for (int64_t i = 0; i < f->a->len; i++)
        row_fwd(f, i);
}

static void head_bwd(Head *f)
{
    for (int64_t i = 0; i < f->a->len * f->a->d; i++)
        f->dk[i] = 0.0;
    for (int64_t i = 0; i < f->valid; i++)
        row_bwd(f, i);
    shared_bwd(f);
}

/* Returns in *pairs how many valid items met. */
static Status all_heads(Dev *d, const Lsh *a, void (*run)(Head *), double *pairs)
{
    const size_t one = head_room(a);
    double sum = 0.0;
    void *room = NULL;
    CHECK(a->rounds * a->padded % a->chunk == 0 && a->padded >= a->len);
    TRY(dev_scratch(d, one * (size_t)omp_get_max_threads(), &room));
#pragma omp parallel for reduction(+ : sum) /* whole numbers: any order gives the same */
    for (int64_t n = 0; n < a->batch * a->heads; n++) {
        Head f = head_at(a, n, (char *)room + one * (size_t)omp_get_thread_num());
        run(&f);
        sum += f.pairs;
    }
    *pairs = sum;
    return ST_OK;
}

Status ref_lsh_fwd(Dev *d, const Lsh *a)
{
    double pairs = 0.0;
    TRY(all_heads(d, a, head_fwd, &pairs));
    dev_count_flops(d, 2.0 * pairs * (a->d + a->dv));
    return ST_OK;
}

Status ref_lsh_bwd(Dev *d, const Lsh *a)
{
    double pairs = 0.0;
    return all_heads(d, a, head_bwd, &pairs);
}
