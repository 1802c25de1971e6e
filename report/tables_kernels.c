/* tables_kernels.c - kernels against their roof and their bar. The columns are padded, so that the
 * table also reads well as it is. */
#include "report/tables.h"

#include "report/format.h"

#include <stdlib.h>
#include <string.h>

static const double SLOPE = 0.05; /* of a prefill's segments, from the first to the last tenth */

static bool is_kernel(const Row *r)
{
    return r->kind == ROW_CASE && r->c.level == LEVEL_KERNEL && r->status == ROW_OK;
}

/* As they were listed: the order of the first run that had them is not kept by the schedule. */
static int by_name_and_size(const void *x, const void *y)
{
    const Case *a = &(*(const Row *const *)x)->c, *b = &(*(const Row *const *)y)->c;
    int names = strcmp(a->variant, b->variant);
    const int64_t order[] = {(int64_t)a->pass - (int64_t)b->pass,
                             a->width / a->heads - b->width / b->heads,
                             (a->heads * a->batch > 1) - (b->heads * b->batch > 1),
                             a->n - b->n,
                             a->batch - b->batch,
                             a->heads - b->heads};
    for (int i = 0; names == 0 && i < COUNT(order); i++)
        if (order[i] != 0)
            return order[i] < 0 ? -1 : 1;
    return names != 0 ? names : strcmp(a->set, b->set);
}

static Text rate_text(const Row *r)
{
    switch (r->roof) {
    case ROOF_SGEMM:
        return text_rate(r->flops / r->timing.median);
    case ROOF_BANDWIDTH: {
        Text t;
        snprintf(t.s, sizeof t.s, "%.20s/s", text_bytes(r->bytes / r->timing.median).s);
        return t;
    }
    default: {
        Text t;
        snprintf(t.s, sizeof t.s, "%.20s tok/s",
                 text_count((double)r->tokens / r->timing.median).s);
        return t;
    }
    }
}

static void shape_text(const Case *c, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "%lld x %lld, width %d", (long long)c->batch,
                                   (long long)c->n, c->width);
    if (c->heads > 1)
        used += (size_t)snprintf(text + used, size - used, ", %d heads", c->heads);
    if (c->set[0] != '\0')
        snprintf(text + used, size - used, ", %s", c->set);
}

/* Against the bar: for certain only where the whole interval is on one side of it. */
static const char *verdict(const Row *r)
{
    if (r->bar <= 0)
        return "";
    if (r->roof == ROOF_START && r->segment_slope > SLOPE)
        return "**below**";
    return r->roof_fraction >= r->bar ? "holds" : "**below**";
}

static bool was_stolen(const Row *r)
{
    return strcmp(r->timing.stop_reason, "stolen") == 0;
}

static void kernel_row(FILE *f, const Row *r)
{
    char shape[240], bar[16] = "", name[48], span[32];
    Text waste = {""};
    shape_text(&r->c, shape, sizeof shape);
    snprintf(name, sizeof name, "%s %s", r->c.variant, pass_names[r->c.pass]);
    snprintf(span, sizeof span, "%.3f to %.3f%s", r->fraction_lo, r->fraction_hi,
             was_stolen(r) ? "*" : "");
    if (r->bar > 0)
        snprintf(bar, sizeof bar, "%.2f", r->bar);
    if (r->executed > 0 && r->flops > 0)
        waste = text_fixed(r->executed / r->flops, 2);
    fprintf(f, "| %-19s | %-40s | %12s | %-9s | %8.3f | %-14s | %4s | %-9s | %8s |\n", name, shape,
            rate_text(r).s, roof_names[r->roof], r->roof_fraction, span, bar, verdict(r), waste.s);
}

static int collect(const Rows *rows, const Row **out)
{
    int n = 0;
    for (int i = 0; i < rows->n; i++)
        if (is_kernel(&rows->row[i]))
            out[n++] = &rows->row[i];
    qsort(out, (size_t)n, sizeof *out, by_name_and_size);
    return n;
}

Status table_kernels(FILE *f, const Rows *rows)
{
    const Row **all = calloc((size_t)rows->n + 1, sizeof *all);
    if (all == NULL)
        return FAIL(ST_OOM, "no memory for a table");
    int n = collect(rows, all), bars = 0, below = 0, marked = 0;
    for (int i = 0; i < n; i++) {
        bars += all[i]->bar > 0;
        below += verdict(all[i])[0] == '*';
        marked += was_stolen(all[i]);
    }
    if (n > 0)
        fprintf(
            f,
            "## Kernels against the roof of the machine\n\n"
            "Each is timed in turn with its roof: SGEMM (the faster of own kernel and OpenBLAS) "
            "or reading memory, whichever limits it; `start`: 2048 tokens of the same. The "
            "fraction is the median over the pairs, with its 99 %% interval. Useful operations "
            "only; a backward pass of attention counts five products for the forward pass's "
            "two. `executed`: operations that a forward pass's products did, by count, for one "
            "that is useful: tiles that the diagonal cuts, padding. %d of %d bars hold.\n\n"
            "| %-19s | %-40s | %12s | %-9s | %8s | %-14s | %4s | %-9s | %8s |\n"
            "|---|---|---:|---|---:|---|---:|---|---:|\n",
            bars - below, bars, "kernel", "batch x T, sizes", "rate", "roof", "fraction",
            "99 % interval", "bar", "verdict", "executed");
    for (int i = 0; i < n; i++)
        kernel_row(f, all[i]);
    if (marked > 0)
        fprintf(f, "\n`*`: other virtual machines took more than 5 %% of the time meanwhile.\n");
    if (n > 0)
        fprintf(f, "\n");
    free(all);
    return ST_OK;
}
