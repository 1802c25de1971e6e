/* primer_ez.c - Primer-EZ: the Transformer with depthwise convolutions and squared ReLU.
 *
 * So et al. 2021, arXiv:2109.08668, section 3: the two changes that carry most of the gain.
 *     q, k, v = conv(x W)       ffn(x) = relu(x W_in + b_in)^2 W_out + b_out, F = 4 D
 * All else is that of `vanilla`, so that rows compare; mixer in template/dconv.c. */
#include "variants/template/mixer.h"

const Variant variant_primer_ez = {
    .name = "primer_ez",
    .title = "Primer-EZ: depthwise convolutions on q, k, v and squared ReLU",
    .paper = "So 2021, arXiv:2109.08668",
    .time = "T^2 D",
    .state = "2 T D",
    .formula =
        "Q, K, V = conv(norm(x) W), Q, K then rotated; conv: each column by a causal filter\n"
        "y = x + concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ) W_o\n"
        "z = y + relu(norm(y) W_in + b_in)^2 W_out + b_out, LayerNorm before each branch",
    .mixer = &mixer_dconv,
    .channel = &channel_relu2,
    .norm = NORM_LAYER,
    .norm_eps = 1e-5,
    .norm_bias = true,
    .blocks_per_layer = 1,
};
