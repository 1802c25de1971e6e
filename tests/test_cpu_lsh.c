/* test_cpu_lsh.c - LSH attention of the cpu backend against ref, which sorts and lists keys: every
 * seam of chunks, rounds and padding, buckets that are empty, full or tied. */
#include "kernels/ops.h"
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Dev *ref;

static void open_ref(void)
{
    cr_assert(dev_open(&ref, "ref", 0, 0) == ST_OK);
}
static void close_ref(void)
{
    dev_close(ref);
}
TestSuite(cpu_lsh, .init = open_ref, .fini = close_ref);

static void must(Status st)
{
    cr_assert(st == ST_OK, "%s", status_reason());
}

/* ---- attention ---- */
static Status lsh_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->lsh_fwd(d, a);
}
static Status lsh_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->lsh_bwd(d, a);
}

/* Every number of a in double, outputs zero, and ref's results of both kernels. */
static Lsh in_double(const Lsh *a)
{
    const int64_t n = a->batch * a->len * a->heads;
    Lsh w = *a;
    w.q = pool_widen(a->q, n * a->d);
    w.v = pool_widen(a->v, n * a->dv);
    w.d_o = pool_widen(a->d_o, n * a->dv);
    w.o = pool_doubles(n * a->dv);
    w.lse = pool_doubles(n);
    w.dq = pool_widen(a->dq, n * a->d);
    w.dv_ = pool_widen(a->dv_, n * a->dv);
    must(dev_kernels(ref)->lsh_fwd(ref, &w));
    must(dev_kernels(ref)->lsh_bwd(ref, &w));
    return w;
}

/* Where ref has a position alone, lse is about -1e5: any such number will do. */
static void expect_lse(const float *got, const double *want, int64_t n, const char *what)
{
    for (int64_t i = 0; i < n; i++) {
        bool alone = want[i] < -5e4, same = fabs((double)got[i] - want[i]) < 1e-4;
        cr_assert(alone ? got[i] < -5e4f : same, "%s: lse %ld is %g, not %g", what, (long)i,
                  (double)got[i], want[i]);
    }
}

/* spread: how many of the buckets are used. */
static void expect_lsh(Dev *d, Lsh a, int spread, int wanted)
{
    char what[160];
    a.padded = lsh_padded(a.len, a.rounds, a.chunk);
    const int64_t n = a.batch * a.len * a.heads;
    a.q = pool_random(n * a.d, 2, 1);
    a.v = pool_random(n * a.dv, 1, 2);
    a.d_o = pool_random(n * a.dv, 1, 3);
    a.bucket = pool_ids(n * a.rounds, spread, 4);
    a.o = pool_zeros(n * a.dv);
    a.lse = pool_zeros(n);
    a.dq = pool_random(n * a.d, 1, 5);
    a.dv_ = pool_random(n * a.dv, 1, 6);
    snprintf(what, sizeof what,
             "T %ld C %ld rounds %d heads %d d %d dv %d near %d+%d causal %d buckets %d lens %d",
             (long)a.len, (long)a.chunk, a.rounds, a.heads, a.d, a.dv, a.before, a.after, a.causal,
             spread, a.lens != NULL ? (int)a.lens[0] : -1);
    Lsh w = in_double(&a);
    cpu_expect(d, lsh_fwd, &a, &(Out){a.o, n * a.dv, w.o, 2e-5}, 1, what);
    expect_lse(a.lse, w.lse, n, what);
    a.dq = wanted & 1 ? a.dq : NULL;
    a.dv_ = wanted & 2 ? a.dv_ : NULL;
    Out outs[] = {{a.dq, n * a.d, w.dq, 5e-5}, {a.dv_, n * a.dv, w.dv_, 5e-5}};
    cpu_expect(d, lsh_bwd, &a, outs, COUNT(outs), what);
    pool_free();
}

static Lsh small(int n)
{
    static const int64_t lengths[] = {1, 2, 3, 7, 8, 16, 37, 64, 65, 130};
    static const int64_t chunks[] = {4, 8, 16, 64, 5};
    static const int widths[] = {8, 6, 64, 33};
    return (Lsh){.batch = 1 + n % 2,
                 .len = lengths[n % COUNT(lengths)],
                 .chunk = chunks[n % COUNT(chunks)],
                 .heads = 1 + n % 3,
                 .d = widths[n % COUNT(widths)],
                 .dv = widths[n / 2 % COUNT(widths)],
                 .rounds = 1 + n / 3 % 3,
                 .n_buckets = 12,
                 .before = n % 5 == 4 ? 0 : 1 + n / 7 % 2,
                 .after = n / 2 % 3 == 0,
                 .causal = n / 10 % 2 == 0};
}

static void shapes(Dev *d)
{
    static const int spreads[] = {6, 1, 12, 3};
    for (int n = 0; n < 240; n += dev_kernels(d)->isa[3] == '5' ? 1 : 3)
        expect_lsh(d, small(n), spreads[n % COUNT(spreads)], 3);
}

Test(cpu_lsh, shapes)
{
    each_isa(shapes);
}

/* Chunks of several tiles, more strips than tasks, an only chunk as long as the sequence. */
static void larger(Dev *d)
{
    static const struct {
        int64_t len, chunk;
        int rounds, before, after;
    } large[] = {{700, 128, 2, 1, 0}, {513, 32, 3, 1, 1}, {400, 400, 1, 0, 0}, {300, 200, 2, 1, 0}};
    for (int i = 0; i < COUNT(large); i++)
        for (int causal = 0; causal < 2; causal++)
            expect_lsh(d,
                       (Lsh){.batch = 1,
                             .len = large[i].len,
                             .chunk = large[i].chunk,
                             .heads = 2,
                             .d = 16,
                             .dv = 24,
                             .rounds = large[i].rounds,
                             .n_buckets = 10,
                             .before = large[i].before,
                             .after = large[i].after,
                             .causal = causal != 0},
                       9, 3);
}

Test(cpu_lsh, several_tiles_and_strips)
{
    each_isa(larger);
}

static void ragged(Dev *d)
{
    static const int32_t lens[][2] = {{37, 5}, {1, 36}, {16, 0}, {20, 99}};
    for (int i = 0; i < COUNT(lens); i++)
        for (int causal = 0; causal < 2; causal++) {
            Lsh a = small(6);
            a.batch = 2;
            a.lens = lens[i];
            a.causal = causal != 0;
            expect_lsh(d, a, 12, 3);
            expect_lsh(d, a, 1, 1 + causal);
        }
}

Test(cpu_lsh, ragged)
{
    each_isa(ragged);
}

/* Buckets from the data: all positions in one, and then each in its own. */
static void extremes(Dev *d)
{
    Lsh a = small(5);
    a.n_buckets = 1;
    expect_lsh(d, a, 1, 3);
    a.n_buckets = 5000; /* nearly all empty */
    expect_lsh(d, a, 5000, 3);
}

Test(cpu_lsh, one_bucket_and_empty_buckets)
{
    each_isa(extremes);
}

/* ---- hashing ---- */
static Status lsh_hash(Dev *d, const void *a)
{
    return dev_kernels(d)->lsh_hash(d, a);
}

/* How far below the largest of [y ; -y] the pick lies; infinite if there is no such bucket. */
static double shortfall(const LshHash *a, const double *x, const double *rot, int first, int n,
                        int pick)
{
    double top = -HUGE_VAL, mine = -HUGE_VAL;
    for (int i = 0; i < n; i++) {
        double y = 0;
        for (int c = 0; c < a->d; c++)
            y += x[c] * rot[c * (a->n1 + a->n2) / 2 + first + i % (n / 2)];
        y = i < n / 2 ? y : -y;
        top = fmax(top, y);
        mine = i == pick ? y : mine;
    }
    return top - mine;
}

static void expect_hash(Dev *d, LshHash a)
{
    const int64_t n = a.batch * a.heads * a.rounds, matrix = (int64_t)a.d * (a.n1 + a.n2) / 2;
    const int64_t row = (int64_t)a.heads * a.d;
    double worst = 0;
    a.x = pool_random(a.batch * a.len * row, 1, 1);
    a.rot = pool_random((int64_t)a.heads * a.rounds * matrix, 1, 2);
    a.bucket = pool_ids(n * a.len, 1000, 3);
    const double *x = pool_widen(a.x, a.batch * a.len * row);
    const double *rot = pool_widen(a.rot, (int64_t)a.heads * a.rounds * matrix);
    must(lsh_hash(d, &a));
    for (int64_t i = 0; i < n * a.len; i++) {
        const int64_t t = i % a.len, r = i / a.len, h = r / a.rounds % a.heads;
        const int64_t b = r / a.rounds / a.heads;
        const double *xi = x + (b * a.len + t) * row + h * a.d;
        const double *m = rot + r % (a.heads * a.rounds) * matrix;
        if (a.lens != NULL && a.pos + t >= a.lens[b]) {
            cr_assert_eq(a.bucket[i], a.n1 * (a.n2 > 0 ? a.n2 : 1));
            continue;
        }
        worst = fmax(worst, shortfall(&a, xi, m, 0, a.n1, a.bucket[i] % a.n1));
        if (a.n2 > 0)
            worst = fmax(worst, shortfall(&a, xi, m, a.n1 / 2, a.n2, a.bucket[i] / a.n1));
        cr_assert(a.bucket[i] < a.n1 * (a.n2 > 0 ? a.n2 : 1));
    }
    cr_assert(worst < 1e-5, "n1 %d n2 %d: a bucket lies %g below the best", a.n1, a.n2, worst);
    pool_free();
}

static void hashes(Dev *d)
{
    static const int32_t lens[] = {150, 40};
    expect_hash(d, (LshHash){.batch = 2, .len = 200, .heads = 3, .d = 16, .rounds = 2, .n1 = 6});
    expect_hash(d, (LshHash){.batch = 1, .len = 1, .heads = 1, .d = 5, .rounds = 1, .n1 = 2});
    expect_hash(d, (LshHash){.batch = 2,
                             .len = 97,
                             .pos = 3,
                             .heads = 2,
                             .d = 64,
                             .rounds = 3,
                             .n1 = 16,
                             .n2 = 10,
                             .lens = lens});
}

Test(cpu_lsh, hashing_picks_a_largest)
{
    each_isa(hashes);
}

/* x = 0 ties everything; n1 = 0 is one bucket. The same on ref. */
static void ties(Dev *d)
{
    int32_t bucket[20], want[20] = {0};
    const float *x = pool_zeros(80), *rot = pool_random(64, 1, 1);
    LshHash a = {.batch = 1,
                 .len = 20,
                 .heads = 1,
                 .d = 4,
                 .rounds = 1,
                 .n1 = 8,
                 .x = x,
                 .rot = rot,
                 .bucket = bucket};
    for (int i = 0; i < 2; i++) {
        memset(bucket, 7, sizeof bucket);
        must(lsh_hash(d, &a));
        cr_assert_arr_eq(bucket, want, sizeof want);
        a.n1 = 0;
    }
    a.n1 = 8;
    a.x = pool_doubles(80);
    a.rot = pool_widen(rot, 64);
    memset(bucket, 7, sizeof bucket);
    must(lsh_hash(ref, &a));
    cr_assert_arr_eq(bucket, want, sizeof want);
}

Test(cpu_lsh, ties_go_to_the_first_bucket)
{
    each_isa(ties);
}

/* ---- decode ---- */
static Status lsh_decode(Dev *d, const void *a)
{
    return dev_kernels(d)->lsh_decode(d, a);
}

static void expect_decode(Dev *d, LshDecode a, int spread)
{
    char what[128];
    const int64_t rows = a.batch * a.q_len * a.heads, past = a.batch * a.cap * a.heads;
    const int32_t *ids = pool_ids(past * a.rounds, spread, 4);
    float *bucket = pool_zeros(past * a.rounds);
    for (int64_t i = 0; i < past * a.rounds; i++)
        bucket[i] = (float)ids[i];
    a.q = pool_random(rows * a.d, 2, 1);
    a.keys = pool_random(past * a.d, 2, 2);
    a.v = pool_random(past * a.dv, 1, 3);
    a.fresh = pool_ids(rows * a.rounds, spread, 5);
    a.bucket = bucket;
    a.o = pool_zeros(rows * a.dv);
    LshDecode w = a;
    w.q = pool_widen(a.q, rows * a.d);
    w.keys = pool_widen(a.keys, past * a.d);
    w.v = pool_widen(a.v, past * a.dv);
    w.bucket = pool_widen(bucket, past * a.rounds);
    w.o = pool_doubles(rows * a.dv);
    must(dev_kernels(ref)->lsh_decode(ref, &w));
    snprintf(what, sizeof what, "decode: %ld at %ld of %ld, window %ld, rounds %d, buckets %d",
             (long)a.q_len, (long)a.pos, (long)a.cap, (long)a.window, a.rounds, spread);
    Out outs[] = {{a.o, rows * a.dv, w.o, 2e-5}, {bucket, past * a.rounds, w.bucket, 0}};
    cpu_expect(d, lsh_decode, &a, outs, COUNT(outs), what);
    pool_free();
}

static void decodes(Dev *d)
{
    static const int spreads[] = {1, 3, 40};
    static const int64_t at[][3] = {{0, 1, 1}, {0, 5, 9}, {12, 1, 13}, {99, 1, 100}, {60, 30, 100}};
    static const int32_t lens[] = {62, 100};
    for (int i = 0; i < COUNT(at); i++)
        for (int s = 0; s < COUNT(spreads); s++) {
            LshDecode a = {.batch = 2,
                           .q_len = at[i][1],
                           .pos = at[i][0],
                           .cap = at[i][2],
                           .window = s == 0 ? 1 : 24,
                           .heads = 2,
                           .d = 8 + 9 * s,
                           .dv = 16 - s,
                           .rounds = 1 + s,
                           .lens = i == 4 ? lens : NULL};
            expect_decode(d, a, spreads[s]);
            a.window = 200;
            expect_decode(d, a, spreads[s]);
        }
    const LshDecode far = {/* matches are rare, and most buckets are passed over */
                           .batch = 1, .q_len = 2, .pos = 1500, .cap = 1502, .window = 24,
                           .heads = 2, .d = 8,     .dv = 8,     .rounds = 2};
    expect_decode(d, far, 300);
    expect_decode(d, far, 5000);
}

Test(cpu_lsh, decode)
{
    each_isa(decodes);
}
