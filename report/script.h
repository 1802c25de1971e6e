/* script.h - pieces of a gnuplot script: head, axes, guides, labels, and the two terminals. */
#ifndef LONGMIX_SCRIPT_H
#define LONGMIX_SCRIPT_H

#include "report/series.h"

#include <stdio.h>

typedef struct Range {
    double lo, hi;
} Range;

/* How the numbers of an axis are spaced and written. */
typedef enum Scale {
    SCALE_LINEAR,
    SCALE_LOG,       /* plain numbers: decades, or 1-2-5 where there are few of them */
    SCALE_BYTES,     /* logarithmic, in powers of two with units */
    SCALE_LENGTH,    /* logarithmic, context lengths: 512, 1k, 2k ... */
    SCALE_LENGTH_FEW /* the same for a small panel: about six of them */
} Scale;

/* Nothing yet: lo above hi. */
Range range_empty(void);
void range_add(Range *r, double x); /* NaN is passed over */
bool range_is_empty(Range r);

/* Panels of a plot, as columns and rows; 1 by 1: a single plot. */
typedef struct Grid {
    int columns, rows;
} Grid;
Grid script_grid(int panels);

/* A script is head, data blocks, body (drawn twice, to name.svg and name.png), end. A single plot
 * has its legend outside on the right; panels have theirs above the lines. Title in bold, a caption
 * in small type below it. */
void script_head(FILE *f, const char *name, const char *title, const char *caption, Grid grid);
void script_body(FILE *f, const char *name, const char *title, const char *caption, Grid grid);
/* Begins the next panel of the body. */
void script_panel(FILE *f, const char *title);
void script_end(FILE *f, Grid grid);

/* axis: 'x' or 'y' */
void script_axis(FILE *f, char axis, const char *label, Scale scale, Range r);
/* A thin grey line y = y0 (x/x0)^slope from the left edge, as far as the plot goes, with its label
 * on the left of it or below. */
void script_guide(FILE *f, Range x, Range y, double y0, double slope, bool below,
                  const char *label);
/* A thin grey line across at a height, its label above it on the right or on the left. */
void script_level(FILE *f, Range x, double y, bool right, const char *label);
/* Small text to the right of a point. */
void script_note(FILE *f, double x, double y, const char *text, const char *color);
/* "lc rgb ... dt ... pt ..." of a series, for a linespoints plot. */
void script_look(FILE *f, const Series *s);
#endif
