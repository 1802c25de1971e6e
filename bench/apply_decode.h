/* apply_decode.h - the blocks of a model run token by token, as in decode. */
#ifndef LONGMIX_APPLY_DECODE_H
#define LONGMIX_APPLY_DECODE_H

#include "bench/model.h"

/* y (B,T,D) of x (B,T,D), both on the device of m: one position after the other through blocks with
 * m's weights, draws and options, from carried state that is zero at first. Nothing is drawn as in
 * training. Fails with ST_UNSUPPORTED where the variant carries no state. */
Status apply_decode(const Model *m, const Tensor *x, const Tensor *y);

#endif
