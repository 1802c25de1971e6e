/* tiny.c - see tiny.h. */
#include "tests/tiny.h"

#include "kernels/rng.h"
#include "tests/stand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static MixCtx context(const Variant *v, int64_t batch, int64_t len, int width, char *set,
                      size_t size)
{
    MixCtx c = {.batch = batch,
                .q_len = len,
                .cap = len,
                .n_norm = len,
                .width = width,
                .heads = 2,
                .causal = true};
    known_options(v, small_options, set, size);
    CHECK(mix_options(v, set, &c) == ST_OK);
    return c;
}

ModelSpec tiny_model(const Variant *v)
{
    char set[128];
    return (ModelSpec){.variant = v,
                       .layers = 2,
                       .vocab = TINY_VOCAB,
                       .ctx = context(v, TINY_BATCH, TINY_LEN, 8, set, sizeof set),
                       .grads = true,
                       .seed = 5};
}

Status tokens_init(Tokens *k, Dev *d)
{
    enum { N = TINY_BATCH * TINY_LEN };
    const int64_t dim[] = {TINY_BATCH, TINY_LEN};
    int32_t ids[N], targets[N];
    *k = (Tokens){0};
    for (int i = 0; i < N; i++) {
        ids[i] = i * 7 % TINY_VOCAB;
        targets[i] = i % 6 == 5 ? -1 : (i * 3 + 1) % TINY_VOCAB;
    }
    TRY(tensor_new(d, &k->ids, I32, MEM_INPUT, 2, dim));
    TRY(tensor_new(d, &k->targets, I32, MEM_INPUT, 2, dim));
    TRY(dev_write(d, k->ids.buf, ids, sizeof ids));
    return dev_write(d, k->targets.buf, targets, sizeof targets);
}

void tokens_free(Tokens *k, Dev *d)
{
    tensor_free(d, &k->ids);
    tensor_free(d, &k->targets);
}

Status tiny_backward(Model *m, Tokens *k, double *loss)
{
    TRY(model_zero_grads(m));
    tape_reset(m->tape);
    tape_grad(m->tape, true);
    Tensor *logits = model_logits(m, &k->ids);
    Tensor *mean = op_cross_entropy(m->tape, logits, &k->targets, TINY_COUNTED, NULL);
    TRY(tape_status(m->tape));
    if (loss != NULL)
        TRY(dev_read_f64(m->dev, loss, mean->buf, 0, 1));
    return tape_backward(m->tape, mean, NULL);
}

Status tiny_step(Model *m, Tokens *k, int64_t step)
{
    const Optim o = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1, .clip = 1};
    TRY(tiny_backward(m, k, NULL));
    TRY(model_adamw(m, &o, step, NULL));
    tape_reset(m->tape);
    return ST_OK;
}

double *tiny_weights(const Model *m, int64_t *n)
{
    int64_t at = 0;
    *n = model_n_params(m, true) + model_n_params(m, false);
    double *w = malloc((size_t)*n * sizeof *w);
    CHECK(w != NULL);
    for (int i = 0; i < m->n_params; i++) {
        const Tensor *t = &m->param[i].t;
        CHECK(dev_read_f64(m->dev, w + at, t->buf, 0, tensor_size(t)) == ST_OK);
        at += tensor_size(t);
    }
    return w;
}

/* Subject, verb, object, each from its own list: the next word depends on the last two. */
void tiny_text(const char *path, size_t size)
{
    static const char *const words[3][4] = {{"the cat", "a dog", "my fox", "one owl"},
                                            {" sees ", " hears ", " finds ", " likes "},
                                            {"rain.\n", "snow.\n", "wind.\n", "fog.\n"}};
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL);
    uint32_t pick = 0;
    for (size_t n = 0, at = 0; n < size; at++) {
        pick = (pick + rng_bits(9, 0, at) % 2) % 4; /* one of two that fit */
        const char *w = words[at % 3][pick];
        size_t len = strlen(w) < size - n ? strlen(w) : size - n;
        CHECK(fwrite(w, 1, len, f) == len);
        n += len;
    }
    CHECK(fclose(f) == 0);
}

TrainSpec tiny_training(const Variant *v)
{
    TrainSpec s = train_defaults(v);
    s.model.layers = 1;
    s.model.ctx = context(v, 4, 24, 16, s.set, sizeof s.set);
    s.steps = 40;
    s.lr = 1e-2;
    return s;
}
