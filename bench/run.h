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
    Row roof_row;            /* measured once; of another kind before */
    Row text;                /* its hash and size; empty: no trainings */
    int64_t test_bytes;      /* of the text: those of the final exam */
    int64_t training_tokens; /* of each; 0: chosen before the first */
    Rates roof;              /* measured at the start */
    Row *check;              /* made in this run */
    int n_checks;
} Run;

/* session_ask as a Status; ST_DEVICE also when the run is to stop (session.stopped_by). */
Status run_ask(Run *r, const char *word, const Case *c, double limit, const char *what, Row *row);

/* The same within what is left of the whole run's time; ROW_SKIPPED_BUDGET where that cut it off.
 */
Status run_ask_in_time(Run *r, const char *word, const Job *j, const char *what, Row *row);
/* Seconds; INFINITY where the run has no end. */
double run_time_left(const Run *r);

/* The check that stands for a case; ref needs none. */
Status run_checked(Run *r, const Case *c, RowStatus *status, char *reason, size_t size);

/* The roof of a row with a number: the best rate of the run and around the case. */
void run_place(const Run *r, Row *row);

/* A row for every job that has none. */
Status run_cases(Run *r);
Status run_trainings(Run *r);
/* A ROW_PEER for every case of peer_cases, if there is a peer. */
Status run_peers(Run *r);
/* A ROW_OPS for every case with a number, if they are wanted. */
Status run_ops(Run *r);

/* Which trainings the past settles, and over how many tokens the others are then to go. */
Status run_recall_trainings(Run *r);
/* Takes over what the past knows of a job. */
void run_settle(const Run *r, Job *j, const PastRow *past);

#endif
