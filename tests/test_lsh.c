/* test_lsh.c - LSH attention by hand: gradients with the buckets held fixed, and what a few
 * positions should see. */
#include "tests/grads.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- gradients ---- */
enum { T = 9, H = 2, ROUNDS = 2 };

typedef struct Form {
    LshOpt o;
    const int32_t *lens;
    int32_t bucket[2 * H * ROUNDS * T];
} Form;

static Tensor *attend(Tape *t, Tensor *const x[], const void *arg)
{
    const Form *f = arg;
    Tensor *bucket = grads_ints(t, 4, (int64_t[]){2, H, ROUNDS, T}, f->bucket);
    Tensor *lens = f->lens != NULL ? grads_ints(t, 1, (int64_t[]){2}, f->lens) : NULL;
    return op_lsh(t, x[0], x[1], bucket, lens, f->o);
}

static void expect_gradients(const char *name, Form f, int buckets)
{
    for (int i = 0; i < COUNT(f.bucket); i++)
        f.bucket[i] = (i * 7 + i / 5) % buckets;
    grads_check(&(Problem){
        name, attend, &f, 2, {{3, {2, T, H * 3}}, {3, {2, T, H * 2}}}, {3, {2, T, H * 2}}});
}

Test(lsh, gradients)
{
    static const int32_t lens[] = {9, 4};
    LshOpt o = {.causal = true, .heads = H, .n_buckets = 4, .before = 1, .chunk = 4};
    expect_gradients("lsh, causal", (Form){.o = o}, 4);
    expect_gradients("lsh, causal, ragged", (Form){.o = o, .lens = lens}, 4);
    expect_gradients("lsh, all in one bucket", (Form){.o = o}, 1);
    o.causal = false;
    o.after = 1;
    expect_gradients("lsh, bidirectional", (Form){.o = o}, 4);
    expect_gradients("lsh, bidirectional, ragged", (Form){.o = o, .lens = lens}, 3);
    o.chunk = 5;
    expect_gradients("lsh, chunks across rounds", (Form){.o = o}, 4);
}

/* ---- by hand ---- */
typedef struct Small {
    double q[16], v[16], o[16], lse[16];
    int32_t bucket[32];
    Lsh a;
} Small;

/* Positions of width 1 with values 1, 10, 100 ..: the output tells who was seen. */
static void run(Small *s, int64_t len, int rounds, int64_t chunk, bool causal, int before)
{
    Dev *d;
    for (int i = 0; i < len; i++) {
        s->q[i] = 0; /* all scores are 0 */
        s->v[i] = pow(10, i);
    }
    s->a = (Lsh){.causal = causal,
                 .batch = 1,
                 .len = len,
                 .heads = 1,
                 .d = 1,
                 .dv = 1,
                 .padded = lsh_padded(len, rounds, chunk),
                 .chunk = chunk,
                 .rounds = rounds,
                 .n_buckets = 4,
                 .before = before,
                 .bucket = s->bucket,
                 .q = s->q,
                 .v = s->v,
                 .o = s->o,
                 .lse = s->lse};
    cr_assert(dev_open(&d, "ref", 0, 0) == ST_OK);
    cr_assert(dev_kernels(d)->lsh_fwd(d, &s->a) == ST_OK);
    dev_close(d);
}

static void near(double got, double want)
{
    cr_assert(fabs(got - want) < 1e-9 * (1 + fabs(want)), "%.12g, not %.12g", got, want);
}

Test(lsh, a_chunk_and_the_one_before_around_the_end)
{
    Small s = {.bucket = {1, 0, 1, 0}}; /* sorted: 1 3 | 0 2 */
    run(&s, 4, 1, 2, false, 0);
    near(s.o[1], 1000);
    near(s.o[0], 100);
    run(&s, 4, 1, 2, false, 1);
    near(s.o[1], (1000 + 1 + 100) / 3.0); /* chunk 0 sees chunk 1 by wrap-around */
    near(s.o[2], (1 + 10 + 1000) / 3.0);
    near(s.lse[2], log(3));
    run(&s, 4, 1, 2, true, 1);
    near(s.o[0], 1); /* alone: itself */
    near(s.o[2], (1 + 10) / 2.0);
    near(s.o[3], (10 + 1 + 100) / 3.0);
}

/* The second round swaps partners: both count, and one met twice counts twice. */
Test(lsh, rounds_count_by_what_they_see)
{
    Small s = {.bucket = {0, 0, 1, 1, 0, 1, 1, 0}}; /* 0 1 | 2 3, then 0 3 | 1 2 */
    run(&s, 4, 2, 2, false, 0);
    near(s.o[0], (10 + 1000) / 2.0);
    near(s.o[2], (1000 + 10) / 2.0);
    Small twice = {.bucket = {0, 0, 1, 1, 0, 0, 1, 1}};
    run(&twice, 4, 2, 2, false, 0);
    near(twice.o[0], 10);
    near(twice.lse[0], log(2));
}

/* 3 positions in chunks of 2: one position of padding, which nobody sees. */
Test(lsh, padding_is_not_seen)
{
    Small s = {.bucket = {1, 0, 1}}; /* 1 0 | 2 - */
    run(&s, 3, 1, 2, false, 1);
    cr_assert_eq(s.a.padded, 4);
    near(s.o[2], (10 + 1) / 2.0);
    near(s.o[0], (10 + 100) / 2.0);
    Small one = {.bucket = {0}};
    run(&one, 1, 1, 2, true, 1);
    near(one.o[0], 1);
}

Test(lsh, padding_goes_as_far_as_chunks_need)
{
    cr_assert_eq(lsh_padded(4096, 2, 128), 4096);
    cr_assert_eq(lsh_padded(64, 2, 128), 64); /* both rounds share a chunk */
    cr_assert_eq(lsh_padded(65, 2, 128), 128);
    cr_assert_eq(lsh_padded(65, 3, 128), 128);
    cr_assert_eq(lsh_padded(1, 4, 128), 32);
}
