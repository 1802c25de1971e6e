/* scaling_qkv.c - Scaling Transformers (Jaszczur 2021): multiplicative, convolved projections,
 * dense feed-forward. */
#include "variants/template/sparse.h"

const Variant variant_scaling_qkv = {
    .name = "scaling_qkv",
    .title = "multiplicative, convolved projections, dense feed-forward",
    .paper = "Jaszczur et al. 2021, Sparse is Enough in Scaling Transformers, arXiv:2111.12763",
    .formula =
        "Y[s,m] = sum_i x_i g[i,s] e[i,m] + b   Q, K, V = conv_q(Y), conv_k(Y), conv_v(Y)\n"
        "y = x + concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ), Q, K rotated, norm before both\n"
        "out = y + gelu(y W_1 + b_1) W_2 + b_2",
    .time = "T^2 D",
    .state = "2 T D",
    .mixer = &mixer_modules,
    .channel = &channel_gelu,
    .norm = NORM_LAYER,
    .norm_eps = 1e-6,
    .norm_bias = true,
    .mixer_norm = NORM_PRE,
    .channel_norm = NORM_PRE,
    .blocks_per_layer = 1,

};
