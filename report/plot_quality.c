/* plot_quality.c - bits per byte of trainings against what they took, with what a model has to
 * beat. */
#include "report/plot.h"

#include <math.h>
#include <stdlib.h>

/* Held-out bits per byte, or of the training text when it was never evaluated on the way. */
static double bpb_of(const Row *r, const Point *p)
{
    int n_valid = 0;
    for (int i = 0; i < r->n_points; i++)
        n_valid += isfinite(r->point[i].valid_bpb) ? 1 : 0;
    return n_valid >= 2 ? p->valid_bpb : p->train_bpb;
}

/* The point before the first step has no place on a logarithmic axis. */
static bool shows(const QualityPlot *q, const Row *r, const Point *p)
{
    return r->status == ROW_OK && p->step > 0 && q->x(p) > 0 && isfinite(bpb_of(r, p));
}

static bool has_points(const QualityPlot *q, const Row *r)
{
    for (int i = 0; i < r->n_points; i++)
        if (shows(q, r, &r->point[i]))
            return true;
    return false;
}

static void find_ranges(const QualityPlot *q, const SeriesSet *set, const Row *text, Range *x,
                        Range *y)
{
    *x = *y = range_empty();
    for (const Series *s = set->item; s < set->item + set->n; s++) {
        const Row *r = s->row[0];
        for (int i = 0; i < r->n_points; i++) {
            if (!shows(q, r, &r->point[i]))
                continue;
            range_add(x, q->x(&r->point[i]));
            range_add(y, bpb_of(r, &r->point[i]));
        }
    }
    if (range_is_empty(*x))
        return;
    if (text != NULL) {
        y->hi = fmin(y->hi, text->entropy[0]); /* an untrained model's 8 bits tell nothing */
        range_add(y, text->entropy[0]);
        range_add(y, text->xz_bpb);
    }
    x->lo /= 1.1;
    x->hi *= 1.1;
    double air = 0.07 * (y->hi - y->lo) + 0.02;
    y->lo -= air;
    y->hi += 1.5 * air;
}

static void write_data(FILE *f, const QualityPlot *q, const SeriesSet *set)
{
    for (int i = 0; i < set->n; i++) {
        const Row *r = set->item[i].row[0];
        if (!has_points(q, r))
            continue;
        fprintf(f, "# %s\n$d%d << EOD\n", set->item[i].label, i);
        for (int k = 0; k < r->n_points; k++)
            if (shows(q, r, &r->point[k]))
                fprintf(f, "%.9g %.6g\n", q->x(&r->point[k]), bpb_of(r, &r->point[k]));
        fprintf(f, "EOD\n");
    }
}

/* Height of a training's line at x; NaN where it is not. */
static double height_at(const QualityPlot *q, const Row *r, double x)
{
    const Point *before = NULL;
    for (const Point *p = r->point; p < r->point + r->n_points; p++) {
        if (!shows(q, r, p))
            continue;
        if (before != NULL && q->x(before) <= x && x <= q->x(p)) {
            double part = log(x / q->x(before)) / log(q->x(p) / q->x(before));
            return bpb_of(r, before) + part * (bpb_of(r, p) - bpb_of(r, before));
        }
        before = p;
    }
    return (double)NAN;
}

/* How near the lines come to a height, from x.lo to x.hi; infinite when there are none. */
static double free_height(const QualityPlot *q, const SeriesSet *set, Range x, double y)
{
    enum { PLACES = 16 };
    double least = (double)INFINITY;
    for (const Series *s = set->item; s < set->item + set->n; s++)
        for (int i = 0; i <= PLACES; i++) {
            double at = x.lo * pow(x.hi / x.lo, (double)i / PLACES);
            least = fmin(least, fabs(height_at(q, s->row[0], at) - y));
        }
    return least;
}

/* A level's label stands at the end, of the left and the right, where the lines are farther off. */
static void write_level(FILE *f, const QualityPlot *q, const SeriesSet *set, Range x, double y,
                        const char *label)
{
    double part = pow(x.hi / x.lo, 0.25); /* what a label takes of the width */
    Range left = {x.lo, x.lo * part}, right = {x.hi / part, x.hi};
    script_level(f, x, y, free_height(q, set, right, y) > free_height(q, set, left, y), label);
}

static void write_levels(FILE *f, const QualityPlot *q, const SeriesSet *set, const Row *text,
                         Range x)
{
    static const char *const names[] = {"order-0 entropy", "order-1 entropy", "order-2 entropy"};
    char label[64];
    for (int i = 0; text != NULL && i < COUNT(names); i++) {
        snprintf(label, sizeof label, "%s, %.2f", names[i], text->entropy[i]);
        write_level(f, q, set, x, text->entropy[i], label);
    }
    if (text != NULL && isfinite(text->xz_bpb)) {
        snprintf(label, sizeof label, "xz -6, %.2f", text->xz_bpb);
        write_level(f, q, set, x, text->xz_bpb, label);
    }
}

static void write_plot(FILE *f, const QualityPlot *q, const SeriesSet *set)
{
    const char *between = "";
    for (int i = 0; i < set->n; i++) {
        if (!has_points(q, set->item[i].row[0]))
            continue;
        fprintf(f, "%s$d%d using 1:2 with linespoints ", between, i);
        script_look(f, &set->item[i]);
        fprintf(f, " title '%s'", set->item[i].label);
        between = ", \\\n     ";
    }
}

static Status write_script(FILE *f, const QualityPlot *q, const SeriesSet *set, const Row *text)
{
    Range x, y;
    Grid single = script_grid(1);
    find_ranges(q, set, text, &x, &y);
    script_head(f, q->name, q->title, q->caption, single);
    write_data(f, q, set);
    script_body(f, q->name, q->title, q->caption, single);
    script_axis(f, 'x', q->x_label, SCALE_LOG, x);
    script_axis(f, 'y', "bits per byte", SCALE_LINEAR, y);
    write_levels(f, q, set, text, x);
    fprintf(f, "plot ");
    write_plot(f, q, set);
    fprintf(f, "\n");
    script_end(f, single);
    return ST_OK;
}

Status plot_quality(FILE *f, const QualityPlot *q, const Rows *rows, bool *drawn)
{
    SeriesSet set;
    *drawn = false;
    TRY(series_of_trainings(rows, &set));
    for (int i = 0; i < set.n; i++)
        *drawn = *drawn || has_points(q, set.item[i].row[0]);
    Status st = *drawn ? write_script(f, q, &set, rows_last(rows, ROW_TEXT)) : ST_OK;
    series_free(&set);
    return st;
}
