/* cpu_chunks.h - mixed chunk attention by its definition in kernels.h, pair by pair in double. */
#ifndef LONGMIX_TESTS_CPU_CHUNKS_H
#define LONGMIX_TESTS_CPU_CHUNKS_H

#include "tests/cpu_check.h"

/* Expected output and gradients; the gradients begin as what the kernel adds into. */
typedef struct Want {
    double *o, *dqq, *dkq, *dql, *dkl, *dv;
    double *d_bias; /* NULL without bias */
} Want;

/* a with random operands from the pool, at scales that keep scores and outputs near 1; with a bias
 * if its scale is not 0. */
Chunks random_chunks(Chunks a);
Want want_of(const Chunks *a);
/* Valid positions of batch row b. */
int64_t valid_of(const Chunks *a, int64_t b);

static const double CHUNKS_TOL = 1e-5; /* of outputs of size 1, summed over some hundred terms */

#endif
