/* heat.h - a matrix, or several of one size, as a heat map: NAME.svg and NAME.png. */
#ifndef LONGMIX_HEAT_H
#define LONGMIX_HEAT_H

#include "kernels/base.h"

enum { HEAT_MAX = 6 };

typedef struct Heat {
    const char *folder, *name, *title, *caption;
    int n_panels;
    const char *panel; /* "head": panels are called head 1, head 2 ...; of one panel: not shown */
    int64_t n;
    const double *matrix[HEAT_MAX]; /* (n,n), row i: the weights of output i */
} Heat;

/* Colours say the weight divided by the largest of its row, on a scale of square roots: weights
 * differ in size by much. Blue is positive, red negative, white nothing. Fails: ST_IO,
 * ST_UNSUPPORTED without gnuplot. */
Status heat_draw(const Heat *h);

#endif
