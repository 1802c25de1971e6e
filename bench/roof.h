/* roof.h - what the machine can do at best, measured by the same process that measures the cases.
 */
#ifndef LONGMIX_ROOF_H
#define LONGMIX_ROOF_H

#include "report/row.h"

/* Fills a ROW_ROOF for c->backend and c->threads: single-precision matrix products by the backend's
 * own kernel and by OpenBLAS, each the best rate of three shapes (512 x 512 x 512, 2048 x 512 x
 * 512, 1024 x 1024 x 1024), interleaved; and the bandwidth of reading four times the last-level
 * cache. About one second. */
void roof_run(const Case *c, Row *row);

/* The rate of the first shape at this moment, best of a few products: some 10 ms, in memory of its
 * own. flop/s; 0 on every backend but cpu, the only one whose speed others take away. */
double roof_sample(const Case *c);

#endif
