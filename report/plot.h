/* plot.h - one plot, written as a script. Private to report/. */
#ifndef LONGMIX_PLOT_H
#define LONGMIX_PLOT_H

#include "report/script.h"

/* A measure of CASE rows against the context length, a line for each series. */
typedef struct SweepPlot {
    const char *name, *title, *caption;
    Level level;
    Pass pass;
    const char *x_label, *y_label;
    Measure *y, *lo, *hi; /* lo, hi: of the band; NULL for none */
    Measure *thin;        /* of a thin line beside it; NULL for none */
    Scale scale;
    bool stops; /* say at the end of a line what stopped it */
    struct {
        double slope;
        const char *label; /* NULL for none */
        bool below;        /* the label lies below the line, not to the left */
    } guide[2];
} SweepPlot;

/* Bits per byte of trainings against what they took. */
typedef struct QualityPlot {
    const char *name, *title, *caption, *x_label;
    double (*x)(const Point *p);
} QualityPlot;

/* Write the script, or nothing when there is no point to draw; *drawn says which. */
Status plot_sweep(FILE *f, const SweepPlot *p, const Rows *rows, bool *drawn);
Status plot_quality(FILE *f, const QualityPlot *p, const Rows *rows, bool *drawn);

/* Why a series ended, in a word or two: "oom", "no time left". */
const char *stop_words(RowStatus status);

#endif
