/* test_options.c - options of variants: what is taken, and what the refusals say. */
#include "variants/template/block.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const Option options[] = {
    {"c", 256, 1, 1 << 20, true, "a whole number"},
    {"decay", 0.5, 0, 1, false, "a number"},
    {"c2", 7, -3, 3, true, "a name that begins like another"},
    {0},
};

typedef struct Values {
    double v[3];
} Values;

static const Values untouched = {{256, 0.5, 3}};

/* The values after `set`, which must be good. */
static Values parsed(const char *set)
{
    Values out = untouched;
    cr_assert_eq(option_parse(options, set, out.v), ST_OK, "'%s': %s", set, status_reason());
    return out;
}

static void expect_values(const char *set, double c, double decay, double c2)
{
    Values got = parsed(set);
    cr_expect(got.v[0] == c && got.v[1] == decay && got.v[2] == c2, "'%s' gives %g, %g, %g",
              set != NULL ? set : "NULL", got.v[0], got.v[1], got.v[2]);
}

/* Refused, with all of these words in the one line that says so. */
static void expect_refused(const char *set, const char *word, const char *word2)
{
    Values out = untouched;
    cr_expect_eq(option_parse(options, set, out.v), ST_USAGE, "'%s' was taken", set);
    cr_expect_not_null(strstr(status_reason(), word), "'%s': %s", set, status_reason());
    cr_expect_not_null(strstr(status_reason(), word2), "'%s': %s", set, status_reason());
    cr_expect_null(strchr(status_reason(), '\n'));
}

Test(options, good_ones_are_taken)
{
    expect_values(NULL, 256, 0.5, 3);
    expect_values("", 256, 0.5, 3);
    expect_values("  , ,, ", 256, 0.5, 3);
    expect_values("c=128", 128, 0.5, 3);
    expect_values("c=128 decay=0.25", 128, 0.25, 3);
    expect_values(" decay=.25,c=1,c2=-3 ", 1, 0.25, -3);
    expect_values("c=128 c=64", 64, 0.5, 3); /* the last one counts */
    expect_values("c2=2", 256, 0.5, 2);
    expect_values("decay=1e-3", 256, 1e-3, 3);
    expect_values("c=1048576 decay=0 c2=3", 1048576, 0, 3);
    expect_values("c=2e3", 2000, 0.5, 3);
}

Test(options, unknown_keys_name_the_known_ones)
{
    expect_refused("chunk=4", "unknown option 'chunk'", "there are c, decay, c2");
    expect_refused("C=4", "unknown option 'C'", "c, decay, c2");
    expect_refused("c=4 dec=1", "unknown option 'dec'", "c, decay, c2");
    expect_refused("=4", "unknown option ''", "c, decay, c2");
    expect_refused("c3", "unknown option 'c3'", "c, decay, c2");
    double none[1];
    cr_expect_eq(option_parse(NULL, "c=4", none), ST_USAGE);
    cr_expect_not_null(strstr(status_reason(), "there are none"), "%s", status_reason());
    cr_expect_eq(option_parse(NULL, " ", none), ST_OK);
}

Test(options, bad_values_name_the_range)
{
    static const char *const bad_c[] = {"c",    "c=",    "c=x",   "c=12x", "c==4",     "c=0",
                                        "c=-1", "c=nan", "c=inf", "c=1.5", "c=1048577"};
    for (int i = 0; i < COUNT(bad_c); i++) {
        char quoted[32];
        snprintf(quoted, sizeof quoted, "option '%s'", bad_c[i]);
        expect_refused(bad_c[i], quoted, "c takes a whole number from 1 to 1048576");
    }
    expect_refused("decay=1.001", "'decay=1.001'", "decay takes a number from 0 to 1");
    expect_refused("decay=-0.1", "'decay=-0.1'", "from 0 to 1");
    expect_refused("c2=4", "'c2=4'", "c2 takes a whole number from -3 to 3");
    expect_refused("c= 4", "'c='", "whole number"); /* blanks end an item */
    expect_refused("c=4 decay", "'decay'", "from 0 to 1");
}

Test(options, endless_words_are_cut)
{
    char set[2000];
    memset(set, 'k', sizeof set - 1);
    set[sizeof set - 1] = '\0';
    expect_refused(set, "unknown option 'kkk", "c, decay, c2");
    cr_expect_lt(strlen(status_reason()), 200);
    memcpy(set, "c=", 2);
    expect_refused(set, "option 'c=kkk", "whole number");
    cr_expect_lt(strlen(status_reason()), 200);
}

Test(options, counted)
{
    cr_expect_eq(option_count(NULL), 0);
    cr_expect_eq(option_count(options), 3);
}

/* ---- of real variants ---- */
static int option_at(const Variant *v, const char *name)
{
    for (int i = 0; i < option_count(v->mixer->options); i++)
        if (strcmp(v->mixer->options[i].name, name) == 0)
            return i;
    cr_assert_fail("%s has no option %s", v->name, name);
    return -1;
}

Test(options, defaults_are_the_declared_ones_and_in_range)
{
    for (int i = 0; variant_table[i] != NULL; i++) {
        const Variant *v = variant_table[i];
        MixCtx c = {.width = 64, .heads = 2};
        cr_assert_eq(mix_options(v, NULL, &c), ST_OK);
        for (int j = 0; j < option_count(v->mixer->options); j++) {
            const Option *o = &v->mixer->options[j];
            cr_expect(v->mixer_set != NULL || c.opt[j] == o->value, "%s: %s", v->name, o->name);
            cr_expect(o->value >= o->lo && o->value <= o->hi, "%s: %s", v->name, o->name);
            cr_expect(o->help != NULL && o->help[0] != '\0', "%s: %s", v->name, o->name);
        }
        cr_expect_gt(c.ffn, 0, "%s", v->name);
    }
}

Test(options, set_by_name)
{
    const Variant *v = variant_find("flash_linear");
    MixCtx c = {.width = 64, .heads = 2, .ffn = 40};
    cr_assert_eq(mix_options(v, "c=32,norm=3", &c), ST_OK);
    cr_expect(c.opt[option_at(v, "c")] == 32 && c.opt[option_at(v, "norm")] == 3);
    cr_expect_eq(c.opt[option_at(v, "s")], 128, "the paper's");
    cr_expect_eq(c.ffn, 40, "a given channel width stays");
    cr_expect_eq(mix_options(v, "norm=4", &c), ST_USAGE);
    cr_expect_not_null(strstr(status_reason(), "from 0 to 3"), "%s", status_reason());
    cr_expect_eq(mix_options(variant_find("gau"), "c=4", &c), ST_USAGE);
}

/* A recipe's own settings come before those of the command line. */
Test(options, a_recipes_settings_can_be_overruled)
{
    Variant v = *variant_find("flash_linear");
    MixCtx c = {.width = 64, .heads = 2};
    v.mixer_set = "c=16 norm=2";
    cr_assert_eq(mix_options(&v, "c=8", &c), ST_OK);
    cr_expect(c.opt[option_at(&v, "c")] == 8 && c.opt[option_at(&v, "norm")] == 2);
}

/* ---- what a variant accepts ---- */
static Status accepts(const char *name, const char *set, MixCtx c)
{
    const Variant *v = variant_find(name);
    cr_assert_eq(mix_options(v, set, &c), ST_OK, "%s", status_reason());
    return mix_accepts(v, &c);
}

static const MixCtx good = {
    .batch = 1, .q_len = 8, .cap = 8, .n_norm = 8, .width = 16, .heads = 2, .causal = true};

Test(options, cases_that_cannot_run_say_why)
{
    MixCtx odd = good, heads = good, head = good, none = good, late = good, batch = good,
           brief = good;
    brief.n_norm = 4;
    odd.width = 6; /* heads of three columns cannot be turned in pairs */
    heads.heads = 3;
    head.heads = 0;
    none.n_norm = 0;
    late.pos = 1;
    batch.batch = 0;
    const struct {
        const char *variant, *set, *words;
        MixCtx c;
        Status want;
    } cases[] = {
        {"vanilla", "", "6 / 2 = 3", odd, ST_SHAPE},
        {"vanilla", "", "3 heads do not divide the width 16", heads, ST_SHAPE},
        {"vanilla", "", "0 heads", head, ST_SHAPE},
        {"vanilla", "rope_rot=10", "rope_rot 10", good, ST_SHAPE},
        {"vanilla", "rope_rot=3", "rope_rot 3", good, ST_SHAPE},
        {"gau", "s=7", "even s, not 7", good, ST_SHAPE},
        {"gau", "row_norm=1", "scaling=2, not 1", good, ST_SHAPE},
        {"gau", "", "must be positive, not 0", none, ST_SHAPE},
        {"flash_linear", "s=3", "even s, not 3", good, ST_SHAPE},
        {"flash_linear", "s=6 rope_rot=8", "rope_rot 8 (an even number up to s, 6)", good,
         ST_SHAPE},
        {"gau", "rel_bias=1", "a table for 4 positions, not 8", brief, ST_SHAPE},
        {"gau", "rel_bias=2 rel_max=7", "a table for 7 positions, not 8", good, ST_SHAPE},
        {"gau_alpha", "log_base=1", "log_base 1 (above 1, or 0 for none)", good, ST_SHAPE},
        {"flash_linear", "", "1 to 9 do not fit a context of 8", late, ST_SHAPE},
        {"transformer_pp", "", "a batch of 0 sequences of 8", batch, ST_SHAPE},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(accepts(cases[i].variant, cases[i].set, cases[i].c), cases[i].want, "%s '%s'",
                     cases[i].variant, cases[i].set);
        cr_expect_not_null(strstr(status_reason(), cases[i].words), "'%s' lacks '%s'",
                           status_reason(), cases[i].words);
    }
    for (int i = 0; variant_table[i] != NULL; i++)
        cr_expect_eq(accepts(variant_table[i]->name, NULL, good), ST_OK, "%s",
                     variant_table[i]->name);
}

Test(options, capabilities_are_asked)
{
    Mixer m = *variant_find("flash_linear")->mixer;
    Variant v = *variant_find("flash_linear");
    MixCtx c = good;
    v.mixer = &m;
    cr_assert_eq(mix_options(&v, NULL, &c), ST_OK);
    c.naive = true;
    cr_expect(mix_accepts(&v, &c) == ST_UNSUPPORTED && strstr(status_reason(), "naive") != NULL);
    c.naive = false;
    m.caps &= ~(unsigned)CAP_CAUSAL;
    cr_expect(mix_accepts(&v, &c) == ST_UNSUPPORTED && strstr(status_reason(), "causal") != NULL);
    m.caps = CAP_CAUSAL;
    c.causal = false;
    cr_expect(mix_accepts(&v, &c) == ST_UNSUPPORTED &&
              strstr(status_reason(), "bidirectional") != NULL);
}

Test(options, variants_are_found_by_name)
{
    for (int i = 0; variant_table[i] != NULL; i++)
        cr_expect_eq(variant_find(variant_table[i]->name), variant_table[i]);
    cr_expect_null(variant_find("flash"));
    cr_expect_null(variant_find(""));
    for (int i = 0; i < N_CAPS; i++)
        cr_expect(cap_names[i] != NULL && cap_names[i][0] != '\0');
}

/* ---- parameters ---- */

/* Of a block with these options, each of which is known to it or left out: a meaning for every
 * parameter. */
static void expect_meanings(const Variant *v, const char *set)
{
    BlockSlot slot[BLOCK_MAX_PARAMS];
    MixCtx c = {
        .batch = 1, .q_len = 8, .cap = 8, .n_norm = 8, .width = 16, .heads = 2, .causal = true};
    if (mix_options(v, set, &c) != ST_OK)
        return;
    for (int i = 0, n = block_params(v, &c, slot), len; i < n; i++) {
        const char *name = strchr(slot[i].name, '.') + 1, *help = "of a norm";
        if (strncmp(slot[i].name, "mixer.", 6) == 0)
            help = help_of(v->mixer->params_help, name, &len);
        else if (strncmp(slot[i].name, "ffn.", 4) == 0)
            help = help_of(v->channel->params_help, name, &len);
        cr_expect(slot[i].slot.absent || help != NULL, "%s: %s means nothing", v->name,
                  slot[i].name);
    }
}

Test(options, every_parameter_has_a_meaning)
{
    static const char *const sets[] = {NULL,         "bias=1",     "share_qk=0", "share_qk=1",
                                       "output=3",   "sru=2",      "rel_bias=2", "rel_bias=3",
                                       "rel_bias=4", "v_concat=1", "biases=1"};
    for (int i = 0; variant_table[i] != NULL; i++)
        for (int k = 0; k < COUNT(sets); k++)
            expect_meanings(variant_table[i], sets[k]);
}

/* ---- by name ---- */
Test(options, of_a_variant_by_name)
{
    for (int i = 0; variant_table[i] != NULL; i++) {
        const Variant *v = variant_table[i];
        const Option *o;
        cr_expect_null(variant_option(v, "nope", 4), "%s", v->name);
        cr_expect_null(variant_option(v, "", 0), "%s", v->name);
        for (int k = 0; (o = variant_option_at(v, k)) != NULL; k++)
            cr_expect_not_null(variant_option(v, o->name, strlen(o->name)), "%s", o->name);
        for (o = recipe_options; o->name != NULL; o++)
            cr_expect_eq(variant_option(v, o->name, strlen(o->name)), o, "%s", o->name);
    }
}

static void expect_taken(const char *variant, const char *set, Status want)
{
    MixCtx c = {.width = 64, .heads = 2};
    cr_expect_eq(mix_options(variant_find(variant), set, &c), want, "%s %s: %s", variant, set,
                 status_reason());
}

/* Ends of ranges that mean something: a pair to rotate, the widest odd window of modules. */
Test(options, ends_of_ranges)
{
    static const char *const gated[] = {"gau", "gau_alpha", "flash_linear"};
    for (int i = 0; i < COUNT(gated); i++) {
        expect_taken(gated[i], "s=2", ST_OK);
        expect_taken(gated[i], "s=1", ST_USAGE);
    }
    expect_taken("scaling_qkv", "side=15 side_v=15", ST_OK);
    expect_taken("scaling_qkv", "side_v=16", ST_USAGE);
    expect_taken("terraformer", "side=15 side_v=15", ST_OK);
    expect_taken("primer", "taps=2", ST_OK);
    expect_taken("primer", "taps=1", ST_USAGE);
}

/* ---- two streams ---- */
static void expect_reversible(const char *variant, const char *set, Status want)
{
    const Variant *v = variant_find(variant);
    MixCtx c = {
        .batch = 1, .q_len = 8, .cap = 8, .n_norm = 8, .width = 16, .heads = 2, .causal = true};
    cr_assert_eq(mix_options(v, set, &c), ST_OK, "%s", status_reason());
    cr_expect_eq(mix_accepts(v, &c), want, "%s %s: %s", variant, set, status_reason());
}

/* A norm after the sum cannot be undone, be it the mixer's or the feed-forward layer's, where there
 * is one; nor can a sum that there is not. */
Test(options, what_cannot_be_computed_back_is_refused)
{
    expect_reversible("vanilla", "reversible=1", ST_OK);
    expect_reversible("vanilla", "reversible=1 mixer_norm=2 channel_norm=2", ST_OK);
    expect_reversible("vanilla", "reversible=1 mixer_norm=1", ST_UNSUPPORTED);
    expect_reversible("vanilla", "reversible=1 channel_norm=1", ST_UNSUPPORTED);
    expect_reversible("vanilla", "reversible=1 channel_norm=1 norm_kind=0", ST_OK);
    expect_reversible("vanilla", "reversible=1 residual=0", ST_UNSUPPORTED);
    expect_reversible("vanilla", "channel_norm=1 mixer_norm=1 residual=0", ST_OK);
    expect_reversible("gau", "reversible=1", ST_OK);
    expect_reversible("gau", "reversible=1 channel_norm=1", ST_OK);
    expect_reversible("gau", "reversible=1 mixer_norm=1", ST_UNSUPPORTED);
}
