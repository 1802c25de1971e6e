/* outline.h - the plan of a sweep as a table, for --dry-run. */
#ifndef LONGMIX_OUTLINE_H
#define LONGMIX_OUTLINE_H

#include "bench/schedule.h"

#include <stdio.h>

/* In the order of the run: each point with its predicted time and memory, or why it will not run.
 */
void outline_print(const Plan *p, int n_trainings, FILE *out);

#endif
