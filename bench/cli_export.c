/* cli_export.c - `longmix export`: a journal for other tools. */
#include "bench/cli.h"
#include "bench/parse.h"
#include "report/export.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char NAME[] = "longmix export";
enum { FORMAT = 256, OUT };

typedef struct Args {
    const char *journal, *out;
    int format;
} Args;

static const struct argp_option options[] = {
    {"format", FORMAT, "NAME", 0,
     "csv (default), google-benchmark, github-smaller (github-action-benchmark, tool "
     "customSmallerIsBetter), github-bigger (customBiggerIsBetter)",
     0},
    {"out", OUT, "FILE", 0, "default: standard output", 0},
    {0},
};

static const char doc[] =
    "Writes the points of a journal in the format of another tool; where a point was measured more "
    "than once, the newest counts.\vExamples:\n"
    "  longmix export results/quick.jsonl --out quick.csv\n"
    "  longmix export results/quick.jsonl --format google-benchmark --out quick.json";

static error_t parse(int key, char *value, struct argp_state *state)
{
    Args *a = state->input;
    Status st = ST_OK;
    if (key == FORMAT)
        st = parse_name(value, "format", export_format_names, &a->format);
    else if (key == OUT)
        a->out = value;
    else if (key == ARGP_KEY_ARG && a->journal == NULL)
        a->journal = value;
    else if (key == ARGP_KEY_ARG)
        st = FAIL(ST_USAGE, "'%s' is one file too many; see %s --help", value, NAME);
    else
        return ARGP_ERR_UNKNOWN;
    return st == ST_OK ? 0 : EINVAL;
}

static Status write_rows(const Args *a, const Rows *rows)
{
    if (a->out == NULL)
        return export_rows(stdout, rows, (ExportFormat)a->format);
    FILE *f = fopen(a->out, "we");
    if (f == NULL)
        return FAIL(ST_IO, "%s: %s", a->out, strerror(errno));
    Status st = export_rows(f, rows, (ExportFormat)a->format);
    bool written = fclose(f) == 0 && st == ST_OK;
    return written ? ST_OK : FAIL(ST_IO, "%s: cannot be written", a->out);
}

int export_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "JOURNAL", doc, NULL, NULL, NULL};
    Args a = {.format = EXPORT_CSV};
    Rows rows = {.n = 0};
    Status st = cli_parse(&argp, NAME, argc, argv, &a);
    if (st == ST_OK && a.journal == NULL)
        st = FAIL(ST_USAGE, "which journal? %s FILE", NAME);
    if (st == ST_OK)
        st = rows_load(a.journal, &rows);
    if (st == ST_OK)
        st = write_rows(&a, &rows);
    rows_free(&rows);
    return cli_exit(NAME, st);
}
