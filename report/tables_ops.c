/* tables_ops.c - where the time of a step goes. The columns are padded, so that the table also
 * reads well as it is. */
#include "report/tables.h"

#include "report/format.h"

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
