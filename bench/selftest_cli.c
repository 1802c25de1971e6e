/* selftest_cli.c - `longmix selftest stats`: does the comparison of builds keep its word here? */
#include "bench/cli.h"
#include "bench/clock.h"
#include "bench/hog.h"
#include "bench/limits.h"
#include "bench/machine.h"
#include "bench/parse.h"
#include "bench/progress.h"
#include "bench/trial.h"
#include "kernels/build_id.h"
#include "kernels/rng.h"
#include "report/selftest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "longmix selftest";

enum { COMPARISONS = 256, PLANTED, HOG, OUT, SEED, VARIANT, LENGTH };
enum { HOG_BOTH, HOG_OFF, HOG_ON };

typedef struct Args {
    const char *what, *out, *variant;
    int comparisons, planted, hog, n;
    uint64_t seed;
} Args;

static const struct argp_option options[] = {
    {"comparisons", COMPARISONS, "N", 0,
     "of A with itself, for each state of the cores; default 400", 0},
    {"planted", PLANTED, "N", 0, "of each slow-down; default 100", 0},
    {"hog", HOG, "both|off|on", 0, "with other programs on the cores; default both", 0},
    {"variant", VARIANT, "NAME", 0, "whose token mixing is timed; default vanilla", 0},
    {"n", LENGTH, "N", 0, "at this length; default 512, a step of some 0.3 ms", 0},
    {"seed", SEED, "N", 0, "of orders and places in memory; default 1", 0},
    {"out", OUT, "FILE", 0, "results as JSON, for `longmix report --selftest FILE`", 0},
    {0},
};

static const char doc[] =
    "Compares this program with itself, and with itself slowed down by 2, 5, 10 and 30 %, many "
    "times, with and without other programs on the cores; prints how often it was wrong and how "
    "often right. Exits with 1 when a bar is missed.\v"
    "Example, some 25 minutes (--hog off and --hog on are the halves):\n"
    "  longmix selftest stats --out results/selftest.json\n"
    "A quick look, half a minute:\n"
    "  longmix selftest stats --comparisons 20 --planted 5 --hog off";

static error_t parse(int key, char *value, struct argp_state *state)
{
    static const char *const hogs[] = {"both", "off", "on", NULL};
    Args *a = state->input;
    Status st = ST_OK;
    if (key == COMPARISONS)
        st = parse_int(value, "--comparisons", 0, 100000, &a->comparisons);
    else if (key == PLANTED)
        st = parse_int(value, "--planted", 0, 100000, &a->planted);
    else if (key == HOG)
        st = parse_name(value, "--hog", hogs, &a->hog);
    else if (key == VARIANT)
        a->variant = value;
    else if (key == LENGTH)
        st = parse_int(value, "--n", 1, 1 << 20, &a->n);
    else if (key == SEED)
        st = parse_u64(value, "--seed", &a->seed);
    else if (key == OUT)
        a->out = value;
    else if (key == ARGP_KEY_ARG && a->what == NULL)
        a->what = value;
    else if (key == ARGP_KEY_ARG)
        st = FAIL(ST_USAGE, "'%s' is one word too many; see %s --help", value, NAME);
    else
        return ARGP_ERR_UNKNOWN;
    return st == ST_OK ? 0 : EINVAL;
}

/* ---- the comparisons ---- */
static const double effects[] = {0, 0.02, 0.05, 0.10, 0.30};

static int wanted(const Args *a, const SelftestCell *c)
{
    return c->effect == 0 ? a->comparisons : a->planted;
}

static void plan(const Args *a, Selftest *s)
{
    for (int hog = 0; hog <= 1; hog++)
        for (int i = 0; i < COUNT(effects); i++) {
            SelftestCell c = {.effect = effects[i], .hog = hog == 1};
            if ((a->hog == HOG_BOTH || (a->hog == HOG_ON) == c.hog) && wanted(a, &c) > 0)
                s->cell[s->n++] = c;
        }
}

static TrialSpec trial_of(const Args *a, const SelftestCell *c, uint64_t seed)
{
    TrialSpec t = {.c = {.backend = "cpu",
                         .dtype = "f32",
                         .level = LEVEL_MIX,
                         .n = a->n,
                         .batch = 1,
                         .width = 64,
                         .heads = 4,
                         .layers = 1,
                         .threads = 1,
                         .causal = true,
                         .seed = 1,
                         .time_limit = 60,
                         .mem_limit = INT64_C(1) << 30},
                   .drag = {0, c->effect},
                   .duel = {.sample = 1e-3, .time_limit = 60, .family = 1, .seed = seed}};
    snprintf(t.c.variant, sizeof t.c.variant, "%s", a->variant);
    return t;
}

/* One comparison, with its confirmation; the numbers of the cell are sums until all are done. */
static Status compare_once(const Args *a, SelftestCell *c, uint64_t seed)
{
    Paired first = {.n = 0}, again = {.n = 0};
    int which;
    double begin = clock_now();
    TrialSpec t = trial_of(a, c, seed);
    TRY(trial_once(&t, &first, &which));
    Finding finding = first.finding;
    if (finding == FINDING_SLOWER || finding == FINDING_FASTER) {
        t.duel.seed = rng_bits(seed, 3, 0);
        TRY(trial_once(&t, &again, &which));
        finding = trial_agree(finding, again.finding);
        c->unconfirmed += finding != first.finding;
    }
    c->n++;
    c->count[finding]++;
    c->pairs += first.n;
    c->seconds += clock_now() - begin;
    return ST_OK;
}

/* The cells of one state of the cores take turns, so that all see the same hours. */
static Status compare_all(const Args *a, Selftest *s, bool hog, Progress *show)
{
    int most = a->comparisons > a->planted ? a->comparisons : a->planted;
    double begin = clock_now();
    for (int i = 0; i < most; i++)
        for (int k = 0; k < s->n; k++) {
            SelftestCell *c = &s->cell[k];
            int all = wanted(a, c);
            double passed = clock_now() - begin;
            ProgressState state = {.done = i,
                                   .total = most,
                                   .eta = i > 0 ? passed / i * (most - i) : -1,
                                   .what = hog ? "with a hog" : "no hog"};
            if (c->hog != hog || (int64_t)(i + 1) * all / most == (int64_t)i * all / most)
                continue;
            TRY(compare_once(a, c, rng_bits(a->seed, (uint32_t)k, (uint64_t)i)));
            progress_show(show, &state, clock_now());
        }
    return ST_OK;
}

static Status run(const Args *a, Selftest *s)
{
    Progress show = progress_new(clock_now());
    Status st = ST_OK;
    for (int hog = 0; hog <= 1 && st == ST_OK; hog++) {
        Hog h = {.n = 0};
        if ((hog == 1 && a->hog == HOG_OFF) || (hog == 0 && a->hog == HOG_ON))
            continue;
        if (hog == 1)
            st = hog_start(&h);
        pairing_pin(1);
        if (st == ST_OK)
            st = compare_all(a, s, hog == 1, &show);
        pairing_unpin();
        hog_stop(&h);
    }
    progress_clear(&show);
    for (int i = 0; i < s->n; i++) {
        s->cell[i].pairs /= s->cell[i].n > 0 ? s->cell[i].n : 1;
        s->cell[i].seconds /= s->cell[i].n > 0 ? s->cell[i].n : 1;
    }
    return st;
}

/* ---- what is told ---- */
static void describe(const Args *a, int argc, char **argv, Selftest *s)
{
    Row row;
    machine_row(argc, argv, 1, &row);
    snprintf(s->date, sizeof s->date, "%s", row.date);
    snprintf(s->host, sizeof s->host, "%s", row.host_cpu);
    snprintf(s->commit, sizeof s->commit, "%s", longmix_git_commit);
    snprintf(s->build, sizeof s->build, "build %s", longmix_build_id);
    snprintf(s->command, sizeof s->command, "%.255s", row.command);
    snprintf(s->what, sizeof s->what,
             "Timed was the mixing of %.32s at %d tokens, one thread, samples of 1 ms", a->variant,
             a->n);
}

static Status selftest(const Args *a, int argc, char **argv, bool *missed)
{
    Selftest s = {.n = 0};
    if (a->what == NULL || strcmp(a->what, "stats") != 0)
        return FAIL(ST_USAGE, "'%s' is no self-test; allowed: stats",
                    a->what != NULL ? a->what : "");
    describe(a, argc, argv, &s);
    limits_unpin();
    if (a->out != NULL)
        TRY(selftest_write(&s, a->out)); /* rather now than after half an hour */
    plan(a, &s);
    TRY(run(a, &s));
    selftest_table(stdout, &s);
    *missed = false;
    for (int i = 0; i < s.n; i++)
        *missed = *missed || selftest_bar(&s.cell[i]) == BAR_MISSED;
    return a->out != NULL ? selftest_write(&s, a->out) : ST_OK;
}

int selftest_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "stats", doc, NULL, NULL, NULL};
    Args a = {.variant = "vanilla", .comparisons = 400, .planted = 100, .n = 512, .seed = 1};
    bool missed = false;
    Status st = cli_parse(&argp, NAME, argc, argv, &a);
    if (st == ST_OK)
        st = selftest(&a, argc, argv, &missed);
    return st == ST_OK && missed ? 1 : cli_exit(NAME, st);
}
