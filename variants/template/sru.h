/* sru.h - a recurrent unit beside a feed-forward layer (Jaszczur 2021, with the SRU of Lei 2018):
 *     SRU^n(x W_u + b_u) W_d + b_d,   each layer of width u: h = sru(x, x W + b)
 * It goes from left to right and carries one vector of u numbers a layer. */
#ifndef LONGMIX_SRU_H
#define LONGMIX_SRU_H

#include "variants/template/mixer.h"

enum { SRU_LAYERS = 2, SRU_PARAMS = 4 + 2 * SRU_LAYERS, SRU_STATE = SRU_LAYERS };

#define SRU_HELP                                                                                   \
    "sru_in: to the recurrent unit; sru_in_b: its bias; sru1_w: gates r and f, and input, of its " \
    "first layer; sru1_b: their bias; sru2_w: of the second layer; sru2_b: their bias; "           \
    "sru_out: back to D; sru_out_b: its bias"

/* layers 0: all slots are absent. */ void sru_params(Slot s[SRU_PARAMS], const MixCtx *c,
                                                      int layers, int width);
void sru_state(Slot s[SRU_STATE], const MixCtx *c, int layers, int width);
/* x (B,T,D) -> (B,T,D); st: its state, or NULL. */
Tensor *sru_branch(Tape *t, Tensor *const w[], Tensor *const st[], Tensor *x, int layers);
double sru_flops(const MixCtx *c, int layers, int width);

#endif
