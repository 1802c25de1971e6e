/* rig.c - builds cases; see rig.h. The steps are in rig_steps.c. */
#include "bench/rig.h"

#include "bench/fault.h"
#include "bench/limits.h"
#include "bench/rig_steps.h"
#include "kernels/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 256, PIECE = 1 << 18 };

/* ---- what can run ---- */
static int rig_vocab(const Case *c)
{
    return c->vocab > 0 ? c->vocab : BYTES;
}

static bool carries_state(const Case *c)
{
    return c->pass == PASS_PREFILL || c->pass == PASS_DECODE;
}

static bool needs_grads(const Case *c)
{
    return c->pass == PASS_BWD || c->pass == PASS_TRAIN;
}

static int64_t q_len(const Case *c)
{
    return c->pass == PASS_PREFILL ? min64(c->segment, c->n) : c->pass == PASS_DECODE ? 1 : c->n;
}

static Status spec_of(const Case *c, ModelSpec *s)
{
    const Variant *v = variant_find(c->variant);
    if (v == NULL)
        return FAIL(ST_USAGE, "there is no variant '%s'", c->variant);
    *s = (ModelSpec){.variant = v,
                     .layers = c->layers,
                     .blocks = c->level == LEVEL_MIX ? 1 : 0,
                     .vocab = c->level == LEVEL_MODEL ? rig_vocab(c) : 0,
                     .state = carries_state(c),
                     .grads = needs_grads(c) && c->level != LEVEL_MIX,
                     .seed = c->seed};
    s->ctx = (MixCtx){.batch = c->batch,
                      .q_len = q_len(c),
                      .pos = c->pass == PASS_DECODE ? c->n - 1 : 0,
                      .cap = c->n,
                      .n_norm = c->n,
                      .width = c->width,
                      .heads = c->heads,
                      .ffn = c->ffn,
                      .causal = c->causal,
                      .training = needs_grads(c),
                      .naive = c->impl == IMPL_NAIVE,
                      .vocab = s->vocab,
                      .seed = c->seed};
    return mix_options(v, c->set, &s->ctx);
}

Status rig_accepts(const Case *c)
{
    ModelSpec s;
    TRY(spec_of(c, &s));
    unsigned caps = variant_caps(s.variant);
    if (carries_state(c) && !(caps & CAP_STATEFUL))
        return FAIL(ST_UNSUPPORTED, "%s cannot continue from carried state", c->variant);
    if (carries_state(c) && !c->causal)
        return FAIL(ST_UNSUPPORTED, "%s goes from left to right, not bidirectionally",
                    pass_names[c->pass]);
    if (c->impl == IMPL_NAIVE && !(caps & CAP_NAIVE))
        return FAIL(ST_UNSUPPORTED, "%s has no naive implementation", c->variant);
    if (c->level == LEVEL_MIX && c->pass != PASS_FWD && c->pass != PASS_BWD)
        return FAIL(ST_UNSUPPORTED, "mixing alone has no %s pass", pass_names[c->pass]);
    return mix_accepts(s.variant, &s.ctx);
}

/* ---- inputs ---- */

/* Random numbers of unit size for rows `first` to first + rows - 1 of sequences that are `all` rows
 * long: a number depends on its place in the sequence alone. x (B,rows,W). */
static Status draw_reals(const Rig *r, Tensor *x, uint32_t stream, int64_t first)
{
    double sd = fault_of(&r->c) == FAULT_NAN ? (double)NAN : 1.0;
    int64_t len = tensor_size(x) / x->dim[0], at0 = first * tensor_width(x);
    float *piece = malloc(PIECE * sizeof *piece);
    Status st = piece != NULL ? ST_OK : FAIL(ST_OOM, "no memory for a piece of input");
    for (int64_t b = 0; b < x->dim[0]; b++)
        for (int64_t i = 0; i < len && st == ST_OK; i += PIECE) {
            int64_t n = min64(PIECE, len - i);
            rng_fill_uniform(piece, n, sd, r->c.seed, stream + (uint32_t)b, (uint64_t)(at0 + i));
            st = dev_write_f32(r->dev, x->buf, b * len + i, piece, n);
        }
    free(piece);
    return st;
}

/* The same for bytes; x (B,rows) I32. */
static Status draw_ids(const Rig *r, Tensor *x, uint32_t stream, int64_t first)
{
    int64_t rows = x->dim[1];
    int32_t *ids = malloc(x->buf.size);
    if (ids == NULL)
        return FAIL(ST_OOM, "no memory for %lld tokens", (long long)tensor_size(x));
    for (int64_t b = 0; b < x->dim[0]; b++)
        for (int64_t i = 0; i < rows; i++)
            ids[b * rows + i] =
                (int32_t)(rng_bits(r->c.seed, stream + (uint32_t)b, (uint64_t)(first + i)) %
                          (uint32_t)rig_vocab(&r->c));
    Status st = dev_write(r->dev, x->buf, ids, (size_t)tensor_size(x) * sizeof *ids);
    free(ids);
    return st;
}

/* Streams of the copies do not overlap: a batch has fewer than 2^16 sequences. */
static uint32_t input_stream(int copy)
{
    return RNG_INPUT + ((uint32_t)copy << 16);
}

Status rig_draw(Rig *r, int copy, int64_t first)
{
    Tensor *t = r->input[copy].t;
    if (dev_is_dry(r->dev))
        return ST_OK;
    if (t[0].dtype == REAL)
        return draw_reals(r, &t[0], input_stream(copy), first);
    TRY(draw_ids(r, &t[0], input_stream(copy), first));
    return t[1].rank > 0 ? draw_ids(r, &t[1], input_stream(copy), first + 1) : ST_OK;
}

static Status copy_part(Rig *r, const Tensor *from, Tensor *to)
{
    int64_t n = tensor_size(from);
    TRY(tensor_new(r->dev, to, from->dtype, MEM_INPUT, from->rank, from->dim));
    to->needs_grad = needs_grads(&r->c);
    return dev_kernels(r->dev)->copy(r->dev, &(Copy){.batch = 1,
                                                     .rows = 1,
                                                     .width = n,
                                                     .src = from->buf.ptr,
                                                     .dst = to->buf.ptr,
                                                     .src_row = n,
                                                     .dst_row = n});
}

/* Level mix: projects random x and keeps the parts. Choices are made anew in each step. */
static Status keep_parts(Rig *r, Input *in)
{
    Tape *t = r->m.tape;
    Parts parts = {{NULL}};
    MixIn mix = rig_mix_in(r);
    Tensor x = in->t[0];
    in->t[0] = (Tensor){0};
    tape_reset(t);
    tape_grad(t, false);
    r->m.spec.variant->mixer->project(t, &mix, &x, &parts);
    Status st = tape_status(t);
    for (int i = 0; i < MIX_MAX_PARTS && st == ST_OK; i++)
        if (parts.p[i] != NULL && parts.p[i]->dtype == REAL)
            st = copy_part(r, parts.p[i], &in->t[i]);
    tape_reset(t);
    tensor_free(r->dev, &x);
    return st;
}

static Status make_input(Rig *r, int copy)
{
    const MixCtx *c = &r->m.spec.ctx;
    Tensor *t = r->input[copy].t;
    bool model = r->c.level == LEVEL_MODEL, loss = model && !carries_state(&r->c);
    const int64_t dim[] = {c->batch, c->q_len, c->width};
    TRY(tensor_new(r->dev, &t[0], model ? I32 : REAL, MEM_INPUT, model ? 2 : 3, dim));
    if (loss)
        TRY(tensor_new(r->dev, &t[1], I32, MEM_INPUT, 2, dim));
    t[0].needs_grad = needs_grads(&r->c) && !model;
    TRY(rig_draw(r, copy, c->pos));
    return r->c.level == LEVEL_MIX ? keep_parts(r, &r->input[copy]) : ST_OK;
}

static void drop_input(Rig *r, int copy)
{
    for (int i = 0; i < MIX_MAX_PARTS; i++)
        tensor_free(r->dev, &r->input[copy].t[i]);
    r->input[copy] = (Input){0};
}

/* Output gradient, of the output's shape: that of x, or of V when mixing alone. */
static Status make_dy(Rig *r)
{
    if (!needs_grads(&r->c) || r->c.level == LEVEL_MODEL)
        return ST_OK;
    const Tensor *y =
        &r->input[0].t[r->c.level == LEVEL_MIX ? r->m.spec.variant->mixer->v_part : 0];
    TRY(tensor_new(r->dev, &r->dy, REAL, MEM_INPUT, y->rank, y->dim));
    return dev_is_dry(r->dev) ? ST_OK : draw_reals(r, &r->dy, RNG_GRAD, 0);
}

/* ---- building ---- */

/* Twice the last cache, all of it written once. */
static Status make_flood(Rig *r)
{
    if (!r->c.evict || dev_is_dry(r->dev) || dev_flushes(r->dev))
        return ST_OK;
    r->n_flood = 2 * limits_cache() / (int64_t)sizeof *r->flood;
    r->flood = malloc((size_t)r->n_flood * sizeof *r->flood);
    if (r->flood == NULL)
        return FAIL(ST_OOM, "no memory for %lld numbers that empty the caches",
                    (long long)r->n_flood);
    rng_fill_uniform(r->flood, r->n_flood, 1, r->c.seed, RNG_INPUT, 0);
    return ST_OK;
}

Status rig_init(Rig *r, Dev *d, const Case *c)
{
    ModelSpec spec;
    *r = (Rig){.c = *c, .dev = d};
    TRY(rig_accepts(c));
    TRY(spec_of(c, &spec));
    TRY(model_init(&r->m, d, &spec));
    TRY(timer_new(d, &r->timer));
    if (c->pass == PASS_DECODE)
        TRY(model_random_state(&r->m, c->seed));
    if (c->pass == PASS_PREFILL) {
        r->n_segments = ceil_div(c->n, q_len(c));
        r->segment_seconds = calloc((size_t)r->n_segments, sizeof *r->segment_seconds);
        CHECK(r->segment_seconds != NULL);
    }
    r->n_inputs = 1;
    TRY(make_flood(r));
    TRY(make_input(r, 0));
    return make_dy(r);
}

void rig_free(Rig *r)
{
    if (r->dev == NULL)
        return;
    if (r->m.tape != NULL)
        tape_reset(r->m.tape);
    for (int i = 0; i < r->n_inputs; i++)
        drop_input(r, i);
    tensor_free(r->dev, &r->dy);
    timer_free(r->timer);
    model_free(&r->m);
    free(r->segment_seconds);
    free(r->flood);
    *r = (Rig){0};
}

/* ---- rotation ---- */
static int64_t input_bytes(const Input *in)
{
    int64_t sum = 0;
    for (int i = 0; i < MIX_MAX_PARTS; i++)
        sum += (int64_t)(in->t[i].buf.size + in->t[i].grad.size);
    return sum;
}

int64_t rig_rotated_bytes(const Rig *r)
{
    return r->n_inputs > 1 ? r->n_inputs * input_bytes(&r->input[0]) : 0;
}

/* Gradients that the first step left in input 0, so that no later step has to allocate them. */
static Status copy_grads(Rig *r, int copy)
{
    for (int i = 0; i < MIX_MAX_PARTS; i++) {
        Tensor *x = &r->input[copy].t[i];
        size_t size = r->input[0].t[i].grad.size;
        if (size == 0)
            continue;
        TRY(dev_alloc(r->dev, size, MEM_ACT, &x->grad));
        TRY(dev_kernels(r->dev)->fill(r->dev, tensor_size(x), 0.0, x->grad.ptr));
    }
    return ST_OK;
}

/* Bytes left beside what is live now and the activations of a step. peak: of a step. */
static int64_t room(const Rig *r, const MemUse *peak)
{
    MemUse now = dev_mem(r->dev);
    int64_t live = (int64_t)(now.live_counted + now.live[MEM_WORK]);
    return r->c.mem_limit > 0 ? r->c.mem_limit - live - (int64_t)peak->peak[MEM_ACT] : INT64_MAX;
}

void rig_rotate(Rig *r, int64_t cache)
{
    int64_t one = input_bytes(&r->input[0]), want = 1 + ceil_div(2 * cache, one);
    bool cold = !r->c.hot && r->c.pass != PASS_PREFILL && !dev_is_dry(r->dev);
    r->flushes = cold && dev_flushes(r->dev);
    if (!cold || r->flushes || r->c.evict)
        return;
    want = min64(want, RIG_MAX_INPUTS);
    tape_reset(r->m.tape);
    MemUse peak = dev_mem(r->dev);
    while (r->n_inputs < want && room(r, &peak) >= one) {
        if (make_input(r, r->n_inputs) != ST_OK || copy_grads(r, r->n_inputs) != ST_OK) {
            drop_input(r, r->n_inputs);
            return;
        }
        r->n_inputs++;
    }
}
