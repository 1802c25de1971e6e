/* stand.c - see stand.h. */
#include "tests/stand.h"

#include "kernels/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char small_options[] =
    "s=6 c=4 chunk_len=4 sru_width=3 block=2 rank=3 modules=4 rel_max=16 log_floor=2";

void known_options(const Variant *v, const char *wish, char *set, size_t size)
{
    set[0] = '\0';
    while (*wish != '\0') {
        size_t len = strcspn(wish, " "), key = strcspn(wish, "="), at = strlen(set);
        const Option *o;
        for (int i = 0; (o = variant_option_at(v, i)) != NULL; i++)
            if (strlen(o->name) == key && memcmp(o->name, wish, key) == 0)
                snprintf(set + at, size - at, "%.*s ", (int)len, wish);
        wish += len + strspn(wish + len, " ");
    }
}

Setting setting_small(const Variant *v, const char *backend)
{
    Setting s = {.v = v,
                 .backend = backend,
                 .batch = 2,
                 .len = 13,
                 .n_norm = 4,
                 .width = 8,
                 .heads = 2,
                 .ffn = 10,
                 .blocks = 1,
                 .causal = true};
    known_options(v, small_options, s.set, sizeof s.set);
    return s;
}

double *numbers(int64_t n, double sd, uint32_t seed)
{
    float *f = malloc((size_t)n * sizeof *f);
    double *x = malloc((size_t)n * sizeof *x);
    CHECK(f != NULL && x != NULL);
    rng_fill_normal(f, n, sd, seed, 77, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = (double)f[i];
    free(f);
    return x;
}

static void must(Status st)
{
    if (st != ST_OK)
        fprintf(stderr, "%s: %s\n", status_name(st), status_reason());
    CHECK(st == ST_OK);
}

Status setting_ctx(const Setting *s, MixCtx *c)
{
    char all[sizeof s->set + sizeof s->draws];
    snprintf(all, sizeof all, "%s %s", s->set, s->draws);
    *c = (MixCtx){.batch = s->batch,
                  .q_len = s->len,
                  .cap = s->cap > 0 ? s->cap : s->len,
                  .n_norm = s->n_norm,
                  .width = s->width,
                  .heads = s->heads,
                  .ffn = s->ffn,
                  .causal = s->causal,
                  .naive = s->naive,
                  .training = s->training,
                  .seed = 5,
                  .step = s->step};
    return mix_options(s->v, all, c);
}

static ModelSpec spec_of(const Setting *s)
{
    MixCtx c;
    must(setting_ctx(s, &c));
    return (ModelSpec){.variant = s->v,
                       .blocks = s->blocks,
                       .ctx = c,
                       .state = s->state,
                       .grads = s->grads,
                       .seed = 3};
}

/* Gains around 1, biases around 0.3, taps of convolutions around what they are, matrices as
 * initialised. */
static void stir(Stand *r)
{
    for (int i = 0; i < r->m.n_params; i++) {
        Tensor *t = &r->m.param[i].t;
        int64_t n = tensor_size(t);
        bool taps = strstr(r->m.param[i].name, ".conv_") != NULL;
        if (t->rank != 1 && !taps)
            continue;
        double *x = numbers(n, 0.3, 100 + (uint32_t)i);
        bool gain = strstr(r->m.param[i].name, "gain") != NULL;
        for (int64_t j = 0; j < n; j++)
            x[j] += gain ? 1 : taps ? 0.2 : 0;
        must(dev_write_f64(r->d, t->buf, 0, x, n));
        free(x);
    }
}

void stand_open(Stand *r, const Setting *s)
{
    const int64_t dim[] = {s->batch, s->len, s->width};
    ModelSpec spec = spec_of(s);
    *r = (Stand){.s = *s};
    must(dev_open(&r->d, s->backend, 0, 0));
    must(model_init(&r->m, r->d, &spec));
    must(tensor_new(r->d, &r->x, REAL, MEM_INPUT, 3, dim));
    stir(r);
    double *x = numbers(stand_size(r), 1, 1);
    stand_set_input(r, x);
    free(x);
    if (s->recompute || s->store)
        tape_strategy(r->m.tape, s->recompute ? TAPE_RECOMPUTE : TAPE_STORE);
    if (s->lens == NULL)
        return;
    must(tensor_new(r->d, &r->lens, I32, MEM_INPUT, 1, dim));
    must(dev_write(r->d, r->lens.buf, s->lens, (size_t)s->batch * sizeof(int32_t)));
    r->m.ctx.lens = &r->lens;
}

void stand_close(Stand *r)
{
    tensor_free(r->d, &r->x);
    tensor_free(r->d, &r->lens);
    model_free(&r->m);
    dev_close(r->d);
}

int64_t stand_size(const Stand *r)
{
    return r->s.batch * r->s.len * r->s.width;
}

void stand_set_input(Stand *r, const double *x)
{
    must(dev_write_f64(r->d, r->x.buf, 0, x, stand_size(r)));
}

void stand_freeze(Stand *r, bool frozen)
{
    for (int i = 0; i < r->m.n_blocks; i++)
        block_freeze(&r->m.block[i], frozen);
}

void stand_forward(Stand *r, double *y)
{
    tape_reset(r->m.tape);
    tape_grad(r->m.tape, false);
    Tensor *out = model_blocks(&r->m, &r->x);
    must(tape_status(r->m.tape));
    must(dev_read_f64(r->d, y, out->buf, 0, stand_size(r)));
    tape_reset(r->m.tape);
}

/* Rows [at, at + n) of every sequence, between the whole input or output and a segment's. */
static void segment(Stand *r, int64_t at, int64_t n, double *y)
{
    const int64_t dim[] = {r->s.batch, n, r->s.width};
    int64_t w = r->s.width;
    Tensor x;
    double *row = malloc((size_t)(n * w) * sizeof *row);
    CHECK(row != NULL);
    must(tensor_new(r->d, &x, REAL, MEM_INPUT, 3, dim));
    for (int64_t b = 0; b < r->s.batch; b++) {
        must(dev_read_f64(r->d, row, r->x.buf, (b * r->s.len + at) * w, n * w));
        must(dev_write_f64(r->d, x.buf, b * n * w, row, n * w));
    }
    r->m.ctx.pos = at;
    r->m.ctx.q_len = n;
    tape_reset(r->m.tape);
    Tensor *out = model_blocks(&r->m, &x);
    must(tape_status(r->m.tape));
    for (int64_t b = 0; b < r->s.batch; b++)
        must(dev_read_f64(r->d, y + (b * r->s.len + at) * w, out->buf, b * n * w, n * w));
    tape_reset(r->m.tape);
    tensor_free(r->d, &x);
    free(row);
}

void stand_segments(Stand *r, const int64_t *cuts, double *y)
{
    must(model_zero_state(&r->m));
    tape_grad(r->m.tape, false);
    for (int64_t at = 0; *cuts > 0; at += *cuts++)
        segment(r, at, *cuts, y);
    r->m.ctx.pos = 0;
    r->m.ctx.q_len = r->s.len;
}

int64_t stand_n_params(const Stand *r)
{
    return model_n_params(&r->m, false);
}

static void read_grads(Stand *r, double *dw)
{
    for (int i = 0; i < r->m.n_params; i++) {
        Tensor *t = &r->m.param[i].t;
        must(dev_read_f64(r->d, dw, t->grad, 0, tensor_size(t)));
        dw += tensor_size(t);
    }
}

void stand_get_params(const Stand *r, double *w)
{
    for (int i = 0; i < r->m.n_params; i++) {
        const Tensor *t = &r->m.param[i].t;
        must(dev_read_f64(r->d, w, t->buf, 0, tensor_size(t)));
        w += tensor_size(t);
    }
}

void stand_set_params(Stand *r, const double *w)
{
    for (int i = 0; i < r->m.n_params; i++) {
        Tensor *t = &r->m.param[i].t;
        must(dev_write_f64(r->d, t->buf, 0, w, tensor_size(t)));
        w += tensor_size(t);
    }
}

void stand_backward(Stand *r, const double *dy, double *y, double *dx, double *dw)
{
    Tensor seed;
    int64_t n = stand_size(r);
    tape_reset(r->m.tape);
    tape_grad(r->m.tape, true);
    must(model_zero_grads(&r->m));
    must(tensor_new(r->d, &seed, REAL, MEM_INPUT, 3, r->x.dim));
    must(dev_write_f64(r->d, seed.buf, 0, dy, n));
    r->x.needs_grad = true;
    Tensor *out = model_blocks(&r->m, &r->x);
    must(tape_status(r->m.tape));
    must(dev_read_f64(r->d, y, out->buf, 0, n));
    must(tape_backward(r->m.tape, out, &seed));
    must(dev_read_f64(r->d, dx, r->x.grad, 0, n));
    read_grads(r, dw);
    dev_free(r->d, &r->x.grad);
    tensor_free(r->d, &seed);
    tape_reset(r->m.tape);
}

double worse(double a, double b)
{
    return isnan(a) || a > b ? a : b;
}

double worst(const double *a, const double *b, int64_t n)
{
    double most = 0, scale = 0;
    for (int64_t i = 0; i < n; i++) {
        double off = fabs(a[i] - b[i]);
        most = off > most || isnan(off) ? off : most;
        scale = fmax(scale, fabs(b[i]));
        if (isnan(off))
            return off;
    }
    return most / (scale > 0 ? scale : 1);
}
