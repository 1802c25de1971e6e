/* compare_plot.c - the intervals of a comparison, one line a cell, and the margin around none. */
#include "report/compare.h"

#include "report/files.h"
#include "report/gnuplot.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>

static const char *const colors[FINDINGS] = {"#c0392b", "#1e8449", "#566573", "#b9770e", "#7d3c98"};

typedef struct Frame {
    double lo, hi, margin; /* percent; the widest margin of a cell */
    int n;                 /* timed cells */
} Frame;

static double percent(double ratio)
{
    return 100 * (ratio - 1);
}

static Frame frame_of(const Comparison *c)
{
    Frame f = {.lo = -5, .hi = 5};
    for (const CompareCell *cell = c->cell; cell < c->cell + c->n; cell++) {
        if (!cell->timed)
            continue;
        f.lo = fmin(f.lo, percent(cell->first.lo) - 1);
        f.hi = fmax(f.hi, percent(cell->first.hi) + 1);
        f.margin = fmax(f.margin, 100 * cell->first.margin);
        f.n++;
    }
    return f;
}

static void put_quoted(FILE *f, const char *s)
{
    for (; *s != '\0'; s++)
        fputc(strchr("\"\\`\n", *s) != NULL ? ' ' : *s, f);
}

static void write_head(FILE *f, const Comparison *c, const Frame *frame)
{
    fprintf(f, "# compare.gp - written by `longmix compare`; `gnuplot compare.gp` draws it again\n"
               "reset\nset encoding utf8\n");
    fprintf(f, "set title \"{/:Bold*1.15 Time of B against A}\\n{/*0.85 A: ");
    put_quoted(f, c->side[COMPARE_A].name);
    fprintf(f, ", B: ");
    put_quoted(f, c->side[COMPARE_B].name);
    fprintf(f, "; median of the pairs and its interval (99 %% over all looks); right of the band: "
               "slower}\"\n");
    fprintf(f,
            "set border 3 lc rgb '#404040'\nset tics nomirror scale 0.6\n"
            "set grid xtics lt 1 lw 0.6 lc rgb '#e4e4e4'\nset key outside right top Left reverse\n"
            "set xlabel \"change of time, %%\"\nset xrange [%.6g:%.6g]\nset yrange [%d:0] \n",
            frame->lo, frame->hi, frame->n + 1);
    fprintf(f,
            "set object 1 rectangle from %.6g,graph 0 to %.6g,graph 1 behind fc rgb '#eaf2f8' "
            "lw 0\n",
            -frame->margin, frame->margin);
    fprintf(f, "set arrow from 0,graph 0 to 0,graph 1 nohead lc rgb '#909090' dt (4,4)\n");
}

static void write_tics(FILE *f, const Comparison *c)
{
    int at = 0;
    fprintf(f, "set ytics noenhanced (");
    for (const CompareCell *cell = c->cell; cell < c->cell + c->n; cell++) {
        char name[256];
        if (!cell->timed)
            continue;
        compare_name(cell, name, sizeof name);
        fprintf(f, "%s\"", at > 0 ? ", " : "");
        for (const char *p = name; *p != '\0'; p++) /* a label of a tick is a format */
            fprintf(f, "%s%c", *p == '%' ? "%" : "", strchr("\"\\`", *p) != NULL ? ' ' : *p);
        fprintf(f, "\" %d", ++at);
    }
    fprintf(f, ")\n");
}

static void write_data(FILE *f, const Comparison *c)
{
    for (int which = 0; which < FINDINGS; which++) {
        int at = 0;
        fprintf(f, "$%s << EOD\n", finding_names[which]);
        for (const CompareCell *cell = c->cell; cell < c->cell + c->n; cell++) {
            at += cell->timed;
            if (cell->timed && (int)cell->finding == which)
                fprintf(f, "%.6g %d %.6g %.6g\n", percent(cell->first.ratio), at,
                        percent(cell->first.lo), percent(cell->first.hi));
        }
        fprintf(f, "EOD\n");
    }
}

static int count(const Comparison *c, int which)
{
    int n = 0;
    for (int i = 0; i < c->n; i++)
        n += c->cell[i].timed && (int)c->cell[i].finding == which;
    return n;
}

static void write_plot(FILE *f, const Comparison *c, const Frame *frame)
{
    int height = 190 + 22 * frame->n, shown = 0;
    fprintf(f,
            "set terminal svg size 1000,%d font 'sans-serif,13' background '#ffffff'\n"
            "set output 'compare.svg'\nplot ",
            height);
    for (int which = 0; which < FINDINGS; which++)
        if (count(c, which) > 0)
            fprintf(f,
                    "%s$%s using 1:2:3:4 with xerrorbars lw 2 pt 7 ps 0.7 lc rgb '%s' title '%s'",
                    shown++ > 0 ? ", \\\n  " : "", finding_names[which], colors[which],
                    finding_names[which]);
    fprintf(f,
            "\nset terminal pngcairo size 1000,%d font 'sans,11.5' background '#ffffff'\n"
            "set output 'compare.png'\nreplot\nunset output\n",
            height);
}

Status compare_plot(const Comparison *c, const char *folder)
{
    char path[PATH_MAX];
    Frame frame = frame_of(c);
    if (frame.n == 0)
        return FAIL(ST_UNSUPPORTED, "no cell was timed, so there is no plot");
    if ((size_t)snprintf(path, sizeof path, "%s/compare.gp", folder) >= sizeof path)
        return FAIL(ST_USAGE, "%s: too long a path", folder);
    TRY(folder_make(folder));
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return FAIL(ST_IO, "%s: %s", path, strerror(errno));
    write_head(f, c, &frame);
    write_tics(f, c);
    write_data(f, c);
    write_plot(f, c, &frame);
    bool written = ferror(f) == 0;
    written = fclose(f) == 0 && written;
    return written ? gnuplot_run(folder, "compare.gp") : FAIL(ST_IO, "%s: cannot be written", path);
}
