/* files.h - lines of a file, folders, and paths. Private to report/. */
#ifndef LONGMIX_FILES_H
#define LONGMIX_FILES_H

#include "kernels/base.h"

#include <stdio.h>

/* A file read line by line: lines_open, then lines_next while it is true, then lines_close. */
typedef struct Lines {
    const char *path; /* the caller's */
    FILE *file;
    char *text; /* the line without its newline */
    size_t len, capacity;
    int64_t number, start; /* counts from 1; offset of its first byte */
    bool ended;            /* by a newline; only the last line can be without */
} Lines;

Status lines_open(Lines *l, const char *path);
bool lines_next(Lines *l);
Status lines_close(Lines *l); /* ST_IO if reading had failed */

/* Makes a folder and those above it; fine if it is there. */
Status folder_make(const char *path);
/* The folder that a path lies in, "." for a bare name: into folder, at most size bytes. */
void folder_of(const char *path, char *folder, size_t size);
/* How to reach `to` from inside of the folder `from`; both must exist. */
Status path_between(const char *from, const char *to, char *path, size_t size);

#endif
