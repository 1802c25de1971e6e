/* progress.h - how far a run is: one line that rewrites itself on a terminal, elsewhere a line
 * every few seconds. */
#ifndef LONGMIX_PROGRESS_H
#define LONGMIX_PROGRESS_H

#include "kernels/base.h"

typedef struct Progress {
    bool terminal, shown; /* shown: a line stands there that is to be rewritten */
    double last;          /* when something was shown, seconds */
} Progress;

typedef struct ProgressState {
    int done, total;
    double eta;       /* seconds to the end; < 0: not known yet */
    const char *what; /* the current case */
    double running,
        expected;  /* seconds the case runs already, and will take; expected 0: unknown */
    double memory; /* bytes predicted; 0: unknown */
} ProgressState;

/* On stderr. now: seconds of any steady clock, as below. */
Progress progress_new(double now);
/* Shows nothing if the last time was only just. */
void progress_show(Progress *p, const ProgressState *s, double now);
/* A line that stays, for a person. */
void progress_say(Progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void progress_clear(Progress *p);

/* "3m12s", "12.3s", "1.25ms". */
void human_seconds(double seconds, char *text, size_t size);
/* "1.50 GiB", "12 KiB". */
void human_bytes(double bytes, char *text, size_t size);

#endif
