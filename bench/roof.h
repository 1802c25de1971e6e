/* roof.h - what the machine can do at best, measured by the same process that measures the cases.
 *
 * A case's roof is SGEMM where its counted operations per counted byte exceed the machine's
 * balance (flop/s of SGEMM over bytes/s of reading memory), else the bandwidth. */
#ifndef LONGMIX_ROOF_H
#define LONGMIX_ROOF_H

#include "report/row.h"

/* What the machine does: 0 where it was not measured. */
typedef struct Rates {
    double flops, bytes; /* a second */
} Rates;

Roof roof_of(double flops, double bytes, Rates machine);
/* The rate that stands for a roof; the work of a row in its unit. 0 for the others. */
double roof_rate(Rates machine, Roof roof);
double roof_work(const Row *row);

/* Fills a ROW_ROOF for c->backend and c->threads: single-precision matrix products by the backend's
 * own kernel and by OpenBLAS, each the best rate of three shapes (512 x 512 x 512, 2048 x 512 x
 * 512, 1024 x 1024 x 1024), interleaved; and the bandwidth of reading four times the last-level
 * cache. On a GPU products in c->dtype, also of 4096 and 8192. About one second. */
void roof_run(const Case *c, Row *row);

/* Both rates at this moment, best of a few tries in memory of their own: some 40 ms. 0 on every
 * backend but cpu and cuda. */
Rates roof_sample(const Case *c);
/* The same of the host around each case; zeros on a GPU, whose clocks are watched instead and whose
 * rates are those of the run. */
Rates roof_around(const Case *c);
/* After the case, whose flops and bytes are in the row: chooses its roof and measures it once more;
 * the better rate counts. A drift of more than 10 % makes the timing not quiet. */
void roof_note(const Case *c, Rates before, Row *row);

#endif
