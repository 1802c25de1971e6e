/* mixer.c - what a variant is made of and can be asked. */
#include "variants/template/mixer.h"

#include <math.h>
#include <string.h>

const char *const cap_names[N_CAPS] = {
    "causal",  "bidirectional", "stateful",           "linear_state", "fixed_len",
    "choices", "own_decode",    "heads_exchangeable", "naive",        "draws"};

Slot slot_matrix(const char *name, int64_t in, int64_t out)
{
    return (Slot){.name = name,
                  .init = INIT_NORMAL,
                  .sd = 1.0 / sqrt((double)in),
                  .decay = true,
                  .rank = 2,
                  .dim = {in, out}};
}

Slot slot_vector(const char *name, Init init, double sd, int64_t n)
{
    return (Slot){.name = name, .init = init, .sd = sd, .rank = 1, .dim = {n}};
}

Slot slot_bias(const char *name, int64_t n)
{
    return (Slot){.name = name, .init = INIT_ZERO, .rank = 1, .dim = {n}, .bias = true};
}

Slot slot_taps(const char *name, int taps, int64_t n)
{
    return (Slot){.name = name, .init = INIT_TAPS, .rank = 2, .dim = {taps, n}};
}

Slot slot_state(const char *name, int64_t b, int64_t rows, int64_t width)
{
    return (Slot){.name = name, .init = INIT_ZERO, .rank = 3, .dim = {b, rows, width}};
}

const char *help_of(const char *params_help, const char *name, int *len)
{
    size_t n = strlen(name);
    for (const char *at = params_help; at != NULL && *at != '\0'; at += strspn(at, "; ")) {
        size_t item = strcspn(at, ";");
        if (strncmp(at, name, n) == 0 && strncmp(at + n, ": ", 2) == 0) {
            *len = (int)(item - n - 2);
            return at + n + 2;
        }
        at += item;
    }
    return NULL;
}

const Variant *variant_find(const char *name)
{
    for (const Variant *const *v = variant_table; *v != NULL; v++)
        if (strcmp((*v)->name, name) == 0)
            return *v;
    return NULL;
}

/* ---- what a variant is made of ---- */
unsigned variant_caps(const Variant *v)
{
    const ChannelMixer *f = v->channel;
    return f != NULL ? (v->mixer->caps | f->caps) & ~f->lacks : v->mixer->caps;
}

const LossLayer *variant_loss(const Variant *v)
{
    return v->loss != NULL ? v->loss : &loss_dense;
}

/* ---- what can run ---- */
static Status accepts_sizes(const Variant *v, const MixCtx *c)
{
    if (c->width < 1 || c->heads < 1 || c->width % c->heads != 0)
        return FAIL(ST_SHAPE, "%s: %d heads do not divide the width %d", v->name, c->heads,
                    c->width);
    if (c->batch < 1 || c->q_len < 1)
        return FAIL(ST_SHAPE, "%s: a batch of %lld sequences of %lld positions", v->name,
                    (long long)c->batch, (long long)c->q_len);
    if (c->pos < 0 || c->cap < c->pos + c->q_len)
        return FAIL(ST_SHAPE, "%s: positions %lld to %lld do not fit a context of %lld", v->name,
                    (long long)c->pos, (long long)(c->pos + c->q_len), (long long)c->cap);
    return ST_OK;
}

/* a + f(c) can be undone, a norm of the sum cannot. */
static Status accepts_reversible(const Variant *v, const MixCtx *c)
{
    const double *r = c->recipe;
    bool after = r[RECIPE_MIXER_NORM] == NORM_POST ||
                 (v->channel != NULL && r[RECIPE_CHANNEL_NORM] == NORM_POST);
    if (after && r[RECIPE_NORM] != NORM_NONE)
        return FAIL(ST_UNSUPPORTED, "%s: reversible blocks have no norm after the sum", v->name);
    if (r[RECIPE_RESIDUAL] == 0)
        return FAIL(ST_UNSUPPORTED, "%s: reversible blocks have a residual", v->name);
    return ST_OK;
}

Status mix_accepts(const Variant *v, const MixCtx *c)
{
    const Mixer *m = v->mixer;
    const ChannelMixer *f = v->channel;
    const LossLayer *l = variant_loss(v);
    unsigned caps = variant_caps(v);
    TRY(accepts_sizes(v, c));
    if (c->causal && !(caps & CAP_CAUSAL))
        return FAIL(ST_UNSUPPORTED, "%s has no causal form", v->name);
    if (!c->causal && !(caps & CAP_BIDIRECTIONAL))
        return FAIL(ST_UNSUPPORTED, "%s has no bidirectional form", v->name);
    if (c->naive && !(caps & CAP_NAIVE))
        return FAIL(ST_UNSUPPORTED, "%s has no naive implementation", v->name);
    if (c->recipe[RECIPE_REVERSIBLE] != 0)
        TRY(accepts_reversible(v, c));
    if (m->accepts != NULL)
        TRY(m->accepts(c));
    if (f != NULL && f->accepts != NULL)
        TRY(f->accepts(c));
    return c->vocab > 0 && l->accepts != NULL ? l->accepts(c) : ST_OK;
}
