/* plots.h - all plots of a report: gnuplot scripts from the rows, drawn as SVG and PNG. */
#ifndef LONGMIX_PLOTS_H
#define LONGMIX_PLOTS_H

#include "report/rows.h"

enum { PLOTS_MAX = 16 };

typedef struct PlotNote {
    const char *name, *title; /* file name without its ending */
    bool drawn;
    const char *why; /* not drawn: why not; "" if gnuplot is missing */
} PlotNote;

typedef struct PlotNotes {
    int n;
    PlotNote note[PLOTS_MAX];
    char trouble[256]; /* why no plot could be drawn at all; "" if nothing stood in the way */
} PlotNotes;

/* Writes NAME.gp, NAME.svg and NAME.png into a folder, which is made. Without gnuplot the scripts
 * are written all the same, and notes->trouble says how to get it. Equal rows give equal bytes.
 * Fails: ST_IO, ST_OOM. */
Status plots_make(const Rows *rows, const char *folder, PlotNotes *notes);

#endif
