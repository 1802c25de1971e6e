/* apply.c - see apply.h. Everything is checked before anything is allocated for it. */
#include "bench/apply.h"

#include "bench/apply_decode.h"
#include "bench/exchange.h"
#include "bench/train.h"
#include "kernels/build_id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Job {
    const Apply *a;
    MixCtx ctx;
    int n_blocks, n_slots;
    BlockSlot slot[BLOCK_MAX_PARAMS]; /* of a block */
    BlockSlot draw[BLOCK_MAX_DRAWS];
    int n_draws;
    Tensor drawn[BLOCK_MAX_DRAWS];
    StFile weights, input, grad, expect;
    BackendAsk on;
    Dev *dev;
    Model m;
    Tensor x, lens, dy;
    Outbox out;
} Job;

/* ---- names ---- */
static bool is_wanted(const Job *j, const BlockSlot *s)
{
    bool inside = j->a->level != APPLY_MIXER || strncmp(s->name, "mixer.", 6) == 0;
    return inside && !s->slot.absent;
}

/* Name of parameter i of the model in a file: one block has no prefix. */
static const char *file_name(const Job *j, const char *name)
{
    return j->n_blocks == 1 ? name + strlen("block0.") : name;
}

static bool is_param(const Job *j, const char *name)
{
    char mine[EXCHANGE_NAME];
    for (int b = 0; b < j->n_blocks; b++)
        for (int i = 0; i < j->n_slots; i++) {
            snprintf(mine, sizeof mine, "block%d.%s", b, j->slot[i].name);
            if (is_wanted(j, &j->slot[i]) && strcmp(file_name(j, mine), name) == 0)
                return true;
        }
    return false;
}

static bool is_input(const Job *j, const char *name)
{
    for (int i = 0; i < j->n_draws; i++)
        if (strcmp(j->draw[i].name, name) == 0)
            return true;
    return strcmp(name, "x") == 0 || strcmp(name, "lens") == 0;
}

static bool same_path(const StFile *f, const char *path)
{
    return path != NULL && strcmp(f->path, path) == 0;
}

/* A file may serve several purposes and hold what any of them needs. */
static bool is_known(const Job *j, const StFile *f, const char *name)
{
    const Apply *a = j->a;
    bool result =
        strncmp(name, "grad.", 5) == 0 || strcmp(name, "y") == 0 || strcmp(name, "decode.y") == 0;
    return (same_path(f, a->weights) && is_param(j, name)) ||
           (same_path(f, a->input) && is_input(j, name)) ||
           (same_path(f, a->grad) && strcmp(name, "dy") == 0) ||
           (same_path(f, a->expect) && result);
}

static Status check_names(const Job *j, const StFile *f)
{
    for (int i = 0; i < f->n_tensors; i++)
        if (!is_known(j, f, f->tensor[i].name))
            return exchange_refuse(f, &f->tensor[i],
                                   "is superfluous here; known are x, lens and draws (--input), dy "
                                   "(--grad) and what `longmix list --params` shows (--weights)");
    return ST_OK;
}

static Status check_weights(const Job *j)
{
    char name[EXCHANGE_NAME];
    for (int b = 0; b < j->n_blocks; b++)
        for (int i = 0; i < j->n_slots; i++) {
            const Slot *s = &j->slot[i].slot;
            snprintf(name, sizeof name, "block%d.%s", b, j->slot[i].name);
            if (is_wanted(j, &j->slot[i]))
                TRY(exchange_check(&j->weights, file_name(j, name), REAL, s->rank, s->dim));
        }
    return ST_OK;
}

/* ---- files ---- */
static Status open_one(const char *path, StFile *f)
{
    return path != NULL ? exchange_open(path, f) : ST_OK;
}

static Status open_files(Job *j)
{
    TRY(open_one(j->a->input, &j->input));
    TRY(open_one(j->a->weights, &j->weights));
    TRY(open_one(j->a->grad, &j->grad));
    return open_one(j->a->expect, &j->expect);
}

/* Batch, length and width are those of x. */
static Status read_sizes(Job *j)
{
    enum { MOST = 1 << 16 };
    MixCtx *c = &j->ctx;
    const StTensor *x = j->a->input != NULL ? st_find(&j->input, "x") : NULL;
    if (j->a->input != NULL && x == NULL)
        return FAIL(ST_USAGE, "%s: has no tensor 'x', the input (B,T,D)", j->input.path);
    if (x != NULL) {
        if (x->rank != 3 || x->dim[0] < 1 || x->dim[1] < 1 || x->dim[2] < 1 || x->dim[2] > MOST)
            return exchange_refuse(&j->input, x,
                                   "must be (B,T,D), with sizes from 1 and D to 65536");
        c->batch = x->dim[0];
        c->q_len = x->dim[1];
        c->width = (int)x->dim[2];
        TRY(exchange_check(&j->input, "x", REAL, 3, x->dim));
    }
    c->cap = c->q_len;
    c->n_norm = j->a->n_norm > 0 ? j->a->n_norm : c->q_len;
    return ST_OK;
}

static Status check_lens(const Job *j, const int32_t *lens)
{
    for (int64_t b = 0; b < j->ctx.batch; b++)
        if (lens[b] < 1 || lens[b] > j->ctx.q_len)
            return FAIL(ST_USAGE, "%s: tensor 'lens': %d tokens of sequence %lld (1 to %lld)",
                        j->input.path, (int)lens[b], (long long)b, (long long)j->ctx.q_len);
    return ST_OK;
}

/* All that can be said before memory is taken. */
static Status plan(Job *j)
{
    const Apply *a = j->a;
    TRY(open_files(j));
    TRY(read_sizes(j));
    if (j->ctx.width % j->ctx.heads != 0)
        return FAIL(ST_USAGE, "--heads %d does not divide the width %d", j->ctx.heads,
                    j->ctx.width);
    TRY(mix_options(a->variant, a->set, &j->ctx));
    TRY(mix_accepts(a->variant, &j->ctx));
    j->n_slots = block_params(a->variant, &j->ctx, j->slot);
    j->n_draws = block_draws(a->variant, &j->ctx, j->draw);
    int usual = a->level == APPLY_LAYER ? a->variant->blocks_per_layer : 1;
    j->n_blocks = a->blocks > 0 ? a->blocks : usual;
    const StFile *files[] = {&j->input, &j->weights, &j->grad};
    for (int i = 0; i < COUNT(files); i++)
        if (files[i]->path != NULL)
            TRY(check_names(j, files[i]));
    if (a->weights != NULL)
        TRY(check_weights(j));
    const int64_t dim[] = {j->ctx.batch, j->ctx.q_len, j->ctx.width};
    return a->grad != NULL ? exchange_check(&j->grad, "dy", REAL, 3, dim) : ST_OK;
}

/* ---- building ---- */
static Status load_weights(Job *j)
{
    for (int i = 0; i < j->m.n_params; i++) {
        ModelParam *p = &j->m.param[i];
        if (is_param(j, file_name(j, p->name)))
            TRY(exchange_load(&j->weights, file_name(j, p->name), j->dev, &p->t));
    }
    return ST_OK;
}

/* Random draws that the input holds; the others come from the seed. */
static Status load_draws(Job *j)
{
    MixCtx *c = &j->m.ctx;
    int of_mixer = j->a->variant->mixer->n_draws;
    for (int i = 0; i < j->n_draws; i++) {
        const Slot *s = &j->draw[i].slot;
        Tensor *t = &j->drawn[i];
        if (st_find(&j->input, j->draw[i].name) == NULL)
            continue;
        TRY(exchange_check(&j->input, j->draw[i].name, REAL, s->rank, s->dim));
        TRY(tensor_new(j->dev, t, REAL, MEM_INPUT, s->rank, s->dim));
        TRY(exchange_load(&j->input, j->draw[i].name, j->dev, t));
        *(i < of_mixer ? &c->draw[i] : &c->ffn_draw[i - of_mixer]) = t;
    }
    return ST_OK;
}

static Status load_input(Job *j)
{
    const int64_t dim[] = {j->ctx.batch, j->ctx.q_len, j->ctx.width};
    TRY(tensor_new(j->dev, &j->x, REAL, MEM_INPUT, 3, dim));
    TRY(exchange_load(&j->input, "x", j->dev, &j->x));
    if (j->a->grad != NULL) {
        TRY(tensor_new(j->dev, &j->dy, REAL, MEM_INPUT, 3, dim));
        TRY(exchange_load(&j->grad, "dy", j->dev, &j->dy));
    }
    TRY(load_draws(j));
    if (st_find(&j->input, "lens") == NULL)
        return ST_OK;
    TRY(tensor_new(j->dev, &j->lens, I32, MEM_INPUT, 1, dim));
    TRY(exchange_load(&j->input, "lens", j->dev, &j->lens));
    j->m.ctx.lens = &j->lens;
    return ST_OK;
}

/* Rows behind the valid length of a sequence have no meaning: zero. */
static Status blank_padding(Job *j, Buf rows)
{
    const MixCtx *c = &j->ctx;
    int32_t *lens = calloc((size_t)c->batch, sizeof *lens);
    double *zero = calloc((size_t)(c->q_len * c->width), sizeof *zero);
    Status st = lens != NULL && zero != NULL ? ST_OK : FAIL(ST_OOM, "no memory for a row of zeros");
    if (st == ST_OK)
        st = dev_read(j->dev, lens, j->lens.buf, (size_t)c->batch * sizeof *lens);
    if (st == ST_OK)
        st = check_lens(j, lens);
    for (int64_t b = 0; st == ST_OK && b < c->batch; b++)
        st = dev_write_f64(j->dev, rows, (b * c->q_len + lens[b]) * c->width, zero,
                           (c->q_len - lens[b]) * c->width);
    free(lens);
    free(zero);
    return st;
}

static Status build(Job *j)
{
    ModelSpec spec = {.variant = j->a->variant,
                      .blocks = j->n_blocks,
                      .ctx = j->ctx,
                      .grads = j->a->grad != NULL,
                      .seed = j->ctx.seed};
    TRY(train_device(&j->dev, &j->on));
    TRY(model_init(&j->m, j->dev, &spec));
    if (j->a->weights != NULL)
        TRY(load_weights(j));
    if (j->a->input == NULL)
        return ST_OK;
    TRY(load_input(j));
    if (j->lens.buf.ptr == NULL)
        return ST_OK;
    TRY(blank_padding(j, j->x.buf));
    return j->a->grad != NULL ? blank_padding(j, j->dy.buf) : ST_OK;
}

/* ---- running ---- */
static Tensor *forward(Job *j)
{
    Model *m = &j->m;
    MixIn in = {.w = m->block[0].w + NORM_SLOTS, .ctx = &m->ctx};
    if (j->a->level != APPLY_MIXER)
        return model_blocks(m, &j->x);
    return mixer_run(m->tape, j->a->variant->mixer, &in, &m->block[0].choices, &j->x);
}

static Status put_grads(Job *j)
{
    char name[EXCHANGE_NAME];
    TRY(outbox_add(&j->out, "grad.x", j->dev, &j->x, j->x.grad));
    for (int i = 0; i < j->m.n_params; i++) {
        const ModelParam *p = &j->m.param[i];
        snprintf(name, sizeof name, "grad.%s", file_name(j, p->name));
        if (is_param(j, file_name(j, p->name)))
            TRY(outbox_add(&j->out, name, j->dev, &p->t, p->t.grad));
    }
    return ST_OK;
}

static Status put_decode(Job *j)
{
    Tensor y = {0};
    Status st = tensor_new(j->dev, &y, REAL, MEM_ACT, 3, j->x.dim);
    if (st == ST_OK)
        st = apply_decode(&j->m, &j->x, &y);
    if (st == ST_OK)
        st = outbox_add(&j->out, "decode.y", j->dev, &y, y.buf);
    tensor_free(j->dev, &y);
    return st;
}

static Status compute(Job *j)
{
    Tape *t = j->m.tape;
    if (j->a->decode)
        TRY(put_decode(j));
    j->x.needs_grad = j->a->grad != NULL;
    tape_grad(t, j->x.needs_grad);
    Tensor *y = forward(j);
    TRY(tape_status(t));
    if (j->lens.buf.ptr != NULL)
        TRY(blank_padding(j, y->buf));
    TRY(outbox_add(&j->out, "y", j->dev, &j->x, y->buf));
    if (j->a->grad == NULL)
        return ST_OK;
    TRY(tape_backward(t, y, &j->dy));
    return put_grads(j);
}

/* ---- results ---- */
static Status write_out(const Job *j, const Outbox *o, const char *path)
{
    char number[5][24];
    const int64_t sizes[] = {j->ctx.heads, j->ctx.ffn, j->ctx.n_norm, j->ctx.causal, j->n_blocks};
    for (int i = 0; i < COUNT(sizes); i++)
        snprintf(number[i], sizeof number[i], "%lld", (long long)sizes[i]);
    const StMeta meta[] = {{"variant", j->a->variant->name},
                           {"set", j->a->set},
                           {"backend", dev_name(j->dev)},
                           {"heads", number[0]},
                           {"ffn", number[1]},
                           {"n_norm", number[2]},
                           {"causal", number[3]},
                           {"blocks", number[4]},
                           {"build", longmix_build_id}};
    TRY(outbox_write(o, path, meta, COUNT(meta)));
    printf("%s: %d tensors\n", path, o->n);
    return ST_OK;
}

static Status write_init(Job *j)
{
    Outbox o = {0};
    Status st = ST_OK;
    for (int i = 0; i < j->m.n_params && st == ST_OK; i++) {
        const ModelParam *p = &j->m.param[i];
        if (is_param(j, file_name(j, p->name)))
            st = outbox_add(&o, file_name(j, p->name), j->dev, &p->t, p->t.buf);
    }
    if (st == ST_OK)
        st = write_out(j, &o, j->a->init);
    outbox_free(&o);
    return st;
}

static Status compare(const Job *j, bool *agrees)
{
    int compared = 0;
    for (int i = 0; i < j->out.n; i++) {
        const StTensor *t = &j->out.tensor[i];
        double error = 0;
        if (st_find(&j->expect, t->name) == NULL)
            continue;
        TRY(outbox_compare(t, &j->expect, &error));
        bool good = error <= j->a->tolerance;
        printf("%-28s largest relative error %.3g%s\n", t->name, error,
               good ? "" : "  above the tolerance");
        *agrees = *agrees && good;
        compared++;
    }
    if (compared == 0)
        return FAIL(ST_USAGE,
                    "%s: has none of the results (y; with --decode decode.y; with "
                    "--grad grad.x, grad.PARAMETER)",
                    j->expect.path);
    return ST_OK;
}

static Status run(Job *j, bool *agrees)
{
    const Apply *a = j->a;
    TRY(plan(j));
    TRY(build(j));
    if (a->init != NULL)
        TRY(write_init(j));
    if (a->input == NULL)
        return ST_OK;
    TRY(compute(j));
    if (a->out != NULL)
        TRY(write_out(j, &j->out, a->out));
    return a->expect != NULL ? compare(j, agrees) : ST_OK;
}

Status apply_run(const Apply *a, bool *agrees)
{
    Job j = {.a = a, .ctx = a->ctx, .on = a->on};
    *agrees = true;
    Status st = run(&j, agrees);
    if (st == ST_OK)
        backend_say(&j.on);
    if (j.m.tape != NULL)
        tape_reset(j.m.tape);
    outbox_free(&j.out);
    if (j.dev != NULL) {
        tensor_free(j.dev, &j.x);
        tensor_free(j.dev, &j.lens);
        tensor_free(j.dev, &j.dy);
        for (int i = 0; i < j.n_draws; i++)
            tensor_free(j.dev, &j.drawn[i]);
    }
    model_free(&j.m);
    dev_close(j.dev);
    StFile *files[] = {&j.weights, &j.input, &j.grad, &j.expect};
    for (int i = 0; i < COUNT(files); i++)
        st_close(files[i]);
    return st;
}
