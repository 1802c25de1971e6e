/* kernel_flat.h - does a token cost as much after a million others as after a few? */
#ifndef LONGMIX_KERNEL_FLAT_H
#define LONGMIX_KERNEL_FLAT_H

#include "bench/rig.h"

/* One pass of a prefill over all its segments, a few at a time in turn with whole passes over 2048
 * tokens. Fills roof "start": the fraction is the rate of the long pass over that of the short one;
 * segment_slope the change of that ratio from the first to the last tenth. */
Status kernel_flat(Rig *longer, Row *row);

#endif
