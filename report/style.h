/* style.h - how a variant looks in every plot of every report: colour, point and dash that never
 * change, and differ without colour too. */
#ifndef LONGMIX_STYLE_H
#define LONGMIX_STYLE_H

#include "kernels/base.h"

typedef struct Style {
    const char *color;  /* "#rrggbb" */
    int point, hollow;  /* gnuplot's point types: filled, and the same outline empty */
    const char *dash;   /* a gnuplot dash type */
    int rank;           /* order in legends and tables: vanilla first, families together */
    const char *family; /* whose panel it is drawn in where lines are many */
} Style;

/* By name; an unknown variant gets a style by the hash of its name, and the last rank. */
Style style_of(const char *variant);

#endif
