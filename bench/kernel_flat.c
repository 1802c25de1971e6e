/* kernel_flat.c - see kernel_flat.h. */
#include "bench/kernel_flat.h"

#include "bench/backend.h"
#include "report/stats.h"

#include <stdio.h>
#include <string.h>

enum { SHORT = 2048, GROUPS = 60, REPEATS = 4 };

/* A short pass of the same layer, with the same segments. */
static Status short_init(Rig *r, Dev *d, const Case *c)
{
    Case s = *c;
    s.n = min64(SHORT, c->n);
    s.segment = min64(c->segment, s.n);
    return rig_init(r, d, &s);
}

typedef struct Groups {
    int n;
    double seconds[GROUPS]; /* per token of the long pass */
    double ratio[GROUPS];   /* long rate / short rate */
    double rate[GROUPS];    /* short, tokens/s */
} Groups;

static Status run_group(Rig *longer, Rig *shorter, int64_t from, int64_t to, Groups *g)
{
    double a = 0, b = 0, tokens = 0;
    for (int64_t i = from; i < to; i++) {
        double one = 0;
        TRY(rig_segment(longer, i, &one));
        a += one;
        tokens += (double)rig_segment_tokens(longer, i);
    }
    TRY(rig_run(shorter, REPEATS, &b));
    int i = g->n++;
    g->seconds[i] = a / tokens;
    g->rate[i] = REPEATS * (double)shorter->c.n / b;
    g->ratio[i] = tokens / a / g->rate[i];
    return ST_OK;
}

static double median(const double *x, int n)
{
    double sorted[GROUPS];
    memcpy(sorted, x, (size_t)n * sizeof *x);
    stats_sort(sorted, n);
    return stats_quantile(sorted, n, 0.5);
}

static void fill(const Groups *g, double tokens, Row *row)
{
    double sorted[GROUPS];
    Timing *t = &row->timing;
    int tenth = g->n < 10 ? 1 : g->n / 10;
    memcpy(sorted, g->ratio, sizeof sorted);
    stats_sort(sorted, g->n);
    Ranks ranks = stats_sign_ranks(g->n, 0.01);
    row->roof = ROOF_START;
    row->roof_rate = median(g->rate, g->n);
    row->roof_fraction = stats_quantile(sorted, g->n, 0.5);
    row->fraction_lo = sorted[ranks.lo - 1];
    row->fraction_hi = sorted[ranks.hi - 1];
    row->segment_slope = median(g->ratio, tenth) / median(g->ratio + g->n - tenth, tenth) - 1;
    t->n = g->n;
    t->inner = 1;
    for (int i = 0; i < g->n; i++)
        t->seconds[i] = g->seconds[i] * tokens;
    snprintf(t->stop_reason, sizeof t->stop_reason, "samples");
    timing_summarise(t);
}

static Status run_all(Rig *longer, Rig *shorter, Row *row)
{
    Groups g = {.n = 0};
    int64_t all = longer->n_segments, groups = min64(GROUPS, all);
    double none = 0;
    TRY(rig_run(shorter, REPEATS, &none));
    TRY(model_zero_state(&longer->m));
    for (int64_t i = 0; i < groups; i++)
        TRY(run_group(longer, shorter, i * all / groups, (i + 1) * all / groups, &g));
    fill(&g, (double)longer->c.n, row);
    return ST_OK;
}

Status kernel_flat(Rig *longer, Row *row)
{
    Rig shorter = {0};
    Dev *d = NULL;
    TRY(backend_open(&d, &longer->c, 0)); /* so that its memory is not the long pass's */
    Status st = short_init(&shorter, d, &longer->c);
    if (st == ST_OK)
        st = run_all(longer, &shorter, row);
    rig_free(&shorter);
    dev_close(d);
    return st;
}
