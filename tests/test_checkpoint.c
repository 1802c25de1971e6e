/* test_checkpoint.c - a training on disk: round trips, and resuming bit for bit. */
#include "bench/checkpoint.h"
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/longmix-ckpt-XXXXXX";
static char path[64], text_path[64];
static Text text;

static void must(Status st)
{
    cr_assert_eq(st, ST_OK, "%s", status_reason());
}

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(text_path, sizeof text_path, "%s/text", folder);
    tiny_text(text_path, 6000);
    omp_set_num_threads(1); /* many tiny runs */
    must(text_load(text_path, &text));
}

static void clean(void)
{
    text_free(&text);
    unlink(path);
    unlink(text_path);
    rmdir(folder);
}

TestSuite(checkpoint, .init = make_folder, .fini = clean);

typedef struct Room {
    Dev *d;
    Trainer t;
} Room;

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

static void learn(Trainer *t, int64_t steps)
{
    double loss;
    for (int64_t i = 0; i < steps; i++)
        must(trainer_step(t, &loss, NULL));
}

/* Weights and moments, as floats of the cpu backend. */
static void expect_same_model(const Model *a, const Model *b, const char *what)
{
    cr_assert_eq(a->n_params, b->n_params);
    for (int i = 0; i < a->n_params; i++) {
        const ModelParam *p = &a->param[i], *q = &b->param[i];
        cr_assert_eq(p->t.buf.size, q->t.buf.size);
        cr_expect_eq(memcmp(p->t.buf.ptr, q->t.buf.ptr, p->t.buf.size), 0, "%s: %s", what, p->name);
        cr_expect_eq(memcmp(p->m.buf.ptr, q->m.buf.ptr, p->m.buf.size), 0, "%s: m of %s", what,
                     p->name);
        cr_expect_eq(memcmp(p->v.buf.ptr, q->v.buf.ptr, p->v.buf.size), 0, "%s: v of %s", what,
                     p->name);
    }
}

/* ---- good files ---- */
Test(checkpoint, holds_every_setting)
{
    Room r;
    Checkpoint c;
    TrainSpec s = tiny_training(variant_find("flash_linear"));
    s.seed = 0xfedcba9876543210; /* no double */
    s.lr = 0.1 + 0.2;
    s.warmup = 1.0 / 3;
    s.floor = 0.07;
    s.beta1 = 0.8;
    s.beta2 = 0.99;
    s.eps = 1e-7;
    s.decay = 0.01;
    s.clip = 0.3;
    s.steps = 123456789;
    s.recompute = true;
    s.model.ctx.n_norm = 77;
    begin(&r, &s, "cpu");
    learn(&r.t, 2);
    must(checkpoint_save(&r.t, path));
    must(checkpoint_open(path, &c));
    const TrainSpec *g = &c.spec;
    const MixCtx *x = &g->model.ctx, *y = &s.model.ctx;
    cr_expect(g->seed == s.seed && g->lr == s.lr && g->warmup == s.warmup && g->floor == s.floor);
    cr_expect(g->beta1 == s.beta1 && g->beta2 == s.beta2 && g->eps == s.eps && g->clip == s.clip);
    cr_expect(g->decay == s.decay && g->steps == s.steps && g->recompute && c.step == 2);
    cr_expect(g->model.variant == s.model.variant && g->model.layers == 1 && g->model.grads);
    cr_expect(g->model.vocab == TEXT_VOCAB && !g->model.state && x->causal && x->cap == y->q_len);
    cr_expect(x->width == y->width && x->heads == y->heads && x->ffn == y->ffn && x->n_norm == 77);
    cr_expect(x->batch == y->batch && x->q_len == y->q_len);
    cr_expect_eq(memcmp(x->opt, y->opt, sizeof x->opt), 0);
    cr_expect_str_eq(g->set, s.set);
    cr_expect_str_eq(c.sha256, text.sha256);
    cr_expect(c.has_moments);
    checkpoint_close(&c);
    cr_expect(c.path == NULL && c.file == NULL);
    checkpoint_close(&c);
    end(&r);
}

/* Three blocks where a layer has two, both sides, T x T matrices: so they come back. */
Test(checkpoint, holds_how_blocks_run)
{
    Room r;
    Checkpoint c;
    TrainSpec s = tiny_training(variant_find("gau"));
    s.model.blocks = 3;
    s.model.ctx.causal = false;
    s.model.ctx.naive = true;
    begin(&r, &s, "cpu");
    must(checkpoint_save(&r.t, path));
    end(&r);
    must(checkpoint_open(path, &c));
    cr_expect(c.spec.model.blocks == 3 && !c.spec.model.ctx.causal && c.spec.model.ctx.naive);
    begin(&r, &c.spec, "cpu");
    cr_expect_eq(r.t.model.n_blocks, 3);
    must(checkpoint_load(&c, &r.t.model, false));
    checkpoint_close(&c);
    end(&r);
}

static void resume(Room *r)
{
    Checkpoint c;
    must(checkpoint_open(path, &c));
    begin(r, &c.spec, "cpu");
    must(checkpoint_load(&c, &r->t.model, true));
    r->t.step = c.step;
    checkpoint_close(&c);
}

/* Six steps are three, a file, and three more. */
static void check_resume(const Variant *v, bool recompute)
{
    Room straight, first, second;
    TrainSpec s = tiny_training(v);
    s.steps = 6;
    s.recompute = recompute;
    begin(&straight, &s, "cpu");
    begin(&first, &s, "cpu");
    learn(&straight.t, 3);
    learn(&first.t, 3);
    must(checkpoint_save(&first.t, path));
    end(&first);
    resume(&second);
    cr_expect_eq(second.t.step, 3);
    expect_same_model(&straight.t.model, &second.t.model, "loaded");
    learn(&straight.t, 3);
    learn(&second.t, 3);
    expect_same_model(&straight.t.model, &second.t.model, v->name);
    end(&straight);
    end(&second);
}

Test(checkpoint, resuming_repeats_every_bit)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        check_resume(variant_table[v], false);
        check_resume(variant_table[v], true);
    }
}

/* Weights alone serve an exam, but not a training that goes on. */
Test(checkpoint, moments_are_asked_for)
{
    Room r;
    Checkpoint c;
    TrainSpec s = tiny_training(variant_find("gau"));
    s.model.grads = false;
    begin(&r, &s, "cpu");
    must(checkpoint_save(&r.t, path));
    must(checkpoint_open(path, &c));
    cr_expect_not(c.has_moments);
    must(checkpoint_load(&c, &r.t.model, false));
    cr_expect_eq(checkpoint_load(&c, &r.t.model, true), ST_USAGE);
    cr_expect_not_null(strstr(status_reason(), "optim.m.embed"), "%s", status_reason());
    checkpoint_close(&c);
    end(&r);
}

Test(checkpoint, a_failed_save_leaves_the_old_file)
{
    Room r;
    Checkpoint c;
    TrainSpec s = tiny_training(variant_find("gau"));
    begin(&r, &s, "cpu");
    must(checkpoint_save(&r.t, path));
    learn(&r.t, 1);
    cr_expect_eq(checkpoint_save(&r.t, "/nonexistent/file"), ST_IO);
    cr_expect_eq(checkpoint_save(&r.t, folder), ST_IO, "a folder");
    must(checkpoint_open(path, &c));
    cr_expect_eq(c.step, 0);
    checkpoint_close(&c);
    end(&r);
}
