/* cli_report.c - `longmix report` and `longmix validate`: what is made of a journal, without a
 * device. */
#include "bench/cli.h"
#include "report/results.h"
#include "report/validate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct Args {
    const char *name; /* of the command */
    const char *journal, *out, *plots, *selftest;
} Args;

enum { OUT = 256, PLOTS, SELFTEST };

static error_t parse(int key, char *value, struct argp_state *state)
{
    Args *a = state->input;
    if (key == OUT)
        a->out = value;
    else if (key == PLOTS)
        a->plots = value;
    else if (key == SELFTEST)
        a->selftest = value;
    else if (key == ARGP_KEY_ARG && a->journal == NULL)
        a->journal = value;
    else if (key == ARGP_KEY_ARG)
        return FAIL(ST_USAGE, "'%s' is one file too many; see %s --help", value, a->name) == ST_OK
                   ? 0
                   : EINVAL;
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static Status need_journal(const Args *a)
{
    return a->journal != NULL ? ST_OK : FAIL(ST_USAGE, "which journal? %s FILE", a->name);
}

int report_main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"out", OUT, "FILE", 0, "the report; default RESULTS.md", 0},
        {"plots", PLOTS, "FOLDER", 0, "of the plots; default results/plots", 0},
        {"selftest", SELFTEST, "FILE", 0,
         "what `longmix selftest stats --out FILE` found, as a section", 0},
        {0},
    };
    static const char doc[] =
        "Makes RESULTS.md and its plots from a journal, with no device at hand.\v"
        "Example:\n  longmix report results/quick.jsonl --out RESULTS.md";
    static const struct argp argp = {options, parse, "JOURNAL", doc, NULL, NULL, NULL};
    Args a = {.name = "longmix report", .out = "RESULTS.md", .plots = "results/plots"};
    Status st = cli_parse(&argp, a.name, argc, argv, &a);
    if (st == ST_OK)
        st = need_journal(&a);
    if (st == ST_OK)
        st = report_make(a.journal, a.out, a.plots, a.selftest);
    return cli_exit(a.name, st);
}

int validate_main(int argc, char **argv)
{
    static const char doc[] =
        "Checks a journal against its schema (report/SCHEMA.md). Exits with 1 when rows break its "
        "rules (the first ten are listed), with 2 at the first line that cannot be read or is of "
        "another schema.\vExample:\n  longmix validate results/quick.jsonl";
    static const struct argp argp = {NULL, parse, "JOURNAL", doc, NULL, NULL, NULL};
    Args a = {.name = "longmix validate"};
    Status st = cli_parse(&argp, a.name, argc, argv, &a);
    if (st == ST_OK)
        st = need_journal(&a);
    if (st != ST_OK)
        return cli_exit(a.name, st);
    bool good = false;
    st = report_validate(a.journal, stdout, &good);
    return st == ST_OK && !good ? 1 : cli_exit(a.name, st);
}
