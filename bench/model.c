/* model.c - allocates what the variant declares, fills it from the seed, runs it, steps it. */
#include "bench/model.h"

#include "kernels/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- building ---- */

/* Blocks that norm before their branches leave the last sum bare. */
static bool has_last_norm(const ModelSpec *s)
{
    return s->vocab > 0 && s->ctx.recipe[RECIPE_MIXER_NORM] == NORM_PRE;
}

/* What the final norm and the two ends of a language model add to the blocks' parameters. */
int model_end_slots(const ModelSpec *s, BlockSlot out[MODEL_ENDS])
{
    const LossLayer *loss = variant_loss(s->variant);
    Slot norm[NORM_SLOTS], head[MIX_MAX_PARAMS];
    int n = 0;
    if (s->vocab == 0)
        return 0;
    int64_t width = s->ctx.width;
    out[n++] = (BlockSlot){
        "embed",
        {.name = "embed", .init = INIT_NORMAL, .sd = 0.02, .rank = 2, .dim = {s->vocab, width}}};
    norm_slots(&s->ctx, norm);
    if (has_last_norm(s)) {
        out[n++] = (BlockSlot){"norm.gain", norm[0]};
        out[n++] = (BlockSlot){"norm.bias", norm[1]};
    }
    MixCtx c = s->ctx;
    c.vocab = s->vocab;
    loss->params(head, &c);
    for (int i = 0; i < loss->n_params; i++, n++) {
        out[n].slot = head[i];
        snprintf(out[n].name, sizeof out[n].name, "%s", head[i].name);
    }
    return n;
}

/* The same numbers on every backend: those of single precision. */
static Status fill_taps(Model *m, Tensor *t)
{
    TRY(tensor_fill(m->dev, t, (double)(0.5f / (float)t->dim[0])));
    return dev_kernels(m->dev)->fill(m->dev, t->dim[1], 0.5, t->buf.ptr);
}

static Status fill_param(Model *m, ModelParam *p, const Slot *slot, uint32_t stream)
{
    if (slot->init == INIT_TAPS)
        return fill_taps(m, &p->t);
    if (slot->init != INIT_NORMAL)
        return tensor_fill(m->dev, &p->t, slot->init == INIT_ONE ? 1.0 : 0.0);
    int64_t n = tensor_size(&p->t);
    if (dev_is_dry(m->dev))
        return ST_OK;
    float *x = malloc((size_t)n * sizeof *x);
    if (x == NULL)
        return FAIL(ST_OOM, "no memory for %lld initial weights", (long long)n);
    rng_fill_normal(x, n, slot->sd, m->spec.seed, RNG_WEIGHTS + stream, 0);
    Status st = dev_write_f32(m->dev, p->t.buf, 0, x, n);
    free(x);
    return st;
}

static Status add_param(Model *m, const char *prefix, const BlockSlot *s)
{
    ModelParam *p = &m->param[m->n_params];
    if (s->slot.absent)
        return ST_OK;
    snprintf(p->name, sizeof p->name, "%s%s", prefix, s->name);
    p->decay = s->slot.decay;
    TRY(tensor_new(m->dev, &p->t, REAL, MEM_PARAM, s->slot.rank, s->slot.dim));
    m->n_params++;
    TRY(fill_param(m, p, &s->slot, (uint32_t)m->n_params));
    if (!m->spec.grads)
        return ST_OK;
    p->t.needs_grad = true;
    TRY(dev_alloc(m->dev, p->t.buf.size, MEM_GRAD, &p->t.grad));
    return dev_kernels(m->dev)->fill(m->dev, tensor_size(&p->t), 0.0, p->t.grad.ptr);
}

static Status build_block(Model *m, int index, const BlockSlot slot[], int n)
{
    char prefix[24];
    Block *b = &m->block[index];
    snprintf(prefix, sizeof prefix, "block%d.", index);
    *b = (Block){.v = m->spec.variant, .ctx = &m->ctx, .layer = index};
    for (int i = 0; i < n; i++) {
        TRY(add_param(m, prefix, &slot[i]));
        b->w[i] = slot[i].slot.absent ? NULL : &m->param[m->n_params - 1].t;
    }
    return ST_OK;
}

static Status build_state(Model *m)
{
    BlockSlot slot[BLOCK_MAX_STATE];
    int n = block_state(m->spec.variant, &m->spec.ctx, slot);
    if (n == 0)
        return FAIL(ST_UNSUPPORTED, "%s cannot continue from carried state", m->spec.variant->name);
    m->state = calloc((size_t)n * (size_t)m->n_blocks, sizeof *m->state);
    CHECK(m->state != NULL);
    for (int i = 0; i < m->n_blocks; i++)
        for (int j = 0; j < n; j++) {
            Tensor *s = &m->state[m->n_state++];
            TRY(tensor_new(m->dev, s, REAL, MEM_STATE, slot[j].slot.rank, slot[j].slot.dim));
            m->block[i].st[j] = s;
        }
    return model_zero_state(m);
}

static Status build(Model *m)
{
    BlockSlot block[BLOCK_MAX_PARAMS], ends[MODEL_ENDS];
    const ModelSpec *s = &m->spec;
    int n_block = block_params(s->variant, &s->ctx, block), n_ends = model_end_slots(s, ends);
    m->block = calloc((size_t)m->n_blocks, sizeof *m->block);
    m->param = calloc((size_t)n_block * (size_t)m->n_blocks + (size_t)n_ends, sizeof *m->param);
    CHECK(m->block != NULL && m->param != NULL);
    for (int i = 0; i < n_ends; i++)
        TRY(add_param(m, "", &ends[i]));
    for (int i = 0; i < m->n_blocks; i++)
        TRY(build_block(m, i, block, n_block));
    if (s->state)
        TRY(build_state(m));
    TRY(tensor_new(m->dev, &m->grad_norm, REAL, MEM_OPTIM, 1, (int64_t[]){1}));
    TRY(tape_new(&m->tape, m->dev));
    if (s->ctx.recipe[RECIPE_REVERSIBLE] != 0)
        tape_strategy(m->tape, TAPE_INVERT);
    return ST_OK;
}

Status model_init(Model *m, Dev *d, const ModelSpec *spec)
{
    *m = (Model){.spec = *spec, .dev = d};
    m->n_blocks = spec->blocks > 0 ? spec->blocks : spec->layers * spec->variant->blocks_per_layer;
    CHECK(m->n_blocks > 0);
    m->spec.ctx.carried = spec->state;
    m->spec.ctx.vocab = spec->vocab;
    m->ctx = m->spec.ctx;
    TRY(mix_accepts(spec->variant, &m->ctx));
    return build(m);
}

void model_free(Model *m)
{
    if (m->dev == NULL)
        return;
    tape_free(m->tape);
    for (int i = 0; i < m->n_params; i++) {
        tensor_free(m->dev, &m->param[i].t);
        tensor_free(m->dev, &m->param[i].m);
        tensor_free(m->dev, &m->param[i].v);
    }
    for (int i = 0; i < m->n_state; i++)
        tensor_free(m->dev, &m->state[i]);
    for (int i = 0; m->block != NULL && i < m->n_blocks; i++) {
        choices_free(m->dev, &m->block[i].choices);
        choices_free(m->dev, &m->block[i].ffn_choices);
    }
    tensor_free(m->dev, &m->grad_norm);
    free(m->param);
    free(m->state);
    free(m->block);
    *m = (Model){0};
}

/* ---- asking ---- */
bool model_is_end(const char *name)
{
    return strcmp(name, "embed") == 0 || strncmp(name, "head", strlen("head")) == 0;
}

int64_t model_n_params(const Model *m, bool embed)
{
    int64_t n = 0;
    for (int i = 0; i < m->n_params; i++)
        if (model_is_end(m->param[i].name) == embed)
            n += tensor_size(&m->param[i].t);
    return n;
}

static Tensor *param_named(const Model *m, const char *name)
{
    for (int i = 0; i < m->n_params; i++)
        if (strcmp(m->param[i].name, name) == 0)
            return &m->param[i].t;
    return NULL;
}

static void loss_params(Model *m, Tensor *out[])
{
    for (int i = 0; i < m->n_params; i++)
        if (strncmp(m->param[i].name, "head", strlen("head")) == 0)
            *out++ = &m->param[i].t;
}

/* ---- running ---- */
/* Two streams, copies of x at first; their mean is the result. */
static Tensor *reversible_blocks(Model *m, Tensor *x)
{
    int mark = tape_mark(m->tape);
    Tensor *pair[2] = {op_copy(m->tape, x), x->owned ? x : op_copy(m->tape, x)};
    for (int i = 0; i < m->n_blocks; i++) {
        block_run_pair(m->tape, &m->block[i], pair);
        tape_release(m->tape, mark, pair, 2);
    }
    Tensor *y = op_blend(m->tape, 0.5, pair[0], 0.5, pair[1]);
    tape_release(m->tape, mark, &y, 1);
    return y;
}

Tensor *model_blocks(Model *m, Tensor *x)
{
    if (m->ctx.recipe[RECIPE_REVERSIBLE] != 0)
        return reversible_blocks(m, x);
    int mark = tape_mark(m->tape);
    for (int i = 0; i < m->n_blocks; i++) {
        x = tape_block(m->tape, block_run, &m->block[i], x);
        tape_release(m->tape, mark, &x, 1); /* the block before is done with */
    }
    return x;
}

Tensor *model_logits(Model *m, Tensor *ids)
{
    const double *recipe = m->ctx.recipe;
    Tape *t = m->tape;
    int mark = tape_mark(t);
    Tensor *x = op_embed(t, param_named(m, "embed"), ids); /* (B,T,D) */
    x = model_blocks(m, x);
    tape_release(t, mark, &x, 1);
    if (has_last_norm(&m->spec))
        x = op_norm(t, (NormKind)recipe[RECIPE_NORM], recipe[RECIPE_NORM_EPS], x,
                    param_named(m, "norm.gain"), param_named(m, "norm.bias"));
    Tensor *head[MIX_MAX_PARAMS], *logits;
    loss_params(m, head);
    logits = variant_loss(m->spec.variant)->logits(t, head, &m->ctx, x); /* (B,T,V) */
    tape_release(t, mark, &logits, 1);
    return logits;
}

/* ---- state ---- */
Status model_zero_state(Model *m)
{
    for (int i = 0; i < m->n_state; i++)
        TRY(tensor_fill(m->dev, &m->state[i], 0.0));
    return ST_OK;
}

enum { PIECE = 1 << 20 };

static Status random_tensor(Dev *d, Tensor *x, uint64_t seed, uint32_t stream)
{
    int64_t n = tensor_size(x);
    float *piece = malloc(PIECE * sizeof *piece);
    Status st = piece != NULL ? ST_OK : FAIL(ST_OOM, "no memory for a piece of random state");
    if (st == ST_OK)
        rng_fill_uniform(piece, min64(PIECE, n), 0.02, seed, stream, 0);
    for (int64_t at = 0; st == ST_OK && at < n; at += PIECE) /* gigabytes: one piece, repeated */
        st = dev_write_f32(d, x->buf, at, piece, min64(PIECE, n - at));
    free(piece);
    return st;
}

Status model_random_state(Model *m, uint64_t seed)
{
    for (int i = 0; i < m->n_state && !dev_is_dry(m->dev); i++)
        TRY(random_tensor(m->dev, &m->state[i], seed, RNG_STATE + (uint32_t)i));
    return ST_OK;
}

/* ---- learning ---- */
Status model_zero_grads(Model *m)
{
    const Kernels *k = dev_kernels(m->dev);
    Status st = ST_OK;
    CHECK(m->spec.grads);
    for (int i = 0; i < m->n_params && st == ST_OK; i++) {
        const Tensor *t = &m->param[i].t;
        watch_enter(m->dev, "zero gradient", true);
        st = k->fill(m->dev, tensor_size(t), 0.0, t->grad.ptr);
        watch_leave(m->dev, 0, (double)t->grad.size);
    }
    return st;
}

static Status new_moments(Model *m, ModelParam *p)
{
    if (p->v.buf.ptr != NULL)
        return ST_OK;
    tensor_free(m->dev, &p->m); /* of an attempt that ran out of memory */
    TRY(tensor_new(m->dev, &p->m, REAL, MEM_OPTIM, p->t.rank, p->t.dim));
    TRY(tensor_new(m->dev, &p->v, REAL, MEM_OPTIM, p->t.rank, p->t.dim));
    TRY(tensor_fill(m->dev, &p->m, 0.0));
    return tensor_fill(m->dev, &p->v, 0.0);
}

Status model_moments(Model *m)
{
    for (int i = 0; i < m->n_params; i++)
        TRY(new_moments(m, &m->param[i]));
    return ST_OK;
}

/* The sum of squares of all gradients, left on the device. */
static Status grad_norm(Model *m)
{
    TRY(tensor_fill(m->dev, &m->grad_norm, 0.0));
    for (int i = 0; i < m->n_params; i++) {
        const Tensor *t = &m->param[i].t;
        watch_enter(m->dev, "gradient norm", false);
        Status st =
            dev_kernels(m->dev)->sumsq(m->dev, tensor_size(t), t->grad.ptr, m->grad_norm.buf.ptr);
        watch_leave(m->dev, 0, (double)t->grad.size);
        TRY(st);
    }
    return ST_OK;
}

/* Weights, moments: read and written. */
static Status update(Model *m, ModelParam *p, const Optim *o, int64_t step)
{
    AdamW a = {.n = tensor_size(&p->t),
               .step = step,
               .lr = o->lr,
               .beta1 = o->beta1,
               .beta2 = o->beta2,
               .eps = o->eps,
               .decay = p->decay ? o->decay : 0.0,
               .grad_scale = 1,
               .norm2 = m->grad_norm.buf.ptr,
               .clip = o->clip,
               .w = p->t.buf.ptr,
               .m = p->m.buf.ptr,
               .v = p->v.buf.ptr,
               .grad = p->t.grad.ptr};
    watch_enter(m->dev, "adamw", false);
    Status st = dev_kernels(m->dev)->adamw(m->dev, &a);
    watch_leave(m->dev, 0, 7.0 * (double)p->t.buf.size);
    return st;
}

Status model_adamw(Model *m, const Optim *o, int64_t step, double *norm)
{
    double sum = 0;
    CHECK(m->spec.grads && step >= 1);
    TRY(model_moments(m));
    TRY(grad_norm(m));
    for (int i = 0; i < m->n_params; i++)
        TRY(update(m, &m->param[i], o, step));
    if (norm == NULL)
        return ST_OK;
    TRY(dev_read_f64(m->dev, &sum, m->grad_norm.buf, 0, 1));
    *norm = sqrt(sum);
    if (!isfinite(*norm))
        return FAIL(ST_NONFINITE, "the gradient norm is %g at step %lld", *norm, (long long)step);
    return ST_OK;
}
