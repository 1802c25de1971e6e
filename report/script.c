/* script.c - pieces of a gnuplot script. */
#include "report/script.h"

#include "report/format.h"

#include <math.h>

#define GUIDE     "lw 1.3 dt (5,5) lc rgb '#a0a0a0'"
#define GREY_TEXT "tc rgb '#707070' font ',11'"

Range range_empty(void)
{
    return (Range){(double)INFINITY, -(double)INFINITY};
}
void range_add(Range *r, double x)
{
    r->lo = fmin(r->lo, x);
    r->hi = fmax(r->hi, x);
}
bool range_is_empty(Range r)
{
    return r.lo > r.hi;
}

Grid script_grid(int panels)
{
    int columns = panels <= 1 ? 1 : panels <= 4 ? 2 : 3;
    return (Grid){columns, (panels + columns - 1) / columns};
}

static bool is_single(Grid g)
{
    return g.columns * g.rows == 1;
}

static void write_title(FILE *f, const char *title, const char *caption, const char *below)
{
    fprintf(f, "title \"{/:Bold*1.15 %s}\\n{/*0.85 %s}%s\"", title, caption, below);
}

void script_head(FILE *f, const char *name, const char *title, const char *caption, Grid grid)
{
    fprintf(f, "# %s.gp - written by `longmix report`; `gnuplot %s.gp` draws it again\n", name,
            name);
    fprintf(f, "reset\nset encoding utf8\n");
    if (is_single(grid)) {
        fprintf(f, "set ");
        write_title(f, title, caption, "");
        fprintf(f, " offset 0,0.4\nset key outside right top Left reverse noenhanced samplen 3.5 "
                   "spacing 1.25\n");
    }
    fprintf(f, "set style textbox opaque fillcolor rgb '#58ffffff' noborder margins 0.3,0.2\n");
    fprintf(f, "set border 3 lc rgb '#404040'\n");
    fprintf(f, "set tics nomirror scale 0.6\n");
    fprintf(f, "set grid xtics ytics lt 1 lw 0.6 lc rgb '#e4e4e4'\n");
}

static void write_terminals(FILE *f, const char *name, Grid grid)
{
    int width = is_single(grid) ? 1000 : 470 * grid.columns;
    int height = is_single(grid) ? 620 : 410 * grid.rows + 60;
    fprintf(f, "do for [type in \"svg png\"] {\nif (type eq \"svg\") {\n");
    fprintf(f,
            "set terminal svg size %d,%d font 'sans-serif,11.5' fontscale 1.2 "
            "background '#ffffff'\n} else {\n",
            width, height);
    fprintf(f,
            "set terminal pngcairo size %d,%d font 'sans,11.5' background '#ffffff' "
            "pointscale 1.35 dashlength 1.25\n}\n",
            width, height);
    fprintf(f, "set output '%s.'.type\n", name);
}

void script_body(FILE *f, const char *name, const char *title, const char *caption, Grid grid)
{
    write_terminals(f, name, grid);
    if (is_single(grid))
        return;
    fprintf(f, "set multiplot layout %d,%d ", grid.rows, grid.columns);
    write_title(f, title, caption, "\\n ");
    fprintf(f, "\nset key outside top center horizontal Left "
               "reverse noenhanced samplen 2.5 "
               "spacing 1.1 maxcols 2 font ',10'\n");
}

void script_panel(FILE *f, const char *title)
{
    fprintf(f, "unset label\nunset arrow\nset title \"{/:Bold %s}\"\n", title);
}

/* Ticks from a list of values; each is written by text_of. */
static void tics(FILE *f, char axis, const double *at, int n, Text (*text_of)(double))
{
    fprintf(f, "set %ctics (", axis);
    for (int i = 0; i < n; i++)
        fprintf(f, "%s\"%s\" %.17g", i > 0 ? ", " : "", text_of(at[i]).s, at[i]);
    fprintf(f, ")\n");
}

/* Powers of a base in a range; all of them, or every second, third ... if they are more than most.
 */
static int powers(double base, Range r, int most, double *at)
{
    int first = (int)ceil(log(r.lo) / log(base) - 1e-9);
    int last = (int)floor(log(r.hi) / log(base) + 1e-9);
    int step = (last - first) / most + 1, n = 0;
    for (int i = first; i <= last && n < most; i++)
        if (i % step == 0)
            at[n++] = pow(base, i);
    return n;
}

static Text plain(double x)
{
    Text t;
    snprintf(t.s, sizeof t.s, "%g", x);
    return x < 1e4 ? t : text_count(x);
}

/* 1-2-5 in every decade where decades alone would be too few. */
static int decimal(Range r, double *at)
{
    enum { MOST = 16 };
    static const double parts[] = {1, 2, 5};
    int n = 0;
    if (log10(r.hi / r.lo) > 3.2)
        return powers(10, r, MOST, at);
    for (int i = (int)floor(log10(r.lo)); i <= (int)ceil(log10(r.hi)); i++)
        for (int k = 0; k < COUNT(parts); k++) {
            double x = parts[k] * pow(10, i);
            if (x >= r.lo && x <= r.hi && n < MOST)
                at[n++] = x;
        }
    return n;
}

void script_axis(FILE *f, char axis, const char *label, Scale scale, Range r)
{
    double at[24];
    fprintf(f, "set %clabel \"%s\"\n", axis, label);
    fprintf(f, "set %crange [%.17g:%.17g]\n", axis, r.lo, r.hi);
    if (scale != SCALE_LINEAR)
        fprintf(f, "set logscale %c\n", axis);
    if (scale == SCALE_LOG)
        tics(f, axis, at, decimal(r, at), plain);
    if (scale == SCALE_BYTES)
        tics(f, axis, at, powers(r.hi / r.lo > 4096 ? 4 : 2, r, 14, at), text_bytes);
    if (scale == SCALE_LENGTH_FEW)
        tics(f, axis, at, powers(4, r, 6, at), text_length);
    if (scale == SCALE_LENGTH)
        tics(f, axis, at, powers(2, r, 13, at), text_length);
}

void script_guide(FILE *f, Range x, Range y, double y0, double slope, bool below, const char *label)
{
    double x1 = x.hi, y1 = y0 * pow(x.hi / x.lo, slope);
    if (y1 > y.hi) {
        x1 = x.lo * pow(y.hi / y0, 1 / slope);
        y1 = y.hi;
    }
    fprintf(f, "set arrow from %.6g,%.6g to %.6g,%.6g nohead back %s\n", x.lo, y0, x1, y1, GUIDE);
    double part = below ? 0.45 : 0.94; /* of the way along it */
    double lx = exp((1 - part) * log(x.lo) + part * log(x1)), ly = y0 * pow(lx / x.lo, slope);
    fprintf(f, "set label \"%s\" at %.6g,%.6g %s %s\n", label, lx, ly,
            below ? "left offset 0.5,-0.7" : "right offset -0.5,0.5", GREY_TEXT);
}

void script_level(FILE *f, Range x, double y, bool right, const char *label)
{
    fprintf(f, "set arrow from %.6g,%.6g to %.6g,%.6g nohead back %s\n", x.lo, y, x.hi, y, GUIDE);
    fprintf(f, "set label \"%s\" at %.6g,%.6g %s,0.5 %s\n", label, right ? x.hi : x.lo, y,
            right ? "right offset -0.6" : "left offset 0.6", GREY_TEXT);
}

void script_note(FILE *f, double x, double y, const char *text, const char *color)
{
    fprintf(f,
            "set label \"✕ %s\" at %.6g,%.6g left offset 1.1,0 noenhanced tc rgb '%s' "
            "font ',10.5' front boxed\n",
            text, x, y, color);
}

void script_look(FILE *f, const Series *s)
{
    static const char *const others[] = {"(8,4)", "(3,3)", "(10,3,3,3)", "(5,2)"};
    bool naive = s->row[0]->c.impl == IMPL_NAIVE;
    const char *dash = s->nth == 0 ? s->style.dash : others[(s->nth - 1) % COUNT(others)];
    fprintf(f, "lw 2 dt %s pt %d ps 0.9 lc rgb '%s'", dash,
            naive ? s->style.hollow : s->style.point, s->style.color);
}

void script_end(FILE *f, Grid grid)
{
    fprintf(f, "%sunset output\n}\n", is_single(grid) ? "" : "unset multiplot\n");
}
