/* session.h - a run in progress: its worker, its journal, its progress line, and the wish to stop.
 */
#ifndef LONGMIX_SESSION_H
#define LONGMIX_SESSION_H

#include "bench/child.h"
#include "bench/clock.h"
#include "bench/progress.h"
#include "report/journal.h"

typedef struct Session {
    Child child;
    char *child_argv[5];
    Journal *journal;
    Progress progress;
    ProgressState state;     /* what the progress line says */
    char run[24];            /* id of this run */
    double start;            /* clock_now at the start */
    int stop_fd;             /* readable after Ctrl-C or a request to end */
    int stopped_by;          /* number of that signal; 0: go on */
    int count[ROW_STATUSES]; /* rows of cases and trainings written */
} Session;

/* From here on signals arrive at stop_fd. text and tokens are for trainings; text may be NULL. */
Status session_open(Session *s, const char *text, int64_t tokens);
void session_close(Session *s);
/* From now on trainings take so many tokens; the next request starts a new worker. */
void session_tokens(Session *s, int64_t tokens);

double session_elapsed(const Session *s);

/* Asks the worker, which is started if there is none; what: for the progress line. *row is filled
 * whatever happens. False: the run is to stop (stopped_by), or no worker can be started (*st). */
bool session_ask(Session *s, const char *word, const Case *c, double limit, const char *what,
                 Row *row, Status *st);

/* Stamps the row with run, build and time, and writes it. */
Status session_append(Session *s, Row *row);

#endif
