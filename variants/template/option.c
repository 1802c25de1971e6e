/* option.c - options by name: of mixer, channel mixer, loss layer, and of every recipe. */
#include "variants/template/mixer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* The tables of a variant, the mixer's own first; where names are equal it wins. */
static int variant_tables(const Variant *v, MixCtx *c, OptionTable out[MAX_TABLES])
{
    int n = 0;
    out[n++] = (OptionTable){v->mixer->options, c->opt};
    if (v->channel != NULL)
        out[n++] = (OptionTable){v->channel->options, c->ffn_opt};
    out[n++] = (OptionTable){variant_loss(v)->options, c->loss_opt};
    out[n++] = (OptionTable){recipe_options, c->recipe}; /* the last one */
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

/* Entry i of the tables but the last. */
static const Option *entry(const OptionTable t[], int n, int i, double **value)
{
    for (int k = 0; k + 1 < n; k++) {
        int m = option_count(t[k].options);
        if (i < m) {
            *value = &t[k].value[i];
            return &t[k].options[i];
        }
        i -= m;
    }
    *value = NULL;
    return NULL;
}

const Option *variant_option_at(const Variant *v, int i)
{
    MixCtx c;
    OptionTable t[MAX_TABLES];
    double *value;
    return entry(t, variant_tables(v, &c, t), i, &value);
}

double *variant_option_value(const Variant *v, MixCtx *c, int i)
{
    OptionTable t[MAX_TABLES];
    double *value;
    entry(t, variant_tables(v, c, t), i, &value);
    return value;
}

const Option recipe_options[] = {
    {"norm_kind", 0, NORM_NONE, NORM_SCALE, true, "0 none, 1 LayerNorm, 2 RMSNorm, 3 ScaleNorm"},
    {"norm_eps", 0, 0, 1, false, "epsilon of the norms, added to the variance"},
    {"norm_bias", 0, 0, 1, true, "norms have a bias beside their gain"},
    {"norm_gain", 1, 0, 1, true, "norms have a gain"},
    {"mixer_norm", 0, NORM_PRE, NORM_BRANCH, true,
     "norm of the mixer: 0 before it, 1 after the sum, 2 on the branch before the sum"},
    {"channel_norm", 0, NORM_PRE, NORM_BRANCH, true, "the same of the feed-forward layer"},
    {"biases", 1, 0, 1, true, "dense layers that can have biases have them"},
    {"residual", 1, 0, 1, true, "0: branches replace their input, they are not added to it"},
    {"ffn", 0, 0, 1 << 20, true, "channel width F (E of the GAU family); 0: the paper's"},
    {"reversible", 0, 0, 1, true, "1: two streams, computed back instead of kept for gradients"},
    {0},
};

static void recipe_defaults(const Variant *v, double recipe[])
{
    recipe[RECIPE_NORM] = v->norm;
    recipe[RECIPE_NORM_EPS] = v->norm_eps;
    recipe[RECIPE_NORM_BIAS] = v->norm_bias;
    recipe[RECIPE_NORM_GAIN] = !v->no_norm_gain;
    recipe[RECIPE_MIXER_NORM] = v->mixer_norm;
    recipe[RECIPE_CHANNEL_NORM] = v->channel_norm;
    recipe[RECIPE_BIASES] = !v->no_biases;
    recipe[RECIPE_RESIDUAL] = 1;
    recipe[RECIPE_FFN] = 0;
    recipe[RECIPE_REVERSIBLE] = v->topology == REVERSIBLE;
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
    TRY(parse_tables(t, n, set));
    if (c->recipe[RECIPE_FFN] > 0)
        c->ffn = (int)c->recipe[RECIPE_FFN];
    return ST_OK;
}
