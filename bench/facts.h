/* facts.h - what a case says of itself without a clock: work, memory, sizes, and the bits of its
 * result. Equal builds give equal facts on every machine, however busy. */
#ifndef LONGMIX_FACTS_H
#define LONGMIX_FACTS_H

#include "report/fact.h"
#include "report/row.h"

/* By the dry backend: flops, bytes, params, allocations, and the peak of memory by tag. */
Status facts_predict(const Case *c, Facts *out);

/* By a step on c->backend: what it took of memory, how often the system was asked for some in a
 * second step ("later_blocks"), scratch of kernels, and the SHA-256 of the result's bits; the last
 * two belong to the instruction set, which is part of their names ("avx2.result"). */
Status facts_run(const Case *c, Facts *out);

/* Instructions that a step takes in this process, by the processor's counter. ST_UNSUPPORTED where
 * there is none or it may not be read. */
Status facts_instructions(const Case *c, Facts *out);

#endif
