/* toy_channel.h - a channel mixer with an option, carried state, a choice and a random draw, for
 * testing what the template does for them. */
#ifndef LONGMIX_TESTS_TOY_CHANNEL_H
#define LONGMIX_TESTS_TOY_CHANNEL_H

#include "variants/template/mixer.h"

/* y_t = (lift + noise) x_t[j] x_(t-1) with x_(-1) = 0 and j the largest entry of x_t, the first on
 * ties; noise: one number a position, uniform in (0,1), in training alone. Attention before it. */
extern const Variant toy_channel;

#endif
