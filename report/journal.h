/* journal.h - the results of a sweep on disk: JSON lines, one complete row a line, append-only.
 *
 * A row counts when its newline is there and its checksum is right. One process writes (it holds an
 * exclusive lock), any number read without a lock at any time. Rows reach the disk one by one:
 * after journal_append has returned, a row survives kill -9 and a power failure; before, it is
 * there whole or not at all, because a torn last line (one without a newline) is skipped by readers
 * and cut off by the next writer. A line with a newline that is no row is corrupt, the last too. */
#ifndef LONGMIX_JOURNAL_H
#define LONGMIX_JOURNAL_H

#include "report/row.h"

typedef struct Journal Journal;

/* Opens or creates a journal for writing, with the folders above it. fresh: what is in it is thrown
 * away. Otherwise a torn last line is cut off. Fails: ST_USAGE when another process writes it (the
 * reason says which), when the file is no journal, or a line is corrupt; ST_IO. */
Status journal_open(Journal **out, const char *path, bool fresh);
/* One write and one fsync. Fails: ST_IO, and then the file ends with the row before; ST_USAGE for a
 * row that could not be read back, such as one with a negative count. */
Status journal_append(Journal *j, const Row *r);
void journal_close(Journal *j);        /* NULL is fine */
int64_t journal_cut(const Journal *j); /* bytes of a torn row that journal_open cut off */

/* Calls fn for every row, in order, until it returns something else than ST_OK. Fails as fn, or
 * with ST_USAGE for a corrupt line, named by its number; ST_IO. */
Status journal_read(const char *path, Status (*fn)(const Row *r, void *ctx), void *ctx);

#endif
