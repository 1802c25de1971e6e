/* supervisor.h - runs a sweep: plans, asks a worker for each point, writes the journal. Never runs
 * OpenMP or BLAS and never opens a device itself. */
#ifndef LONGMIX_SUPERVISOR_H
#define LONGMIX_SUPERVISOR_H

#include "bench/sweep.h"

enum { EXIT_FINE = 0, EXIT_BAD_ROWS = 1, EXIT_TROUBLE = 2, EXIT_SIGNAL = 128 };

/* The command line is for the record. on_gpu: the sweep that takes its place where a GPU is used,
 * or NULL. Returns the exit code: EXIT_BAD_ROWS if a check failed or a case crashed, EXIT_TROUBLE
 * with one line on stderr, EXIT_SIGNAL + n when stopped by signal n. */
int supervise(const Sweep *s, const Sweep *on_gpu, int argc, char *const argv[]);

#endif
