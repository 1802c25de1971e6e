/* plot_sweep.h - a sweep plot on its way into a script. Private to plot_*.c. */
#ifndef LONGMIX_PLOT_SWEEP_H
#define LONGMIX_PLOT_SWEEP_H

#include "report/plot.h"

/* What is drawn and where. */
typedef struct Sweep {
    const SweepPlot *plot;
    SeriesSet set;
    Range x, y;
    const char *family; /* of the panel at work: its lines and vanilla's are drawn; NULL: all */
    bool first_column;  /* the panel at work has the label of the y axis */
} Sweep;

/* The measure of a row with status ok; NaN where it has none that is positive. */
double sweep_value(Measure *measure, const Row *r);
/* Does the line have points, and a place in the panel at work? */
bool sweep_shows(const Sweep *s, const Series *line);
/* Is it vanilla's line in the panel of another family? */
bool sweep_is_guest(const Sweep *s, const Series *line);

/* Heights in the plot run from 0 to 1. */
double sweep_height(const Sweep *s, double y);
double sweep_at_height(const Sweep *s, double h);

/* At the end of every line that something stopped: what. Fails: ST_OOM. */
Status sweep_stops(FILE *f, const Sweep *s);

#endif
