/* scaling_loss.c - Scaling Transformers (Jaszczur 2021): dense but for a multiplicative loss layer.
 */
#include "variants/template/sparse.h"

const Variant variant_scaling_loss = {
    .name = "scaling_loss",
    .title = "dense but for a multiplicative loss layer",
    .paper = "Jaszczur et al. 2021, Sparse is Enough in Scaling Transformers, arXiv:2111.12763",
    .formula =
        "y = x + concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ) W_o, Q, K rotated, norm before both\n"
        "out = y + gelu(y W_1 + b_1) W_2 + b_2"
        "\nlogits[s,m] = sum_i x_i g[i,s] e[i,m] + b",
    .time = "T^2 D",
    .state = "2 T D",
    .mixer = &mixer_attention,
    .channel = &channel_gelu,
    .norm = NORM_LAYER,
    .norm_eps = 1e-6,
    .norm_bias = true,
    .mixer_norm = NORM_PRE,
    .channel_norm = NORM_PRE,
    .blocks_per_layer = 1,
    .loss = &loss_mult,
};
