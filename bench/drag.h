/* drag.h - a slow-down made on purpose: extra work of a known length after each step. */
#ifndef LONGMIX_DRAG_H
#define LONGMIX_DRAG_H

#include "bench/stage.h"

/* Loops that take the given fraction of a step's time, both measured here, in turn, by the best of
 * several; fraction 0: none. Steps the case only then. */
Status drag_calibrate(Stage *s, double fraction, int64_t *loops);
/* Runs them; returns seconds. */
double drag_work(int64_t loops);

#endif
