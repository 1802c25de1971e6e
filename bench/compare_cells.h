/* compare_cells.h - the cells that two builds are compared by. */
#ifndef LONGMIX_COMPARE_CELLS_H
#define LONGMIX_COMPARE_CELLS_H

#include "bench/sweep.h"
#include "report/compare.h"

/* The points of the sweep, and for level kernel every kernel at a size that takes milliseconds:
 * what is slower in one of them would be little of a layer. */
Status compare_cells(const Sweep *s, Comparison *c);

#endif
