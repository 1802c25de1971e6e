/* plot_sweep.c - a measure against the context length. */
#include "report/plot.h"

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

/* What is drawn and where. */
typedef struct Sweep {
    const SweepPlot *plot;
    SeriesSet set;
    Range x, y;
} Sweep;

/* The measure of a good row, or NaN. */
static double value(Measure *measure, const Row *r)
{
    double v = measure != NULL && r->status == ROW_OK ? measure(r) : (double)NAN;
    return isfinite(v) && v > 0 ? v : (double)NAN;
}

/* Predictions go on to the row that stopped a series, and no further. */
static double thin_value(const Sweep *s, const Series *line, const Row *r)
{
    bool shown = s->plot->thin != NULL && (r->status == ROW_OK || r == series_stop(line));
    double v = shown ? s->plot->thin(r) : (double)NAN;
    return v > 0 ? v : (double)NAN;
}

static bool has_points(const Sweep *s, const Series *line)
{
    for (int i = 0; i < line->n; i++)
        if (!isnan(value(s->plot->y, line->row[i])))
            return true;
    return false;
}

static void find_ranges(Sweep *s)
{
    Range all = range_empty();
    s->x = s->y = range_empty();
    for (const Series *line = s->set.item; line < s->set.item + s->set.n; line++)
        for (int i = 0; has_points(s, line) && i < line->n; i++) {
            const Row *r = line->row[i];
            double y = value(s->plot->y, r);
            range_add(&all, (double)r->c.n);
            range_add(&s->x, isnan(y) ? (double)NAN : (double)r->c.n);
            range_add(&s->y, y);
            range_add(&s->y, value(s->plot->lo, r));
            range_add(&s->y, value(s->plot->hi, r));
        }
    if (s->plot->stops && all.hi > s->x.hi)
        s->x.hi *= 2.5; /* room for the word why a series ended */
}

/* Air around the points; below them room for the guides. */
static void widen_ranges(Sweep *s)
{
    bool guided = s->plot->guide[0].label != NULL;
    s->x.lo /= 1.15;
    s->x.hi *= 1.15;
    if (s->plot->scale == SCALE_LINEAR) {
        s->y = (Range){0, 1.1 * s->y.hi};
        return;
    }
    double air = pow(s->y.hi / s->y.lo, 0.06);
    s->y.lo /= guided ? air * pow(s->y.hi / s->y.lo, 0.08) * 1.3 : air * 1.2;
    s->y.hi *= air * 1.2;
}

static void number(FILE *f, double x)
{
    if (isnan(x))
        fprintf(f, " NaN");
    else
        fprintf(f, " %.9g", x);
}

static void write_data(FILE *f, const Sweep *s)
{
    for (int i = 0; i < s->set.n; i++) {
        const Series *line = &s->set.item[i];
        if (!has_points(s, line))
            continue;
        fprintf(f, "# %s: length, value, band, %s\n$d%d << EOD\n", line->label,
                s->plot->thin != NULL ? "thin line" : "nothing", i);
        for (int k = 0; k < line->n; k++) {
            const Row *r = line->row[k];
            fprintf(f, "%lld", (long long)r->c.n);
            number(f, value(s->plot->y, r));
            number(f, value(s->plot->lo, r));
            number(f, value(s->plot->hi, r));
            number(f, thin_value(s, line, r));
            fprintf(f, "\n");
        }
        fprintf(f, "EOD\n");
    }
}

/* ---- why lines end ---- */

/* What stopped one line, or n of them that end at the same place for the same reason. */
typedef struct Stop {
    double x, y; /* y: how high in the plot, 0 to 1 */
    const char *words, *color;
    int n;
} Stop;

static const double gap = 0.036; /* height of a line of small text */

static int by_place(const void *a, const void *b)
{
    const Stop *s = a, *t = b;
    return s->x != t->x ? (s->x > t->x) - (s->x < t->x) : (s->y > t->y) - (s->y < t->y);
}

static double height(const Sweep *s, double y)
{
    if (s->plot->scale == SCALE_LINEAR)
        return (y - s->y.lo) / (s->y.hi - s->y.lo);
    return log(y / s->y.lo) / log(s->y.hi / s->y.lo);
}

static double at_height(const Sweep *s, double h)
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
        double y = last != NULL ? value(s->plot->y, last) : (double)NAN;
        if (why != NULL && !isnan(y))
            stop[n++] = (Stop){(double)last->c.n, height(s, y), stop_words(why->status),
                               line->style.color, 1};
    }
    qsort(stop, (size_t)n, sizeof *stop, by_place);
    return n;
}

/* Lines of text that say the same at nearly the same place become one, in the middle of them. */
static int merge_stops(Stop *stop, int n)
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

/* Moves text at the same length apart, half up and half down, so that none covers another. */
static void spread_stops(Stop *stop, int n)
{
    for (int round = 0; round < 50; round++)
        for (int i = 1; i < n; i++) {
            double lack = gap - (stop[i].y - stop[i - 1].y);
            if (stop[i].x != stop[i - 1].x || lack <= 0)
                continue;
            stop[i - 1].y -= lack / 2;
            stop[i].y += lack / 2;
        }
    for (int i = 0; i < n; i++)
        stop[i].y = fmin(fmax(stop[i].y, 0.01), 0.99);
}

static Status write_stops(FILE *f, const Sweep *s)
{
    Stop *stop = calloc((size_t)s->set.n + 1, sizeof *stop);
    if (stop == NULL)
        return FAIL(ST_OOM, "no memory for a plot");
    int n = merge_stops(stop, collect_stops(s, stop));
    spread_stops(stop, n);
    for (int i = 0; i < n; i++) {
        char words[64];
        snprintf(words, sizeof words, "%s", stop[i].words);
        if (stop[i].n > 1)
            snprintf(words, sizeof words, "%s (%d)", stop[i].words, stop[i].n);
        script_note(f, stop[i].x, at_height(s, stop[i].y), words, stop[i].color);
    }
    free(stop);
    return ST_OK;
}

/* ---- the whole ---- */

static void write_guides(FILE *f, const Sweep *s)
{
    for (int i = 0; i < COUNT(s->plot->guide); i++)
        if (s->plot->guide[i].label != NULL)
            script_guide(f, s->x, s->y, at_height(s, 0.05), s->plot->guide[i].slope,
                         s->plot->guide[i].below, s->plot->guide[i].label);
}

/* What stands between two parts of a plot command. */
static const char *comma(int *n_parts)
{
    return (*n_parts)++ == 0 ? "" : ", \\\n     ";
}

/* Bands first, thin lines, then the lines with their points on top. */
static void write_plot(FILE *f, const Sweep *s)
{
    int n = 0;
    for (int i = 0; i < s->set.n; i++) {
        const char *color = s->set.item[i].style.color;
        if (s->plot->lo != NULL && has_points(s, &s->set.item[i]))
            fprintf(f,
                    "%s$d%d using 1:3:4 with filledcurves fs transparent solid 0.18 noborder "
                    "lc rgb '%s' notitle",
                    comma(&n), i, color);
        if (s->plot->thin != NULL && has_points(s, &s->set.item[i]))
            fprintf(f, "%s$d%d using 1:5 with lines lw 1 dt (2,3) lc rgb '%s' notitle", comma(&n),
                    i, color);
    }
    for (int i = 0; i < s->set.n; i++) {
        if (!has_points(s, &s->set.item[i]))
            continue;
        fprintf(f, "%s$d%d using 1:2 with linespoints ", comma(&n), i);
        script_look(f, &s->set.item[i]);
        fprintf(f, " title '%s'", s->set.item[i].label);
    }
}

static Status write_script(FILE *f, const Sweep *s)
{
    char *plot = NULL;
    size_t size = 0;
    FILE *command = open_memstream(&plot, &size);
    if (command == NULL)
        return FAIL(ST_OOM, "no memory for a plot");
    write_plot(command, s);
    fclose(command);

    script_head(f, s->plot->name, s->plot->title, s->plot->caption);
    write_data(f, s);
    script_axis(f, 'x', s->plot->x_label, SCALE_LENGTH, s->x);
    script_axis(f, 'y', s->plot->y_label, s->plot->scale, s->y);
    write_guides(f, s);
    Status st = s->plot->stops ? write_stops(f, s) : ST_OK;
    script_draw(f, s->plot->name, plot);
    free(plot);
    return st;
}

Status plot_sweep(FILE *f, const SweepPlot *p, const Rows *rows, bool *drawn)
{
    Sweep s = {.plot = p};
    TRY(series_of_cases(rows, p->level, p->pass, &s.set));
    find_ranges(&s);
    *drawn = !range_is_empty(s.y);
    Status st = ST_OK;
    if (*drawn) {
        widen_ranges(&s);
        st = write_script(f, &s);
    }
    series_free(&s.set);
    return st;
}
