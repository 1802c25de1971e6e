/* tables_ops.c - where the time of a step goes. The columns are padded, so that the table also
 * reads well as it is. */
#include "report/tables.h"

#include "report/format.h"
#include "report/style.h"

#include <stdlib.h>
#include <string.h>

static bool outside(const OpShare *op)
{
    return strcmp(op->op, "tape") == 0 || strcmp(op->op, "allocation") == 0;
}

static void op_row(FILE *f, const OpShare *op, double step)
{
    char name[40], roof[48] = "-";
    snprintf(name, sizeof name, "%s%s", op->op, op->backward ? " bwd" : "");
    if (op->roof != ROOF_NONE)
        snprintf(roof, sizeof roof, "%s of %s", text_percent(op->roof_fraction).s,
                 roof_names[op->roof]);
    fprintf(f, "| %-20s | %5lld | %10s | %5.1f %% | %10s | %-18s | %6lld |\n", name,
            (long long)op->calls, text_seconds(op->seconds).s, 100 * op->seconds / step,
            text_bytes(op->bytes).s, roof, (long long)op->allocs);
}

static void sums(FILE *f, const Row *r)
{
    double tape = 0, memory = 0;
    int64_t kernels = 0, allocs = 0;
    for (const OpShare *op = r->op; op < r->op + r->n_ops; op++) {
        tape += strcmp(op->op, "tape") == 0 ? op->seconds : 0;
        memory += strcmp(op->op, "allocation") == 0 ? op->seconds : 0;
        kernels += outside(op) ? 0 : op->calls;
        allocs += op->allocs;
    }
    double threads = (double)kernels * r->region_seconds, step = r->watched_seconds;
    fprintf(f,
            "\nOutside of kernels %.1f %% of the step: tape %.1f %%, allocation %.1f %% (%lld "
            "blocks, %lld of all steps from the system), threads %.1f %% (at least: %lld ops, each "
            "of which starts them once in %s).\n\n",
            100 * (tape + memory + threads) / step, 100 * tape / step, 100 * memory / step,
            (long long)allocs, (long long)r->system_allocs, 100 * threads / step,
            (long long)kernels, text_seconds(r->region_seconds).s);
}

static void ops_table(FILE *f, const Row *r)
{
    const Case *c = &r->c;
    fprintf(f, "### ");
    put_text(f, c->variant);
    fprintf(f, ", %s %s, %lld x %lld, width %d, %d layer%s\n\n", level_names[c->level],
            pass_names[c->pass], (long long)c->batch, (long long)c->n, c->width, c->layers,
            c->layers == 1 ? "" : "s");
    fprintf(f, "A step takes %s; %s while it is watched, which is what the shares are of.\n\n",
            text_seconds(r->step_seconds).s, text_seconds(r->watched_seconds).s);
    fprintf(f, "| %-20s | %5s | %10s | %7s | %10s | %-18s | %6s |\n", "op", "calls", "time",
            "share", "bytes", "of its roof", "allocs");
    fprintf(f, "|---|---:|---:|---:|---:|---|---:|\n");
    for (const OpShare *op = r->op; op < r->op + r->n_ops; op++)
        op_row(f, op, r->watched_seconds);
    sums(f, r);
}

void table_ops(FILE *f, const Rows *rows)
{
    bool any = false;
    for (const Row *r = rows->row; r < rows->row + rows->n; r++) {
        if (r->kind != ROW_OPS || r->status != ROW_OK)
            continue;
        if (!any)
            fprintf(f, "## Where the time of a step goes\n\n");
        any = true;
        ops_table(f, r);
    }
}

/* ---- the largest costs of many steps ---- */
enum { LARGEST = 3 };
static const double HALF = 0.5; /* of the roof: below, the costs are an explanation */

/* The timed point of the same case, or NULL. */
static const Row *timed(const Rows *rows, const Row *ops)
{
    char key[ROW_KEY_SIZE], other[ROW_KEY_SIZE];
    case_key(&ops->c, key, sizeof key);
    for (const Row *r = rows->row; r < rows->row + rows->n; r++) {
        if (r->kind != ROW_CASE || r->status != ROW_OK || r->c.n != ops->c.n)
            continue;
        case_key(&r->c, other, sizeof other);
        if (strcmp(key, other) == 0)
            return r;
    }
    return NULL;
}

static int by_case(const void *x, const void *y)
{
    const Row *r = *(const Row *const *)x, *s = *(const Row *const *)y;
    const Case *a = &r->c, *b = &s->c;
    const int64_t order[] = {(int64_t)a->level - (int64_t)b->level,
                             (int64_t)a->pass - (int64_t)b->pass, a->n - b->n, a->width - b->width,
                             style_of(a->variant).rank - style_of(b->variant).rank};
    for (int i = 0; i < COUNT(order); i++)
        if (order[i] != 0)
            return order[i] < 0 ? -1 : 1;
    return (r > s) - (r < s);
}

static void share_cell(FILE *f, const Row *r, int i)
{
    const OpShare *op = &r->op[i];
    if (i >= r->n_ops) {
        fprintf(f, " |");
        return;
    }
    fprintf(f, " ");
    put_text(f, op->op);
    fprintf(f, "%s %s", op->backward ? " bwd" : "",
            text_percent(op->seconds / r->watched_seconds).s);
    if (op->roof != ROOF_NONE)
        fprintf(f, ", at %s of %s", text_percent(op->roof_fraction).s, roof_names[op->roof]);
    fprintf(f, " |");
}

static void largest_row(FILE *f, const Rows *rows, const Row *r)
{
    const Row *point = timed(rows, r);
    bool roof = point != NULL && point->roof != ROOF_NONE,
         slow = roof && point->roof_fraction < HALF;
    fprintf(f, "| %s", slow ? "**" : "");
    put_text(f, r->c.variant);
    fprintf(f, "%s | %s %s, %s", slow ? "**" : "", level_names[r->c.level], pass_names[r->c.pass],
            text_length((double)r->c.n).s);
    if (r->c.size[0] != '\0')
        fprintf(f, ", ");
    put_text(f, r->c.size);
    fprintf(f, " |");
    if (roof)
        fprintf(f, " %s of %s |", text_percent(point->roof_fraction).s, roof_names[point->roof]);
    else
        fprintf(f, " - |");
    for (int i = 0; i < LARGEST; i++)
        share_cell(f, r, i);
    fprintf(f, "\n");
}

Status table_largest(FILE *f, const Rows *rows)
{
    const Row **all = calloc((size_t)rows->n + 1, sizeof *all);
    int n = 0;
    if (all == NULL)
        return FAIL(ST_OOM, "no memory for a table");
    for (const Row *r = rows->row; r < rows->row + rows->n; r++)
        if (r->kind == ROW_OPS && r->status == ROW_OK)
            all[n++] = r;
    qsort(all, (size_t)n, sizeof *all, by_case);
    if (n > 0)
        fprintf(f, "## What a step's time is spent on\n\n"
                   "The three largest costs with their shares of a step that was watched op by op, "
                   "and each op's own part of its roof (what stays in caches can pass 1). In bold: "
                   "steps at less than half of their roof.\n\n"
                   "| variant | step | of the roof | largest | second | third |\n"
                   "|---|---|---:|---|---|---|\n");
    for (int i = 0; i < n; i++)
        largest_row(f, rows, all[i]);
    free(all);
    if (n == 0)
        return ST_OK;
    fprintf(f, "\n<details><summary>Op by op</summary>\n\n");
    table_ops(f, rows);
    fprintf(f, "</details>\n\n");
    return ST_OK;
}
