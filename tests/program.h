/* program.h - the built program as a user has it: start it, wait for it, look at what it said. */
#ifndef LONGMIX_TESTS_PROGRAM_H
#define LONGMIX_TESTS_PROGRAM_H

#include "report/row.h"

#include <sys/types.h>

enum { PROGRAM_MAX_ARGS = 48, PROGRAM_MAX_ROWS = 512 };

typedef struct Start {
    const char *args;   /* separated by blanks */
    const char *env;    /* "K=V" to add, or NULL */
    int64_t file_limit; /* bytes that a file may have, 0: no limit */
} Start;

typedef struct Running {
    pid_t pid;
    int out; /* standard output and error */
} Running;

typedef struct Ended {
    int code; /* of its exit, or 128 + the signal */
    double seconds;
    char said[1 << 16];
} Ended;

Running program_start(Start s);
/* Waits; after `limit` seconds it is killed and the test fails. */
Ended program_end(Running r, double limit);
Ended program_run(Start s, double limit);
/* The first child of a process, once it has one; 0 if there is none within a second. */
pid_t program_child(pid_t parent);
/* Does the process still run? A zombie does not. */
bool program_runs(pid_t pid);

/* A new folder, and a path in it. */
typedef struct Place {
    char folder[32], path[64];
} Place;
Place place_new(void);
void place_leave(const Place *p);
void place_write(const char *path, const char *text);

/* All rows of a journal, which must be whole. */
typedef struct Rows {
    int n;
    Row *row; /* free it */
} Rows;
Rows rows_read(const char *path);
/* The last row of a case; NULL without one. */
const Row *rows_find(const Rows *r, const char *variant, int64_t n);
int rows_count(const Rows *r, RowKind kind);

#endif
