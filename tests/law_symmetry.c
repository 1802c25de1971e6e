/* law_symmetry.c - permutations of batch and heads; the same bits for any number of threads. */
#include "tests/law.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* ---- permutations ---- */
static double batch_at(const Setting *base)
{
    Setting s = *base;
    s.batch = 3;
    Stand r;
    stand_open(&r, &s);
    int64_t n = stand_size(&r), one = n / 3;
    double *x = numbers(n, 1, 1), *x2 = room(n), *y = room(n), *z = room(n), most = 0;
    stand_forward(&r, y);
    for (int64_t b = 0; b < 3; b++)
        memcpy(x2 + b * one, x + (b + 1) % 3 * one, (size_t)one * sizeof *x);
    stand_set_input(&r, x2);
    stand_forward(&r, z);
    for (int64_t b = 0; b < 3; b++)
        most = worse(most, worst(z + b * one, y + (b + 1) % 3 * one, one));
    free(x);
    free(x2);
    free(y);
    free(z);
    stand_close(&r);
    return most;
}
double law_batch(const Variant *v)
{
    return both_ways(v, "cpu", batch_at);
}

/* Turns the heads' columns of every (D,D) mixer matrix but the last, and the rows of the last. */
static void turn_heads(Stand *r, double *w)
{
    int64_t D = r->s.width, d = D / r->s.heads;
    for (int i = 0; i < r->m.n_params; i++) {
        const Tensor *t = &r->m.param[i].t;
        int64_t n = tensor_size(t);
        bool mixer = strstr(r->m.param[i].name, ".mixer.") != NULL;
        bool last = strstr(r->m.param[i].name, ".w_o") != NULL;
        double *old = room(n);
        memcpy(old, w, (size_t)n * sizeof *w);
        for (int64_t k = 0; mixer && t->rank == 2 && k < n; k++) {
            int64_t row = k / D, col = k % D;
            w[k] = last ? old[(row + d) % D * D + col] : old[row * D + (col + d) % D];
        }
        free(old);
        w += n;
    }
}

static double heads_at(const Setting *s)
{
    Stand r;
    stand_open(&r, s);
    int64_t n = stand_size(&r), n_w = stand_n_params(&r);
    double *w = room(n_w), *y = room(n), *z = room(n);
    stand_forward(&r, y);
    stand_get_params(&r, w);
    turn_heads(&r, w);
    stand_set_params(&r, w);
    stand_forward(&r, z);
    double most = worst(z, y, n);
    free(w);
    free(y);
    free(z);
    stand_close(&r);
    return most;
}
double law_heads(const Variant *v)
{
    return both_ways(v, "cpu", heads_at);
}

/* ---- the same bits for any number of threads, and from run to run ---- */
static double threads_at(const Setting *base)
{
    Setting s = *base;
    Stand r;
    s.grads = true;
    s.len = 150;
    s.width = 64;
    s.ffn = 96;
    s.n_norm = 40;
    known_options(s.v, "s=32 c=32 block=8 rank=8 modules=8", s.set, sizeof s.set);
    stand_open(&r, &s);
    int64_t n = stand_size(&r), n_w = stand_n_params(&r), all = 2 * n + n_w;
    double *dy = numbers(n, 1, 9), *first = room(all), *other = room(all), most = 0;
    int before = omp_get_max_threads();
    for (int threads = 1; threads <= 5; threads++) {
        double *to = threads == 1 ? first : other;
        omp_set_num_threads(threads == 5 ? 1 : threads);
        stand_backward(&r, dy, to, to + n, to + 2 * n);
        if (threads > 1 && memcmp(first, other, (size_t)all * sizeof *first) != 0)
            most = worse(most, worse(worst(other, first, all), 1e-300));
    }
    omp_set_num_threads(before);
    free(dy);
    free(first);
    free(other);
    stand_close(&r);
    return most;
}
double law_threads(const Variant *v)
{
    return all_ways(v, "cpu", threads_at);
}
