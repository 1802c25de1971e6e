/* compare_cli.c - `longmix compare A B`: is B slower, larger or wrong? */
#include "bench/cli.h"
#include "bench/compare_cells.h"
#include "bench/compare_record.h"
#include "bench/contest.h"
#include "bench/limits.h"
#include "bench/machine.h"
#include "bench/origin.h"
#include "bench/sweep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "longmix compare";

enum {
    VARIANTS = 256,
    N,
    LEVEL,
    PASS,
    IMPL,
    WIDTH,
    HEADS,
    BATCH,
    SEGMENT,
    SET,
    BIDIRECTIONAL,
    THREADS,
    BACKEND,
    SEED,
    MARGIN,
    SAMPLE,
    MAX_PAIRS,
    TIME_LIMIT,
    FACTS,
    NO_TIMES,
    NO_CHECK,
    CONTROLS,
    INSTRUCTIONS,
    JSON,
    MARKDOWN,
    PLOT,
    JOURNALS,
    LAST
};

typedef struct Args {
    const char *word[SIDES];
    const char *given[LAST - VARIANTS]; /* NULL: not; flags: "" */
    int n_words;
} Args;

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0,
     "What to compare (default: kernels, mixing and layers of all variants at n = 512):", 1},
    {"variants", VARIANTS, "LIST", 0, "names of `longmix list`, or all (default)", 1},
    {"n", N, "LENGTHS", 0, "context lengths: 512, 256..4k", 1},
    {"level", LEVEL, "LIST", 0, "mix, layer, model; kernel: single kernels at sizes of their own",
     1},
    {"pass", PASS, "LIST", 0, "fwd, bwd, train, prefill, decode", 1},
    {"impl", IMPL, "LIST", 0, "tiled, naive", 1},
    {"width", WIDTH, "N", 0, "model width; default 128", 1},
    {"heads", HEADS, "N", 0, "default 4", 1},
    {"batch", BATCH, "N", 0, "sequences a step; default 1", 1},
    {"segment", SEGMENT, "N", 0, "tokens a segment of prefill; default 128", 1},
    {"set", SET, "K=V", 0, "options of variants, \"k=v k=v\"", 1},
    {"bidirectional", BIDIRECTIONAL, NULL, 0, "see both sides", 1},
    {"backend", BACKEND, "NAME", 0, "cpu (default), cuda, ref", 1},
    {NULL, 0, NULL, 0, "How:", 2},
    {"threads", THREADS, "N", 0, "of a case, each on a core of its own; default 1", 2},
    {"margin", MARGIN, "PERCENT", 0,
     "a smaller difference does not matter; default 2, and 5 for steps below 100 us", 2},
    {"sample", SAMPLE, "SECONDS", 0, "steps are repeated to last so long; default 0.002", 2},
    {"max-pairs", MAX_PAIRS, "N", 0, "of a cell: 1 to 240 (default)", 2},
    {"time-limit", TIME_LIMIT, "SECONDS", 0, "of a cell; default 20 (suffixes s, m, h)", 2},
    {"seed", SEED, "N", 0, "of orders and places in memory; default 1", 2},
    {"facts", FACTS, "worse|any|show", 0,
     "which changes of work, memory and sizes count: grown costs (default), all, none", 2},
    {"no-times", NO_TIMES, NULL, 0, "facts and checks alone", 2},
    {"no-check", NO_CHECK, NULL, 0, "do not hold B against the reference first", 2},
    {"controls", CONTROLS, NULL, 0,
     "also compare A with itself, and with itself slowed down by a tenth", 2},
    {"instructions", INSTRUCTIONS, NULL, 0, "count them, where the processor's counter may be read",
     2},
    {NULL, 0, NULL, 0, "Files:", 3},
    {"json", JSON, "FILE", 0, "everything, with all samples", 3},
    {"markdown", MARKDOWN, "FILE", 0, "a comment for a pull request", 3},
    {"plot", PLOT, "FOLDER", 0, "compare.svg and compare.png, the intervals of all cells", 3},
    {"journals", JOURNALS, "FOLDER", 0, "a.jsonl and b.jsonl, which can be compared again", 3},
    {0},
};

static const char doc[] =
    "Is B slower, larger or wrong? A and B are each a program, a folder (made first if it has a "
    "Makefile), or a git revision, which is built in build/compare. Both run the same cases, turn "
    "by turn in random order; B is slower when a sign test over the pairs says so, among all "
    "cells, "
    "and again in new processes. Two journals can be compared, too: then facts decide, and times "
    "only if the same run recorded both (--journals).\v"
    "Exit codes: 0 B passes, 1 it is slower, larger or broken, 2 a bad command line or a build "
    "that "
    "fails, 3 inconclusive: too noisy to say, or the gate's own controls failed.\n\n"
    "Examples:\n"
    "  longmix compare main .\n"
    "  longmix compare v1.0 HEAD --variants vanilla,gau --level layer --pass train --n 256..1k\n"
    "  longmix compare old/longmix build/longmix --markdown comment.md --plot plots";

static error_t parse(int key, char *value, struct argp_state *state)
{
    Args *a = state->input;
    if (key >= VARIANTS && key < LAST)
        a->given[key - VARIANTS] = value != NULL ? value : "";
    else if (key == ARGP_KEY_ARG)
        return cli_word(a->word, &a->n_words, SIDES, value, NAME);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

/* ---- from arguments to cells ---- */
static const char *given(const Args *a, int option)
{
    return a->given[option - VARIANTS];
}

static const char *given_or(const Args *a, int option, const char *otherwise)
{
    return given(a, option) != NULL ? given(a, option) : otherwise;
}

static Status group_of(const char *n, const char *level, const char *pass, const char *impl,
                       Group *g)
{
    VariantNames variants = variant_names();
    *g = (Group){.asked = false};
    TRY(parse_names("all", "variant", variants.name, &g->variants));
    TRY(parse_lengths(n, "--n", &g->n));
    TRY(parse_names(level, "level", level_names, &g->levels));
    TRY(parse_names(pass, "pass", pass_names, &g->passes));
    return parse_names(impl, "implementation", impl_names, &g->impls);
}

static Status axes_of(const Args *a, Sweep *s)
{
    const char *n = given_or(a, N, "512"), *impl = given_or(a, IMPL, "tiled");
    VariantNames variants = variant_names();
    uint64_t mask = 0;
    bool asked = given(a, LEVEL) != NULL || given(a, PASS) != NULL;
    s->n_groups = asked ? 1 : 2;
    if (asked) {
        TRY(group_of(n, given_or(a, LEVEL, "layer"), given_or(a, PASS, "fwd"), impl, &s->group[0]));
    } else {
        TRY(group_of(n, given(a, VARIANTS) != NULL ? "mix" : "mix,kernel", "fwd,bwd", impl,
                     &s->group[0]));
        TRY(group_of(n, "layer", "fwd,train,decode", impl, &s->group[1]));
    }
    TRY(parse_names(given_or(a, VARIANTS, "all"), "variant", variants.name, &mask));
    for (int i = 0; i < s->n_groups; i++)
        s->group[i].variants &= mask;
    return ST_OK;
}

static Status sweep_of(const Args *a, Sweep *s)
{
    static const char *const backends[] = {"cpu", "cuda", "ref", NULL};
    int backend = 0;
    *s = (Sweep){.layers = 1, .causal = given(a, BIDIRECTIONAL) == NULL, .seed = 1};
    s->mem_limit = limits_free_memory() / 4;
    TRY(axes_of(a, s));
    TRY(parse_int(given_or(a, WIDTH, "128"), "--width", 1, 1 << 16, &s->width));
    TRY(parse_int(given_or(a, HEADS, "4"), "--heads", 1, 1 << 12, &s->heads));
    TRY(parse_size(given_or(a, BATCH, "1"), "--batch", 1, 1 << 15, &s->batch));
    TRY(parse_size(given_or(a, SEGMENT, "128"), "--segment", 1, INT32_MAX, &s->segment));
    TRY(parse_int(given_or(a, THREADS, "1"), "--threads", 1, 1 << 10, &s->threads));
    TRY(parse_seconds(given_or(a, TIME_LIMIT, "20"), "--time-limit", 1e-3, &s->time_limit));
    TRY(parse_name(given_or(a, BACKEND, "cpu"), "backend", backends, &backend));
    snprintf(s->backend, sizeof s->backend, "%s", backends[backend]);
    if (snprintf(s->set, sizeof s->set, "%s", given_or(a, SET, "")) >= (int)sizeof s->set)
        return FAIL(ST_USAGE, "--set: more than %zu characters", sizeof s->set - 1);
    return sweep_check(s);
}

static Status read_percent(const char *text, double *out)
{
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end != '\0' || !(x > 0 && x <= 100))
        return FAIL(ST_USAGE, "--margin: '%s' is not a percentage above 0 and up to 100", text);
    *out = x / 100;
    return ST_OK;
}

static Status spec_of(const Args *a, const Sweep *s, ContestSpec *spec)
{
    *spec = (ContestSpec){.threads = s->threads,
                          .times = given(a, NO_TIMES) == NULL,
                          .check = given(a, NO_CHECK) == NULL,
                          .controls = given(a, CONTROLS) != NULL,
                          .instructions = given(a, INSTRUCTIONS) != NULL};
    spec->duel.time_limit = s->time_limit;
    if (given(a, MARGIN) != NULL)
        TRY(read_percent(given(a, MARGIN), &spec->duel.margin));
    TRY(parse_seconds(given_or(a, SAMPLE, "0.002"), "--sample", 1e-5, &spec->duel.sample));
    TRY(parse_int(given_or(a, MAX_PAIRS, "240"), "--max-pairs", 1, PAIRED_MAX,
                  &spec->duel.max_pairs));
    return parse_u64(given_or(a, SEED, "1"), "--seed", &spec->duel.seed);
}

/* ---- the two kinds of comparison ---- */
static Status compare_builds(const Args *a, const Origin from[SIDES], Comparison *c)
{
    Sweep s;
    ContestSpec spec;
    TRY(sweep_of(a, &s));
    TRY(spec_of(a, &s, &spec));
    TRY(compare_cells(&s, c));
    for (int i = 0; i < SIDES; i++) {
        spec.program[i] = from[i].path;
        memcpy(c->side[i].name, from[i].name, sizeof c->side[i].name);
    }
    limits_unpin();
    TRY(contest_run(&spec, c));
    return given(a, JOURNALS) != NULL ? compare_record(c, given(a, JOURNALS)) : ST_OK;
}

static Status check_words(const Args *a, Comparison *c)
{
    int gate = 0;
    if (a->n_words < SIDES)
        return FAIL(ST_USAGE, "which two? %s A B", NAME);
    TRY(parse_name(given_or(a, FACTS, "worse"), "gate of facts", fact_gate_names, &gate));
    c->gate = (FactGate)gate;
    return ST_OK;
}

static Status compare(const Args *a, int argc, char **argv, Comparison *c)
{
    Origin from[SIDES];
    Row machine;
    TRY(check_words(a, c));
    for (int i = 0; i < SIDES; i++)
        TRY(origin_find(a->word[i], &from[i]));
    if (from[SIDE_A].journal != from[SIDE_B].journal)
        return FAIL(ST_USAGE,
                    "'%s' is a journal and '%s' is a build; two of a kind can be compared",
                    a->word[from[SIDE_A].journal ? SIDE_A : SIDE_B],
                    a->word[from[SIDE_A].journal ? SIDE_B : SIDE_A]);
    machine_row(argc, argv, 1, &machine);
    memcpy(c->date, machine.date, sizeof c->date);
    memcpy(c->host, machine.host_cpu, sizeof c->host);
    if (from[SIDE_A].journal)
        return compare_journals(a->word[SIDE_A], a->word[SIDE_B], c);
    return compare_builds(a, from, c);
}

/* ---- telling ---- */
static Status write_markdown(const Comparison *c, const char *path)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return FAIL(ST_IO, "%s: %s", path, strerror(errno));
    compare_markdown(f, c);
    bool written = ferror(f) == 0;
    written = fclose(f) == 0 && written;
    return written ? ST_OK : FAIL(ST_IO, "%s: cannot be written", path);
}

/* Without gnuplot there is no plot, and everything else. */
static Status tell(const Args *a, const Comparison *c)
{
    compare_table(stdout, c);
    if (given(a, JSON) != NULL)
        TRY(compare_json(c, given(a, JSON)));
    if (given(a, MARKDOWN) != NULL)
        TRY(write_markdown(c, given(a, MARKDOWN)));
    if (given(a, PLOT) == NULL)
        return ST_OK;
    Status st = compare_plot(c, given(a, PLOT));
    if (st == ST_UNSUPPORTED)
        fprintf(stderr, "no plot: %s\n", status_reason());
    return st == ST_UNSUPPORTED ? ST_OK : st;
}

int compare_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "A B", doc, NULL, NULL, NULL};
    Args a = {.n_words = 0};
    Comparison c = {.n = 0};
    Status st = cli_parse(&argp, NAME, argc, argv, &a);
    if (st == ST_OK)
        st = compare(&a, argc, argv, &c);
    if (st == ST_OK)
        st = tell(&a, &c);
    int code = st == ST_OK ? compare_tally(&c).exit_code : cli_exit(NAME, st);
    compare_free(&c);
    return code;
}
