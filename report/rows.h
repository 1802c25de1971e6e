/* rows.h - the rows of a journal that a report is made from. */
#ifndef LONGMIX_ROWS_H
#define LONGMIX_ROWS_H

#include "report/row.h"

/* The newest row of each row_key, of the newest build and its machine, in the order of the journal.
 * Zero is a valid empty value; rows_free gives back what rows_load took. */
typedef struct Rows {
    Row *row;
    int n, capacity;
    int n_older;     /* left out: rows of other builds */
    int n_elsewhere; /* left out: rows of this build from other machines */
    int n_replaced;  /* left out: a newer row has the same key */
    bool finished;   /* the newest run has come to its end */
} Rows;

/* Fails as journal_read, with ST_OOM, and with ST_USAGE for a journal without a row of kind run. */
Status rows_load(const char *path, Rows *out);
void rows_free(Rows *r);
const Row *rows_last(const Rows *r, RowKind kind); /* the newest of a kind, or NULL */
const Row *rows_run(const Rows *r);                /* the newest run; there is one */

#endif
