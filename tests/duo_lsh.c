/* duo_lsh.c - cases of LSH attention: every seam of chunks, rounds and padding, buckets that are
 * empty, full or tied, ragged lengths; hashing; decode over segments of the past. */
#include "kernels/ops.h"
#include "tests/duo_ops.h"

#include <math.h>
#include <stdlib.h>

/* ---- attention ---- */
typedef struct Arrays {
    Arr q, v, bucket, lens, o, lse, d_o, dq, dv;
} Arrays;

/* spread: how many of the buckets are used. */
static Arrays arrays_of(Duo *u, const Lsh *a, int spread, const int32_t *lens)
{
    const int64_t n = a->batch * a->len * a->heads;
    Arrays x = {.q = duo_random(u, n * a->d, 1, 1), .v = duo_random(u, n * a->dv, 1, 2)};
    x.bucket = duo_random_ids(u, n * a->rounds, spread, 3);
    x.lens = duo_ids(u, lens != NULL ? a->batch : 0, lens);
    x.o = duo_nans(u, n * a->dv), x.lse = duo_nans(u, n);
    x.d_o = duo_random(u, n * a->dv, 1 / sqrt(a->dv), 4);
    x.dq = duo_random(u, n * a->d, 1, 5), x.dv = duo_random(u, n * a->dv, 1, 6);
    return x;
}

/* Where ref has a position alone, lse is about -1e5: any such number will do. */
static void same_lse(Duo *u, Arr lse)
{
    double *x[2], worst = 0;
    for (int i = 0; i < 2; i++) {
        x[i] = malloc((size_t)(lse.n + 1) * sizeof(double));
        CHECK(x[i] != NULL);
        duo_must(dev_read_f64(u->d[i], x[i], lse.b[i], 0, lse.n));
    }
    duo_bits(u, x[TRIAL], (size_t)lse.n * sizeof(double));
    for (int64_t i = 0; i < lse.n; i++) {
        const double got = x[TRIAL][i], want = x[REF][i], off = fabs(got - want);
        const bool alone = want < -5e4;
        const bool same = alone ? isinf(want) == isinf(got) && got < -5e4 : off <= HUGE_VAL;
        worst = fmax(worst, !same ? HUGE_VAL : alone ? 0 : off / fmax(1, fabs(want)));
    }
    duo_note(u, worst, "lsh: lse");
    free(x[0]);
    free(x[1]);
}

/* wanted: bits for dq and dv. */
static void lsh_case(Duo *u, Lsh a, int spread, const int32_t *lens, int wanted)
{
    a.padded = lsh_padded(a.len, a.rounds, a.chunk);
    const Arrays x = arrays_of(u, &a, spread, lens);
    for (int i = 0; i < 2; i++) {
        a.q = at(x.q, i), a.v = at(x.v, i), a.bucket = at(x.bucket, i), a.lens = at(x.lens, i);
        a.o = at(x.o, i), a.lse = at(x.lse, i);
        duo_must(u->k[i]->lsh_fwd(u->d[i], &a));
        a.d_o = at(x.d_o, i);
        a.dq = wanted & 1 ? at(x.dq, i) : NULL, a.dv_ = wanted & 2 ? at(x.dv, i) : NULL;
        if (wanted != 0)
            duo_must(u->k[i]->lsh_bwd(u->d[i], &a));
    }
    duo_same(u, x.o, "lsh");
    same_lse(u, x.lse);
    duo_same(u, x.dq, "lsh: dq");
    duo_same(u, x.dv, "lsh: dv");
    duo_clear(u);
}

static Lsh shape(int n)
{
    static const int64_t lengths[] = {1, 2, 3, 7, 8, 16, 37, 64, 65, 90};
    static const int64_t chunks[] = {4, 8, 16, 64, 5, 20};
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

void family_lsh(Duo *u, bool small)
{
    static const int spreads[] = {6, 1, 12, 3};
    static const int32_t lens[][2] = {{37, 5}, {1, 36}, {16, 0}, {20, 99}};
    for (int n = 0; n < 40; n += small ? 3 : 1)
        lsh_case(u, shape(n), spreads[n % COUNT(spreads)], NULL, 3);
    for (int n = 0; n < COUNT(lens); n++) {
        Lsh a = shape(n % 2 != 0 ? 6 : 26);
        a.batch = 2;
        lsh_case(u, a, n % 2 != 0 ? 12 : 1, lens[n], n);
    }
    Lsh a = shape(5);
    a.n_buckets = 5000; /* nearly all empty */
    lsh_case(u, a, 5000, NULL, 3);
    a = (Lsh){.batch = 1, .len = 5, .chunk = 4, .heads = 5, .d = 4, .dv = 4, .rounds = 1};
    a.n_buckets = 1 << 29; /* keys of 32 bits: three heads at a time */
    lsh_case(u, a, 1 << 29, NULL, 3);
    if (small)
        return;
    a = (Lsh){.batch = 1, .len = 300, .chunk = 128, .heads = 2, .d = 20, .dv = 70, .rounds = 2};
    a.n_buckets = 10, a.before = 1, a.causal = true;
    lsh_case(u, a, 9, NULL, 3);
    a = (Lsh){.batch = 1, .len = 150, .chunk = 150, .heads = 1, .d = 68, .dv = 8, .rounds = 1};
    a.n_buckets = 4, a.after = 1; /* around the end: the only chunk twice */
    lsh_case(u, a, 4, NULL, 3);
}

/* ---- hashing ---- */
static void hash_case(Duo *u, LshHash a, double sd, const int32_t *lens)
{
    const int64_t n = a.batch * a.heads * a.rounds * a.len;
    const int64_t matrices = (int64_t)a.heads * a.rounds * a.d * ((a.n1 + a.n2) / 2);
    Arr x = duo_random(u, a.batch * a.len * a.heads * a.d, sd, 1);
    Arr rot = duo_random(u, matrices, 1, 2), bucket = duo_random_ids(u, n, 1000, 3);
    Arr l = duo_ids(u, lens != NULL ? a.batch : 0, lens);
    for (int i = 0; i < 2; i++) {
        a.x = at(x, i), a.rot = at(rot, i), a.lens = at(l, i), a.bucket = at(bucket, i);
        duo_must(u->k[i]->lsh_hash(u->d[i], &a));
    }
    duo_note(u, (double)duo_differ(u, bucket), sd > 0 ? "lsh_hash" : "lsh_hash: ties");
    duo_clear(u);
}

void family_lsh_hash(Duo *u, bool small)
{
    static const int32_t lens[] = {80, 30};
    static const int64_t lengths[] = {1, 31, 32, 97, 200};
    for (int i = 0; i < COUNT(lengths) - small; i++) {
        LshHash a = {.batch = 2, .len = lengths[i], .pos = 3, .heads = 2, .d = 16, .rounds = 2};
        a.n1 = 6;
        hash_case(u, a, 1, NULL);
        a.n1 = 40, a.n2 = 10, a.d = 5 + 64 * (i % 2), a.heads = 1;
        hash_case(u, a, 1, lens);
        hash_case(u, a, 0, NULL);
        a.n1 = a.n2 = 0;
        hash_case(u, a, 1, lens);
    }
}

/* ---- decode ---- */
/* Ids as reals. */
static Arr numbers(Duo *u, int64_t n, int below)
{
    double *x = malloc((size_t)(n + 1) * sizeof *x);
    CHECK(x != NULL);
    for (int64_t i = 0; i < n; i++)
        x[i] = (double)((i * 2654435761u >> 7) % (unsigned)below);
    Arr a = duo_given(u, n, x);
    free(x);
    return a;
}

static void decode_case(Duo *u, LshDecode a, int spread, const int32_t *lens)
{
    const int64_t rows = a.batch * a.q_len * a.heads, past = a.batch * a.cap * a.heads;
    Arr q = duo_random(u, rows * a.d, 2, 1), keys = duo_random(u, past * a.d, 2, 2);
    Arr v = duo_random(u, past * a.dv, 1, 3), bucket = numbers(u, past * a.rounds, spread);
    Arr fresh = duo_random_ids(u, rows * a.rounds, spread, 5), o = duo_nans(u, rows * a.dv);
    Arr l = duo_ids(u, lens != NULL ? a.batch : 0, lens);
    for (int i = 0; i < 2; i++) {
        a.q = at(q, i), a.keys = at(keys, i), a.v = at(v, i), a.bucket = at(bucket, i);
        a.fresh = at(fresh, i), a.lens = at(l, i), a.o = at(o, i);
        duo_must(u->k[i]->lsh_decode(u->d[i], &a));
    }
    duo_same(u, o, "lsh_decode");
    duo_same(u, bucket, "lsh_decode: buckets");
    duo_clear(u);
}

void family_lsh_decode(Duo *u, bool small)
{
    static const int spreads[] = {1, 3, 40};
    static const int64_t where[][3] = {
        {0, 1, 1}, {0, 5, 9}, {12, 1, 13}, {60, 7, 100}, {1300, 1, 1400}};
    static const int32_t lens[] = {62, 64};
    for (int i = 0; i < COUNT(where); i++)
        for (int s = 0; s < COUNT(spreads); s++) {
            LshDecode a = {.batch = 2, .heads = 2, .rounds = 1 + s};
            a.pos = where[i][0], a.q_len = where[i][1], a.cap = where[i][2];
            a.d = 8 + 13 * s, a.dv = 40 - 9 * s, a.window = s == 0 ? 1 : 24;
            decode_case(u, a, spreads[s], i == 3 ? lens : NULL);
            a.window = 600;
            if (!small || i < 3)
                decode_case(u, a, spreads[s], i == 3 ? lens : NULL);
        }
    LshDecode a = {.batch = 2, .heads = 1, .rounds = 1, .q_len = 2, .cap = 3, .d = 4, .dv = 4};
    a.window = 3 << 20; /* its scratch is for two queries at a time */
    if (!small)
        decode_case(u, a, 2, NULL);
}
