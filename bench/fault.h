/* fault.h - accidents on request, for tests: LONGMIX_FAULT=VARIANT:N:KIND in the environment makes
 * the case of that variant and length go wrong in the worker. */
#ifndef LONGMIX_FAULT_H
#define LONGMIX_FAULT_H

#include "report/row.h"

typedef enum Fault {
    FAULT_NONE,
    FAULT_ABORT,
    FAULT_SPIN,
    FAULT_BOMB,
    FAULT_NAN,
    FAULT_WRONG
} Fault;

Fault fault_of(const Case *c);

/* abort: as a broken promise would; spin: never comes back; bomb: takes memory without end (fails
 * with ST_OOM where malloc does). nan: nothing here, the inputs of the case are to be NaN. wrong:
 * nothing here, the check of the variant is to see results that are a hundredth too large. */
Status fault_strike(Fault f);

#endif
