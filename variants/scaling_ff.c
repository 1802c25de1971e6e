/* scaling_ff.c - Scaling Transformers (Jaszczur 2021): attention that is dense, one feed-forward
 * unit of every block. */
#include "variants/template/sparse.h"

const Variant variant_scaling_ff = {
    .name = "scaling_ff",
    .title = "attention that is dense, one feed-forward unit of every block",
    .paper = "Jaszczur et al. 2021, Sparse is Enough in Scaling Transformers, arXiv:2111.12763",
    .formula =
        "y = x + concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ) W_o, Q, K rotated, norm before both\n"
        "z = y C1 C2 + cb   j_k = argmax over block k of z   (in training: see the paper)\n"
        "out = y + b_2 + sum_k relu(y . w1_jk) w2_jk",
    .time = "T^2 D",
    .state = "2 T D",
    .mixer = &mixer_attention,
    .channel = &channel_sparse,
    .norm = NORM_LAYER,
    .norm_eps = 1e-6,
    .norm_bias = true,
    .mixer_norm = NORM_PRE,
    .channel_norm = NORM_PRE,
    .blocks_per_layer = 1,

};
