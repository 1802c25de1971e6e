/* sru.c - see sru.h. */
#include "variants/template/sru.h"

enum { W_U, B_U, W_D, B_D, LAYER };

static const char *const w_name[SRU_LAYERS] = {"sru1_w", "sru2_w"};
static const char *const b_name[SRU_LAYERS] = {"sru1_b", "sru2_b"};
static const char *const c_name[SRU_LAYERS] = {"sru1_c", "sru2_c"};

void sru_params(Slot s[SRU_PARAMS], const MixCtx *c, int layers, int width)
{
    s[W_U] = slot_matrix("sru_in", c->width, width);
    s[B_U] = slot_bias("sru_in_b", width);
    s[W_D] = slot_matrix("sru_out", width, c->width);
    s[B_D] = slot_bias("sru_out_b", c->width);
    for (int i = 0; i < SRU_LAYERS; i++) {
        s[LAYER + 2 * i] = slot_matrix(w_name[i], width, 3 * (int64_t)width);
        s[LAYER + 2 * i + 1] = slot_bias(b_name[i], 3 * (int64_t)width);
    }
    for (int i = 0; i < SRU_PARAMS; i++)
        s[i].absent = layers == 0 || i >= LAYER + 2 * layers;
}

/* A single number stands where nothing is carried. */
void sru_state(Slot s[SRU_STATE], const MixCtx *c, int layers, int width)
{
    for (int i = 0; i < SRU_STATE; i++)
        s[i] = slot_state(c_name[i], i < layers ? c->batch : 1, 1, i < layers ? width : 1);
}

Tensor *sru_branch(Tape *t, Tensor *const w[], Tensor *const st[], Tensor *x, int layers)
{
    Tensor *h = op_linear(t, x, w[W_U], w[B_U]); /* (B,T,u) */
    for (int i = 0; i < layers; i++) {
        Tensor *g = op_linear(t, h, w[LAYER + 2 * i], w[LAYER + 2 * i + 1]); /* (B,T,3u) */
        h = op_sru(t, h, g, st != NULL ? st[i] : NULL);
    }
    return op_linear(t, h, w[W_D], w[B_D]);
}

double sru_flops(const MixCtx *c, int layers, int width)
{
    double rows = (double)c->batch * (double)c->q_len, u = width;
    return layers > 0 ? rows * (4 * c->width * u + layers * (6 * u * u + 8 * u)) : 0;
}
