/* file.h - reading and replacing whole files, for this folder. Messages begin with the path. */
#ifndef LONGMIX_FILE_H
#define LONGMIX_FILE_H

#include "kernels/base.h"

#include <stdio.h>

/* Opens a regular file and tells its size in bytes. The caller closes *out.
 * Fails: ST_IO when it is absent, unreadable, a folder or a device. */
Status file_open(const char *path, FILE **out, size_t *size);

/* Reads exactly size bytes. Fails: ST_IO, also when the file ends before. */
Status file_read(FILE *in, const char *path, void *out, size_t size);

/* A file being written beside its final place: readers see the old file or the new one, whole.
 * The bytes gather in PATH.tmp, so one path has one writer at a time. */
typedef struct Draft {
    FILE *file;
    const char *path; /* borrowed */
    char *tmp;
    int error; /* errno of the first failure; later calls do nothing */
} Draft;

/* Fails: ST_IO, also for a folder or device, which a rename as root would replace; ST_OOM. */
Status draft_open(const char *path, Draft *out);
void draft_put(Draft *d, const void *data, size_t size);
/* Flushes to disk and moves the draft into place, or removes it and says why (ST_IO). Frees d. */
Status draft_close(Draft *d);

#endif
