/* ops.h - the operations that variants are written with. B batch, T positions, D width.
 *
 * All tensors are dense; heads are slices of the last dimension, so nothing is ever transposed. */
#ifndef LONGMIX_OPS_H
#define LONGMIX_OPS_H

#include "kernels/tape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* x (..,K), w (K,N), bias (N) or NULL -> (..,N) = x w + bias. */
Tensor *op_linear(Tape *t, Tensor *x, Tensor *w, Tensor *bias);

/* The same with w (N,K): a column of the output is one row of w. */
Tensor *op_linear_rows(Tape *t, Tensor *x, Tensor *w, Tensor *bias);

/* Multiplicative layer: x (..,K), g (K,S), e (K,M), bias (S*M) or NULL -> (..,S*M); see Mult in
 * kernels.h. */
Tensor *op_mult(Tape *t, Tensor *x, Tensor *g, Tensor *e, Tensor *bias);

/* Convolution over positions and modules: x (B,T,S*in), w (taps,side,in,out), bias (out) or NULL
 * -> (B,T,S*out); see ModConv in kernels.h. halo (B,taps-1,S*in): the rows before; NULL: zeros. */
Tensor *op_modconv(Tape *t, Tensor *x, Tensor *w, Tensor *bias, Tensor *halo);
/* Chunks of a and b in turn, (..,W) and (..,W) -> (..,2W): chunk 0 of a, chunk 0 of b, chunk 1 ...
 */
Tensor *op_interleave(Tape *t, Tensor *a, Tensor *b, int64_t chunk);
/* halo (B,n,W) = the last n rows of [halo, x]. Without gradients only. */
void op_keep_rows(Tape *t, Tensor *halo, Tensor *x);

/* Blocks of `block` units along the last dimension; see SoftBlocks, Pick and SparseFf in kernels.h.
 * op_pick gives I32 (B,T,F/block) without a gradient; u (B,T,F) or NULL. op_sparse_ff: z (B,T,F) or
 * NULL, needed if o.scaled or o.estimate (then with a gradient); w1, w2 (F,D), bias (D) or NULL. */
Tensor *op_soft_blocks(Tape *t, Tensor *z, int block);
typedef struct PickOpt {
    int block;
    double tau;
    uint64_t seed, offset;
    uint32_t stream;
} PickOpt;
Tensor *op_pick(Tape *t, Tensor *z, Tensor *u, PickOpt o);
typedef struct SparseFfOpt {
    int block;
    bool scaled, estimate;
} SparseFfOpt;
Tensor *op_sparse_ff(Tape *t, Tensor *x, Tensor *z, Tensor *pick, Tensor *w1, Tensor *w2,
                     Tensor *bias, SparseFfOpt o);

/* f(x), and f(a) * b (a gated linear unit with the gate a). Same shapes. */
Tensor *op_act(Tape *t, Act f, Tensor *x);
Tensor *op_gate(Tape *t, Act f, Tensor *a, Tensor *b);
Tensor *op_add(Tape *t, Tensor *a, Tensor *b);
Tensor *op_copy(Tape *t, Tensor *x);
Tensor *op_blend(Tape *t, double a, Tensor *x, double b, Tensor *z); /* a x + b z */

/* Normal numbers offset .. of the random stream (rng.h), without a gradient. */
Tensor *op_normal(Tape *t, int rank, const int64_t dim[], uint64_t seed, uint32_t stream,
                  uint64_t offset);

/* x (..,W) * gain (W) + bias (W); either may be NULL. */
Tensor *op_affine(Tape *t, Tensor *x, Tensor *gain, Tensor *bias);

/* Normalises the last dimension; see Norm in kernels.h. NORM_NONE returns x. */
Tensor *op_norm(Tape *t, NormKind kind, double eps, Tensor *x, Tensor *gain, Tensor *bias);

/* Causal convolution by columns: x (B,T,W), w (taps,W), bias (W) or NULL -> (B,T,W); see Conv in
 * kernels.h. halo (B,taps-1,W): the rows before, updated in place (then without gradients); NULL:
 * zeros. */
Tensor *op_conv(Tape *t, Tensor *x, Tensor *w, Tensor *bias, Tensor *halo);

/* Rotary positions on x (B,T,H*d). Row t of every sequence is position pos + t. */
typedef struct RopeOpt {
    int64_t pos;
    int heads;
    int rot; /* columns of a head that turn; even; 0: all */
    double base;
    bool half; /* pairs (i, i + rot/2); otherwise (2i, 2i + 1) */
} RopeOpt;
Tensor *op_rope(Tape *t, Tensor *x, RopeOpt o);

/* table (V,D), ids (B,T) -> (B,T,D). */
Tensor *op_embed(Tape *t, Tensor *table, Tensor *ids);

/* q (B,Tq,H*d), k (B,Tk,H*d), v (B,Tk,H*dv) -> (B,Tq,H*dv); see Attn in kernels.h. k and v may be
 * caches longer than k_len (then without gradients). k_len 0: all rows of k. lens (B) or NULL. */
typedef struct AttendOpt {
    AttnKind kind;
    bool naive, causal, post_rows;
    int heads;
    int64_t q_pos, k_len;
    double scale, post, log_base, log_floor;
    /* Biases by distance, the entry of distance 0 at bias_zero; NULL: none. Not with log_base. */
    Tensor *bias;
    int64_t bias_zero;
    double bias_scale;
} AttendOpt;
Tensor *op_attend(Tape *t, Tensor *q, Tensor *k, Tensor *v, Tensor *lens, AttendOpt o);

/* FLASH mixed chunk attention: qq, kq, ql, kl (B,T,S), v (B,T,E) -> (B,T,E); see Chunks in
 * kernels.h. state: four tensors {sum, part, keys, vals} updated in place, or NULL. */
typedef struct ChunksOpt {
    int chunk;
    bool causal, lin_mean;
    int64_t pos;
    double local_scale, local_post, lin_scale, bias_scale;
    Tensor *bias; /* (2 C - 1), or NULL */
} ChunksOpt;
Tensor *op_chunks(Tape *t, Tensor *const qk[4], Tensor *v, Tensor *lens, Tensor *const state[4],
                  ChunksOpt o);

/* Simple recurrent unit; see Sru in kernels.h. x (B,T,W), g (B,T,3W) -> (B,T,W). state (B,1,W),
 * updated in place, or NULL. */
Tensor *op_sru(Tape *t, Tensor *x, Tensor *g, Tensor *state);

/* LSH attention; see LshHash, Lsh and LshDecode in kernels.h. */
typedef struct LshHashOpt {
    int heads, rounds, n1, n2;
    int64_t pos;
} LshHashOpt;
/* x (B,T,H*d), rot (H,rounds,d,(n1 + n2) / 2) or NULL if n1 is 0 -> I32 (B,H,rounds,T). Carries no
 * gradient. */
Tensor *op_lsh_hash(Tape *t, Tensor *x, Tensor *rot, Tensor *lens, LshHashOpt o);

typedef struct LshOpt {
    bool causal;
    int heads, n_buckets, before, after;
    int64_t chunk;
} LshOpt;
/* q (B,T,H*d), v (B,T,H*dv), bucket (B,H,rounds,T) -> (B,T,H*dv). */
Tensor *op_lsh(Tape *t, Tensor *q, Tensor *v, Tensor *bucket, Tensor *lens, LshOpt o);
/* T and as many padding positions as the chunks need. */
int64_t lsh_padded(int64_t len, int64_t rounds, int64_t chunk);
/* Pairs of items that meet in chunks, of one head, without padding: what costs count. */
double lsh_pairs(int64_t len, int64_t rounds, int64_t chunk, int before, int after);

/* q (B,n,H*d), fresh (B,H,rounds,n), caches keys (B,cap,H*d), v (B,cap,H*dv) and bucket
 * (B,H*rounds,cap), updated in place -> (B,n,H*dv). Without gradients only. */
Tensor *op_lsh_decode(Tape *t, Tensor *q, Tensor *keys, Tensor *v, Tensor *fresh, Tensor *bucket,
                      Tensor *lens, int heads, int64_t pos, int64_t window);

/* Tables of biases for the distances first .. first + n - 1; see Rel in kernels.h. a and c (W). */
typedef struct RelOpt {
    int64_t first, n;
    bool causal, half;
    double base, scale;
} RelOpt;
Tensor *op_rel_rope(Tape *t, Tensor *a, Tensor *c, RelOpt o); /* -> (n) */
Tensor *op_rel_buckets(Tape *t, Tensor *buckets, RelOpt o);   /* (REL_BUCKETS) -> (n) */

/* Writes rows (B,n,W) into cache (B,cap,W) at positions at .. at + n - 1. Without gradients only.
 */
void op_append(Tape *t, Tensor *cache, Tensor *rows, int64_t at);

/* Mean over the targets >= 0 of the negative log-likelihood in nats: logits (..,V), target (..)
 * I32, `counted` of them >= 0 -> (1). nll, if not NULL, becomes the (rows) tensor of every row's.
 */
Tensor *op_cross_entropy(Tape *t, Tensor *logits, Tensor *target, int64_t counted, Tensor **nll);

/* Pairs (query, key) that see each other, summed over the batch, per head: what costs count. */
double attend_pairs(int64_t batch, int64_t q_len, int64_t k_len, int64_t q_pos, bool causal);

#ifdef __cplusplus
}
#endif
#endif
