/* mixer.c - the three stages in a row, options by name, and what a variant can be asked. */
#include "variants/template/mixer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const cap_names[N_CAPS] = {"causal",       "bidirectional",      "stateful",
                                       "linear_state", "fixed_len",          "choices",
                                       "own_decode",   "heads_exchangeable", "naive"};

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

Slot slot_state(const char *name, int64_t b, int64_t rows, int64_t width)
{
    return (Slot){.name = name, .init = INIT_ZERO, .rank = 3, .dim = {b, rows, width}};
}

const Variant *variant_find(const char *name)
{
    for (const Variant *const *v = variant_table; *v != NULL; v++)
        if (strcmp((*v)->name, name) == 0)
            return *v;
    return NULL;
}

/* ---- options ---- */
int option_count(const Option *options)
{
    int n = 0;
    while (options != NULL && options[n].name != NULL)
        n++;
    CHECK(n <= MIX_MAX_OPTIONS);
    return n;
}

/* Options with the place of their values. */
typedef struct OptionTable {
    const Option *options;
    double *value;
} OptionTable;

enum { MAX_TABLES = 4 };

static int option_index(const Option *options, const char *key, size_t len)
{
    for (int i = 0; i < option_count(options); i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, key, len) == 0)
            return i;
    return -1;
}

static Status unknown_option(const OptionTable t[], int n, const char *key, int len)
{
    char known[512] = "";
    for (int k = 0; k < n; k++)
        for (int i = 0; i < option_count(t[k].options); i++) {
            size_t at = strlen(known);
            snprintf(known + at, sizeof known - at, "%s%s", at > 0 ? ", " : "",
                     t[k].options[i].name);
        }
    return FAIL(ST_USAGE, "unknown option '%.*s' (%s%s)", len, key,
                known[0] ? "there are " : "there are none", known);
}

static Status set_value(const Option *o, const char *item, size_t len, double *out)
{
    const char *eq = memchr(item, '=', len);
    char *end;
    double value = eq != NULL ? strtod(eq + 1, &end) : 0;
    bool good = eq != NULL && end == item + len && end > eq + 1 && value >= o->lo && value <= o->hi;
    if (!good || (o->whole && value != floor(value)))
        return FAIL(ST_USAGE, "option '%.*s' (%s takes a %s from %.10g to %.10g)",
                    (int)min64((int64_t)len, 64), item, o->name,
                    o->whole ? "whole number" : "number", o->lo, o->hi);
    *out = value;
    return ST_OK;
}

static Status set_option(const OptionTable t[], int n, const char *item, size_t len)
{
    const char *eq = memchr(item, '=', len);
    size_t key = eq != NULL ? (size_t)(eq - item) : len;
    for (int k = 0; k < n; k++) {
        int i = option_index(t[k].options, item, key);
        if (i >= 0)
            return set_value(&t[k].options[i], item, len, &t[k].value[i]);
    }
    return unknown_option(t, n, item, (int)min64((int64_t)key, 64));
}

static Status parse_tables(const OptionTable t[], int n, const char *set)
{
    while (set != NULL && *set != '\0') {
        size_t gap = strspn(set, " ,"), len = strcspn(set + gap, " ,");
        if (len > 0)
            TRY(set_option(t, n, set + gap, len));
        set += gap + len;
    }
    return ST_OK;
}

Status option_parse(const Option *options, const char *set, double opt[])
{
    return parse_tables(&(OptionTable){options, opt}, 1, set);
}

/* The tables of a variant, the mixer's own first: where names are equal it wins. */
static int variant_tables(const Variant *v, MixCtx *c, OptionTable out[MAX_TABLES])
{
    int n = 0;
    out[n++] = (OptionTable){v->mixer->options, c->opt};
    out[n++] = (OptionTable){recipe_options, c->recipe};
    return n;
}

const Option *variant_option(const Variant *v, const char *name, size_t len)
{
    MixCtx c;
    OptionTable t[MAX_TABLES];
    int n = variant_tables(v, &c, t);
    for (int k = 0; k < n; k++) {
        int i = option_index(t[k].options, name, len);
        if (i >= 0)
            return &t[k].options[i];
    }
    return NULL;
}

const Option recipe_options[] = {
    {"norm_kind", 0, NORM_NONE, NORM_SCALE, true, "0 none, 1 LayerNorm, 2 RMSNorm, 3 ScaleNorm"},
    {"norm_eps", 0, 0, 1, false, "epsilon of the norms, added to the variance"},
    {"norm_bias", 0, 0, 1, true, "norms have a bias beside their gain"},
    {"mixer_norm", 0, NORM_PRE, NORM_BRANCH, true,
     "norm of the mixer: 0 before it, 1 after the sum, 2 on the branch before the sum"},
    {"channel_norm", 0, NORM_PRE, NORM_BRANCH, true, "the same of the feed-forward layer"},
    {"biases", 1, 0, 1, true, "dense layers that can have biases have them"},
    {"residual", 1, 0, 1, true, "0: branches replace their input, they are not added to it"},
    {0},
};

static void recipe_defaults(const Variant *v, double recipe[])
{
    recipe[RECIPE_NORM] = v->norm;
    recipe[RECIPE_NORM_EPS] = v->norm_eps;
    recipe[RECIPE_NORM_BIAS] = v->norm_bias;
    recipe[RECIPE_MIXER_NORM] = v->mixer_norm;
    recipe[RECIPE_CHANNEL_NORM] = v->channel_norm;
    recipe[RECIPE_BIASES] = !v->no_biases;
    recipe[RECIPE_RESIDUAL] = 1;
}

Status mix_options(const Variant *v, const char *set, MixCtx *c)
{
    OptionTable t[MAX_TABLES];
    int n = variant_tables(v, c, t);
    for (int k = 0; k < n; k++)
        for (int i = 0; i < option_count(t[k].options); i++)
            t[k].value[i] = t[k].options[i].value;
    recipe_defaults(v, c->recipe);
    if (c->ffn == 0)
        c->ffn = v->channel != NULL ? v->channel->default_ffn(c->width) : v->default_ffn(c->width);
    TRY(parse_tables(t, n, v->mixer_set));
    return parse_tables(t, n, set);
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

Status mix_accepts(const Variant *v, const MixCtx *c)
{
    const Mixer *m = v->mixer;
    TRY(accepts_sizes(v, c));
    if (c->causal && !(m->caps & CAP_CAUSAL))
        return FAIL(ST_UNSUPPORTED, "%s has no causal form", v->name);
    if (!c->causal && !(m->caps & CAP_BIDIRECTIONAL))
        return FAIL(ST_UNSUPPORTED, "%s has no bidirectional form", v->name);
    if (c->naive && !(m->caps & CAP_NAIVE))
        return FAIL(ST_UNSUPPORTED, "%s has no naive implementation", v->name);
    return m->accepts != NULL ? m->accepts(c) : ST_OK;
}

/* ---- running ---- */
void choices_free(Dev *d, Choices *ch)
{
    for (int i = 0; i < MIX_MAX_PARTS; i++)
        tensor_free(d, &ch->part[i]);
}

static Status save_choice(Dev *d, Tensor *saved, const Tensor *made)
{
    CHECK(made->dtype == I32);
    if (saved->buf.size != made->buf.size) {
        tensor_free(d, saved);
        TRY(tensor_new(d, saved, I32, MEM_ACT, made->rank, made->dim));
    }
    saved->rank = made->rank; /* as many numbers may have another shape */
    memcpy(saved->dim, made->dim, sizeof saved->dim);
    return dev_copy(d, saved->buf, made->buf, made->buf.size);
}

/* Later stages always read the saved copy, which outlives the tape's. */
static void choose(Tape *t, const Mixer *m, const MixIn *in, Choices *ch, Parts *parts)
{
    CHECK(ch != NULL);
    bool replay = ch->frozen || tape_is_rerun(t);
    if (!replay)
        m->choose(t, in, parts);
    for (int i = 0; i < m->n_parts; i++)
        if (m->choice_parts & 1u << i) {
            if (!replay && tape_status(t) == ST_OK)
                tape_fail(t, save_choice(tape_dev(t), &ch->part[i], parts->p[i]));
            parts->p[i] = &ch->part[i];
        }
}

/* What has to outlive a stage: some parts, and what the stage returned. */
static int kept(const Mixer *m, const Parts *parts, unsigned which, Tensor *last, Tensor *keep[])
{
    int n = 0;
    for (int i = 0; i < m->n_parts; i++)
        if (which & 1u << i)
            keep[n++] = parts->p[i];
    keep[n++] = last;
    return n;
}

Tensor *mixer_run(Tape *t, const Mixer *m, const MixIn *in, Choices *ch, Tensor *x)
{
    Tensor *keep[MIX_MAX_PARTS + 1];
    Parts parts = {{0}};
    int mark = tape_mark(t);
    m->project(t, in, x, &parts);
    if (m->choose != NULL)
        choose(t, m, in, ch, &parts);
    tape_release(t, mark, keep, kept(m, &parts, ~0u, NULL, keep));
    Tensor *mixed = m->mix(t, in, &parts);
    tape_release(t, mark, keep, kept(m, &parts, m->finish_parts, mixed, keep));
    Tensor *y = m->finish(t, in, &parts, mixed, x);
    tape_release(t, mark, keep, kept(m, &parts, 0, y, keep));
    return y;
}
