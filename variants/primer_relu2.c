/* primer_relu2.c - half of Primer-EZ: the Transformer with a squared ReLU.
 *
 * So et al. 2021, arXiv:2109.08668, section 3: ffn(x) = relu(x W_in + b_in)^2 W_out + b_out alone;
 * all else is that of `vanilla`. */
#include "variants/template/mixer.h"

const Variant variant_primer_relu2 = {
    .name = "primer_relu2",
    .title = "Transformer with a squared ReLU feed-forward layer",
    .paper = "So 2021, arXiv:2109.08668",
    .time = "T^2 D",
    .state = "2 T D",
    .formula = "y = x + concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ) W_o, Q, K rotated\n"
               "z = y + relu(norm(y) W_in + b_in)^2 W_out + b_out, LayerNorm before each branch",
    .mixer = &mixer_attention,
    .channel = &channel_relu2,
    .norm = NORM_LAYER,
    .norm_eps = 1e-5,
    .norm_bias = true,
    .blocks_per_layer = 1,
};
