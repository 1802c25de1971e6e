/* table_costs.c - what the recipes cost by count: parameters and floating-point operations. */
#include "report/format.h"
#include "report/series.h"
#include "report/tables.h"

#include <math.h>

enum { COLUMNS = 3 };
static const int64_t wanted[COLUMNS] = {512, 4096, 65536};

static bool counts(const Row *r)
{
    return r->tokens > 0 && r->flops > 0;
}

/* The counted row nearest to a length on a logarithmic scale, within a factor of two; or NULL. */
static const Row *near(const Series *s, int64_t n)
{
    const Row *best = NULL;
    double least = log(2) + 1e-9;
    for (int i = 0; s != NULL && i < s->n; i++) {
        double off = fabs(log((double)s->row[i]->c.n / (double)n));
        if (counts(s->row[i]) && off < least) {
            least = off;
            best = s->row[i];
        }
    }
    return best;
}

static void flops_cell(FILE *f, const Row *r)
{
    if (r == NULL)
        fprintf(f, " - |");
    else
        fprintf(f, " %s |", text_digits(r->flops / (double)r->tokens / 1e6).s);
}

/* Operations done for one that is useful. */
static void executed_cell(FILE *f, const Row *r)
{
    if (r == NULL || r->executed <= 0)
        fprintf(f, " - |");
    else
        fprintf(f, " %s |", text_fixed(r->executed / r->flops, 2).s);
}

static void costs_row(FILE *f, const Series *s, const Series *decode)
{
    const Row *any = NULL;
    for (int i = 0; i < s->n && any == NULL; i++)
        any = counts(s->row[i]) ? s->row[i] : NULL;
    if (any == NULL || any->c.impl == IMPL_NAIVE)
        return;
    fprintf(f, "| %s | %d | %s |", s->label, any->c.width, text_count((double)any->params).s);
    for (int i = 0; i < COLUMNS; i++)
        flops_cell(f, near(s, wanted[i]));
    for (int i = 1; i < COLUMNS; i++)
        flops_cell(f, near(decode, wanted[i]));
    for (int i = 0; i < 2; i++)
        executed_cell(f, near(s, wanted[i]));
    fprintf(f, "\n");
}

Status table_costs(FILE *f, const Rows *rows)
{
    SeriesSet forward = {0}, decode = {0};
    Status st = series_of_cases(rows, LEVEL_LAYER, PASS_FWD, &forward);
    if (st == ST_OK)
        st = series_of_cases(rows, LEVEL_LAYER, PASS_DECODE, &decode);
    if (st == ST_OK && forward.n > 0) {
        fprintf(f,
                "## What the recipes cost by count\n\n"
                "One layer, embeddings apart; millions of useful floating-point operations a "
                "token by the papers' formulas (a multiply-add is two, hidden pairs do not "
                "count), which the tests hold against the work that the float64 loops did. "
                "`longmix bench --match-params NAME` gives all recipes the same parameters. "
                "Executed: operations that the products of a forward pass did, counted while it "
                "ran, for one that is useful: of tiles that are cut by the diagonal or filled up "
                "all is done. Of LSH attention all pairs that meet in a chunk count as useful, "
                "and tiles that are hidden as a whole are not done; of sparse feed-forward layers "
                "the second product leaves out units that are 0.\n\n"
                "| variant | width | parameters | forward, T = 512 | 4k | 64k | decode at 4k | "
                "64k | executed, T = 512 | 4k |\n"
                "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
        for (const Series *s = forward.item; s < forward.item + forward.n; s++)
            costs_row(f, s, series_twin(&decode, s));
        fprintf(f, "\n");
    }
    series_free(&forward);
    series_free(&decode);
    return st;
}
