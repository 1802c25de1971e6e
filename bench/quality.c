/* quality.c - one training as a row of results: equal parameters, equal tokens, one text. */
#include "bench/backend.h"
#include "bench/case.h"
#include "bench/clock.h"
#include "bench/limits.h"
#include "bench/measure.h"
#include "bench/roof.h"
#include "bench/solve.h"
#include "bench/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char train_default_text[] = "build/data/kjv.txt";

Status train_device(Dev **out, BackendAsk *ask)
{
    TRY(backend_choose(out, ask, 0));
    Gpu g = backend_gpu(*out);
    dev_limit(*out, g.name[0] == '\0' ? (size_t)backend_room(&g) : 0);
    return ST_OK;
}

/* ---- the model ---- */
static Status spec_of(const Case *c, int64_t tokens, TrainSpec *s)
{
    const Variant *v = variant_find(c->variant);
    if (v == NULL)
        return FAIL(ST_USAGE, "unknown variant '%s'", c->variant);
    *s = train_defaults(v);
    MixCtx *x = &s->model.ctx;
    *x = (MixCtx){.batch = c->batch,
                  .q_len = c->n,
                  .cap = c->n,
                  .n_norm = c->n,
                  .causal = true,
                  .width = c->width,
                  .heads = c->heads};
    s->model.layers = c->layers;
    s->steps = max64(1, tokens / (c->batch * c->n));
    s->seed = c->seed;
    snprintf(s->set, sizeof s->set, "%s", c->set);
    if (c->width == 0)
        TRY(solve_size(&s->model, c->set, TRAIN_QUALITY_PARAMS));
    return mix_options(v, c->set, x);
}

static void sketch(const TrainSpec *s, Row *row)
{
    const MixCtx *x = &s->model.ctx;
    row->c.width = x->width;
    row->c.heads = x->heads;
    row->c.layers = s->model.layers;
    row->params = solve_count(&s->model);
    row->steps = s->steps;
    row->lr = s->lr;
    row->tokens = x->batch * x->q_len;
    row->train_tokens = s->steps * row->tokens;
}

Status train_outline(const Case *c, int64_t tokens, Row *row)
{
    TrainSpec s = {.steps = 0};
    *row = (Row){.kind = ROW_TRAIN, .c = *c};
    TRY(spec_of(c, tokens, &s));
    sketch(&s, row);
    return ST_OK;
}

/* ---- the curve ---- */
typedef struct Course {
    Trainer *t;
    Row *row;
    double began, examined; /* seconds spent in exams do not count as training */
    double nats;            /* of the steps since the last point */
    int64_t steps;
} Course;

static void bucket_rows(const Exam *e, Row *row)
{
    for (int i = 0; i < ROW_MAX_BUCKETS && e->bucket_bytes[i] > 0; i++) {
        row->bucket_bpb[i] = bucket_bpb(e, i);
        row->n_buckets = i + 1;
    }
}

static Status add_point(Course *c)
{
    Exam e;
    const MixCtx *x = &c->t->spec.model.ctx;
    double start = clock_now();
    timing_strain(&c->row->timing, dev_strain(c->t->model.dev)); /* how the steps ended */
    TRY(trainer_exam(c->t, TEXT_VALID, TRAIN_EXAM_WINDOWS, &e));
    c->examined += clock_now() - start;
    c->row->point[c->row->n_points++] =
        (Point){.step = c->t->step,
                .tokens = c->t->step * x->batch * x->q_len,
                .seconds = clock_now() - c->began - c->examined,
                .train_bpb = c->steps > 0 ? c->nats / (double)c->steps / log(2.0) : (double)NAN,
                .valid_bpb = exam_bpb(&e)};
    c->nats = 0;
    c->steps = 0;
    return ST_OK;
}

static Status learn(Course *c)
{
    int64_t steps = c->t->spec.steps, every = (steps + TRAIN_EXAMS - 2) / (TRAIN_EXAMS - 1);
    TRY(add_point(c));
    while (c->t->step < steps) {
        double loss;
        TRY(trainer_step(c->t, &loss, NULL));
        c->nats += loss;
        c->steps++;
        bool last = c->t->step == steps;
        if (last || (c->t->step % every == 0 && c->row->n_points < ROW_MAX_POINTS - 1))
            TRY(add_point(c));
    }
    c->row->train_seconds = clock_now() - c->began - c->examined;
    return ST_OK;
}

static Status final_exam(Trainer *t, Row *row)
{
    Exam e;
    double start = clock_now();
    TRY(trainer_exam(t, TEXT_TEST, 0, &e));
    row->eval_seconds = clock_now() - start;
    row->test_bpb = exam_bpb(&e);
    row->test_bytes = e.bytes;
    row->valid_bpb = row->point[row->n_points - 1].valid_bpb;
    bucket_rows(&e, row);
    return ST_OK;
}

/* ---- the row ---- */
static void describe(const Trainer *t, Row *row)
{
    MemUse m = dev_mem(t->model.dev);
    row->params = model_n_params(&t->model, false);
    row->embed_params = model_n_params(&t->model, true);
    row->memory.counted = (int64_t)m.peak_counted;
    row->memory.param = (int64_t)m.peak[MEM_PARAM];
    row->memory.grad = (int64_t)m.peak[MEM_GRAD];
    row->memory.optim = (int64_t)m.peak[MEM_OPTIM];
    row->memory.act = (int64_t)m.peak[MEM_ACT];
    row->memory.input = (int64_t)m.peak[MEM_INPUT];
    row->memory.work = (int64_t)m.peak[MEM_WORK];
    row->memory.n_allocs = m.n_allocs;
}

static Status run(Dev *d, const TrainSpec *s, const Text *text, Row *row)
{
    Trainer t;
    Status st = trainer_init(&t, d, s, text);
    Course c = {.t = &t, .row = row, .began = clock_now()};
    if (st == ST_OK)
        st = learn(&c);
    if (st == ST_OK)
        st = final_exam(&t, row);
    if (st == ST_OK)
        describe(&t, row);
    trainer_free(&t);
    return st;
}

static Status train(const Case *c, const char *data, int64_t tokens, Row *row)
{
    TrainSpec s = {.steps = 0};
    Text text = {0};
    Dev *d = NULL;
    TRY(spec_of(c, tokens, &s));
    sketch(&s, row);
    TRY(text_load(data, &text));
    snprintf(row->text_sha256, sizeof row->text_sha256, "%s", text.sha256);
    row->text_bytes = (int64_t)text.size;
    Status st = backend_open(&d, c, (size_t)c->mem_limit);
    if (st == ST_OK)
        st = run(d, &s, &text, row);
    dev_close(d);
    text_free(&text);
    return st;
}

/* The work of a step, and the roof of the moment. */
static void place(const Case *c, Rates before, Row *row)
{
    Row step;
    case_predict(&row->c, &step);
    row->flops = step.flops;
    row->bytes = step.bytes;
    roof_note(c, before, row);
}

void train_row(const Case *c, const char *data, int64_t tokens, Row *row)
{
    *row = (Row){.kind = ROW_TRAIN, .c = *c};
    Rates machine = roof_around(c);
    Status st = train(c, data, tokens, row);
    if (st == ST_OK) {
        place(c, machine, row);
        return;
    }
    row->status = st == ST_OOM         ? ROW_OOM
                  : st == ST_NONFINITE ? ROW_FAILED_CHECK
                  : st == ST_DEVICE    ? ROW_CRASH
                                       : ROW_UNSUPPORTED;
    snprintf(row->reason, sizeof row->reason, "%s", status_reason());
}
