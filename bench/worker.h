/* worker.h - the process that runs cases: `longmix worker [TEXT [TOKENS]]`, started by child.h.
 *
 * On its standard input come requests, a line each: a word, a blank, a Case as JSON. On its
 * standard output goes one Row for each, as JSON. The words:
 *   hello    a RUN row: instruction set, and whether there is a CUDA device (backend "auto")
 *   predict  a CASE row without running it
 *   check    a CHECK row
 *   case     a CASE row, measured
 *   ops      an OPS row: the case's step, op by op
 *   peer     a PEER row: the case in turn with the program of LONGMIX_PEER
 *   roof     a ROOF row
 *   train    a TRAIN row (TEXT, TOKENS)
 *   text     a TEXT row (TEXT)
 * What cannot be done is answered by a row with status and reason: of those kinds where they have
 * them, else a CASE row. */
#ifndef LONGMIX_WORKER_H
#define LONGMIX_WORKER_H

#include <stdio.h>

int worker_main(int argc, char **argv);

/* Takes the standard output for answers alone: libraries may print, and then do so on standard
 * error. NULL when it cannot be had. */
FILE *worker_stdout(void);

#endif
