/* list.c - `longmix list`: what variants there are, as a table or as JSON, and their parameters. */
#include "bench/cli.h"
#include "bench/parse.h"
#include "bench/sweep.h"
#include "variants/template/block.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "longmix list";

typedef struct Args {
    const char *params, *set;
    int width, heads;
    bool json;
} Args;

enum { JSON = 256, PARAMS, WIDTH, HEADS, SET };

static const struct argp_option options[] = {
    {"json", JSON, NULL, 0, "for programs", 0},
    {"params", PARAMS, "NAME", 0, "names, shapes and meanings of the parameters of a block", 0},
    {"width", WIDTH, "N", 0, "with --params; default 256", 0},
    {"heads", HEADS, "N", 0, "with --params; default 4", 0},
    {"set", SET, "K=V", 0, "with --params: options of the variant, \"k=v k=v\"", 0},
    {0},
};

static const char doc[] = "Shows the variants with paper, complexity, abilities and options.\v"
                          "Examples:\n"
                          "  longmix list\n"
                          "  longmix list --json\n"
                          "  longmix list --params gau --width 512";

static error_t parse(int key, char *value, struct argp_state *state)
{
    Args *a = state->input;
    Status st = ST_OK;
    if (key == JSON)
        a->json = true;
    else if (key == PARAMS)
        a->params = value;
    else if (key == SET)
        a->set = value;
    else if (key == WIDTH)
        st = parse_int(value, "--width", 1, 1 << 16, &a->width);
    else if (key == HEADS)
        st = parse_int(value, "--heads", 1, 1 << 12, &a->heads);
    else if (key == ARGP_KEY_ARG)
        st = FAIL(ST_USAGE, "'%s' is not an option; see %s --help", value, NAME);
    else
        return ARGP_ERR_UNKNOWN;
    return st == ST_OK ? 0 : EINVAL;
}

/* Values that differ from the mixer's defaults in this recipe, over those. */
static Status defaults_of(const Variant *v, MixCtx *c)
{
    *c = (MixCtx){.width = 256, .heads = 4};
    return mix_options(v, NULL, c);
}

/* ---- the table ---- */
static void print_caps(unsigned caps)
{
    for (int i = 0, n = 0; i < N_CAPS; i++)
        if ((caps >> i & 1u) != 0)
            printf("%s%s", n++ > 0 ? ", " : "", cap_names[i]);
    putchar('\n');
}

static Status print_variant(const Variant *v)
{
    MixCtx c;
    const Option *o;
    TRY(defaults_of(v, &c));
    printf("%s\n    %s\n    %s\n    time %s, decode state %s\n    ", v->name, v->title, v->paper,
           v->time, v->state);
    print_caps(variant_caps(v));
    for (int i = 0; (o = variant_option_at(v, i)) != NULL; i++)
        printf("    --set %s=%.6g   %.6g to %.6g%s: %s\n", o->name, *variant_option_value(v, &c, i),
               o->lo, o->hi, o->whole ? ", whole" : "", o->help);
    putchar('\n');
    return ST_OK;
}

static Status print_table(void)
{
    for (int i = 0; variant_table[i] != NULL; i++)
        TRY(print_variant(variant_table[i]));
    puts("every variant (defaults as its paper has them)");
    for (const Option *o = recipe_options; o->name != NULL; o++)
        printf("    --set %s=   %.6g to %.6g%s: %s\n", o->name, o->lo, o->hi,
               o->whole ? ", whole" : "", o->help);
    return ST_OK;
}

/* ---- JSON ---- */
static json_t *options_json(const Variant *v, MixCtx *c)
{
    json_t *list = json_array();
    const Option *o;
    for (int i = 0; (o = variant_option_at(v, i)) != NULL; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:f, s:f, s:f, s:b, s:s}", "name", o->name,
                                        "default", *variant_option_value(v, c, i), "min", o->lo,
                                        "max", o->hi, "whole", o->whole, "help", o->help));
    return list;
}

static json_t *variant_json(const Variant *v, MixCtx *c)
{
    json_t *caps = json_array();
    for (int i = 0; i < N_CAPS; i++)
        if ((variant_caps(v) >> i & 1u) != 0)
            json_array_append_new(caps, json_string(cap_names[i]));
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o}", "name", v->name, "title",
        v->title, "paper", v->paper, "time", v->time, "state", v->state, "mixer", v->mixer->name,
        "channel", v->channel != NULL ? v->channel->name : "none", "loss", variant_loss(v)->name,
        "blocks_per_layer", v->blocks_per_layer, "caps", caps, "options", options_json(v, c));
}

static Status print_json(void)
{
    json_t *list = json_array();
    Status st = ST_OK;
    for (int i = 0; variant_table[i] != NULL && st == ST_OK; i++) {
        MixCtx c;
        st = defaults_of(variant_table[i], &c);
        if (st == ST_OK && json_array_append_new(list, variant_json(variant_table[i], &c)) != 0)
            st = FAIL(ST_OOM, "no memory for the list");
    }
    if (st == ST_OK && json_dumpf(list, stdout, JSON_INDENT(2)) != 0)
        st = FAIL(ST_IO, "cannot write the list");
    putchar('\n');
    json_decref(list);
    return st;
}

/* ---- parameters ---- */
static const char *meaning_of(const Variant *v, const char *full, int *len)
{
    const char *name = strchr(full, '.') + 1;
    const char *norm = strcmp(name, "gain") == 0 ? "scales what was normalised" : "shifts it";
    if (strncmp(full, "mixer.", 6) == 0)
        return help_of(v->mixer->params_help, name, len);
    if (strncmp(full, "ffn.", 4) == 0)
        return help_of(v->channel->params_help, name, len);
    if (strncmp(full, "draw.", 5) == 0)
        norm = "drawn at random, unless `longmix apply` is given it";
    *len = (int)strlen(norm);
    return norm;
}

/* A line: name, shape, meaning. Returns the numbers in it. */
static int64_t print_slot(const Variant *v, const BlockSlot *b)
{
    char shape[64] = "";
    int len = 0;
    const char *meaning = meaning_of(v, b->name, &len);
    if (b->slot.absent)
        return 0;
    for (int j = 0; j < b->slot.rank; j++) {
        size_t at = strlen(shape);
        snprintf(shape + at, sizeof shape - at, "%s%" PRId64, j > 0 ? " x " : "", b->slot.dim[j]);
    }
    printf("%-20s %-16s %.*s\n", b->name, shape, len, meaning != NULL ? meaning : "");
    return slot_size(&b->slot);
}

static Status print_params(const Args *a)
{
    VariantNames names = variant_names();
    BlockSlot slot[BLOCK_MAX_PARAMS];
    int index = 0;
    MixCtx c = {.batch = 1,
                .q_len = 512,
                .cap = 512,
                .n_norm = 512,
                .width = a->width,
                .heads = a->heads,
                .causal = true};
    TRY(parse_name(a->params, "variant", names.name, &index));
    const Variant *v = variant_table[index];
    if (a->width % a->heads != 0)
        return FAIL(ST_USAGE, "--heads %d does not divide --width %d", a->heads, a->width);
    TRY(mix_options(v, a->set, &c));
    TRY(mix_accepts(v, &c));
    int n = block_params(v, &c, slot);
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += print_slot(v, &slot[i]);
    printf("%" PRId64 " numbers in a block, %d blocks in a layer\n", sum, v->blocks_per_layer);
    n = block_draws(v, &c, slot);
    for (int i = 0; i < n; i++)
        print_slot(v, &slot[i]);
    return ST_OK;
}

int list_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, NULL, doc, NULL, NULL, NULL};
    Args a = {.width = 256, .heads = 4};
    Status st = cli_parse(&argp, NAME, argc, argv, &a);
    if (st == ST_OK)
        st = a.params != NULL ? print_params(&a) : a.json ? print_json() : print_table();
    return cli_exit(NAME, st);
}
