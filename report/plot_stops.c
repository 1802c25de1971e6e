/* plot_stops.c - the words at the ends of lines: why a series went no further. */
#include "report/plot_sweep.h"

#include <math.h>
#include <stdlib.h>

const char *stop_words(RowStatus status)
{
    static const char *const words[ROW_STATUSES] = {
        [ROW_OOM] = "oom",
        [ROW_OOM_PREDICTED] = "oom predicted",
        [ROW_TIMEOUT] = "timeout",
        [ROW_TIMEOUT_PREDICTED] = "timeout predicted",
        [ROW_UNSUPPORTED] = "unsupported",
        [ROW_FAILED_CHECK] = "failed check",
        [ROW_CRASH] = "crash",
        [ROW_SKIPPED_AFTER] = "skipped",
        [ROW_SKIPPED_BUDGET] = "no time left",
    };
    return words[status] != NULL ? words[status] : "";
}

/* What stopped one line, or n of them that end at the same place for the same reason. */
typedef struct Stop {
    double x, y; /* y: how high in the plot, 0 to 1 */
    const char *words, *color;
    int n;
} Stop;

/* Height of a line of small text; panels are about half as high as a single plot. */
static double gap_of(const Sweep *s)
{
    return s->family == NULL ? 0.036 : 0.065;
}

static int by_place(const void *a, const void *b)
{
    const Stop *s = a, *t = b;
    return s->x != t->x ? (s->x > t->x) - (s->x < t->x) : (s->y > t->y) - (s->y < t->y);
}

double sweep_height(const Sweep *s, double y)
{
    if (s->plot->scale == SCALE_LINEAR)
        return (y - s->y.lo) / (s->y.hi - s->y.lo);
    return log(y / s->y.lo) / log(s->y.hi / s->y.lo);
}

double sweep_at_height(const Sweep *s, double h)
{
    if (s->plot->scale == SCALE_LINEAR)
        return s->y.lo + h * (s->y.hi - s->y.lo);
    return s->y.lo * pow(s->y.hi / s->y.lo, h);
}

static int collect_stops(const Sweep *s, Stop *stop)
{
    int n = 0;
    for (const Series *line = s->set.item; line < s->set.item + s->set.n; line++) {
        const Row *why = series_stop(line), *last = series_last_ok(line);
        double y = last != NULL ? sweep_value(s->plot->y, last) : (double)NAN;
        if (why != NULL && !isnan(y) && sweep_shows(s, line) && !sweep_is_guest(s, line))
            stop[n++] = (Stop){(double)last->c.n, sweep_height(s, y), stop_words(why->status),
                               line->style.color, 1};
    }
    qsort(stop, (size_t)n, sizeof *stop, by_place);
    return n;
}

/* Lines of text that say the same at nearly the same place become one, in the middle of them. */
static int merge_stops(Stop *stop, int n, double gap)
{
    int merged = 0;
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < merged && (stop[k].x != stop[i].x || stop[k].words != stop[i].words ||
                              fabs(stop[k].y - stop[i].y) > 2 * gap))
            k++;
        if (k == merged) {
            stop[merged++] = stop[i];
            continue;
        }
        stop[k].y += (stop[i].y - stop[k].y) / ++stop[k].n;
        stop[k].color = "#404040";
    }
    qsort(stop, (size_t)merged, sizeof *stop, by_place);
    return merged;
}

/* Two texts that would lie over each other move apart, half up and half down. */
static void part(Stop *a, Stop *b, double gap)
{
    Stop *low = a->y <= b->y ? a : b, *high = low == a ? b : a;
    double lack = gap - (high->y - low->y);
    if (lack <= 0)
        return;
    low->y -= lack / 2;
    high->y += lack / 2;
}

/* reach: how many times its length a text covers to the right. */
static void spread_stops(Stop *stop, int n, double gap, double reach)
{
    for (int round = 0; round < 50; round++)
        for (int i = 1; i < n; i++)
            for (int k = 0; k < i; k++)
                if (stop[i].x < reach * stop[k].x)
                    part(&stop[k], &stop[i], gap);
    for (int i = 0; i < n; i++)
        stop[i].y = fmin(fmax(stop[i].y, 0.01), 0.99);
}

Status sweep_stops(FILE *f, const Sweep *s)
{
    Stop *stop = calloc((size_t)s->set.n + 1, sizeof *stop);
    if (stop == NULL)
        return FAIL(ST_OOM, "no memory for a plot");
    int n = merge_stops(stop, collect_stops(s, stop), gap_of(s));
    spread_stops(stop, n, gap_of(s), s->family == NULL ? 3 : 12);
    for (int i = 0; i < n; i++) {
        char words[64];
        snprintf(words, sizeof words, "%s", stop[i].words);
        if (stop[i].n > 1)
            snprintf(words, sizeof words, "%s (%d)", stop[i].words, stop[i].n);
        script_note(f, stop[i].x, sweep_at_height(s, stop[i].y), words, stop[i].color);
    }
    free(stop);
    return ST_OK;
}
