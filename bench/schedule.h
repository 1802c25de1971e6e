/* schedule.h - what to run next, what to leave out and why, and how long it will take. Pure
 * functions over plain values: no clock, no files. */
#ifndef LONGMIX_SCHEDULE_H
#define LONGMIX_SCHEDULE_H

#include "bench/roof.h"

/* A point of the plan with what is known about it. */
typedef struct Job {
    Case c;
    bool must;  /* never left out for want of time; its limits still end it */
    bool watch; /* its ops are wanted, too */
    bool done;  /* it has its row: status and, for ROW_OK, seconds are known */
    bool fixed; /* the dry run said already how it ends: status and reason */
    RowStatus status;
    char reason[256];
    double seconds; /* of a step, measured: the 20 % quantile */

    /* from the dry run */
    double flops, bytes;
    Memory predicted;
    int64_t params, tokens;

    double predicted_seconds; /* of a step */
    double cost;              /* of the whole case */
} Job;

/* What cases have cost and what they should have, the recent ones above all. */
typedef struct Pace {
    double took, expected; /* seconds */
} Pace;

typedef struct Plan {
    Job *job;
    int n;
    Rates rates;   /* of the machine: measured, or guesses where it was not */
    Pace pace;     /* zero: as predicted */
    double budget; /* seconds for all cases; 0: no end */
} Plan;

/* Seconds of one step: work at the rate of the next smaller length of the same curve that was
 * measured, else at a usual fraction of the machine's rates. */
double plan_seconds(const Plan *p, const Job *j);
/* Seconds of a whole case with steps of that length, by the rules of measure.h. */
double case_cost(double step, double setup_bytes, double time_limit);

/* Notes that a case of that cost took so long: others that share the machine slow all cases alike.
 */
void plan_learn(Plan *p, double cost, double took);

/* Fills predicted_seconds and cost of all jobs that are not done. */
void plan_predict(Plan *p);
/* Cheap before dear, so that a short budget still gives whole curves; small before large within a
 * curve, whatever the prediction says. */
void plan_sort(Plan *p);

typedef struct Verdict {
    bool run;
    RowStatus status; /* if not */
    char reason[256];
} Verdict;

/* Shall the job run now, `elapsed` seconds after the start? */
Verdict plan_verdict(const Plan *p, const Job *j, double elapsed);
/* Seconds that jobs `from` and later will take. */
double plan_remaining(const Plan *p, int from, double elapsed);

/* Points that differ in nothing but length (and the batch that follows from it). */
bool same_curve(const Case *a, const Case *b);

#endif
