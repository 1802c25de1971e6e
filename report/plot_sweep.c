/* plot_sweep.c - a measure against the context length. */
#include "report/plot_sweep.h"

#include <math.h>
#include <string.h>

enum { MAX_LINES = 7, MAX_PANELS = 12 }; /* lines that one panel bears; panels of a plot */

/* The measure of a good row, or NaN. */
double sweep_value(Measure *measure, const Row *r)
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
        if (!isnan(sweep_value(s->plot->y, line->row[i])))
            return true;
    return false;
}

static bool belongs(const Sweep *s, const Series *line)
{
    return s->family == NULL || strcmp(line->style.family, s->family) == 0;
}

bool sweep_is_guest(const Sweep *s, const Series *line)
{
    return !belongs(s, line) && line->style.rank == 0 && line->nth == 0;
}

bool sweep_shows(const Sweep *s, const Series *line)
{
    return (belongs(s, line) || sweep_is_guest(s, line)) && has_points(s, line);
}

static void find_ranges(Sweep *s)
{
    Range all = range_empty();
    s->x = s->y = range_empty();
    for (const Series *line = s->set.item; line < s->set.item + s->set.n; line++)
        for (int i = 0; has_points(s, line) && i < line->n; i++) {
            const Row *r = line->row[i];
            double y = sweep_value(s->plot->y, r);
            range_add(&all, (double)r->c.n);
            range_add(&s->x, isnan(y) ? (double)NAN : (double)r->c.n);
            range_add(&s->y, y);
            range_add(&s->y, sweep_value(s->plot->lo, r));
            range_add(&s->y, sweep_value(s->plot->hi, r));
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
            number(f, sweep_value(s->plot->y, r));
            number(f, sweep_value(s->plot->lo, r));
            number(f, sweep_value(s->plot->hi, r));
            number(f, thin_value(s, line, r));
            fprintf(f, "\n");
        }
        fprintf(f, "EOD\n");
    }
}

/* ---- the whole ---- */

static void write_guides(FILE *f, const Sweep *s)
{
    for (int i = 0; i < COUNT(s->plot->guide); i++)
        if (s->plot->guide[i].label != NULL)
            script_guide(f, s->x, s->y, sweep_at_height(s, 0.05), s->plot->guide[i].slope,
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
        if (s->plot->lo != NULL && sweep_shows(s, &s->set.item[i]))
            fprintf(f,
                    "%s$d%d using 1:3:4 with filledcurves fs transparent solid 0.18 noborder "
                    "lc rgb '%s' notitle",
                    comma(&n), i, color);
        if (s->plot->thin != NULL && sweep_shows(s, &s->set.item[i]))
            fprintf(f, "%s$d%d using 1:5 with lines lw 1 dt (2,3) lc rgb '%s' notitle", comma(&n),
                    i, color);
    }
    for (int i = 0; i < s->set.n; i++) {
        if (!sweep_shows(s, &s->set.item[i]))
            continue;
        fprintf(f, "%s$d%d using 1:2 with linespoints ", comma(&n), i);
        script_look(f, &s->set.item[i]);
        fprintf(f, " title '%s'", s->set.item[i].label);
    }
}

/* Axes, guides, words and lines of one panel, or of the only one. */
static Status write_panel(FILE *f, const Sweep *s)
{
    script_axis(f, 'x', s->plot->x_label, s->family == NULL ? SCALE_LENGTH : SCALE_LENGTH_FEW,
                s->x);
    script_axis(f, 'y', s->first_column ? s->plot->y_label : "", s->plot->scale, s->y);
    write_guides(f, s);
    TRY(s->plot->stops ? sweep_stops(f, s) : ST_OK);
    fprintf(f, "plot ");
    write_plot(f, s);
    fprintf(f, "\n");
    return ST_OK;
}

/* The families that have lines, in the order of the legend; *n_lines: all lines together. */
static int families(const Sweep *s, const char *family[MAX_PANELS], int *n_lines)
{
    int n = 0;
    *n_lines = 0;
    for (const Series *line = s->set.item; line < s->set.item + s->set.n; line++) {
        if (!has_points(s, line))
            continue;
        ++*n_lines;
        int k = 0;
        while (k < n && strcmp(family[k], line->style.family) != 0)
            k++;
        if (k == n && n < MAX_PANELS)
            family[n++] = line->style.family;
    }
    return n;
}

/* Small multiples: a panel a family on the same axes, vanilla in each of them. */
static Status write_panels(FILE *f, Sweep *s, const char *const family[], int n)
{
    if (s->plot->stops)
        s->x.hi *= 4; /* words are long beside a small panel */
    for (int i = 0; i < n; i++) {
        s->family = family[i];
        s->first_column = i % script_grid(n).columns == 0;
        script_panel(f, family[i]);
        TRY(write_panel(f, s));
    }
    return ST_OK;
}

static Status write_script(FILE *f, Sweep *s)
{
    const char *family[MAX_PANELS];
    int n_lines, n = families(s, family, &n_lines);
    bool many = n_lines > MAX_LINES && n > 1;
    Grid grid = script_grid(many ? n : 1);
    script_head(f, s->plot->name, s->plot->title, s->plot->caption, grid);
    write_data(f, s);
    script_body(f, s->plot->name, s->plot->title, s->plot->caption, grid);
    TRY(many ? write_panels(f, s, family, n) : write_panel(f, s));
    script_end(f, grid);
    return ST_OK;
}

Status plot_sweep(FILE *f, const SweepPlot *p, const Rows *rows, bool *drawn)
{
    Sweep s = {.plot = p, .first_column = true};
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
