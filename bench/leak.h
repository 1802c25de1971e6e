/* leak.h - what a later position does to earlier rows of causal blocks, by way of their choices. */
#ifndef LONGMIX_LEAK_H
#define LONGMIX_LEAK_H

#include "bench/model.h"
#include "report/row.h"

/* May there be one? Causal blocks that choose. */
bool leak_possible(const Model *m);

/* Runs m on x (B,T,D), T > 1, and again with the negative of the last position of every sequence:
 * once with choices made anew, once with those of the first run. x is as before afterwards. */
Status leak_measure(Model *m, Tensor *x, Leak *out);

/* The same as lines for people. */
Status leak_tell(Model *m, Tensor *x);

#endif
