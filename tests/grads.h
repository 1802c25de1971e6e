/* grads.h - gradients of ops through the tape, in float64 on the ref backend, against central
 * differences. */
#ifndef LONGMIX_TESTS_GRADS_H
#define LONGMIX_TESTS_GRADS_H

#include "kernels/ops.h"

enum { GRADS_MAX_IN = 6 };

typedef struct Shape {
    int rank;
    int64_t dim[MAX_RANK];
} Shape;

/* y = build(t, x, arg) for the inputs x[0..n_in), of at most 256 numbers each. `out` is y's shape.
 */
typedef struct Problem {
    const char *name;
    Tensor *(*build)(Tape *t, Tensor *const x[], const void *arg);
    const void *arg;
    int n_in;
    Shape in[GRADS_MAX_IN], out;
} Problem;

/* Fails the test where a gradient is off by more than 1e-8 of the input's largest one, or where it
 * is not added to what was there, or where it depends on which of the others are wanted. Prints
 * the largest error. */
void grads_check(const Problem *p);

/* An integer tensor on the tape, that goes with it; value must live until it is made. */
Tensor *grads_ints(Tape *t, int rank, const int64_t dim[], const int32_t *value);

#endif
