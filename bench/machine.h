/* machine.h - the first row of a run: where, from what, and how it was started. */
#ifndef LONGMIX_MACHINE_H
#define LONGMIX_MACHINE_H

#include "report/row.h"

/* Fills a ROW_RUN but for what only a worker can tell (isa, cuda) and the profile. Its run id is
 * new: the time, and 16 random bits. */
void machine_row(int argc, char *const argv[], int threads, Row *row);

#endif
