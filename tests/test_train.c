/* test_train.c - learning: the schedule, the loss, clipping, numbers that are none. */
#include "tests/stand.h"
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
    double loss = 0, norm = 0;
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

Test(train, only_the_first_step_asks_for_memory)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        Room r;
        TrainSpec s = tiny_training(variant_table[v]);
        known_options(variant_table[v], "quant_prob=0", s.set, sizeof s.set); /* all steps alike */
        must(mix_options(variant_table[v], s.set, &s.model.ctx));
        begin(&r, &s, "cpu");
        trained(&r.t, 1);
        int64_t first = dev_mem(r.d).n_backend;
        trained(&r.t, 4);
        cr_expect_eq(dev_mem(r.d).n_backend, first, "%s", variant_table[v]->name);
        end(&r);
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
    double norm, again, moment = moment_norm(0, &norm);
    cr_expect_float_eq(moment, norm, 1e-9 * norm, "0 does not clip");
    cr_expect_gt(norm, 0.1);
    moment = moment_norm(norm / 10, &again);
    cr_expect_float_eq(moment, norm / 10, 1e-9 * norm);
    cr_expect_eq(again, norm, "the norm that is told is that before clipping");
    moment = moment_norm(norm * 10, &again);
    cr_expect_float_eq(moment, norm, 1e-9 * norm);
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
    const double nan = (double)NAN;
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
        cr_expect(strstr(status_reason(), "the loss is ") != NULL &&
                      strstr(status_reason(), "nan at step 2") != NULL,
                  "%s", status_reason());
        cr_expect_eq(r.t.step, 1);
        cr_expect_eq(trainer_exam(&r.t, TEXT_VALID, 0, &e), ST_NONFINITE);
        end(&r);
    }
}
