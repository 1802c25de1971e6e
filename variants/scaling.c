/* scaling.c - Scaling Transformers (Jaszczur 2021): sparse feed-forward, projections and loss
 * layer. */
#include "variants/template/sparse.h"

const Variant variant_scaling = {
    .name = "scaling",
    .title = "sparse feed-forward, projections and loss layer",
    .paper = "Jaszczur et al. 2021, Sparse is Enough in Scaling Transformers, arXiv:2111.12763",
    .time = "T^2 D",
    .state = "T D",
    .mixer = &mixer_modules,
    .channel = &channel_sparse,
    .norm = NORM_LAYER,
    .norm_eps = 1e-6,
    .norm_bias = true,
    .mixer_norm = NORM_PRE,
    .channel_norm = NORM_PRE,
    .blocks_per_layer = 1,
    .loss = &loss_mult,
};
