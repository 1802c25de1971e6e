/* cli_bench.c - `longmix bench`: from the command line to a sweep. */
#include "bench/backend.h"
#include "bench/cli.h"
#include "bench/profile.h"
#include "bench/size.h"
#include "bench/supervisor.h"
#include "bench/train.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char NAME[] = "longmix bench";

/* One for each option; the key of argp is FIRST + it. */
enum {
    VARIANTS,
    N,
    LEVEL,
    PASS,
    IMPL,
    KERNELS,
    WIDTH,
    HEADS,
    LAYERS,
    VOCAB,
    SIZE,
    BATCH,
    STEP_TOKENS,
    SEGMENT,
    THREADS,
    SEED,
    CAUSAL,
    BIDIRECTIONAL,
    SET,
    MATCH,
    TIME_LIMIT,
    MEM_LIMIT,
    BUDGET,
    PROFILE,
    BACKEND,
    DEVICE,
    MATH,
    OUT,
    RESUME,
    FRESH,
    DATA,
    HOT,
    PROFILE_OPS,
    PEER,
    DRY_RUN,
    TRAIN_TOKENS,
    N_OPTIONS
};
enum { FIRST = 256 };

typedef struct Args {
    const char *given[N_OPTIONS]; /* NULL: not; flags: "" */
    char set[160];                /* all --set together */
} Args;

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What to measure:", 1},
    {"profile", FIRST + PROFILE, "NAME", 0,
     "smoke, quick (default; on a GPU gpu), full, paper, decode or gpu: a sweep, sizes and limits",
     1},
    {"variants", FIRST + VARIANTS, "LIST", 0, "names of `longmix list`, or all (default)", 1},
    {"n", FIRST + N, "LENGTHS", 0,
     "context lengths: 4k, 512..1M (doubling), 512-4096*2, lists of these", 1},
    {"level", FIRST + LEVEL, "LIST", 0,
     "mix (token mixing alone), layer, model; kernel: single kernels beside their roof, at sizes "
     "of their own",
     1},
    {"kernels", FIRST + KERNELS, "LIST", 0,
     "at level kernel: names, or all (default); --n and --pass choose among "
     "their cases",
     1},
    {"pass", FIRST + PASS, "LIST", 0,
     "fwd, bwd, train, prefill (by segments), decode (one token at depth n)", 1},
    {"impl", FIRST + IMPL, "LIST", 0, "tiled, naive (the n x n matrix in memory)", 1},
    {"train-tokens", FIRST + TRAIN_TOKENS, "N", 0,
     "tokens of each training of the quality part; 0: none", 1},
    {NULL, 0, NULL, 0, "Sizes:", 2},
    {"width", FIRST + WIDTH, "N", 0, "model width; the heads divide it", 2},
    {"heads", FIRST + HEADS, "N", 0, "attention heads", 2},
    {"vocab", FIRST + VOCAB, "N", 0, "entries of the vocabulary, at level model; 256", 2},
    {"size", FIRST + SIZE, "NAMES", 0,
     "published sizes in place of these: 110m, d256, d512, 800m, d2048, d4096, 17b, or all", 2},
    {"layers", FIRST + LAYERS, "N", 0, "Transformer-layer equivalents, at level model", 2},
    {"batch", FIRST + BATCH, "N", 0, "sequences a step", 2},
    {"tokens-per-step", FIRST + STEP_TOKENS, "N", 0, "instead: batch = max(1, N / n)", 2},
    {"segment", FIRST + SEGMENT, "N", 0, "tokens a segment of prefill", 2},
    {"causal", FIRST + CAUSAL, NULL, 0, "hide the future (default)", 2},
    {"bidirectional", FIRST + BIDIRECTIONAL, NULL, 0, "see both sides", 2},
    {"set", FIRST + SET, "K=V", 0, "option of a variant; may be repeated", 2},
    {"match-params", FIRST + MATCH, "NAME", 0,
     "channel width, or else width, so that layers have the parameters of NAME's within 1 %", 2},
    {"seed", FIRST + SEED, "N", 0, "of weights and inputs", 2},
    {NULL, 0, NULL, 0, "How:", 3},
    {"backend", FIRST + BACKEND, "NAME", 0,
     "auto (default: cuda if it is there, else cpu), cpu, cuda, ref", 3},
    {"device", FIRST + DEVICE, "N", 0, "which GPU; 0", 3},
    {"math", FIRST + MATH, "NAME", 0,
     "how a GPU computes products: bf16 (default), tf32, f32; storage and sums are float32", 3},
    {"threads", FIRST + THREADS, "N", 0, "default: the physical cores that may be used", 3},
    {"time-limit", FIRST + TIME_LIMIT, "SECONDS", 0, "of a case (suffixes s, m, h)", 3},
    {"mem-limit", FIRST + MEM_LIMIT, "BYTES", 0,
     "of a case (suffixes k, M, G); default 80 % of what is free", 3},
    {"budget", FIRST + BUDGET, "SECONDS", 0, "of all cases; 0: as long as it takes", 3},
    {"hot", FIRST + HOT, NULL, 0, "the same inputs in each step, so that caches stay warm", 3},
    {"profile-ops", FIRST + PROFILE_OPS, NULL, 0,
     "also where the time of a step goes, op by op; default: a training step of a vanilla model of "
     "0.4M parameters at 512 tokens",
     3},
    {"peer", FIRST + PEER, "PROGRAM", 0,
     "instead of a sweep: some cases in turn with another program that speaks our protocol, such "
     "as "
     "bench/peer_torch.py (`make peers`)",
     3},
    {NULL, 0, NULL, 0, "Files:", 4},
    {"out", FIRST + OUT, "FILE", 0, "the journal; default results/PROFILE.jsonl", 4},
    {"resume", FIRST + RESUME, NULL, 0, "go on with what the journal holds (default)", 4},
    {"fresh", FIRST + FRESH, NULL, 0, "throw away what it holds", 4},
    {"data", FIRST + DATA, "FILE", 0, "text for the trainings; default build/data/kjv.txt", 4},
    {"dry-run", FIRST + DRY_RUN, NULL, 0, "print the plan with predicted times and memory", 4},
    {0},
};

static const char doc[] =
    "Sweeps variants over context lengths and measures time and memory.\v"
    "A profile is a sweep of its own; --n, --level, --pass or --impl ask for another one, and "
    "--profile "
    "then gives only sizes and limits. Every point becomes a row of the journal, with its reason "
    "where "
    "it has no time.\n\n"
    "Examples:\n"
    "  longmix bench --profile smoke --out /tmp/smoke.jsonl\n"
    "  longmix bench --variants vanilla,flash_linear --n 512..1M --pass prefill --time-limit 2m\n"
    "  longmix bench --kernels attention,norm --pass fwd --out /tmp/kernels.jsonl\n"
    "  longmix bench --n 4k --level mix --pass fwd,bwd --impl tiled,naive --set c=128 --dry-run";

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

/* Of two that exclude each other the later one counts. */
static void take(Args *a, int option, const char *value)
{
    static const int opposite[][2] = {
        {CAUSAL, BIDIRECTIONAL}, {BIDIRECTIONAL, CAUSAL}, {RESUME, FRESH}, {FRESH, RESUME}};
    a->given[option] = value != NULL ? value : "";
    for (int i = 0; i < COUNT(opposite); i++)
        if (opposite[i][0] == option)
            a->given[opposite[i][1]] = NULL;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    Args *a = state->input;
    Status st = ST_OK;
    if (key == FIRST + SET)
        st = add_set(a, value);
    else if (key >= FIRST && key < FIRST + N_OPTIONS)
        take(a, key - FIRST, value);
    else if (key == ARGP_KEY_ARG)
        st = FAIL(ST_USAGE, "'%s' is not an option; see %s --help", value, NAME);
    else
        return ARGP_ERR_UNKNOWN;
    return st == ST_OK ? 0 : EINVAL;
}

/* ---- from arguments to a sweep ---- */

static const char *given_or(const Args *a, int option, const char *otherwise)
{
    return a->given[option] != NULL ? a->given[option] : otherwise;
}

/* Kernels that are named are wanted whatever they take. */
static Status ask_kernels(const Args *a, Group *g)
{
    KernelNames names = kernel_names();
    TRY(parse_names(given_or(a, KERNELS, "all"), "kernel", names.name, &g->kernels));
    g->some_n = a->given[N] != NULL;
    g->some_passes = a->given[PASS] != NULL;
    return ST_OK;
}

/* Asking for an axis replaces the profile's groups by one; what is not asked has a default. */
static Status ask_group(const Args *a, Sweep *s)
{
    VariantNames variants = variant_names();
    Group *g = &s->group[0];
    s->n_groups = 1;
    *g = (Group){.asked = true};
    TRY(parse_names("all", "variant", variants.name, &g->variants));
    TRY(parse_lengths(given_or(a, N, "512..16k"), "--n", &g->n));
    const char *level = a->given[KERNELS] != NULL ? "kernel" : "layer";
    TRY(parse_names(given_or(a, LEVEL, level), "level", level_names, &g->levels));
    TRY(parse_names(given_or(a, PASS, "fwd"), "pass", pass_names, &g->passes));
    TRY(parse_names(given_or(a, IMPL, "tiled"), "implementation", impl_names, &g->impls));
    TRY(ask_kernels(a, g));
    s->training.tokens = 0;
    if (a->given[PROFILE] != NULL)
        return ST_OK;
    s->budget = 0;
    s->time_limit = 60;
    snprintf(s->profile, sizeof s->profile, "custom");
    return ST_OK;
}

static Status choose(const Args *a, const char *profile, Sweep *s)
{
    VariantNames variants = variant_names();
    uint64_t mask = 0;
    TRY(profile_apply(profile, s));
    if (a->given[N] != NULL || a->given[LEVEL] != NULL || a->given[PASS] != NULL ||
        a->given[IMPL] != NULL || a->given[KERNELS] != NULL)
        TRY(ask_group(a, s));
    TRY(parse_names(given_or(a, VARIANTS, "all"), "variant", variants.name, &mask));
    s->training.variants &= mask;
    for (int i = 0; i < s->n_groups; i++) {
        s->group[i].variants &= mask;
        if (a->given[VARIANTS] != NULL && !s->group[i].asked)
            s->group[i].kernels = 0; /* of a profile, variants are what is asked for */
    }
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

/* What is given is not fitted to the device, nor does a profile say it. */
static void settle_fits(const Args *a, Sweep *s)
{
    if (a->given[WIDTH] != NULL || a->given[HEADS] != NULL || a->given[SIZE] != NULL)
        s->fits &= ~(unsigned)FIT_WIDTH;
    if (a->given[TIME_LIMIT] != NULL)
        s->fits &= ~(unsigned)FIT_LIMITS;
    for (int i = 0; i < s->n_groups && a->given[BATCH] != NULL; i++)
        s->group[i].step_tokens = 0;
}

static Status size_it(const Args *a, Sweep *s)
{
    if (a->given[BATCH] != NULL && a->given[STEP_TOKENS] != NULL)
        return FAIL(ST_USAGE, "--batch %s and --tokens-per-step %s exclude each other",
                    a->given[BATCH], a->given[STEP_TOKENS]);
    TRY(take_int(a->given[WIDTH], "--width", 1 << 16, &s->width));
    TRY(take_int(a->given[HEADS], "--heads", 1 << 12, &s->heads));
    SizeNames sizes = size_names();
    if (a->given[SIZE] != NULL)
        TRY(parse_names(a->given[SIZE], "size", sizes.name, &s->sizes));
    TRY(take_int(a->given[VOCAB], "--vocab", 1 << 20, &s->vocab));
    TRY(take_int(a->given[LAYERS], "--layers", 1 << 10, &s->layers));
    TRY(take_size(a->given[BATCH], "--batch", 1, INT64_C(1) << 15, &s->batch));
    TRY(take_size(a->given[STEP_TOKENS], "--tokens-per-step", 1, INT32_MAX, &s->step_tokens));
    TRY(take_size(a->given[SEGMENT], "--segment", 1, INT32_MAX, &s->segment));
    settle_fits(a, s);
    return parse_u64(given_or(a, SEED, "1"), "--seed", &s->seed);
}

static Status limit_it(const Args *a, Sweep *s)
{
    TRY(take_int(a->given[THREADS], "--threads", 1 << 10, &s->threads));
    TRY(take_seconds(a->given[TIME_LIMIT], "--time-limit", 1e-3, &s->time_limit));
    TRY(take_seconds(a->given[BUDGET], "--budget", 0, &s->budget));
    TRY(take_size(a->given[MEM_LIMIT], "--mem-limit", 1 << 20, INT64_C(1) << 50, &s->mem_limit));
    TRY(take_size(a->given[TRAIN_TOKENS], "--train-tokens", 0, INT64_C(1) << 50,
                  &s->training.tokens));
    if (a->given[TRAIN_TOKENS] != NULL)
        s->training.budget = 0; /* what was asked for, however long it takes */
    for (int i = 0; i < s->n_groups && a->given[TIME_LIMIT] != NULL; i++)
        s->group[i].time_limit = s->time_limit;
    return ST_OK;
}

static Status place_it(const Args *a, Sweep *s)
{
    BackendAsk ask = {.name = "auto"};
    for (int i = 0; i < BACKEND_OPTIONS; i++)
        if (a->given[BACKEND + i] != NULL)
            TRY(backend_take(&ask, i, a->given[BACKEND + i]));
    snprintf(s->backend, sizeof s->backend, "%s", ask.name);
    snprintf(s->math, sizeof s->math, "%s", ask.math != NULL ? ask.math : "");
    s->device = ask.device;
    return ST_OK;
}

/* The text is read once here, so that a bad one is known before hours of work. */
static Status find_text(const Args *a, Sweep *s)
{
    Text t = {0};
    const char *path = a->given[DATA] != NULL ? a->given[DATA] : train_default_text;
    if (s->training.tokens == 0 && a->given[DATA] == NULL)
        return ST_OK;
    if (a->given[DATA] == NULL && access(path, R_OK) != 0) {
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

/* A peer comes alone: nothing is swept. */
static Status find_peer(const Args *a, Sweep *s)
{
    const char *peer = a->given[PEER];
    if (peer == NULL)
        return ST_OK;
    if (strlen(peer) >= sizeof s->peer || access(peer, X_OK) != 0)
        return FAIL(ST_USAGE, "--peer: '%.80s' is no program that can be run", peer);
    snprintf(s->peer, sizeof s->peer, "%s%s", strchr(peer, '/') == NULL ? "./" : "", peer);
    s->n_groups = 0;
    s->training.tokens = 0;
    s->training.variants = 0;
    snprintf(s->profile, sizeof s->profile, "peers");
    return ST_OK;
}

static Status name_out(const Args *a, Sweep *s)
{
    int n = a->given[OUT] != NULL ? snprintf(s->out, sizeof s->out, "%s", a->given[OUT])
                                  : snprintf(s->out, sizeof s->out, "results/%s.jsonl", s->profile);
    if (n <= 0 || (size_t)n >= sizeof s->out)
        return FAIL(ST_USAGE, "--out: '%.40s' is no path of 1 to %zu characters",
                    given_or(a, OUT, ""), sizeof s->out - 1);
    return ST_OK;
}

/* Of --profile-ops, where nothing else says what to watch: 0.4M parameters at 512 tokens. */
static void ops_defaults(Args *a)
{
    static const struct {
        int option;
        const char *value;
    } plain[] = {{VARIANTS, "vanilla"}, {N, "512"},   {LEVEL, "model"}, {PASS, "train"},
                 {WIDTH, "128"},        {HEADS, "2"}, {LAYERS, "2"}};
    if (a->given[PROFILE_OPS] == NULL || a->given[PROFILE] != NULL)
        return;
    for (int i = 0; i < COUNT(plain); i++)
        if (a->given[plain[i].option] == NULL)
            a->given[plain[i].option] = plain[i].value;
}

static Status sweep_of(const Args *a, const char *profile, Sweep *s)
{
    *s = (Sweep){.causal = a->given[BIDIRECTIONAL] == NULL,
                 .hot = a->given[HOT] != NULL,
                 .profile_ops = a->given[PROFILE_OPS] != NULL,
                 .fresh = a->given[FRESH] != NULL,
                 .dry_run = a->given[DRY_RUN] != NULL};
    memcpy(s->set, a->set, sizeof s->set);
    TRY(choose(a, profile, s));
    TRY(size_it(a, s));
    TRY(limit_it(a, s));
    TRY(place_it(a, s));
    TRY(name_out(a, s));
    if (a->given[MATCH] != NULL) {
        VariantNames variants = variant_names();
        int match = 0;
        TRY(parse_name(a->given[MATCH], "variant", variants.name, &match));
        snprintf(s->match, sizeof s->match, "%s", variants.name[match]);
    }
    TRY(sweep_check(s));
    TRY(find_peer(a, s));
    return find_text(a, s);
}

int bench_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, NULL, doc, NULL, NULL, NULL};
    Args a = {0};
    Sweep s = {.n_groups = 0}, on_gpu = s;
    Status st = cli_parse(&argp, NAME, argc, argv, &a);
    ops_defaults(&a);
    const char *profile = given_or(&a, PROFILE, "quick"), *other = profile_on_gpu(profile);
    if (st == ST_OK)
        st = sweep_of(&a, profile, &s);
    if (st == ST_OK && other != NULL)
        st = sweep_of(&a, other, &on_gpu);
    return st == ST_OK ? supervise(&s, other != NULL ? &on_gpu : NULL, argc, argv)
                       : cli_exit(NAME, st);
}
