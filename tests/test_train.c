/* test_train.c - learning: the schedule, the loss, clipping, exams, and sizes that compare. */
#include "bench/solve.h"
#include "bench/train.h"
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/longmix-train-XXXXXX";
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

TestSuite(train, .init = make_text, .fini = clean);

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

/* ---- the learning rate ---- */
Test(train, rate_climbs_then_falls_by_a_cosine)
{
    TrainSpec s = {.steps = 200, .lr = 2.0, .warmup = 0.1, .floor = 0.25};
    cr_expect_float_eq(train_lr(&s, 1), 0.1, 1e-15);
    cr_expect_float_eq(train_lr(&s, 10), 1.0, 1e-15);
    cr_expect_float_eq(train_lr(&s, 20), 2.0, 1e-15);
    cr_expect_float_eq(train_lr(&s, 110), 0.625 * 2.0, 1e-12, "half way down");
    cr_expect_float_eq(train_lr(&s, 200), 0.25 * 2.0, 1e-12, "the floor");
    for (int64_t i = 2; i <= 200; i++) {
        double step = train_lr(&s, i) - train_lr(&s, i - 1);
        cr_expect(i <= 20 ? step > 0 : step < 0, "step %d", (int)i);
        cr_expect_lt(fabs(step), 0.11, "no jumps");
    }
    s.warmup = 0;
    cr_expect_float_eq(train_lr(&s, 1), 2.0, 1e-15, "without warm-up it begins at the peak");
    s.steps = 1;
    cr_expect_float_eq(train_lr(&s, 1), 2.0, 1e-15);
    s.steps = 10;
    s.warmup = 1;
    cr_expect_float_eq(train_lr(&s, 10), 2.0, 1e-15);
}

/* ---- learning ---- */
static double trained(Trainer *t, int64_t steps)
{
    double loss = NAN, norm = NAN;
    for (int64_t i = 0; i < steps; i++) {
        must(trainer_step(t, &loss, &norm));
        cr_assert(isfinite(loss) && norm > 0);
    }
    return loss;
}

Test(train, every_variant_learns)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        double first;
        Exam e;
        TrainSpec s = tiny_training(variant_table[v]);
        Room r;
        begin(&r, &s, "cpu");
        must(trainer_step(&r.t, &first, NULL));
        cr_expect_lt(fabs(first - log(256.0)), 1.0, "%s begins at %g", variant_table[v]->name,
                     first);
        double last = trained(&r.t, s.steps - 1);
        must(trainer_exam(&r.t, TEXT_TEST, 0, &e));
        printf("%-16s %.3f nats at first, %.3f after %d steps, %.3f bits held out\n",
               variant_table[v]->name, first, last, (int)r.t.step, exam_bpb(&e));
        cr_expect_lt(last, 0.6 * first, "%s: %g after %g", variant_table[v]->name, last, first);
        cr_expect_lt(exam_bpb(&e), 0.6 * first / log(2.0), "%s", variant_table[v]->name);
        cr_expect_eq(r.t.step, s.steps);
        end(&r);
    }
}

/* The same numbers on ref, where they are float64, and whichever way memory is saved. */
Test(train, backends_and_strategies_agree)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        TrainSpec s = tiny_training(variant_table[v]);
        Room ref, cpu, again;
        begin(&ref, &s, "ref");
        begin(&cpu, &s, "cpu");
        s.recompute = true;
        begin(&again, &s, "cpu");
        double a = trained(&ref.t, 5), b = trained(&cpu.t, 5), c = trained(&again.t, 5);
        cr_expect_lt(fabs(a - b), 1e-4 * a, "%s: %.9g on ref, %.9g on cpu", variant_table[v]->name,
                     a, b);
        cr_expect_eq(b, c, "%s: recomputing changed the loss", variant_table[v]->name);
        end(&ref);
        end(&cpu);
        end(&again);
    }
}

Test(train, seeds_draw_weights_and_batches)
{
    TrainSpec s = tiny_training(variant_find("vanilla"));
    Room a, b, c;
    begin(&a, &s, "cpu");
    begin(&b, &s, "cpu");
    s.seed = 2;
    begin(&c, &s, "cpu");
    double x = trained(&a.t, 3), y = trained(&b.t, 3), z = trained(&c.t, 3);
    cr_expect_eq(x, y);
    cr_expect_neq(x, z);
    end(&a);
    end(&b);
    end(&c);
}

/* After one step AdamW's first moment is (1 - beta1) times the clipped gradient. */
static double moment_norm(double clip, double *norm)
{
    double loss, sum = 0;
    TrainSpec s = tiny_training(variant_find("gau"));
    s.clip = clip;
    Room r;
    begin(&r, &s, "ref");
    must(trainer_step(&r.t, &loss, norm));
    for (int i = 0; i < r.t.model.n_params; i++) {
        const Tensor *m = &r.t.model.param[i].m;
        for (int64_t j = 0; j < tensor_size(m); j++)
            sum += pow(((const double *)m->buf.ptr)[j], 2);
    }
    end(&r);
    return sqrt(sum) / (1 - s.beta1);
}

Test(train, gradients_are_clipped_to_a_norm)
{
    double norm, again;
    cr_expect_float_eq(moment_norm(0, &norm), norm, 1e-9 * norm, "0 does not clip");
    cr_expect_gt(norm, 0.1);
    cr_expect_float_eq(moment_norm(norm / 10, &again), norm / 10, 1e-9 * norm);
    cr_expect_eq(again, norm, "the norm that is told is that before clipping");
    cr_expect_float_eq(moment_norm(norm * 10, &again), norm, 1e-9 * norm);
}

/* With a learning rate of 0 nothing learns, so step 2 is that of a trainer which skipped step 1. */
Test(train, every_step_begins_with_zero_gradients)
{
    Room a, b;
    double loss, norm[2];
    TrainSpec s = tiny_training(variant_find("gau"));
    s.lr = 0;
    begin(&a, &s, "cpu");
    begin(&b, &s, "cpu");
    must(trainer_step(&a.t, &loss, &norm[0]));
    must(trainer_step(&a.t, &loss, &norm[0]));
    b.t.step = 1;
    must(trainer_step(&b.t, &loss, &norm[1]));
    cr_expect_eq(norm[0], norm[1]);
    end(&a);
    end(&b);
}

/* ---- numbers that are none ---- */
/* Every row of the embedding, so that each batch meets one. */
static void poison(Trainer *t)
{
    const double nan = NAN;
    for (int64_t i = 0; i < TEXT_VOCAB; i++)
        must(dev_write_f64(t->model.dev, t->model.param[0].t.buf, i * 16, &nan, 1));
}

Test(train, a_loss_that_is_not_finite_stops_the_run)
{
    static const char *const backends[] = {"ref", "cpu"};
    for (int i = 0; i < 4; i++) {
        Exam e;
        double loss;
        TrainSpec s = tiny_training(variant_find(i % 2 != 0 ? "gau" : "vanilla"));
        Room r;
        begin(&r, &s, backends[i / 2]);
        trained(&r.t, 1);
        poison(&r.t);
        cr_expect_eq(trainer_step(&r.t, &loss, NULL), ST_NONFINITE);
        cr_expect_not_null(strstr(status_reason(), "the loss is nan at step 2"), "%s",
                           status_reason());
        cr_expect_eq(r.t.step, 1);
        cr_expect_eq(trainer_exam(&r.t, TEXT_VALID, 0, &e), ST_NONFINITE);
        end(&r);
    }
}

/* ---- exams ---- */
Test(train, buckets_sum_to_the_whole)
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

/* Reading in batches is reading one by one, and leaves the trainer as it was. */
Test(train, an_exam_changes_nothing)
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

Test(train, texts_too_short_for_the_context_are_refused_at_once)
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

Test(train, a_stream_equals_a_window)
{
    for (int v = 0; variant_table[v] != NULL; v++)
        for (int64_t segment = 1; segment <= 32; segment = 2 * segment + 1) {
            check_stream(variant_table[v], "ref", segment);
            check_stream(variant_table[v], "cpu", segment);
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
Test(train, streams_are_longer_than_the_context)
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
