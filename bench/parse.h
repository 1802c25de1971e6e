/* parse.h - numbers, names and lists of the command line.
 *
 * Every failure is ST_USAGE with one line that names the value and what is allowed; `what` is how
 * the line calls the thing: "--width", "variant". */
#ifndef LONGMIX_PARSE_H
#define LONGMIX_PARSE_H

#include "kernels/base.h"

/* A whole number, maybe with a suffix k, M, G or T of 1024: "64", "16k", "1M". */
Status parse_size(const char *text, const char *what, int64_t lo, int64_t hi, int64_t *out);
Status parse_int(const char *text, const char *what, int lo, int hi, int *out);
Status parse_u64(const char *text, const char *what, uint64_t *out);
/* Seconds, maybe with a suffix s, m or h; at least lo. */
Status parse_seconds(const char *text, const char *what, double lo, double *out);

/* Context lengths: "4k", "512..1M" (doubling), "512-4096*2" (times a factor), and lists of these.
 * Ascending, without repeats, each from 1 to 2^31 - 1. */
enum { MAX_LENGTHS = 64 };
typedef struct Lengths {
    int n;
    int64_t v[MAX_LENGTHS];
} Lengths;
Status parse_lengths(const char *text, const char *what, Lengths *out);

/* Tables of names end in NULL and have at most 64 entries. */
Status parse_name(const char *text, const char *what, const char *const names[], int *index);
/* "a,b" or "all": bit i of *mask stands for names[i]. */
Status parse_names(const char *text, const char *what, const char *const names[], uint64_t *mask);
/* The name with the fewest edits from text; NULL when none is close. */
const char *nearest_name(const char *text, const char *const names[]);

#endif
