/* past.h - what a journal holds already, so that a resumed sweep does not measure it again.
 *
 * Only rows of the same build and machine count, and only the last one of each point. */
#ifndef LONGMIX_PAST_H
#define LONGMIX_PAST_H

#include "bench/schedule.h"

typedef struct PastRow {
    RowKind kind;
    RowStatus status;
    char *key;
    uint64_t hash; /* of the key */
    char reason[256];
    Case c;
    double seconds;  /* of a step: as Job.seconds */
    int64_t counted; /* bytes predicted */
    int64_t train_tokens;
    char text_sha256[72];
} PastRow;

typedef struct Past {
    PastRow *row;
    int n, cap;
    bool ended; /* the last run of this build and machine came to its end */
    char (*runs)[24];
    int n_runs;
    char machine[ROW_KEY_SIZE], build[24];
} Past;

/* run: this run's ROW_RUN. No file, or an empty one: nothing is past. Fails as journal_read does.
 */
Status past_read(const char *path, const Row *run, Past *out);
void past_free(Past *p);

/* The row that settles a check or case of this key; NULL if there is none. */
const PastRow *past_find(const Past *p, const Row *like);
/* The check that stands for the case, if it passed or found a difference; one that could not be
 * made is made again. */
const PastRow *past_check(const Past *p, const Case *check);
/* Does a row stand for the case under its present limits? What was left out for want of time or
 * memory is tried again when there is more of it, and so is what crashed. */
bool past_holds(const PastRow *r, const Case *now);
/* The newest training like that of the same text, over `lo` to `hi` tokens, however it ended. */
const PastRow *past_training(const Past *p, const Row *like, int64_t lo, int64_t hi);
bool past_has_text(const Past *p, const char *sha256);

#endif
