/* baseline.h - facts on file: what every variant costs and computes, kept with the sources so that
 * a change of it is seen in review. */
#ifndef LONGMIX_BASELINE_H
#define LONGMIX_BASELINE_H

#include "report/compare.h"

enum { BASELINE_SCHEMA = 1 };

/* Writes the cells of side B. platform: what the bits of results may depend on beside the sources
 * and the instruction set. One cell a line. Fails: ST_IO, ST_OOM. */
Status baseline_write(const Comparison *c, const char *platform, const char *path);

/* Reads a file into side A: fills the facts of cells that c has, adds cells that it has not. Facts
 * of another platform's results, and of instruction sets that side B could not run, are left out;
 * *left_out counts them. Fails: ST_IO; ST_USAGE for a file that is no baseline. */
Status baseline_read(Comparison *c, const char *platform, const char *path, int *left_out);

#endif
