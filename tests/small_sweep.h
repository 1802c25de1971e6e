/* small_sweep.h - a sweep of six points of a tenth of a second, run by the program itself, and what
 * its journal must hold. */
#ifndef LONGMIX_TESTS_SMALL_SWEEP_H
#define LONGMIX_TESTS_SMALL_SWEEP_H

#include "tests/program.h"

enum { SWEEP_VARIANTS = 2, SWEEP_LENGTHS = 3 };
extern const char *const sweep_variants[SWEEP_VARIANTS];
extern const int64_t sweep_lengths[SWEEP_LENGTHS];
static const double SWEEP_LIMIT = 60; /* seconds for one sweep; it takes two */

/* more: further arguments; env: a variable, or NULL. args holds the command line. */
Start small_sweep(const Place *p, const char *more, const char *env, char *args, size_t size);
Ended run_sweep(const Place *p, const char *more, const char *env);

/* Of a point that has a row, which must be whole. */
RowStatus status_of(const Rows *r, const char *variant, int64_t n);
/* No key of a check or case twice; but for what a short budget left out. */
void expect_no_doubles(const Rows *r);
void expect_complete(const Rows *r);

#endif
