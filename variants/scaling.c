/* scaling.c - Scaling Transformers (Jaszczur 2021): sparse feed-forward, projections and loss
 * layer. */
#include "variants/template/sparse.h"

const Variant variant_scaling = {
    .name = "scaling",
    .title = "sparse feed-forward, projections and loss layer",
    .paper = "Jaszczur et al. 2021, Sparse is Enough in Scaling Transformers, arXiv:2111.12763",
    .formula =
        "Y[s,m] = sum_i x_i g[i,s] e[i,m] + b   Q, K, V = conv_q(Y), conv_k(Y), conv_v(Y)\n"
        "y = x + concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ), Q, K rotated, norm before both\n"
        "z = y C1 C2 + cb   j_k = argmax over block k of z   (in training: see the paper)\n"
        "out = y + b_2 + sum_k relu(y . w1_jk) w2_jk"
        "\nlogits[s,m] = sum_i x_i g[i,s] e[i,m] + b",
    .time = "T^2 D",
    .state = "2 T D",
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
