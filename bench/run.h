/* run.h - the points of a run, one after another: checked, judged, measured, written. Private to
 * the supervisor. */
#ifndef LONGMIX_RUN_H
#define LONGMIX_RUN_H

#include "bench/past.h"
#include "bench/session.h"
#include "bench/sweep.h"

typedef struct Run {
    Sweep sweep;
    Session session;
    Past past;
    Plan plan;
    Job *training;
    int n_trainings;
    Row run_row;
    double roof_rate; /* flop/s; 0: not measured */
    Row *check;       /* made in this run */
    int n_checks;
} Run;

/* session_ask as a Status; ST_DEVICE also when the run is to stop (session.stopped_by). */
Status run_ask(Run *r, const char *word, const Case *c, double limit, const char *what, Row *row);

/* A row for every job that has none. */
Status run_cases(Run *r);
Status run_trainings(Run *r);

/* Tokens that a training of that many tokens really sees: whole steps. */
int64_t run_training_tokens(const Run *r, const Case *c);

#endif
