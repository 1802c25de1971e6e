/* tables_peers.c - what other programs need for the same. The columns are padded, so that the table
 * also reads well as it is. */
#include "report/tables.h"

#include "report/format.h"

#include <string.h>

static const char *verdict(const Row *r)
{
    if (r->ratio_lo > 1 && r->ratio >= r->bar)
        return "ahead";
    return r->ratio_hi < 1      ? "**behind**"
           : r->ratio >= r->bar ? "no clear difference"
                                : "**below**";
}

static void peer_row(FILE *f, const Row *r)
{
    const Case *c = &r->c;
    char what[64], shape[64], span[32], bar[16] = "";
    snprintf(what, sizeof what, "%s %s", c->variant, pass_names[c->pass]);
    snprintf(shape, sizeof shape, "%lld x %lld, width %d, %d heads", (long long)c->batch,
             (long long)c->n, c->width, c->heads);
    snprintf(span, sizeof span, "%.2f to %.2f", r->ratio_lo, r->ratio_hi);
    if (r->bar > 0)
        snprintf(bar, sizeof bar, "%.1f", r->bar);
    fprintf(f, "| %-15s | %-32s | %10s | %10s | %6.2f | %-14s | %4s | %-10s | ", what, shape,
            text_seconds(r->timing.median).s, text_seconds(r->peer_seconds).s, r->ratio, span, bar,
            verdict(r));
    put_text(f, r->peer_runs);
    fprintf(f, " |\n");
}

void table_peers(FILE *f, const Rows *rows)
{
    const char *peer = NULL;
    for (const Row *r = rows->row; r < rows->row + rows->n; r++) {
        if (r->kind != ROW_PEER || r->status != ROW_OK)
            continue;
        if (peer == NULL || strcmp(peer, r->peer) != 0) {
            peer = r->peer;
            fprintf(f, "## Beside ");
            put_text(f, peer);
            fprintf(f,
                    "\n\nThe same shapes and threads, in turn; the one that does not run stands "
                    "still. The ratio is the peer's time over ours, the median over the pairs "
                    "with its 99 %% interval; bwd is the backward pass alone.\n\n"
                    "| %-15s | %-32s | %10s | %10s | %6s | %-14s | %4s | %-10s | what it runs |\n"
                    "|---|---|---:|---:|---:|---|---:|---|---|\n",
                    "what", "batch x T, sizes", "ours", "peer", "ratio", "99 % interval", "bar",
                    "verdict");
        }
        peer_row(f, r);
    }
    if (peer != NULL)
        fprintf(f, "\n");
}
