/* gated.h - what the GAU family shares: projections, heads by gain and bias, gate and output.
 *
 *     U = x W_u + b_u   V = silu(x W_v + b_v)   Z = silu(x W_z + b_z)
 *     head_i = rope(Z g_i + b_i)                y = (silu(U) * mixed) W_o + b_o
 * (Hua 2022, section 2). Parameters and parts stand in this order; the heads come last. */
#ifndef LONGMIX_GATED_H
#define LONGMIX_GATED_H

#include "variants/template/mixer.h"

enum { W_U, B_U, W_V, B_V, W_Z, B_Z, W_O, B_O, HEAD_GAIN }; /* then gain, bias of each head */
enum { U, V, HEAD };                                        /* parts */

/* For params_help; the heads' own follow. */
#define GATED_HELP                                                                                 \
    "w_u: gate U, activated in the product; b_u: its bias; w_v: values V; b_v: their bias; "       \
    "w_z: shared base Z of queries and keys; b_z: its bias; w_o: output; b_o: its bias; "

/* names: gain and bias of every head, n of them in all; z: their width S. */
void gated_params(Slot s[], const MixCtx *c, int z, const char *const names[], int n);
/* How heads are turned: not at all, or their first `rot` columns (0: all) in halves or neighbours.
 */
typedef struct GatedTurn {
    bool on, half;
    int rot;
} GatedTurn;
Status gated_accepts(int z, GatedTurn turn);
void gated_project(Tape *t, const MixIn *in, Tensor *x, int n_heads, GatedTurn turn, Parts *out);
Tensor *gated_finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x);

int gated_groups(const MixCtx *c); /* one mixing matrix */
int gated_ffn(int width);          /* E = 2 D */
/* Forward flops of the projections: 6 D E + 2 D S a position. */
double gated_flops(const MixCtx *c, int z);
/* With them, and 2 (S + E) a pair: where every query meets every key. */
double gated_pair_flops(const MixCtx *c, int z);

/* The caches of keys and values, in this order, for attend_cached. */
enum { GATED_CACHES = 2 };
void gated_caches(Slot s[], const MixCtx *c, int z);

/* sum a_i b_i over n numbers, for the definitions of mixing matrices. */
double gated_dot(const double *a, const double *b, int n);

#endif
