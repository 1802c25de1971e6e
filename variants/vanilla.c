/* vanilla.c - the Transformer as published, with pre-norm and rotary positions.
 *
 * Vaswani et al. 2017, arXiv:1706.03762. Differs: LayerNorm before the branches (Xiong 2020), GELU,
 * rotary positions; biases in the feed-forward layer only. The mixer is template/attention.c. */
#include "variants/template/mixer.h"

const Variant variant_vanilla = {
    .name = "vanilla",
    .title = "Transformer: softmax attention, LayerNorm, GELU feed-forward",
    .paper = "Vaswani 2017, arXiv:1706.03762",
    .time = "T^2 D",
    .state = "2 T D",
    .formula = "y = x + concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ) W_o, Q, K rotated\n"
               "z = y + gelu(norm(y) W_in + b_in) W_out + b_out, LayerNorm before each branch",
    .mixer = &mixer_attention,
    .channel = &channel_gelu,
    .norm = NORM_LAYER,
    .norm_eps = 1e-5,
    .norm_bias = true,
    .blocks_per_layer = 1,
};
