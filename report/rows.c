/* rows.c - which rows of a journal a report is made from. */
#include "report/rows.h"

#include "report/journal.h"

#include <stdlib.h>
#include <string.h>

static Status collect(const Row *r, void *ctx)
{
    Rows *rows = ctx;
    if (rows->n == rows->capacity) {
        int capacity = rows->capacity > 0 ? 2 * rows->capacity : 64;
        Row *longer = realloc(rows->row, (size_t)capacity * sizeof *longer);
        if (longer == NULL)
            return FAIL(ST_OOM, "no memory for %d rows", capacity);
        rows->row = longer;
        rows->capacity = capacity;
    }
    rows->row[rows->n++] = *r;
    return ST_OK;
}

const Row *rows_last(const Rows *r, RowKind kind)
{
    for (int i = r->n - 1; i >= 0; i--)
        if (r->row[i].kind == kind)
            return &r->row[i];
    return NULL;
}

const Row *rows_run(const Rows *r)
{
    const Row *run = rows_last(r, ROW_RUN);
    CHECK(run != NULL);
    return run;
}

static bool same_machine(const Row *a, const Row *b)
{
    char key_a[ROW_KEY_SIZE], key_b[ROW_KEY_SIZE];
    machine_key(a, key_a, sizeof key_a);
    machine_key(b, key_b, sizeof key_b);
    return strcmp(key_a, key_b) == 0;
}

/* The run that a row belongs to; NULL for a run id that no run row has. */
static const Row *run_of(const Rows *rows, const Row *r)
{
    for (int i = 0; i < rows->n; i++)
        if (rows->row[i].kind == ROW_RUN && strcmp(rows->row[i].run, r->run) == 0)
            return &rows->row[i];
    return NULL;
}

/* What to keep, by index: keep[i] is false for rows of other builds and machines. */
static void keep_newest_build(Rows *rows, bool *keep)
{
    const Row *newest = rows_run(rows);
    for (int i = 0; i < rows->n; i++) {
        const Row *r = &rows->row[i], *run = run_of(rows, r);
        bool build = strcmp(r->build, newest->build) == 0;
        bool machine = run == NULL || same_machine(run, newest);
        keep[i] = build && machine;
        rows->n_older += !build;
        rows->n_elsewhere += build && !machine;
    }
}

typedef struct Keyed {
    char key[ROW_KEY_SIZE];
    int at;
} Keyed;

static int by_key_and_place(const void *a, const void *b)
{
    const Keyed *s = a, *t = b;
    int order = strcmp(s->key, t->key);
    return order != 0 ? order : s->at - t->at;
}

/* Of rows with equal keys only the last stays. */
static Status keep_newest_rows(Rows *rows, bool *keep)
{
    Keyed *keyed = calloc((size_t)rows->n, sizeof *keyed);
    if (keyed == NULL)
        return FAIL(ST_OOM, "no memory for %d keys", rows->n);
    int n = 0;
    for (int i = 0; i < rows->n; i++) {
        if (!keep[i])
            continue;
        keyed[n].at = i;
        row_key(&rows->row[i], keyed[n++].key, ROW_KEY_SIZE);
    }
    qsort(keyed, (size_t)n, sizeof *keyed, by_key_and_place);
    for (int i = 0; i + 1 < n; i++) {
        bool replaced = strcmp(keyed[i].key, keyed[i + 1].key) == 0;
        keep[keyed[i].at] = !replaced;
        RowKind kind = rows->row[keyed[i].at].kind;
        rows->n_replaced += replaced && (kind == ROW_CASE || kind == ROW_TRAIN);
    }
    free(keyed);
    return ST_OK;
}

static Status select_rows(Rows *rows)
{
    bool *keep = calloc((size_t)rows->n, sizeof *keep);
    if (keep == NULL)
        return FAIL(ST_OOM, "no memory for %d rows", rows->n);
    const Row *end = rows_last(rows, ROW_END);
    rows->finished = end != NULL && strcmp(end->run, rows_run(rows)->run) == 0;
    keep_newest_build(rows, keep);
    Status st = keep_newest_rows(rows, keep);
    int n = 0;
    for (int i = 0; st == ST_OK && i < rows->n; i++)
        if (keep[i])
            rows->row[n++] = rows->row[i];
    rows->n = n;
    free(keep);
    return st;
}

static Status load(const char *path, Rows *out)
{
    TRY(journal_read(path, collect, out));
    if (rows_last(out, ROW_RUN) == NULL)
        return FAIL(ST_USAGE, "%s: has no row of kind 'run', so nothing to report on", path);
    return select_rows(out);
}

Status rows_load(const char *path, Rows *out)
{
    *out = (Rows){0};
    Status st = load(path, out);
    if (st != ST_OK)
        rows_free(out);
    return st;
}

void rows_free(Rows *r)
{
    free(r->row);
    *r = (Rows){0};
}
