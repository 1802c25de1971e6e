/* test_cpu_segments.c - mixed chunk attention that carries state: however a sequence is cut into
 * calls, outputs and states are those of the definition. */
#include "tests/cpu_chunks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static Status chunks_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->chunks_fwd(d, a);
}

/* Rows [pos, pos + len) of every batch row of x (B,T,width). */
static float *rows_of(const Chunks *a, const void *x, int width, int64_t pos, int64_t len)
{
    float *out = pool_zeros(a->batch * len * width);
    for (int64_t b = 0; b < a->batch; b++)
        memcpy(out + b * len * width, (const float *)x + (b * a->len + pos) * width,
               (size_t)(len * width) * sizeof(float));
    return out;
}

static double *wanted_rows(const Chunks *a, const double *o, int64_t pos, int64_t len)
{
    double *out = pool_doubles(a->batch * len * a->e);
    for (int64_t b = 0; b < a->batch; b++)
        memcpy(out + b * len * a->e, o + (b * a->len + pos) * a->e,
               (size_t)(len * a->e) * sizeof(double));
    return out;
}

/* Sum of kl' v over the valid positions [from, to). */
static double *wanted_state(const Chunks *a, int64_t from, int64_t to)
{
    double *sum = pool_doubles(a->batch * a->s * a->e);
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t t = from; t < to && t < valid_of(a, b); t++)
            for (int64_t n = 0; n < (int64_t)a->s * a->e; n++) {
                int64_t row = b * a->len + t;
                sum[b * a->s * a->e + n] += (double)((const float *)a->kl)[row * a->s + n / a->e] *
                                            (double)((const float *)a->v)[row * a->e + n % a->e];
            }
    return sum;
}

/* One call on positions [pos, pos + len) of `all`, whose outputs are `o`; c carries the state. */
static void expect_segment(Dev *d, const Chunks *all, const double *o, Chunks *c, int64_t pos,
                           int64_t len, const char *what)
{
    int64_t end = pos + len, open = end / all->chunk * all->chunk,
            se = all->batch * all->s * all->e;
    c->pos = pos, c->len = len;
    c->qq = rows_of(all, all->qq, all->s, pos, len),
    c->kq = rows_of(all, all->kq, all->s, pos, len);
    c->ql = rows_of(all, all->ql, all->s, pos, len),
    c->kl = rows_of(all, all->kl, all->s, pos, len);
    c->v = rows_of(all, all->v, all->e, pos, len),
    c->o = pool_random(all->batch * len * all->e, 1, 1);
    Out outs[8] = {
        {c->o, all->batch * len * all->e, wanted_rows(all, o, pos, len), CHUNKS_TOL},
        {c->sum, se, wanted_state(all, 0, open), 4 * CHUNKS_TOL},
        {c->part, se, wanted_state(all, open, end), 4 * CHUNKS_TOL},
    };
    int n = 3;
    for (int64_t b = 0; b < all->batch; b++) {
        const float *kq = (const float *)all->kq + (b * all->len + open) * all->s;
        const float *v = (const float *)all->v + (b * all->len + open) * all->e;
        int64_t ns = (end - open) * all->s, ne = (end - open) * all->e;
        outs[n++] = (Out){(float *)c->keys + b * all->chunk * all->s, ns, pool_widen(kq, ns), 0};
        outs[n++] = (Out){(float *)c->vals + b * all->chunk * all->e, ne, pool_widen(v, ne), 0};
    }
    cpu_expect(d, chunks_fwd, c, outs, n, what);
}

/* Segments of the lengths in cuts, over and over, until the sequence ends. */
static void expect_segments(Dev *d, Chunks a, const int64_t *cuts, int n_cuts)
{
    char what[128];
    Chunks all = random_chunks(a), c = all;
    Want w = want_of(&all);
    int64_t se = a.batch * a.s * a.e, pos = 0;
    c.d_o = NULL, c.dqq = c.dkq = c.dql = c.dkl = c.dv = NULL;
    c.sum = pool_zeros(se), c.part = pool_zeros(se);
    c.keys = pool_random(a.batch * a.chunk * a.s, 1, 20); /* stale rows must not matter */
    c.vals = pool_random(a.batch * a.chunk * a.e, 1, 21);
    for (int i = 0; pos < a.len; i++) {
        int64_t len = cuts[i % n_cuts] < a.len - pos ? cuts[i % n_cuts] : a.len - pos;
        snprintf(what, sizeof what, "T %ld C %d S %d E %d lens %d: %ld from %ld", (long)a.len,
                 a.chunk, a.s, a.e, a.lens != NULL ? (int)a.lens[0] : -1, (long)len, (long)pos);
        expect_segment(d, &all, w.o, &c, pos, len, what);
        pos += len;
    }
    pool_free();
}

static const int64_t ones[] = {1}, uneven[] = {3, 1, 7, 2, 1, 12}, wide[] = {5, 40, 1, 70, 16};
static const struct {
    const int64_t *cut;
    int n;
} cuts[] = {{ones, 1}, {uneven, 6}, {wide, 5}};

static void segments(Dev *d)
{
    static const Chunks cases[] = {
        {.batch = 1, .len = 21, .chunk = 4, .s = 2, .e = 10},
        {.batch = 2, .len = 53, .chunk = 16, .s = 8, .e = 2},
        {.batch = 2, .len = 70, .chunk = 16, .s = 24, .e = 130, .lin_mean = true},
        {.batch = 2, .len = 37, .chunk = 8, .s = 6, .e = 20, .bias_scale = 0.5},
        {.batch = 1, .len = 150, .chunk = 64, .s = 128, .e = 64, .lin_mean = true},
        {.batch = 1, .len = 9, .chunk = 1, .s = 8, .e = 17},
        {.batch = 1, .len = 40, .chunk = 16, .s = 128, .e = 300}, /* decode by threads */
    };
    for (int i = 0; i < COUNT(cases); i++)
        for (int j = 0; j < COUNT(cuts); j++) {
            Chunks a = cases[i];
            a.causal = true;
            expect_segments(d, a, cuts[j].cut, cuts[j].n);
        }
}

Test(cpu_segments, any_cut)
{
    each_isa(segments);
}

/* So large a chunk that its rows are taken in pieces. */
static void large_chunk(Dev *d)
{
    static const int64_t cut[] = {700, 500, 1, 30};
    Chunks a = {.batch = 2, .len = 1231, .chunk = 1200, .s = 6, .e = 10, .causal = true};
    expect_segments(d, a, cut, COUNT(cut));
}

Test(cpu_segments, large_chunk)
{
    each_isa(large_chunk);
}

/* The valid length ends before, in and behind a call; one row sees nothing at all. */
static void ragged(Dev *d)
{
    static const int32_t lens[][2] = {{0, 60}, {1, 33}, {16, 41}, {17, 48}};
    for (int i = 0; i < COUNT(lens); i++)
        for (int j = 0; j < COUNT(cuts); j++) {
            Chunks a = {.batch = 2,
                        .len = 60,
                        .chunk = 16,
                        .s = 8,
                        .e = 20,
                        .lens = lens[i],
                        .causal = true,
                        .lin_mean = i % 2};
            expect_segments(d, a, cuts[j].cut, cuts[j].n);
        }
}

Test(cpu_segments, ragged)
{
    each_isa(ragged);
}
