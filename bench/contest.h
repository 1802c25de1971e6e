/* contest.h - all cells of two builds: facts, checks, pairs, Holm, confirmation. */
#ifndef LONGMIX_CONTEST_H
#define LONGMIX_CONTEST_H

#include "bench/trial.h"
#include "report/compare.h"

typedef struct ContestSpec {
    const char *program[SIDES];
    DuelSpec duel; /* its family is set here */
    int threads;
    bool times, check; /* take pairs; hold B against the reference first */
    bool controls;     /* one cell of A against itself, and one with a tenth more of work */
    bool instructions; /* count them where the processor can */
} ContestSpec;

/* Fills the cells of c, whose cases are given, and the sides. Progress goes to stderr. Fails only
 * where no comparison is possible at all: ST_USAGE for a program that is none. */
Status contest_run(const ContestSpec *spec, Comparison *c);

#endif
