/* transformer_pp.c - Transformer++: the strong baseline of the efficient-attention papers.
 *
 * RMSNorm (Zhang 2019) + SwiGLU (Shazeer 2020), as Primer (So 2021) defines it, with the rotary
 * positions (Su 2021) that FLASH (Hua 2022) gives its baselines. No biases. */
#include "variants/template/mixer.h"

const Variant variant_transformer_pp = {
    .name = "transformer_pp",
    .title = "Transformer++: softmax attention, RMSNorm, SwiGLU",
    .paper = "So 2021, arXiv:2109.08668; Hua 2022, arXiv:2202.10447",
    .time = "T^2 D",
    .state = "2 T D",
    .formula = "y = x + concat_h( softmax(Q_h K_h' / sqrt(d)) V_h ) W_o, Q, K rotated\n"
               "z = y + (silu(norm(y) W_gate) * norm(y) W_in) W_out, RMSNorm before each branch",
    .mixer = &mixer_attention,
    .channel = &channel_swiglu,
    .norm = NORM_RMS,
    .norm_eps = 1e-6,
    .blocks_per_layer = 1,
};
