/* tables_checks.c - what was held against the reference before it was timed, and what choices let
 * through from the future. */
#include "report/format.h"
#include "report/style.h"
#include "report/tables.h"

#include <stdlib.h>
#include <string.h>

/* All checks of a variant on a backend, with one way to multiply. */
typedef struct Checks {
    const Row *worst; /* the passed one nearest to its tolerance; NULL when none passed */
    const Case *c;
    int passed, failed, other;
} Checks;

static void count_check(Checks *all, int *n, const Row *r)
{
    int i = 0;
    while (i < *n && (strcmp(all[i].c->variant, r->c.variant) != 0 ||
                      strcmp(all[i].c->backend, r->c.backend) != 0 ||
                      strcmp(all[i].c->dtype, r->c.dtype) != 0))
        i++;
    if (i == *n)
        all[(*n)++] = (Checks){.c = &r->c};
    Checks *c = &all[i];
    c->passed += r->status == ROW_OK;
    c->failed += r->status == ROW_FAILED_CHECK;
    c->other += r->status != ROW_OK && r->status != ROW_FAILED_CHECK;
    if (r->status == ROW_OK &&
        (c->worst == NULL || r->error * c->worst->tolerance > c->worst->error * r->tolerance))
        c->worst = r;
}

static int by_variant_and_backend(const void *a, const void *b)
{
    const Case *c = ((const Checks *)a)->c, *d = ((const Checks *)b)->c;
    int order = style_of(c->variant).rank - style_of(d->variant).rank;
    if (order == 0)
        order = strcmp(c->variant, d->variant);
    if (order == 0)
        order = strcmp(c->backend, d->backend);
    return order != 0 ? order : strcmp(c->dtype, d->dtype);
}

Status table_checks(FILE *f, const Rows *rows)
{
    Checks *all = calloc((size_t)rows->n, sizeof *all);
    if (all == NULL)
        return FAIL(ST_OOM, "no memory for a table");
    int n = 0;
    for (int i = 0; i < rows->n; i++)
        if (rows->row[i].kind == ROW_CHECK)
            count_check(all, &n, &rows->row[i]);
    qsort(all, (size_t)n, sizeof *all, by_variant_and_backend);
    if (n > 0) {
        fprintf(f, "## Checked before it was timed\n\n");
        fprintf(f, "Every variant is held against the float64 reference before it is timed; one "
                   "that fails gets no number.\n\n");
        fprintf(f, "| variant | backend, products in | passed | failed | not run | largest error | "
                   "allowed |\n");
        fprintf(f, "|---|---|---:|---:|---:|---:|---:|\n");
    }
    for (const Checks *c = all; c < all + n; c++) {
        fprintf(f, "| ");
        put_text(f, c->c->variant);
        fprintf(f, " | ");
        put_text(f, c->c->backend);
        fprintf(f, ", ");
        put_text(f, c->c->dtype);
        fprintf(f, " | %d | %d | %d |", c->passed, c->failed, c->other);
        if (c->worst != NULL)
            fprintf(f, " %.1e | %.1e |\n", c->worst->error, c->worst->tolerance);
        else
            fprintf(f, " - | - |\n");
    }
    if (n > 0)
        fprintf(f, "\n");
    free(all);
    return ST_OK;
}

/* ---- leaks ---- */
static int by_style(const void *a, const void *b)
{
    const Case *c = &(*(const Row *const *)a)->c, *d = &(*(const Row *const *)b)->c;
    int order = style_of(c->variant).rank - style_of(d->variant).rank;
    return order != 0 ? order : strcmp(c->variant, d->variant);
}

/* Of each variant the check with the most rows that change. */
static void note_leak(const Row **worst, int *n, const Row *r)
{
    int i = 0;
    if (r->kind != ROW_CHECK || r->status != ROW_OK || r->leak.of == 0)
        return;
    while (i < *n && strcmp(worst[i]->c.variant, r->c.variant) != 0)
        i++;
    if (i == *n)
        worst[(*n)++] = r;
    if (r->leak.rows > worst[i]->leak.rows)
        worst[i] = r;
}

Status table_leaks(FILE *f, const Rows *rows)
{
    const Row **worst = calloc((size_t)rows->n + 1, sizeof *worst);
    if (worst == NULL)
        return FAIL(ST_OOM, "no memory for a table");
    int n = 0;
    for (int i = 0; i < rows->n; i++)
        note_leak(worst, &n, &rows->row[i]);
    qsort(worst, (size_t)n, sizeof *worst, by_style);
    if (n > 0)
        fprintf(f, "## What choices see of the future\n\n"
                   "Causal variants that make discrete choices, on the reference, in the small "
                   "case of the check: how many of the rows before the last change, and by how "
                   "much of the largest number, when every sequence gets another last position. "
                   "With choices held fixed nothing may change but by rounding.\n\n"
                   "| variant | earlier rows that change | largest change | choices held fixed |\n"
                   "|---|---:|---:|---:|\n");
    for (int i = 0; i < n; i++) {
        const Leak *l = &worst[i]->leak;
        fprintf(f, "| ");
        put_text(f, worst[i]->c.variant);
        fprintf(f, " | %lld of %lld | %.2g | %.2g |\n", (long long)l->rows, (long long)l->of,
                l->largest, l->held);
    }
    if (n > 0)
        fprintf(f, "\n");
    free(worst);
    return ST_OK;
}
