/* test_exam.c - held-out likelihoods: by windows of the training length, and over one long stream.
 */
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/longmix-exam-XXXXXX";
static Text text;

static void must(Status st)
{
    cr_assert_eq(st, ST_OK, "%s", status_reason());
}

static void make_text(void)
{
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    tiny_text(path, 6000);
    omp_set_num_threads(1); /* many tiny runs */
    must(text_load(path, &text));
}

static void clean(void)
{
    text_free(&text);
    unlink(path);
}

TestSuite(exam, .init = make_text, .fini = clean);

typedef struct Room {
    Dev *d;
    Trainer t;
} Room;

/* In place: a model must not move. */
static void begin(Room *r, const TrainSpec *s, const char *backend)
{
    must(dev_open(&r->d, backend, 0, 0));
    must(trainer_init(&r->t, r->d, s, &text));
}

static void end(Room *r)
{
    trainer_free(&r->t);
    dev_close(r->d);
}

static double trained(Trainer *t, int64_t steps)
{
    double loss = 0;
    for (int64_t i = 0; i < steps; i++)
        must(trainer_step(t, &loss, NULL));
    return loss;
}

Test(exam, buckets_sum_to_the_whole)
{
    Exam e;
    TrainSpec s = tiny_training(variant_find("vanilla"));
    Room r;
    begin(&r, &s, "cpu");
    for (int64_t most = 0; most < 12;
         most += 5) { /* a batch has 4 windows: the last one is smaller */
        double nats = 0;
        int64_t bytes = 0, windows = (int64_t)text_n_windows(&text, TEXT_TEST, 24);
        must(trainer_exam(&r.t, TEXT_TEST, most, &e));
        for (int i = 0; i < EVAL_BUCKETS; i++) {
            nats += e.bucket_nats[i];
            bytes += e.bucket_bytes[i];
        }
        windows = most > 0 ? most : windows;
        cr_expect(bytes == e.bytes && e.bytes == 24 * windows, "%d of %d", (int)bytes,
                  (int)e.bytes);
        cr_expect_float_eq(nats, e.nats, 1e-9 * nats);
        static const int64_t sizes[] = {1, 2, 4,
                                        8, 9, 0}; /* positions 0 | 1-2 | 3-6 | 7-14 | 15-23 */
        for (int i = 0; i < COUNT(sizes); i++)
            cr_expect_eq(e.bucket_bytes[i], sizes[i] * windows, "bucket %d", i);
        cr_expect_float_eq(exam_bpb(&e), nats / log(2.0) / (double)bytes, 1e-12);
        cr_expect_float_eq(bucket_bpb(&e, 1), e.bucket_nats[1] / log(2.0) / (double)(2 * windows),
                           1e-12);
        cr_expect(isnan(bucket_bpb(&e, 5)));
    }
    end(&r);
}

Test(exam, windows_sum_to_the_whole)
{
    Exam e;
    TrainSpec s = tiny_training(variant_find("gau"));
    Room r;
    double *nats, sum = 0;
    int64_t n;
    begin(&r, &s, "cpu");
    must(trainer_exam_windows(&r.t, TEXT_TEST, &nats, &n, &e));
    cr_expect(n == (int64_t)text_n_windows(&text, TEXT_TEST, 24) && e.bytes == 24 * n);
    for (int64_t i = 0; i < n; i++) {
        cr_expect_gt(nats[i], 0);
        sum += nats[i];
    }
    cr_expect_float_eq(sum, e.nats, 1e-9 * sum);
    must(trainer_exam(&r.t, TEXT_TEST, 1, &e)); /* the first window */
    cr_expect_float_eq(nats[0], e.nats, 1e-9 * e.nats);
    free(nats);
    end(&r);
}

/* Reading in batches is reading one by one, and leaves the trainer as it was. */
Test(exam, an_exam_changes_nothing)
{
    Exam e;
    TrainSpec s = tiny_training(variant_find("flash_linear"));
    Room a, b;
    begin(&a, &s, "cpu");
    begin(&b, &s, "cpu");
    trained(&a.t, 2);
    trained(&b.t, 2);
    must(trainer_exam(&a.t, TEXT_VALID, 3, &e));
    cr_expect_eq(trained(&a.t, 2), trained(&b.t, 2));
    end(&a);
    end(&b);
}

Test(exam, texts_too_short_for_the_context_are_refused_at_once)
{
    Exam e;
    Trainer t;
    Dev *d;
    TrainSpec s = tiny_training(variant_find("vanilla"));
    int valid = (int)text_split(&text, TEXT_VALID).size;
    s.model.ctx.q_len = s.model.ctx.cap = valid; /* needs one byte more */
    must(dev_open(&d, "cpu", 0, 0));
    cr_expect_eq(trainer_init(&t, d, &s, &text), ST_USAGE);
    cr_expect_not_null(strstr(status_reason(), "valid part"), "%s", status_reason());
    trainer_free(&t);
    s.model.grads = false; /* to be examined on another part */
    must(trainer_init(&t, d, &s, &text));
    cr_expect_eq(trainer_exam(&t, TEXT_VALID, 0, &e), ST_USAGE);
    must(trainer_exam(&t, TEXT_TEST, 1, &e));
    trainer_free(&t);
    dev_close(d);
}

/* One window of n bytes and a stream of n + 1 (n inputs and the last target), segment by segment.
 */
static void check_stream(const Variant *v, const char *backend, int64_t segment)
{
    enum { N = 24 };
    Exam window, stream;
    TrainSpec s = tiny_training(v);
    s.model.grads = false;
    Room r;
    begin(&r, &s, backend);
    must(trainer_exam(&r.t, TEXT_TEST, 1, &window));
    s.model.state = true;
    s.model.ctx.batch = 1;
    Room st;
    begin(&st, &s, backend);
    must(exam_stream(&st.t.model, &text, TEXT_TEST, N + 1, segment, NULL, NULL, &stream));
    double bound = strcmp(backend, "ref") == 0 ? 1e-12 : 1e-5;
    cr_expect(window.bytes == N && stream.bytes == N);
    for (int i = 0; i < EVAL_BUCKETS; i++) {
        cr_expect_eq(window.bucket_bytes[i], stream.bucket_bytes[i]);
        double off = fabs(window.bucket_nats[i] - stream.bucket_nats[i]);
        cr_expect_leq(off, bound * window.nats, "%s on %s by %d: bucket %d is off by %g", v->name,
                      backend, (int)segment, i, off);
    }
    end(&r);
    end(&st);
}

Test(exam, a_stream_equals_a_window)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        if (variant_caps(variant_table[v]) & CAP_OWN_DECODE)
            continue; /* a segment is another function than the pass, by definition */
        for (int64_t segment = 1; segment <= 32; segment = 2 * segment + 1) {
            check_stream(variant_table[v], "ref", segment);
            check_stream(variant_table[v], "cpu", segment);
        }
    }
}

typedef struct Ticks {
    int n;
    int64_t done;
} Ticks;

static void count_tick(void *ctx, int64_t done, int64_t all, const Exam *so_far)
{
    Ticks *t = ctx;
    cr_assert(done > t->done && all == 700 && so_far->bytes == done);
    t->done = done;
    t->n++;
}

/* Far beyond the training length, where the state must carry; twice, from a clean start. */
Test(exam, streams_are_longer_than_the_context)
{
    Exam a, b;
    Ticks ticks = {0, 0};
    TrainSpec s = tiny_training(variant_find("flash_linear"));
    s.model.grads = false;
    s.model.state = true;
    s.model.ctx.batch = 1;
    s.model.ctx.cap = 701;
    Room r;
    begin(&r, &s, "cpu");
    must(exam_stream(&r.t.model, &text, TEXT_TEST, 701, 100, count_tick, &ticks, &a));
    cr_expect(ticks.n == 7 && a.bytes == 700);
    must(exam_stream(&r.t.model, &text, TEXT_TEST, 701, 100, NULL, NULL, &b));
    cr_expect_eq(a.nats, b.nats);
    cr_expect_eq(exam_stream(&r.t.model, &text, TEXT_VALID, 701, 100, NULL, NULL, &b), ST_SHAPE);
    end(&r);
}
