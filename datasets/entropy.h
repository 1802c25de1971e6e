/* entropy.h - what a model has to beat: how many bits a byte of a text costs by simple means.
 * Maximum likelihood on the text itself, so these are lower bounds for such models, not scores. */
#ifndef LONGMIX_ENTROPY_H
#define LONGMIX_ENTROPY_H

#include "kernels/base.h"

enum { ENTROPY_MAX_ORDER = 2 };

/* H(byte | the order bytes before it), in bits per byte, over the size - order bytes that have so
 * many before them. order 0, 1, 2 needs 1 KB, 256 KB, 64 MB while it runs.
 * Fails: ST_USAGE for size <= order; ST_UNSUPPORTED from 4 GiB on; ST_OOM. */
Status entropy_order(const uint8_t *data, size_t size, int order, double *bits);

/* Size of the whole text under `xz -6`, container included, in bits per byte. About 2 MB/s and
 * 94 MB of memory. Fails: ST_USAGE for no bytes; ST_OOM. */
Status entropy_xz(const uint8_t *data, size_t size, double *bits);

#endif
