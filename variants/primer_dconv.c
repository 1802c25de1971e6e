/* primer_dconv.c - half of Primer-EZ: the Transformer with depthwise convolutions on q, k, v.
 *
 * So et al. 2021, arXiv:2109.08668, section 3, "MDHA" alone; all else is that of `vanilla`. */
#include "variants/template/mixer.h"

const Variant variant_primer_dconv = {
    .name = "primer_dconv",
    .title = "Transformer with depthwise convolutions on q, k, v",
    .paper = "So 2021, arXiv:2109.08668",
    .time = "T^2 D",
    .state = "2 T D",
    .formula =
        "Q, K, V = conv(norm(x) W), Q, K then rotated; conv: each column by a causal filter\n"
        "y = x + concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ) W_o\n"
        "z = y + gelu(norm(y) W_in + b_in) W_out + b_out, LayerNorm before each branch",
    .mixer = &mixer_dconv,
    .channel = &channel_gelu,
    .norm = NORM_LAYER,
    .norm_eps = 1e-5,
    .norm_bias = true,
    .blocks_per_layer = 1,
};
