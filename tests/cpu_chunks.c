/* cpu_chunks.c - see cpu_chunks.h. */
#include "tests/cpu_chunks.h"

#include <math.h>

int64_t valid_of(const Chunks *a, int64_t b)
{
    return a->lens != NULL && a->lens[b] < a->len ? a->lens[b] : a->len;
}

static double dot(const float *x, const float *y, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

/* What position i of batch row b makes of value j, and its derivatives by qq_i.kq_j and ql_i.kl_j.
 */
typedef struct Weight {
    double w, by_q, by_l;
} Weight;

static Weight weight_of(const Chunks *a, int64_t b, int64_t i, int64_t j)
{
    int64_t g = i / a->chunk, h = j / a->chunk, qi = (b * a->len + i) * a->s;
    int64_t kj = (b * a->len + j) * a->s;
    Weight x = {0};
    if (j >= valid_of(a, b) || (a->causal && j > i))
        return x;
    if (g == h) {
        double r = a->local_scale * dot((const float *)a->qq + qi, (const float *)a->kq + kj, a->s);
        if (a->bias != NULL)
            r += a->bias_scale * (double)((const float *)a->bias)[a->chunk - 1 + j - i];
        x.w = r > 0.0 ? a->local_post * r * r : 0.0;
        x.by_q = r > 0.0 ? 2.0 * a->local_post * r * a->local_scale : 0.0;
    }
    if (!a->causal || h < g) {
        int64_t n = a->causal ? g : (valid_of(a, b) + a->chunk - 1) / a->chunk;
        x.by_l = a->lin_scale / (a->lin_mean ? (double)n : 1.0);
        x.w += x.by_l * dot((const float *)a->ql + qi, (const float *)a->kl + kj, a->s);
    }
    return x;
}

static void axpy(double *y, double x, const float *v, int n)
{
    for (int c = 0; c < n; c++)
        y[c] += x * (double)v[c];
}

static void want_pair(const Chunks *a, const Want *w, int64_t b, int64_t i, int64_t j)
{
    int64_t qi = (b * a->len + i) * a->s, kj = (b * a->len + j) * a->s;
    int64_t oi = (b * a->len + i) * a->e, vj = (b * a->len + j) * a->e;
    const float *v = (const float *)a->v + vj, *d_o = (const float *)a->d_o + oi;
    Weight x = weight_of(a, b, i, j);
    double pull = dot(d_o, v, a->e);
    axpy(w->o + oi, x.w, v, a->e);
    axpy(w->dv + vj, x.w, d_o, a->e);
    if (w->d_bias != NULL && i / a->chunk == j / a->chunk)
        w->d_bias[a->chunk - 1 + j - i] += x.by_q * pull * a->bias_scale / a->local_scale;
    axpy(w->dqq + qi, x.by_q * pull, (const float *)a->kq + kj, a->s);
    axpy(w->dkq + kj, x.by_q * pull, (const float *)a->qq + qi, a->s);
    axpy(w->dql + qi, x.by_l * pull, (const float *)a->kl + kj, a->s);
    axpy(w->dkl + kj, x.by_l * pull, (const float *)a->ql + qi, a->s);
}

Want want_of(const Chunks *a)
{
    int64_t rows = a->batch * a->len;
    Want w = {pool_doubles(rows * a->e),
              pool_widen(a->dqq, rows * a->s),
              pool_widen(a->dkq, rows * a->s),
              pool_widen(a->dql, rows * a->s),
              pool_widen(a->dkl, rows * a->s),
              pool_widen(a->dv, rows * a->e),
              NULL};
    if (a->bias != NULL)
        w.d_bias = pool_widen(a->d_bias, 2 * (int64_t)a->chunk - 1);
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t i = 0; i < a->len; i++)
            for (int64_t j = 0; j < a->len; j++)
                if (a->causal ? j <= i : true)
                    want_pair(a, &w, b, i, j);
    return w;
}

Chunks random_chunks(Chunks a)
{
    int64_t ns = a.batch * a.len * a.s, ne = a.batch * a.len * a.e;
    a.local_scale = 1.0 / sqrt(a.s);
    a.local_post = 1.0 / sqrt(a.chunk);
    a.lin_scale = 1.0 / sqrt((double)a.chunk * a.s);
    a.qq = pool_random(ns, 1, 1), a.kq = pool_random(ns, 1, 2);
    a.ql = pool_random(ns, 1, 3), a.kl = pool_random(ns, 1, 4);
    a.v = pool_random(ne, 1, 5), a.d_o = pool_random(ne, 1 / sqrt(a.e), 6);
    a.o = pool_random(ne, 1, 7);
    a.dqq = pool_random(ns, 1, 8), a.dkq = pool_random(ns, 1, 9);
    a.dql = pool_random(ns, 1, 10), a.dkl = pool_random(ns, 1, 11);
    a.dv = pool_random(ne, 1, 12);
    if (a.bias_scale != 0) {
        a.bias = pool_random(2 * (int64_t)a.chunk - 1, 1, 13);
        a.d_bias = pool_random(2 * (int64_t)a.chunk - 1, 1, 14);
    }
    return a;
}
