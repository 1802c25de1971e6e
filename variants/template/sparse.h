/* sparse.h - the layers of Scaling Transformers (Jaszczur 2021, arXiv:2111.12763), which its
 * recipes and the Terraformer share. */
#ifndef LONGMIX_SPARSE_H
#define LONGMIX_SPARSE_H

#include "variants/template/mixer.h"

extern const ChannelMixer channel_sparse; /* one unit of every block */
extern const Mixer mixer_modules;         /* attention on multiplicative, convolved projections */
extern const LossLayer loss_mult;         /* multiplicative */

#endif
