/* baseline_cli.c - `longmix baseline write|check FILE`: what cannot depend on how busy a machine
 * is.
 */
#define _GNU_SOURCE /* gnu_get_libc_version */
#include "bench/cli.h"
#include "bench/clock.h"
#include "bench/limits.h"
#include "bench/progress.h"
#include "bench/side.h"
#include "bench/sweep.h"
#include "kernels/build_id.h"
#include "report/baseline.h"

#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "longmix baseline";
enum { VARIANTS = 256, INSTRUCTIONS };

typedef struct Args {
    const char *word[2]; /* write or check, and the file */
    const char *variants;
    int n_words;
    bool instructions;
} Args;

static const struct argp_option options[] = {
    {"variants", VARIANTS, "LIST", 0, "names of `longmix list`, or all (default)", 0},
    {"instructions", INSTRUCTIONS, NULL, 0,
     "count them too, where the processor's counter may be read", 0},
    {0},
};

static const char doc[] =
    "Work, memory, sizes and the bits of results of every variant, which depend on no clock. "
    "`write` puts them into a file that belongs to the sources; `check` shows what has changed "
    "since, with old and new value. Exits with 1 when a cell that the file knows has changed or "
    "fails; cells that are new or gone are told.\v"
    "Results are compared for each instruction set that this processor has, and only with a "
    "baseline from the same compiler and C library.\n\n"
    "Example:\n  longmix baseline check tests/baseline.json";

static error_t parse(int key, char *value, struct argp_state *state)
{
    Args *a = state->input;
    if (key == VARIANTS)
        a->variants = value;
    else if (key == INSTRUCTIONS)
        a->instructions = true;
    else if (key == ARGP_KEY_ARG)
        return cli_word(a->word, &a->n_words, COUNT(a->word), value, NAME);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

/* ---- the cells ---- */
static Status add_group(Sweep *s, const char *n, const char *level, const char *pass)
{
    Group *g = &s->group[s->n_groups++];
    VariantNames variants = variant_names();
    TRY(parse_names("all", "variant", variants.name, &g->variants));
    TRY(parse_lengths(n, "--n", &g->n));
    TRY(parse_names(level, "level", level_names, &g->levels));
    TRY(parse_names(pass, "pass", pass_names, &g->passes));
    return parse_names("tiled", "implementation", impl_names, &g->impls);
}

/* Lengths that are run: one that is no multiple of anything. Lengths that are only predicted. */
enum { RUN_UP_TO = 4096 };

static Status cells_of(const Args *a, Comparison *c)
{
    VariantNames variants = variant_names();
    uint64_t mask = 0;
    SweepCase *cases = NULL;
    Sweep s = {.width = 64,
               .heads = 4,
               .layers = 2,
               .batch = 2,
               .segment = 64,
               .threads = 1,
               .causal = true,
               .seed = 1,
               .time_limit = 60,
               .backend = "cpu"};
    TRY(add_group(&s, "203", "mix", "fwd,bwd"));
    TRY(add_group(&s, "203", "layer", "fwd,train,prefill,decode"));
    TRY(add_group(&s, "203", "model", "train"));
    TRY(add_group(&s, "64k", "layer", "fwd,train,decode"));
    TRY(parse_names(a->variants, "variant", variants.name, &mask));
    for (int i = 0; i < s.n_groups; i++)
        s.group[i].variants &= mask;
    Status st = sweep_cases(&s, &cases, &c->n);
    c->cell = calloc((size_t)c->n + 1, sizeof *c->cell);
    CHECK(c->cell != NULL);
    for (int i = 0; i < c->n; i++)
        c->cell[i] = (CompareCell){.c = cases[i].c, .standing = {STANDING_OK, STANDING_OK}};
    free(cases);
    return st;
}

/* ---- facts, by one sampler for each instruction set ---- */
static void merge(Facts *into, const Facts *more)
{
    for (int i = 0; i < more->n; i++)
        if (facts_find(into, more->fact[i].name) == NULL)
            facts_text(into, more->fact[i].name, more->fact[i].value);
}

static Status learn(const Args *a, Side *side, CompareCell *cell, const char *env)
{
    json_t *request = case_request(&cell->c), *answer = NULL;
    Facts facts;
    bool run = cell->c.n <= RUN_UP_TO;
    json_object_set_new(request, "run", json_boolean(run));
    json_object_set_new(request, "instructions", json_boolean(run && a->instructions));
    if (side->child.pid == 0)
        TRY(side_start(side, NULL, env));
    side->limit = 300;
    TRY(side_ask(side, "facts", request, &answer));
    Status st = facts_parse(json_object_get(answer, "facts"), &facts);
    json_decref(answer);
    TRY(st);
    merge(&cell->facts[COMPARE_B], &facts);
    return ST_OK;
}

static void learn_cell(const Args *a, Side *side, CompareCell *cell, const char *env)
{
    Status st = cell->standing[COMPARE_B] == STANDING_OK ? learn(a, side, cell, env) : ST_OK;
    if (st == ST_OK)
        return;
    bool absent = st == ST_UNSUPPORTED || st == ST_SHAPE;
    cell->standing[COMPARE_B] = absent ? STANDING_ABSENT : STANDING_BROKEN;
    snprintf(cell->why[COMPARE_B], sizeof cell->why[COMPARE_B], "B: %.150s", status_reason());
}

/* An instruction set that the processor lacks is passed over. */
static bool learn_all(const Args *a, Comparison *c, const char *isa, Progress *show)
{
    char env[40];
    Side side;
    snprintf(env, sizeof env, "LONGMIX_ISA=%s", isa);
    if (side_start(&side, NULL, env) != ST_OK)
        return false;
    for (int i = 0; i < c->n; i++) {
        ProgressState s = {.done = i, .total = c->n, .eta = -1, .what = isa};
        progress_show(show, &s, clock_now());
        learn_cell(a, &side, &c->cell[i], env);
    }
    side_stop(&side);
    return true;
}

/* ---- both ---- */

/* What bits may depend on beside sources and instruction set: the compiler, and the C library,
 * whose sine has another last digit where the processor multiplies and adds at once. */
static void describe_platform(char *out, size_t size)
{
    snprintf(out, size, "%s; glibc %s; %s", longmix_compiler, gnu_get_libc_version(),
             __builtin_cpu_supports("fma") ? "fma" : "no fma");
    for (char *p = out; *p != '\0'; p++)
        if (*p == '"' || *p == '\\')
            *p = ' ';
}

static Status gather(const Args *a, Comparison *c)
{
    static const char *const isas[] = {"base", "avx2", "avx512"};
    Progress show = progress_new(clock_now());
    int n = 0;
    TRY(cells_of(a, c));
    limits_unpin();
    for (int i = 0; i < COUNT(isas); i++)
        n += learn_all(a, c, isas[i], &show);
    progress_clear(&show);
    return n > 0 ? ST_OK : FAIL(ST_DEVICE, "no sampler could be started: %s", status_reason());
}

static Status baseline(const Args *a, int *code)
{
    char platform[192];
    int left_out = 0;
    Comparison c = {.gate = FACTS_ANY};
    bool write = a->n_words > 0 && strcmp(a->word[0], "write") == 0;
    if (a->n_words < COUNT(a->word) || (!write && strcmp(a->word[0], "check") != 0))
        return FAIL(ST_USAGE, "'%s': needed is %s write FILE, or %s check FILE",
                    a->n_words > 0 ? a->word[0] : "", NAME, NAME);
    describe_platform(platform, sizeof platform);
    Status st = gather(a, &c);
    if (st == ST_OK)
        st = write ? baseline_write(&c, platform, a->word[1])
                   : baseline_read(&c, platform, a->word[1], &left_out);
    if (st == ST_OK && !write) {
        compare_changes(stdout, &c);
        if (left_out > 0)
            printf("left out: %d facts of another compiler, C library or instruction set\n",
                   left_out);
        *code = compare_tally(&c).exit_code;
    }
    compare_free(&c);
    return st;
}

int baseline_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "write|check FILE", doc, NULL, NULL, NULL};
    Args a = {.variants = "all"};
    int code = 0;
    Status st = cli_parse(&argp, NAME, argc, argv, &a);
    if (st == ST_OK)
        st = baseline(&a, &code);
    return st == ST_OK ? code : cli_exit(NAME, st);
}
