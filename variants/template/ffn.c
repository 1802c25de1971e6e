/* ffn.c - channel mixers: feed-forward layers, position by position. */
#include "variants/template/mixer.h"

static double rows_of(const MixCtx *c)
{
    return (double)c->batch * (double)c->q_len;
}

/* ---- f(x W_in + b_in) W_out + b_out, F = 4 D: GELU (Vaswani 2017), relu^2 (So 2021, section 3)
 * ----
 */
enum { W_IN, B_IN, W_OUT, B_OUT, N_DENSE };

static int four_times(int width)
{
    return 4 * width;
}

static void dense_params(Slot s[], const MixCtx *c)
{
    s[W_IN] = slot_matrix("w_in", c->width, c->ffn);
    s[B_IN] = slot_bias("b_in", c->ffn);
    s[W_OUT] = slot_matrix("w_out", c->ffn, c->width);
    s[B_OUT] = slot_bias("b_out", c->width);
}

static Tensor *dense(Tape *t, Act f, Tensor *const w[], Tensor *x)
{
    Tensor *h = op_act(t, f, op_linear(t, x, w[W_IN], w[B_IN])); /* (B,T,F) */
    return op_linear(t, h, w[W_OUT], w[B_OUT]);
}

static Tensor *gelu_forward(Tape *t, const MixIn *in, const Parts *parts, Tensor *x)
{
    (void)parts;
    return dense(t, ACT_GELU, in->w, x);
}

static Tensor *relu2_forward(Tape *t, const MixIn *in, const Parts *parts, Tensor *x)
{
    (void)parts;
    return dense(t, ACT_RELU2, in->w, x);
}

static const char dense_help[] =
    "w_in: to F columns; b_in: its bias; w_out: back to D; b_out: its bias";

static double dense_flops(const MixCtx *c)
{
    return 4 * rows_of(c) * c->width * c->ffn;
}

const ChannelMixer channel_gelu = {.name = "gelu",
                                   .n_params = N_DENSE,
                                   .default_ffn = four_times,
                                   .params = dense_params,
                                   .params_help = dense_help,
                                   .forward = gelu_forward,
                                   .flops = dense_flops};

const ChannelMixer channel_relu2 = {.name = "relu2",
                                    .n_params = N_DENSE,
                                    .default_ffn = four_times,
                                    .params = dense_params,
                                    .params_help = dense_help,
                                    .forward = relu2_forward,
                                    .flops = dense_flops};

/* ---- (silu(x W_gate) * (x W_in)) W_out, F = 8/3 D (Shazeer 2020, arXiv:2002.05202) ---- */
enum { W_GATE, W_UP, W_DOWN, N_SWIGLU };

static int eight_thirds(int width)
{
    return (8 * width / 3 + 15) / 16 * 16;
}

static void swiglu_params(Slot s[], const MixCtx *c)
{
    s[W_GATE] = slot_matrix("w_gate", c->width, c->ffn);
    s[W_UP] = slot_matrix("w_in", c->width, c->ffn);
    s[W_DOWN] = slot_matrix("w_out", c->ffn, c->width);
}

static Tensor *swiglu_forward(Tape *t, const MixIn *in, const Parts *parts, Tensor *x)
{
    (void)parts;
    Tensor *const *w = in->w;
    Tensor *gate = op_linear(t, x, w[W_GATE], NULL); /* (B,T,F) */
    return op_linear(t, op_gate(t, ACT_SILU, gate, op_linear(t, x, w[W_UP], NULL)), w[W_DOWN],
                     NULL);
}

static double swiglu_flops(const MixCtx *c)
{
    return 6 * rows_of(c) * c->width * c->ffn;
}

const ChannelMixer channel_swiglu = {.name = "swiglu",
                                     .n_params = N_SWIGLU,
                                     .default_ffn = eight_thirds,
                                     .params = swiglu_params,
                                     .params_help = "w_gate: gate, activated by silu; "
                                                    "w_in: what it gates; w_out: back to D",
                                     .forward = swiglu_forward,
                                     .flops = swiglu_flops};
