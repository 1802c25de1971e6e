/* tables_detail.c - quality, roof, what has no number and why, and every measured point. */
#include "report/tables.h"

#include "report/format.h"
#include "report/series.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- quality ---- */

static int distinct_seeds(const SeriesSet *set)
{
    int n = 0;
    for (int i = 0; i < set->n; i++) {
        bool fresh = true;
        for (int k = 0; k < i; k++)
            fresh = fresh && set->item[k].row[0]->c.seed != set->item[i].row[0]->c.seed;
        n += fresh;
    }
    return n;
}

static int distinct_rates(const SeriesSet *set)
{
    int n = 0;
    for (int i = 0; i < set->n; i++) {
        bool fresh = true;
        for (int k = 0; k < i; k++)
            fresh = fresh && set->item[k].row[0]->lr != set->item[i].row[0]->lr;
        n += fresh;
    }
    return n;
}

static void quality_note(FILE *f, const SeriesSet *set, const Row *text)
{
    int seeds = distinct_seeds(set), rates = distinct_rates(set);
    if (text != NULL) {
        fprintf(f, "Text: ");
        put_text(f, text->text_name);
        fprintf(f,
                ", %s bytes, entropy of a byte %.3f bits (order 0), after one byte %.3f (order 1), "
                "after two %.3f (order 2)",
                text_count((double)text->text_bytes).s, text->entropy[0], text->entropy[1],
                text->entropy[2]);
        fprintf(f, "; xz -6 needs %s bits per byte.\n", text_fixed(text->xz_bpb, 3).s);
    }
    if (seeds == 1 && rates == 1)
        fprintf(f, "**One seed, one learning rate: not a claim.** ");
    else
        fprintf(f, "%d seed%s, %d learning rate%s%s. ", seeds, seeds == 1 ? "" : "s", rates,
                rates == 1 ? "" : "s", seeds < 3 || rates < 3 ? ": not a claim" : "");
    fprintf(f, "Byte-level models; parameters without the embedding. Valid is a sample of windows "
               "spread over the validation part, to choose by; test is all of the test part, "
               "another stretch of the text: compare down a column, not across.\n\n");
}

static void quality_row(FILE *f, const Series *s, const Row *text)
{
    const Row *r = s->row[0];
    fprintf(f, "| %s | %s | %s | %s | %s | %s |", s->label, text_count((double)r->params).s,
            text_count((double)r->train_tokens).s, text_seconds(r->train_seconds).s,
            text_fixed(r->valid_bpb, 3).s, text_fixed(r->test_bpb, 3).s);
    fprintf(f, " %s |", text_fixed(exp2(r->test_bpb), 2).s);
    double off = text != NULL ? r->test_bpb - text->entropy[1] : (double)NAN;
    fprintf(f, " %s%s |\n", off > 0 ? "+" : "", text_fixed(off, 3).s);
}

Status table_quality(FILE *f, const Rows *rows)
{
    SeriesSet set;
    const Row *text = rows_last(rows, ROW_TEXT);
    TRY(series_of_trainings(rows, &set));
    if (set.n > 0) {
        fprintf(f, "## How well they model text\n\n");
        quality_note(f, &set, text);
        fprintf(f, "| variant | parameters | training tokens | training time | valid bits/byte | "
                   "test bits/byte | byte perplexity | against order 1 |\n");
        fprintf(f, "|---|---:|---:|---:|---:|---:|---:|---:|\n");
    }
    for (const Series *s = set.item; s < set.item + set.n; s++)
        if (s->row[0]->status == ROW_OK)
            quality_row(f, s, text);
    if (set.n > 0)
        fprintf(f, "\n");
    series_free(&set);
    return ST_OK;
}

/* ---- roof ---- */

void table_roof(FILE *f, const Rows *rows)
{
    const Row *r = rows_last(rows, ROW_ROOF);
    if (r == NULL)
        return;
    fprintf(f, "## What this machine can do\n\n");
    fprintf(
        f,
        "Measured in the same run. A case is held against SGEMM (the better of the two) where its "
        "counted operations per byte exceed the machine's balance, else against the "
        "bandwidth; what fits in a cache can read faster than that.\n\n");
    fprintf(f, "| what | measured |\n|---|---:|\n");
    if (r->sgemm_own > 0)
        fprintf(f, "| SGEMM, own kernel | %s |\n", text_rate(r->sgemm_own).s);
    if (r->sgemm_blas > 0) {
        fprintf(f, "| SGEMM, OpenBLAS (");
        put_text(f, r->blas_core);
        fprintf(f, ") | %s |\n", text_rate(r->sgemm_blas).s);
    }
    if (r->read_bandwidth > 0)
        fprintf(f, "| reading memory | %s/s |\n", text_bytes(r->read_bandwidth).s);
    fprintf(f, "\n");
}

/* ---- what has no number ---- */

/* Rows that failed alike; reasons that differ in their numbers alone are alike. */
typedef struct Group {
    const Row *first; /* of the smallest length */
    int64_t from, to;
    int n;
} Group;

static bool same_but_digits(const char *a, const char *b)
{
    while (*a != '\0' || *b != '\0') {
        bool digit_a = isdigit((unsigned char)*a) || *a == '.';
        bool digit_b = isdigit((unsigned char)*b) || *b == '.';
        if (digit_a && digit_b) {
            a += strspn(a, "0123456789.");
            b += strspn(b, "0123456789.");
        } else if (*a++ != *b++) {
            return false;
        }
    }
    return true;
}

static bool alike(const Row *a, const Row *b)
{
    return a->kind == b->kind && a->status == b->status && a->c.impl == b->c.impl &&
           a->c.level == b->c.level && a->c.pass == b->c.pass &&
           strcmp(a->c.variant, b->c.variant) == 0 && strcmp(a->c.backend, b->c.backend) == 0 &&
           same_but_digits(a->reason, b->reason);
}

static void add_failure(Group *all, int *n, const Row *r)
{
    int i = 0;
    while (i < *n && !alike(all[i].first, r))
        i++;
    if (i == *n)
        all[(*n)++] = (Group){.first = r, .from = r->c.n, .to = r->c.n};
    Group *g = &all[i];
    g->n++;
    g->to = max64(g->to, r->c.n);
    if (r->c.n < g->from) {
        g->from = r->c.n;
        g->first = r;
    }
}

/* Checks first, then variants in the order of the legends. */
static int by_variant_and_pass(const void *a, const void *b)
{
    const Group *s = a, *t = b;
    const Case *c = &s->first->c, *d = &t->first->c;
    const int order[] = {
        (int)s->first->kind - (int)t->first->kind,
        style_of(c->variant).rank - style_of(d->variant).rank,
        strcmp(c->variant, d->variant),
        (int)c->impl - (int)d->impl,
        (int)c->level - (int)d->level,
        (int)c->pass - (int)d->pass,
        (s->from > t->from) - (s->from < t->from),
        (s->first > t->first) - (s->first < t->first),
    };
    for (int i = 0; i < COUNT(order); i++)
        if (order[i] != 0)
            return order[i];
    return 0;
}

static void failure_row(FILE *f, const Group *g)
{
    const Case *c = &g->first->c;
    fprintf(f, "| ");
    put_text(f, c->variant);
    fprintf(f, "%s | ", c->impl == IMPL_NAIVE ? " (naive)" : "");
    if (g->first->kind == ROW_CHECK)
        fprintf(f, "check of %s", pass_names[c->pass]);
    else
        fprintf(f, "%s, %s", level_names[c->level], pass_names[c->pass]);
    fprintf(f, " | %s | %s", row_status_names[g->first->status], text_length((double)g->from).s);
    if (g->to != g->from)
        fprintf(f, " to %s", text_length((double)g->to).s);
    fprintf(f, " | %d | ", g->n);
    put_text(f, g->first->reason);
    fprintf(f, " |\n");
}

Status table_failures(FILE *f, const Rows *rows)
{
    Group *all = calloc((size_t)rows->n, sizeof *all);
    if (all == NULL)
        return FAIL(ST_OOM, "no memory for a table");
    int n = 0;
    for (int i = 0; i < rows->n; i++)
        if (rows->row[i].status != ROW_OK)
            add_failure(all, &n, &rows->row[i]);
    qsort(all, (size_t)n, sizeof *all, by_variant_and_pass);
    if (n > 0) {
        fprintf(f, "## Points without a number\n\n");
        fprintf(f, "Nothing is left out: every point of the sweep that gave no number, with the "
                   "reason at its smallest length.\n\n");
        fprintf(f,
                "| variant | what | status | T | points | reason |\n|---|---|---|---|---:|---|\n");
    }
    for (const Group *g = all; g < all + n; g++)
        failure_row(f, g);
    if (n > 0)
        fprintf(f, "\n");
    free(all);
    return ST_OK;
}

/* ---- every point ---- */

static void roof_cell(FILE *f, const Row *r)
{
    if (r->roof == ROOF_NONE)
        fprintf(f, " - |");
    else
        fprintf(f, " %s of %s |", text_percent(r->roof_fraction).s, roof_names[r->roof]);
}

static void point_row(FILE *f, const Series *s, const Row *r)
{
    const Timing *t = &r->timing;
    fprintf(f, "| %s | %s, %s | %s | %lld |", s->label, level_names[r->c.level],
            pass_names[r->c.pass], text_length((double)r->c.n).s, (long long)r->c.batch);
    fprintf(f, " %s | %s to %s |", text_digits(micros_per_token(r)).s,
            text_digits(micros_per_token_lo(r)).s, text_digits(micros_per_token_hi(r)).s);
    fprintf(f, " %d%s%s | %s | %s, %s |", t->n, t->quiet ? "" : "*", t->n_throttled > 0 ? "†" : "",
            text_bytes(counted_bytes(r)).s, text_bytes((double)r->memory.work).s,
            text_bytes((double)r->memory.rss).s);
    roof_cell(f, r);
    fprintf(f, "\n");
}

static Status points_of(FILE *f, const Rows *rows, Level level, Pass pass)
{
    SeriesSet set;
    TRY(series_of_cases(rows, level, pass, &set));
    for (const Series *s = set.item; s < set.item + set.n; s++)
        for (int i = 0; i < s->n; i++)
            if (s->row[i]->status == ROW_OK)
                point_row(f, s, s->row[i]);
    series_free(&set);
    return ST_OK;
}

/* What the dagger means, where there is one. */
static void throttle_note(FILE *f, const Rows *rows)
{
    int points = 0, samples = 0, all = 0;
    unsigned reasons = 0;
    static const char *const names[] = {"power", "heat", "hardware", "other"};
    for (const Row *r = rows->row; r < rows->row + rows->n; r++) {
        if (r->kind != ROW_CASE || r->timing.n_throttled == 0)
            continue;
        points++;
        samples += r->timing.n_throttled;
        all += r->timing.n;
        for (int i = 0; i < COUNT(names); i++)
            reasons |= strstr(r->timing.throttle, names[i]) != NULL ? 1u << i : 0;
    }
    if (points == 0)
        return;
    fprintf(f, "† the GPU's clocks were lowered around %d of the %d samples of %d points, for",
            samples, all, points);
    for (int i = 0; i < COUNT(names); i++)
        if ((reasons >> i & 1u) != 0)
            fprintf(f, " %s", names[i]);
    fprintf(f, ".\n\n");
}

Status table_points(FILE *f, const Rows *rows)
{
    if (rows_last(rows, ROW_CASE) == NULL)
        return ST_OK;
    fprintf(f, "## Every measured point\n\n<details><summary>All points with a number (`*`: the "
               "interval of the median did not become narrow enough in time). Scratch of kernels "
               "is not in the peak memory; the process holds both.</summary>\n\n");
    fprintf(f, "| variant | what | T | batch | µs/token | 99 %% interval | samples | peak memory | "
               "scratch, process | of the roof |\n"
               "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    Status st = ST_OK;
    for (Level level = 0; level < LEVEL_KERNEL; level++)
        for (Pass pass = 0; st == ST_OK && pass < PASSES; pass++)
            st = points_of(f, rows, level, pass);
    fprintf(f, "\n</details>\n\n");
    throttle_note(f, rows);
    return st;
}
