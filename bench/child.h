/* child.h - a worker process as its parent sees it: start, ask, replace. */
#ifndef LONGMIX_CHILD_H
#define LONGMIX_CHILD_H

#include "report/row.h"

#include <sys/types.h>

typedef struct Child {
    pid_t pid;         /* 0: none */
    int to, from, err; /* its standard input, output and error */
    char *text;        /* what it has said so far of a line */
    size_t len, cap;
    char last_words[160]; /* last line of its standard error */
} Child;

/* Starts a program (NULL: this one again) with arguments that end in NULL, in a process group of
 * its own that dies with its parent and is the first to go when memory is short. ST_DEVICE with the
 * reason. */
Status child_start(Child *w, const char *program, char *const argv[]);
/* Kills and forgets it; fine if there is none. */
void child_stop(Child *w);

typedef enum Answer {
    ANSWER_ROW,     /* *row is filled */
    ANSWER_DIED,    /* the process is gone: killed by the kernel for memory, crashed or left */
    ANSWER_TIMEOUT, /* no answer in time; it was killed */
    ANSWER_STOP     /* stop_fd became readable; it was killed */
} Answer;

typedef struct Ask {
    const char *word; /* worker.h */
    const Case *c;
    double limit;                            /* seconds to wait */
    int stop_fd;                             /* readable: stop; -1: none */
    void (*tick)(void *ctx, double seconds); /* now and then while waiting; may be NULL */
    void *tick_ctx;
} Ask;

/* Sends a request and waits. For all answers but ANSWER_ROW the child is gone afterwards, and *row
 * holds only status (oom, crash, timeout) and reason. */
Answer child_ask(Child *w, const Ask *ask, Row *row);

/* The same with plain lines, whatever case and word say: sends one that ends in a newline
 * and is shorter than PIPE_BUF; *answer is one line without it (free it). */
Answer child_exchange(Child *w, const char *line, const Ask *ask, char **answer, Row *row);

#endif
