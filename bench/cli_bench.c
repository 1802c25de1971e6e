/* cli_bench.c - `longmix bench`: from the command line to a sweep. */
#include "bench/cli.h"
#include "bench/profile.h"
#include "bench/supervisor.h"
#include "bench/train.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char NAME[] = "longmix bench";

/* What was given; NULL or false: not. */
typedef struct Args {
    const char *profile, *variants, *n, *levels, *passes, *impls, *out, *data, *backend;
    const char *width, *heads, *layers, *batch, *step_tokens, *segment, *threads, *seed;
    const char *time_limit, *mem_limit, *budget, *train_tokens;
    bool bidirectional, hot, fresh, dry_run;
    char set[160];
} Args;

enum {
    VARIANTS = 256, N, LEVEL, PASS, IMPL, WIDTH, HEADS, LAYERS, BATCH, STEP_TOKENS, SEGMENT, THREADS,
    SEED, CAUSAL, BIDIRECTIONAL, SET, TIME_LIMIT, MEM_LIMIT, BUDGET, PROFILE, BACKEND, OUT, RESUME,
    FRESH, DATA, HOT, DRY_RUN, TRAIN_TOKENS
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What to measure:", 1},
    {"profile", PROFILE, "NAME", 0, "smoke, quick (default), full or paper: a sweep, sizes and limits", 1},
    {"variants", VARIANTS, "LIST", 0, "names of `longmix list`, or all (default)", 1},
    {"n", N, "LENGTHS", 0, "context lengths: 4k, 512..1M (doubling), 512-4096*2, lists of these", 1},
    {"level", LEVEL, "LIST", 0, "mix (token mixing alone), layer, model", 1},
    {"pass", PASS, "LIST", 0, "fwd, bwd, train, prefill (by segments), decode (one token at depth n)", 1},
    {"impl", IMPL, "LIST", 0, "tiled, naive (the n x n matrix in memory)", 1},
    {"train-tokens", TRAIN_TOKENS, "N", 0, "tokens of each training of the quality part; 0: none", 1},
    {NULL, 0, NULL, 0, "Sizes:", 2},
    {"width", WIDTH, "N", 0, "model width; the heads divide it", 2},
    {"heads", HEADS, "N", 0, "attention heads", 2},
    {"layers", LAYERS, "N", 0, "Transformer-layer equivalents, at level model", 2},
    {"batch", BATCH, "N", 0, "sequences a step", 2},
    {"tokens-per-step", STEP_TOKENS, "N", 0, "instead: batch = max(1, N / n)", 2},
    {"segment", SEGMENT, "N", 0, "tokens a segment of prefill", 2},
    {"causal", CAUSAL, NULL, 0, "hide the future (default)", 2},
    {"bidirectional", BIDIRECTIONAL, NULL, 0, "see both sides", 2},
    {"set", SET, "K=V", 0, "option of a variant; may be repeated", 2},
    {"seed", SEED, "N", 0, "of weights and inputs", 2},
    {NULL, 0, NULL, 0, "How:", 3},
    {"backend", BACKEND, "NAME", 0, "auto (default: cuda if it is there, else cpu), cpu, cuda, ref", 3},
    {"threads", THREADS, "N", 0, "default: the physical cores that may be used", 3},
    {"time-limit", TIME_LIMIT, "SECONDS", 0, "of a case (suffixes s, m, h)", 3},
    {"mem-limit", MEM_LIMIT, "BYTES", 0, "of a case (suffixes k, M, G); default 80 % of what is free", 3},
    {"budget", BUDGET, "SECONDS", 0, "of all cases; 0: as long as it takes", 3},
    {"hot", HOT, NULL, 0, "the same inputs in each step, so that caches stay warm", 3},
    {NULL, 0, NULL, 0, "Files:", 4},
    {"out", OUT, "FILE", 0, "the journal; default results/PROFILE.jsonl", 4},
    {"resume", RESUME, NULL, 0, "go on with what the journal holds (default)", 4},
    {"fresh", FRESH, NULL, 0, "throw away what it holds", 4},
    {"data", DATA, "FILE", 0, "text for the trainings; default build/data/kjv.txt", 4},
    {"dry-run", DRY_RUN, NULL, 0, "print the plan with predicted times and memory", 4},
    {0},
};

static const char doc[] =
    "Sweeps variants over context lengths and measures time and memory.\v"
    "A profile is a sweep of its own; --n, --level, --pass or --impl ask for another one, and --profile "
    "then gives only sizes and limits. Every point becomes a row of the journal, with its reason where "
    "it has no time.\n\n"
    "Examples:\n"
    "  longmix bench --profile smoke --out /tmp/smoke.jsonl\n"
    "  longmix bench --variants vanilla,flash_linear --n 512..1M --pass prefill --time-limit 2m\n"
    "  longmix bench --n 4k --level mix --pass fwd,bwd --impl tiled,naive --set c=128 --dry-run";

static const char **place(Args *a, int key)
{
    const struct {
        int key;
        const char **at;
    } places[] = {{VARIANTS, &a->variants},     {N, &a->n},
                  {LEVEL, &a->levels},          {PASS, &a->passes},
                  {IMPL, &a->impls},            {WIDTH, &a->width},
                  {HEADS, &a->heads},           {LAYERS, &a->layers},
                  {BATCH, &a->batch},           {STEP_TOKENS, &a->step_tokens},
                  {SEGMENT, &a->segment},       {THREADS, &a->threads},
                  {SEED, &a->seed},             {TIME_LIMIT, &a->time_limit},
                  {MEM_LIMIT, &a->mem_limit},   {BUDGET, &a->budget},
                  {PROFILE, &a->profile},       {BACKEND, &a->backend},
                  {OUT, &a->out},               {DATA, &a->data},
                  {TRAIN_TOKENS, &a->train_tokens}};
    for (int i = 0; i < COUNT(places); i++)
        if (places[i].key == key)
            return places[i].at;
    return NULL;
}

static bool *flag(Args *a, int key)
{
    return key == BIDIRECTIONAL ? &a->bidirectional
           : key == HOT         ? &a->hot
           : key == FRESH       ? &a->fresh
           : key == DRY_RUN     ? &a->dry_run
                                : NULL;
}

/* "k=v" or "k=v k=v", after those before. */
static Status add_set(Args *a, const char *value)
{
    size_t used = strlen(a->set), len = strlen(value);
    if (strchr(value, '=') == NULL)
        return FAIL(ST_USAGE, "--set: '%s' is not KEY=VALUE", value);
    if (used + len + 2 > sizeof a->set)
        return FAIL(ST_USAGE, "--set: more than %zu characters", sizeof a->set - 1);
    snprintf(a->set + used, sizeof a->set - used, "%s%s", used > 0 ? " " : "", value);
    for (char *c = a->set; *c != '\0'; c++)
        if (*c == ',')
            *c = ' ';
    return ST_OK;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    Args *a = state->input;
    const char **text = place(a, key);
    bool *on = flag(a, key);
    if (text != NULL)
        *text = value;
    else if (on != NULL)
        *on = true;
    else if (key == CAUSAL)
        a->bidirectional = false;
    else if (key == RESUME)
        a->fresh = false;
    else if (key == SET)
        return add_set(a, value) == ST_OK ? 0 : EINVAL;
    else if (key == ARGP_KEY_ARG)
        return FAIL(ST_USAGE, "'%s' is not an option; see %s --help", value, NAME) == ST_OK ? 0 : EINVAL;
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

/* ---- from arguments to a sweep ---- */

/* Asking for an axis replaces the profile's groups by one; what is not asked has a default. */
static Status ask_group(const Args *a, Sweep *s)
{
    VariantNames variants = variant_names();
    Group *g = &s->group[0];
    s->n_groups = 1;
    *g = (Group){.asked = true};
    TRY(parse_names("all", "variant", variants.name, &g->variants));
    TRY(parse_lengths(a->n != NULL ? a->n : "512..16k", "--n", &g->n));
    TRY(parse_names(a->levels != NULL ? a->levels : "layer", "level", level_names, &g->levels));
    TRY(parse_names(a->passes != NULL ? a->passes : "fwd", "pass", pass_names, &g->passes));
    TRY(parse_names(a->impls != NULL ? a->impls : "tiled", "implementation", impl_names, &g->impls));
    s->training.tokens = 0;
    if (a->profile != NULL)
        return ST_OK;
    s->budget = 0;
    s->time_limit = 60;
    snprintf(s->profile, sizeof s->profile, "custom");
    return ST_OK;
}

static Status choose(const Args *a, Sweep *s)
{
    VariantNames variants = variant_names();
    uint64_t mask = 0;
    TRY(profile_apply(a->profile != NULL ? a->profile : "quick", s));
    if (a->n != NULL || a->levels != NULL || a->passes != NULL || a->impls != NULL)
        TRY(ask_group(a, s));
    TRY(parse_names(a->variants != NULL ? a->variants : "all", "variant", variants.name, &mask));
    s->training.variants &= mask;
    for (int i = 0; i < s->n_groups; i++)
        s->group[i].variants &= mask;
    return ST_OK;
}

static Status take_int(const char *text, const char *what, int hi, int *out)
{
    return text != NULL ? parse_int(text, what, 1, hi, out) : ST_OK;
}

static Status take_size(const char *text, const char *what, int64_t lo, int64_t hi, int64_t *out)
{
    return text != NULL ? parse_size(text, what, lo, hi, out) : ST_OK;
}

static Status take_seconds(const char *text, const char *what, double lo, double *out)
{
    return text != NULL ? parse_seconds(text, what, lo, out) : ST_OK;
}

static Status size_it(const Args *a, Sweep *s)
{
    if (a->batch != NULL && a->step_tokens != NULL)
        return FAIL(ST_USAGE, "--batch %s and --tokens-per-step %s exclude each other", a->batch,
                    a->step_tokens);
    TRY(take_int(a->width, "--width", 1 << 16, &s->width));
    TRY(take_int(a->heads, "--heads", 1 << 12, &s->heads));
    TRY(take_int(a->layers, "--layers", 1 << 10, &s->layers));
    TRY(take_size(a->batch, "--batch", 1, INT64_C(1) << 15, &s->batch));
    TRY(take_size(a->step_tokens, "--tokens-per-step", 1, INT32_MAX, &s->step_tokens));
    TRY(take_size(a->segment, "--segment", 1, INT32_MAX, &s->segment));
    s->seed = 1;
    return a->seed != NULL ? parse_u64(a->seed, "--seed", &s->seed) : ST_OK;
}

static Status limit_it(const Args *a, Sweep *s)
{
    static const char *const backends[] = {"auto", "cpu", "cuda", "ref", NULL};
    int backend = 0;
    TRY(take_int(a->threads, "--threads", 1 << 10, &s->threads));
    TRY(take_seconds(a->time_limit, "--time-limit", 1e-3, &s->time_limit));
    TRY(take_seconds(a->budget, "--budget", 0, &s->budget));
    TRY(take_size(a->mem_limit, "--mem-limit", 1 << 20, INT64_C(1) << 50, &s->mem_limit));
    TRY(take_size(a->train_tokens, "--train-tokens", 0, INT64_C(1) << 50, &s->training.tokens));
    if (a->backend != NULL)
        TRY(parse_name(a->backend, "backend", backends, &backend));
    snprintf(s->backend, sizeof s->backend, "%s", backends[backend]);
    for (int i = 0; i < s->n_groups && a->time_limit != NULL; i++)
        s->group[i].time_limit = s->time_limit;
    return ST_OK;
}

/* The text is read once here, so that a bad one is known before hours of work. */
static Status find_text(const Args *a, Sweep *s)
{
    Text t = {0};
    const char *path = a->data != NULL ? a->data : train_default_text;
    if (s->training.tokens == 0 && a->data == NULL)
        return ST_OK;
    if (a->data == NULL && access(path, R_OK) != 0) {
        s->no_text = true;
        s->training.tokens = 0;
        return ST_OK;
    }
    if (strlen(path) >= sizeof s->data)
        return FAIL(ST_USAGE, "--data: the path has more than %zu characters", sizeof s->data - 1);
    TRY(text_load(path, &t));
    text_free(&t);
    snprintf(s->data, sizeof s->data, "%s", path);
    return ST_OK;
}

static Status name_out(const Args *a, Sweep *s)
{
    int n = a->out != NULL ? snprintf(s->out, sizeof s->out, "%s", a->out)
                           : snprintf(s->out, sizeof s->out, "results/%s.jsonl", s->profile);
    if (n <= 0 || (size_t)n >= sizeof s->out)
        return FAIL(ST_USAGE, "--out: '%.40s' is no path of 1 to %zu characters",
                    a->out != NULL ? a->out : "", sizeof s->out - 1);
    return ST_OK;
}

static Status sweep_of(const Args *a, Sweep *s)
{
    *s = (Sweep){.causal = !a->bidirectional, .hot = a->hot, .fresh = a->fresh, .dry_run = a->dry_run};
    memcpy(s->set, a->set, sizeof s->set);
    TRY(choose(a, s));
    TRY(size_it(a, s));
    TRY(limit_it(a, s));
    TRY(name_out(a, s));
    TRY(sweep_check(s));
    return find_text(a, s);
}

int bench_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, NULL, doc, NULL, NULL, NULL};
    Args a = {0};
    Sweep s;
    Status st = cli_parse(&argp, NAME, argc, argv, &a);
    if (st == ST_OK)
        st = sweep_of(&a, &s);
    return st == ST_OK ? supervise(&s, argc, argv) : cli_exit(NAME, st);
}
