/* cpu_check.h - what the tests of the cpu kernels share: devices by instruction set, arrays that
 * need no freeing one by one, and a comparison that is repeated with other numbers of threads. */
#ifndef LONGMIX_TESTS_CPU_CHECK_H
#define LONGMIX_TESTS_CPU_CHECK_H

#include "kernels/kernels.h"

/* Runs body on the cpu device, once for every instruction set this machine has. */
void each_isa(void (*body)(Dev *d));

/* Normal numbers, a function of (n, sd, seed); zeros; all gone after pool_free. */
float *pool_random(int64_t n, double sd, uint32_t seed);
float *pool_zeros(int64_t n);
float *pool_lines(int64_t n);    /* zeros, at the start of a cache line */
double *pool_doubles(int64_t n); /* zeros */
double *pool_widen(const float *x, int64_t n);
int32_t *pool_ids(int64_t n, int32_t below, uint32_t seed);
void pool_free(void);

/* What a kernel writes or adds into: n numbers, to come out as want, each within
 * tol * (1 + |want|). got NULL: not asked for. */
typedef struct Out {
    float *got;
    int64_t n;
    const double *want;
    double tol;
} Out;

/* Tolerance of a float32 sum of n terms of size 1. */
double sum_tol(int64_t n);

typedef Status (*CpuCall)(Dev *d, const void *args);

/* Calls with 1, 2 and 3 threads, from the same contents of all outs: the first result must be what
 * is wanted, the others must be the same bits. */
void cpu_expect(Dev *d, CpuCall call, const void *args, const Out *outs, int n_outs,
                const char *what);

#endif
