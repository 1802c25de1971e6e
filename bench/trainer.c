/* trainer.c - steps of training; see trainer.h. */
#include "bench/trainer.h"

#include <math.h>
#include <stdlib.h>

TrainSpec train_defaults(const Variant *v)
{
    TrainSpec s = {.lr = 3e-3,
                   .warmup = 0.05,
                   .floor = 0.1,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .eps = 1e-8,
                   .decay = 0.1,
                   .clip = 1.0,
                   .steps = 1000,
                   .seed = 1};
    s.model.variant = v;
    s.model.vocab = TEXT_VOCAB;
    s.model.grads = true;
    s.model.ctx.causal = true;
    return s;
}

/* Linear climb over the warm-up, then half a cosine down to floor * lr. */
double train_lr(const TrainSpec *s, int64_t step)
{
    double warm = fmax(1.0, s->warmup * (double)s->steps), at = (double)step;
    if (at < warm)
        return s->lr * at / warm;
    double done = (at - warm) / fmax(1.0, (double)s->steps - warm);
    double cosine = 0.5 * (1 + cos(3.14159265358979323846 * fmin(done, 1.0)));
    return s->lr * (s->floor + (1 - s->floor) * cosine);
}

Status trainer_init(Trainer *t, Dev *d, const TrainSpec *spec, const Text *text)
{
    *t = (Trainer){.spec = *spec, .text = text};
    t->spec.model.seed = t->spec.model.ctx.seed = spec->seed;
    t->spec.model.ctx.vocab = spec->model.vocab;
    const MixCtx *c = &spec->model.ctx;
    const int64_t dim[] = {c->batch, c->q_len};
    for (int i = 0; i < N_TEXT_SPLITS && text != NULL && spec->model.grads;
         i++) /* before hours, not after */
        TRY(exam_fits(text, (TextSplit)i, c->q_len));
    TRY(model_init(&t->model, d, &t->spec.model));
    if (spec->model.grads) /* else the first step would take them from blocks that the next needs */
        TRY(model_moments(&t->model));
    if (spec->recompute)
        tape_strategy(t->model.tape, TAPE_RECOMPUTE);
    TRY(tensor_new(d, &t->ids, I32, MEM_INPUT, 2, dim));
    TRY(tensor_new(d, &t->targets, I32, MEM_INPUT, 2, dim));
    TRY(tensor_new(d, &t->loss, REAL, MEM_INPUT, 1, (const int64_t[]){1}));
    t->host_ids = malloc(t->ids.buf.size);
    t->host_targets = malloc(t->ids.buf.size);
    if (t->host_ids == NULL || t->host_targets == NULL)
        return FAIL(ST_OOM, "no memory for a batch of %lld bytes", (long long)(dim[0] * dim[1]));
    return ST_OK;
}

void trainer_free(Trainer *t)
{
    if (t->model.dev != NULL) {
        tensor_free(t->model.dev, &t->ids);
        tensor_free(t->model.dev, &t->targets);
        tensor_free(t->model.dev, &t->loss);
    }
    model_free(&t->model);
    free(t->host_ids);
    free(t->host_targets);
    *t = (Trainer){0};
}

static Status upload(Trainer *t)
{
    TRY(dev_write(t->model.dev, t->ids.buf, t->host_ids, t->ids.buf.size));
    return dev_write(t->model.dev, t->targets.buf, t->host_targets, t->ids.buf.size);
}

static Status backward(Trainer *t)
{
    Model *m = &t->model;
    tape_reset(m->tape);
    tape_grad(m->tape, true);
    Tensor *logits = model_logits(m, &t->ids);
    Tensor *mean = op_cross_entropy(m->tape, logits, &t->targets, tensor_size(&t->targets), NULL);
    TRY(tape_status(m->tape));
    TRY(dev_copy(m->dev, t->loss.buf, mean->buf, mean->buf.size));
    return tape_backward(m->tape, mean, NULL);
}

/* Nothing waits for the device before all of the step is queued. */
Status trainer_step(Trainer *t, double *loss, double *norm)
{
    const TrainSpec *s = &t->spec;
    const MixCtx *c = &s->model.ctx;
    TextShape shape = {TEXT_TRAIN, (int)c->batch, (int)c->q_len};
    double length = 0;
    t->model.ctx = *c;
    t->model.ctx.training = true;
    t->model.ctx.step = t->step;
    TRY(text_sample(t->text, shape, s->seed, (uint64_t)t->step, t->host_ids, t->host_targets));
    TRY(upload(t));
    TRY(model_zero_grads(&t->model));
    TRY(backward(t));
    Optim o = {train_lr(s, t->step + 1), s->beta1, s->beta2, s->eps, s->decay, s->clip};
    Status st = model_adamw(&t->model, &o, t->step + 1, norm != NULL ? norm : &length);
    TRY(st == ST_NONFINITE ? ST_OK : st); /* the loss tells more */
    TRY(dev_read_f64(t->model.dev, loss, t->loss.buf, 0, 1));
    if (!isfinite(*loss))
        return FAIL(ST_NONFINITE, "the loss is %g at step %lld", *loss, (long long)t->step + 1);
    TRY(st);
    tape_reset(t->model.tape);
    t->step++;
    return ST_OK;
}
