/* elsewhere.c - see elsewhere.h. */
#include "tests/elsewhere.h"

#include "tests/law.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const math_names[3] = {"float32", "tf32", "bf16"};

int math_of(const char *isa)
{
    return strstr(isa, "bf16") != NULL ? 2 : strstr(isa, "tf32") != NULL ? 1 : 0;
}

/* ---- kernels that are not there ---- */
static Status try_step(const Setting *s, Dev *d, Model *m, Tensor *x)
{
    const int64_t dim[] = {s->batch, s->len, s->width};
    MixCtx c;
    TRY(setting_ctx(s, &c));
    TRY(model_init(m, d, &(ModelSpec){.variant = s->v, .blocks = 1, .ctx = c, .grads = true}));
    TRY(tensor_new(d, x, REAL, MEM_INPUT, 3, dim));
    TRY(tensor_fill(d, x, 0.5));
    tape_grad(m->tape, true);
    Tensor *y = model_blocks(m, x);
    TRY(tape_status(m->tape));
    return tape_backward(m->tape, y, NULL);
}

static bool all_there(const Kernels *k)
{
    void (*kernel)(void);
    for (size_t at = offsetof(Kernels, gemm); at < sizeof *k; at += sizeof kernel) {
        memcpy(&kernel, (const char *)k + at, sizeof kernel);
        if (kernel == NULL)
            return false;
    }
    return true;
}

/* False, and says which kernel is missing. */
static bool can_run(const Setting *s)
{
    Dev *d;
    Model m = {0};
    Tensor x = {0};
    CHECK(dev_open(&d, s->backend, 0, 0) == ST_OK);
    Status st = all_there(dev_kernels(d)) ? ST_OK : try_step(s, d, &m, &x);
    if (st == ST_UNSUPPORTED)
        printf("unsupported: %s\n", status_reason());
    model_free(&m);
    tensor_free(d, &x);
    dev_close(d);
    return st != ST_UNSUPPORTED;
}

/* ---- against float64 ---- */
enum { TRIAL, REF };

static void share(Stand *r, const Choices *from, Choices *to)
{
    for (int i = 0; i < MIX_MAX_PARTS; i++) {
        const Tensor *t = &from->part[i];
        if (t->buf.ptr == NULL)
            continue;
        void *x = malloc(t->buf.size);
        CHECK(x != NULL &&
              tensor_new(r[TRIAL].d, &to->part[i], I32, MEM_ACT, t->rank, t->dim) == ST_OK);
        CHECK(dev_read(r[REF].d, x, t->buf, t->buf.size) == ST_OK);
        CHECK(dev_write(r[TRIAL].d, to->part[i].buf, x, t->buf.size) == ST_OK);
        free(x);
    }
}

/* Both replay what ref chooses: coarse products would choose otherwise where it is close. */
static void share_choices(Stand *r)
{
    double *y = room(stand_size(&r[REF]));
    stand_forward(&r[REF], y);
    for (int b = 0; b < r[REF].m.n_blocks; b++) {
        share(r, &r[REF].m.block[b].choices, &r[TRIAL].m.block[b].choices);
        share(r, &r[REF].m.block[b].ffn_choices, &r[TRIAL].m.block[b].ffn_choices);
    }
    for (int side = 0; side < 2; side++)
        stand_freeze(&r[side], true);
    free(y);
}

/* Outputs and all gradients. */
static double against_ref(const Setting *s)
{
    Stand r[2];
    double *x[2], most = 0;
    if (!can_run(s))
        return 0;
    for (int side = 0; side < 2; side++) {
        Setting t = *s;
        t.grads = true;
        t.backend = side == REF ? "ref" : s->backend;
        stand_open(&r[side], &t);
    }
    const int64_t n = stand_size(&r[REF]), n_w = stand_n_params(&r[REF]);
    double *dy = numbers(n, 1, 9);
    if (variant_caps(s->v) & CAP_CHOICES && math_of(dev_kernels(r[TRIAL].d)->isa) > 0)
        share_choices(r);
    for (int side = 0; side < 2; side++) {
        x[side] = room(2 * n + n_w);
        stand_backward(&r[side], dy, x[side], x[side] + n, x[side] + 2 * n);
    }
    most = worse(worst(x[TRIAL], x[REF], n), worst(x[TRIAL] + n, x[REF] + n, n));
    most = worse(most, worst(x[TRIAL] + 2 * n, x[REF] + 2 * n, n_w));
    free(dy);
    for (int side = 0; side < 2; side++) {
        free(x[side]);
        stand_close(&r[side]);
    }
    return most;
}

/* One row, and several chunks with a rest. */
static double short_at(const Setting *base)
{
    Setting one = *base;
    one.len = 1;
    return worse(against_ref(base), against_ref(&one));
}
static double outputs(const Variant *v, const char *backend)
{
    return all_ways(v, backend, short_at);
}

static Setting several_tiles(const Setting *base)
{
    Setting s = *base;
    s.len = 70;
    s.width = 36;
    s.heads = 3;
    s.ffn = 70;
    s.n_norm = 40;
    known_options(s.v, "s=20 c=32 block=5 rank=9 modules=6", s.set, sizeof s.set);
    return s;
}
static double tiles_at(const Setting *base)
{
    const Setting s = several_tiles(base);
    return against_ref(&s);
}
static double tiles(const Variant *v, const char *backend)
{
    return both_ways(v, backend, tiles_at);
}

static double options_at(const Setting *s)
{
    return over_options(s, against_ref);
}
static double mixer_options(const Variant *v, const char *backend)
{
    return both_ways(v, backend, options_at);
}
static double block_options_at(const Setting *s)
{
    return over_table(s, recipe_options, against_ref);
}
static double block_options(const Variant *v, const char *backend)
{
    return both_ways(v, backend, block_options_at);
}

static double ragged_at(const Setting *base)
{
    static const int32_t lens[][2] = {{13, 6}, {1, 13}};
    double most = 0;
    for (int i = 0; i < COUNT(lens); i++) {
        Setting s = *base;
        s.lens = lens[i];
        most = worse(most, against_ref(&s));
    }
    return most;
}
static double ragged(const Variant *v, const char *backend)
{
    return both_ways(v, backend, ragged_at);
}

static double naive_at(const Setting *base)
{
    Setting s = *base, big = several_tiles(base);
    s.naive = big.naive = true;
    return worse(against_ref(&s), against_ref(&big));
}
static double naive(const Variant *v, const char *backend)
{
    return both_ways(v, backend, naive_at);
}

/* ---- carried state ---- */
/* The same cuts on both sides. */
static double segments(const Variant *v, const char *backend)
{
    static const int64_t cuts[][8] = {{13}, {3, 1, 4, 5}, {1, 1, 11}};
    Stand r[2];
    double *y[2], most = 0;
    Setting s = setting_small(v, backend);
    if (!can_run(&s))
        return 0;
    s.state = true;
    s.blocks = 2;
    for (int side = 0; side < 2; side++) {
        s.backend = side == REF ? "ref" : backend;
        stand_open(&r[side], &s);
        y[side] = room(stand_size(&r[side]));
    }
    for (int i = 0; i < COUNT(cuts); i++) {
        for (int side = 0; side < 2; side++)
            stand_segments(&r[side], cuts[i], y[side]);
        most = worse(most, worst(y[TRIAL], y[REF], stand_size(&r[REF])));
    }
    for (int side = 0; side < 2; side++) {
        free(y[side]);
        stand_close(&r[side]);
    }
    return most;
}

/* ---- two ways on this backend ---- */
static double recompute_at(const Setting *base)
{
    Setting s = *base, again = *base;
    if (!can_run(base))
        return 0;
    s.blocks = again.blocks = 2;
    s.store = again.recompute = true;
    return compare(&s, &again);
}
static double recompute(const Variant *v, const char *backend)
{
    return both_ways(v, backend, recompute_at);
}

/* A step twice in one process. */
static double twice(const Variant *v, const char *backend)
{
    const Setting base = setting_small(v, backend);
    Setting s = several_tiles(&base);
    Stand r;
    if (!can_run(&s))
        return 0;
    s.grads = true;
    s.causal = variant_caps(v) & CAP_CAUSAL;
    stand_open(&r, &s);
    const int64_t n = stand_size(&r), all = 2 * n + stand_n_params(&r);
    double *dy = numbers(n, 1, 9), *x[2];
    for (int i = 0; i < 2; i++) {
        x[i] = room(all);
        stand_backward(&r, dy, x[i], x[i] + n, x[i] + 2 * n);
    }
    const bool same = memcmp(x[0], x[1], (size_t)all * sizeof *dy) == 0;
    free(dy);
    free(x[0]);
    free(x[1]);
    stand_close(&r);
    return same ? 0 : 1;
}

static double memory(const Variant *v, const char *backend)
{
    const Setting s = setting_small(v, backend);
    return can_run(&s) ? memory_on(v, backend) : 0;
}
static double failing(const Variant *v, const char *backend)
{
    const Setting s = setting_small(v, backend);
    return can_run(&s) ? failing_on(v, backend) : 0;
}

/* Errors are shares of the largest number expected. */
const Promise promises[] = {
    {"outputs and gradients", {5e-5, 1e-2, 1e-1}, 0, 0, false, outputs},
    {"several tiles", {5e-5, 1e-2, 1e-1}, 0, 0, false, tiles},
    {"options of the mixers", {5e-5, 2e-2, 2e-1}, 0, 0, false, mixer_options},
    {"options of the block", {5e-5, 2e-2, 2e-1}, 0, 0, true, block_options},
    {"ragged lengths", {5e-5, 5e-3, 5e-2}, 0, 0, false, ragged},
    {"naive", {5e-5, 5e-3, 5e-2}, CAP_NAIVE, 0, false, naive},
    {"segments and decode", {5e-5, 5e-3, 5e-2}, CAP_STATEFUL, 0, false, segments},
    {"recompute = store", {0, 0, 0}, 0, 0, false, recompute},
    {"the same bits twice", {0, 0, 0}, 0, 0, false, twice},
    {"memory predicted = used", {0, 0, 0}, 0, 0, false, memory},
    {"any failing allocation is clean", {0, 0, 0}, 0, 0, true, failing},
};
const int n_promises = COUNT(promises);

bool promise_applies(const Promise *p, const Variant *v)
{
    return (variant_caps(v) & p->needs) == p->needs && !(variant_caps(v) & p->without);
}
