/* kernel_case.h - cases of level "kernel": predicted, checked, and timed in turn with their roof.
 * What case.h and check.h do for the other levels. */
#ifndef LONGMIX_KERNEL_CASE_H
#define LONGMIX_KERNEL_CASE_H

#include "report/row.h"

void kernel_predict(const Case *c, Row *row);
/* row: as kernel_predict left it. */
void kernel_measure(const Case *c, Row *row);

/* The small case that stands for all of a kernel's cases with equal passes, heads and options, and
 * a run of it on c->backend held against ref. */
Case kernel_check_case(const Case *c);
void kernel_check(const Case *c, Row *row);

#endif
