/* duo.h - a kernel on two devices: the one on trial and ref, with the same numbers in both.
 *
 * Knows no test framework, so that the cases also run in plain programs under sanitizers. */
#ifndef LONGMIX_TESTS_DUO_H
#define LONGMIX_TESTS_DUO_H

#include "kernels/kernels.h"

enum { DUO_ARRAYS = 64, TRIAL = 0, REF = 1 };

typedef struct Duo {
    Dev *d[2];
    const Kernels *k[2];
    Buf hold[2][DUO_ARRAYS]; /* arrays since the last duo_clear */
    int n_hold;
    double worst;    /* largest error so far, as a share of the largest number expected */
    char where[128]; /* of which array */
    uint64_t bits;   /* a hash of all that the trial has given, in order */
} Duo;

/* An array that both devices have; n numbers, reals or ids. NULL arrays are n = 0. */
typedef struct Arr {
    int64_t n;
    Buf b[2];
} Arr;

Status duo_open(Duo *u, const char *backend);
void duo_close(Duo *u);
void duo_clear(Duo *u);          /* frees the arrays */
void duo_drop(Duo *u, int keep); /* all but the first so many */

Arr duo_given(Duo *u, int64_t n, const double *x);
Arr duo_random(Duo *u, int64_t n, double sd, uint32_t seed); /* normal, around 0 */
Arr duo_shifted(Duo *u, int64_t n, double mean, double sd, uint32_t seed);
Arr duo_nans(Duo *u, int64_t n); /* an output: what was there does not matter */
Arr duo_zeros(Duo *u, int64_t n);
Arr duo_unset(Duo *u, int64_t n); /* NaN on trial, which overwrites it, zeros on ref, which adds */
Arr duo_ids(Duo *u, int64_t n, const int32_t *ids);
Arr duo_random_ids(Duo *u, int64_t n, int32_t below, uint32_t seed);
static inline void *at(Arr a, int side)
{
    return a.b[side].ptr;
}

/* Ends the program when st is a failure, but for a missing kernel's. */
void duo_must(Status st);
/* Compares an array's contents; NaN must meet NaN. */
void duo_same(Duo *u, Arr a, const char *name);
/* The largest |trial - ref| over the largest |ref| (or 1). */
double duo_error(Duo *u, Arr a);
/* Keeps an error if it is the worst so far: what duo_same does with duo_error. */
void duo_note(Duo *u, double error, const char *name);
void duo_bits(Duo *u, const void *x, size_t size); /* of results, for `bits` */
int64_t duo_differ(Duo *u, Arr ids);               /* how many ids differ */

/* Families of cases: each runs all of its cases and leaves the worst error in u. */
typedef struct Family {
    const char *name;
    double bound[3]; /* float32, tf32, bf16 */
    void (*run)(Duo *u, bool small);
} Family;
extern const Family duo_families[];
extern const int n_duo_families;

#endif
