/* kernels.h - the table of raw kernels: the one seam between ops and backends.
 *
 * A kernel takes a plain struct of sizes and device pointers. "real" is float on cpu and cuda and
 * double on ref; ids and lengths are int32_t. All arrays are row-major; `..._row` is the distance
 * between neighbouring rows (positions) in elements, so that heads and caches need no copies.
 * Kernels named *_bwd ADD into the gradients they are given; a NULL gradient is not wanted. Where a
 * table says `overwrites`, they overwrite the gradients that a flag set_... of the struct names.
 * Every kernel gives the same bits for any number of threads. A NULL entry of a table means that
 * the backend does not have the kernel: ops turn that into ST_UNSUPPORTED with its name.
 * Scratch comes from dev_scratch; kernels allocate nothing else. */
#ifndef LONGMIX_KERNELS_H
#define LONGMIX_KERNELS_H

#include "kernels/device.h"

#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

/* C (m,n) = alpha op(A) (m,k) op(B) (k,n) + beta C [+ bias (n) to every row].
 * ta: A is stored (k,m); tb: B is stored (n,k). beta is 0 or 1; with 0, C may hold garbage. */
typedef struct Gemm {
    int64_t m, n, k;
    bool ta, tb;
    double alpha, beta;
    const void *a, *b, *bias; /* bias may be NULL */
    void *c;
    int64_t lda, ldb, ldc;
} Gemm;

/* Pairwise attention of H heads, flash style: no q_len x k_len matrix in memory unless `naive`.
 *   softmax: o_i = sum_j softmax_j(s_ij) v_j               (Vaswani 2017, eq. 1)
 *   relu2:   o_i = post_i sum_j relu(s_ij)^2 v_j           (Hua 2022, section 2)
 *   s_ij = scale_i q_i.k_j + bias_scale bias[bias_zero + j - (q_pos + i)]
 * over the visible keys: j < k_len, j < lens[b] if lens, and j <= q_pos + i if causal. post_i is
 * post, divided by the number of visible keys if post_rows. A row that sees no key gives zeros.
 * scale_i is scale, times log(max(visible keys, log_floor)) / log(log_base) if log_base is not 0
 * (log_base > 1, log_floor >= 1). bias (or NULL: none) has an entry for the distance of every key
 * to every query: bias_zero >= q_pos + q_len - 1, and k_len - 1 entries behind that of distance 0.
 * q (B,q_len,H,d), k (B,k_len,H,d), v (B,k_len,H,dv), o (B,q_len,H,dv); batch b of k begins at
 * b * k_batch elements (caches are longer than k_len), likewise v; q and o are dense batches of
 * q_len rows. lse (B,H,q_len): log-sum-exp of the scaled scores (softmax only; -inf for empty
 * rows); written by fwd when not NULL, read by bwd. naive: fwd leaves the weights of o = weights v
 * in matrix (B,H,q_len,k_len), bwd reads them and has d_matrix of the same size for their gradient;
 * both belong to the caller and are counted. Other implementations do not look at them. */
typedef enum AttnKind { ATTN_SOFTMAX, ATTN_RELU2 } AttnKind;
typedef struct Attn {
    AttnKind kind;
    bool naive; /* materialise the weights in `matrix`, as the papers' baselines ran */
    bool causal, post_rows;
    int64_t batch, q_len, k_len, q_pos;
    int heads, d, dv;
    double scale, post, log_base, log_floor, bias_scale;
    const int32_t *lens; /* (B) valid keys per row of the batch; NULL: all */
    const void *q, *k, *v, *bias;
    int64_t q_row, k_row, v_row, o_row, k_batch, v_batch, bias_zero;
    void *o, *lse, *matrix, *d_matrix;
    const void *d_o;             /* bwd: gradient of o (o_row), and o itself is read */
    void *dq, *dk, *dv_;         /* bwd: laid out as q, k, v */
    void *d_bias;                /* bwd: as bias */
    bool set_dq, set_dk, set_dv; /* not for naive */
} Attn;

/* Mixed chunk attention of FLASH (Hua 2022, section 3.2), one head, chunks of C positions:
 *   o_i = local_post sum_{j in chunk(i), visible} relu(local_scale qq_i.kq_j + bias_ij)^2 v_j
 *         + ql_i M_g,   M_g = c_g sum_h kl_h' v_h,   bias_ij = bias_scale bias[C - 1 + j - i]
 * causal: visible j <= i, h runs over the chunks before chunk g = i / C,
 *         c_g = lin_scale / (lin_mean ? g : 1), and 0 for g = 0;
 * bidirectional: all valid j of the chunk, h over all valid positions,
 *         c = lin_scale / (lin_mean ? number of chunks with a valid position : 1).
 * qq, kq, ql, kl (B,T,S), v, o (B,T,E), dense. lens as in Attn.
 * With state (causal only, forward only) the call continues at absolute position pos:
 *   sum (B,S,E) over finished chunks, part (B,S,E) over the open chunk,
 *   keys (B,C,S) and vals (B,C,E) the rows of the open chunk so far (pos mod C of them).
 * All four are read and updated in place; len rows may cross any number of chunk ends. */
typedef struct Chunks {
    int64_t batch, len, pos;
    int chunk, s, e;
    bool causal, lin_mean;
    double local_scale, local_post, lin_scale, bias_scale;
    const int32_t *lens;
    const void *qq, *kq, *ql, *kl, *v, *bias; /* bias (2 C - 1), or NULL: none */
    void *o;
    void *sum, *part, *keys, *vals; /* state, or all NULL */
    const void *d_o;
    void *dqq, *dkq, *dql, *dkl, *dv, *d_bias;
} Chunks;

/* Buckets of locality-sensitive hashing (Andoni 2015, Kitaev 2020), for every round and head:
 *   bucket = argmax [y1 ; -y1] + n1 argmax [y2 ; -y2],   [y1 y2] = x R
 * with n1 / 2 and n2 / 2 columns; n2 = 0: the first term alone; the first of equal maxima wins.
 * n1 = 0: all in bucket 0. Positions pos + t from lens[b] on get the padding bucket n1 max(n2, 1).
 * x (B,len,H*d), rot (H,rounds,d,(n1 + n2) / 2), bucket (B,H,rounds,len). */
typedef struct LshHash {
    int64_t batch, len, pos;
    int heads, d, rounds, n1, n2;
    const int32_t *lens;
    const void *x, *rot;
    int32_t *bucket;
} LshHash;

/* LSH attention with shared queries and keys (Kitaev 2020, as Terraformer has it, Jaszczur 2021).
 * In every round the positions 0 .. padded - 1 are sorted by (bucket, position); those from lens[b]
 * and from len on are padding and come last. The rounds, one behind the other, are
 * rounds * padded items, a multiple of chunk. An item of chunk c sees the items of chunks
 * c - before .. c + after, modulo the number of chunks (one that comes twice counts twice):
 *   s_ij = q_i.k_j - [i = j] 1e5,   k_j = q_j / sqrt(d (mean(q_j^2) + 1e-6))
 *   o_i = sum_ij exp(s_ij - lse_i) v_j,   lse_i = log sum exp(s_ij)
 * over the items j that some item of i sees, padding excluded, and j <= i if causal. This is the
 * sum of the rounds' softmax outputs, weighted by the softmax of their log-sum-exp. A padding
 * position gives zeros. bucket (B,H,rounds,len): valid positions have ids below n_buckets.
 * q (B,len,H*d), v and o (B,len,H*dv), dense. lse (B,H,len): written by fwd when not NULL, read by
 * bwd, as o; where a position sees only itself it is about -1e5 and no more exact than that. */
typedef struct Lsh {
    bool causal;
    int64_t batch, len, padded, chunk;
    int heads, d, dv, rounds, n_buckets, before, after;
    const int32_t *lens, *bucket;
    const void *q, *v;
    void *o, *lse;
    const void *d_o;
    void *dq, *dv_;
} Lsh;

/* Its decode, which selects keys otherwise: the query at p = pos + i sees, of all j <= p, the
 * `window` newest whose bucket equals that of p in some round (the same round of both), and, where
 * these are fewer, the newest of the others. Scores as above; positions from lens[b] on give zeros.
 * q (B,q_len,H*d); caches keys (B,cap,H*d), v (B,cap,H*dv), bucket (B,H,rounds,cap) as reals, where
 * the buckets of the new positions, fresh (B,H,rounds,q_len), are written first. */
typedef struct LshDecode {
    int64_t batch, q_len, pos, cap, window;
    int heads, d, dv, rounds;
    const int32_t *lens, *fresh;
    const void *q, *keys, *v;
    void *bucket, *o;
} LshDecode;

/* A table of additive biases by distance: y[e] is that of distance first + e, key less query.
 *   rope:    <a, c turned by the distance>, a and c (width), turned as in Rope   (Hua 2022, code)
 *   buckets: scale a[rel_bucket(distance)], a (REL_BUCKETS)                      (Raffel 2020) */
typedef enum RelKind { REL_ROPE, REL_BUCKET } RelKind;
typedef struct Rel {
    RelKind kind;
    bool half, causal;
    int64_t n, first;
    int width;
    double base, scale;
    const void *a, *c;
    void *y;
    const void *dy;
    void *da, *dc;
} Rel;

/* Distances are exact up to half the buckets, then their logarithm; causal: none for the future,
 * else the upper half of the buckets is for keys behind the query. */
enum { REL_BUCKETS = 32 };
static inline int rel_bucket(bool causal, int64_t distance)
{
    /* The first distance of a bucket; bucket i < 17, or 9, begins at i. */
    static const uint8_t past[] = {19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113};
    static const uint8_t near[] = {12, 16, 23, 32, 46, 64, 91};
    const int exact = causal ? 16 : 8, n = causal ? COUNT(past) : COUNT(near);
    const int64_t far = causal ? max64(0, -distance) : distance < 0 ? -distance : distance;
    int i = 0;
    while (i < n && far >= (causal ? past[i] : near[i]))
        i++;
    return (int)min64(far, exact) + i + (!causal && distance > 0 ? REL_BUCKETS / 2 : 0);
}

/* Simple recurrent unit (Lei 2018), every column by itself along the positions:
 *   r = sigmoid(g_r), f = sigmoid(g_f), c_t = f c_{t-1} + (1 - f) g_y,
 *   h_t = r c_t + (1 - r) sqrt(3) x
 * g (B,T,3 width) = [g_r g_f g_y], x and h (B,T,width). c (B,T,width): written by fwd when not
 * NULL, read by bwd. state (B,width): c before the first position, updated in place; NULL: zeros.
 * bwd: no state. */
typedef struct Sru {
    int64_t batch, len;
    int width;
    const void *g, *x;
    void *h, *c, *state;
    const void *dh;
    void *dg, *dx;
} Sru;

/* y = (x - mean) * rstd * gain + bias over the last dimension.
 *   layer: mean and variance of the row; rms: mean = 0, mean square; scale: as rms, gain is one
 *   number for all columns (ScaleNorm). rstd = 1 / sqrt(var + eps). gain, bias may be NULL.
 * stats (rows,2): mean and rstd, written by fwd when not NULL, read by bwd. */
typedef enum NormKind { NORM_NONE, NORM_LAYER, NORM_RMS, NORM_SCALE } NormKind;
typedef struct Norm {
    NormKind kind;
    int64_t rows;
    int width;
    double eps;
    const void *x, *gain, *bias;
    void *y, *stats;
    const void *dy;
    void *dx, *dgain, *dbias;
} Norm;

/* y = f(a) * b elementwise over n numbers; b NULL: y = f(a). GELU is the tanh form. */
typedef enum Act { ACT_NONE, ACT_RELU, ACT_RELU2, ACT_SILU, ACT_GELU, ACT_SIGMOID } Act;
typedef struct Gate {
    Act act;
    int64_t n;
    const void *a, *b;
    void *y;
    const void *dy;
    void *da, *db;
    bool set_da, set_db;
} Gate;

/* y = x * gain + bias over rows of `width` (OffsetScale of GAU; gain or bias may be NULL). */
typedef struct Affine {
    int64_t rows;
    int width;
    const void *x, *gain, *bias;
    void *y;
    const void *dy;
    void *dx, *dgain, *dbias;
} Affine;

/* Causal convolution over positions, one filter a column (depthwise), row 0 of w for the present:
 *   y[b,t,c] = bias[c] + sum_{k < taps} w[k,c] x[b,t-k,c]
 * x, y (B,T,W) dense, w (taps,W), bias (W) or NULL, taps <= CONV_TAPS_MAX. Rows before position 0
 * are zeros, or with state come from halo (B,taps-1,W), the oldest first, which is then replaced by
 * the last taps-1 rows of [halo, x]: so segments equal one pass. bwd: without halo. */
enum { CONV_TAPS_MAX = 32 };
typedef struct Conv {
    int64_t batch, len;
    int width, taps;
    const void *x, *w, *bias;
    void *y, *halo;
    const void *dy;
    void *dx, *dw, *dbias;
} Conv;

/* Multiplicative layer (Jaszczur 2021, section 3.2), S modules of M columns, without the product
 * x g in memory:   y[r, s M + m] = bias[s M + m] + sum_i x[r,i] g[i,s] e[i,m]
 * x (rows,in), g (in,S), e (in,M), y (rows, S*M), bias (S*M) or NULL. */
typedef struct Mult {
    int64_t rows;
    int in, modules, m;
    const void *x, *g, *e, *bias;
    void *y;
    const void *dy;
    void *dx, *dg, *de, *dbias;
} Mult;

/* Causal convolution over positions and modules, its weights shared by all modules:
 *   y[b,t,s,o] = bias[o] + sum_{a < taps, j < side, i < in}
 *                          x[b, t - (taps-1) + a, s - (side-1)/2 + j, i] w[a,j,i,o]
 * x (B,T,S,in), y (B,T,S,out), w (taps,side,in,out), bias (out) or NULL; side is odd. Modules
 * outside are zeros; rows before position 0 too, or with state halo (B,taps-1,S,in), which is read
 * only. bwd: without halo. */
typedef struct ModConv {
    int64_t batch, len;
    int modules, in, out, taps, side;
    const void *x, *w, *bias, *halo;
    void *y;
    const void *dy;
    void *dx, *dw, *dbias;
} ModConv;

/* Softmax of n blocks of `block` neighbouring numbers. bwd adds m (dm - sum m dm) to dz. */
typedef struct SoftBlocks {
    int64_t n;
    int block;
    const void *z;
    void *m;
    const void *dm;
    void *dz;
} SoftBlocks;

/* pick[i] = argmax_n (z[i,n] + tau g[i,n]), the first of equal ones, for n blocks of `block`
 * numbers; g = -log(-log U) with U clamped to [1e-6, 1 - 1e-6], given as u (like z) or, when that
 * is NULL, number offset + index of the random stream. tau 0: nothing is drawn. */
typedef struct Pick {
    int64_t n;
    int block;
    double tau;
    const void *z, *u;
    uint64_t seed, offset;
    uint32_t stream;
    int32_t *pick;
} Pick;

/* Sparse feed-forward (Jaszczur 2021, section 3.1): of every block of N units one is computed,
 *   unit j = k N + pick[r,k],  u[r,k] = x_r.w1_j,  y_r = bias + sum_k relu(u[r,k]) c[r,k] w2_j
 * c = 1, or with `scaled` the softmax of its block of z at the unit (without gradient). x, y
 * (rows,D), w1, w2 (blocks*N,D): a unit is one row of each. z (rows,blocks*N), read if `scaled` or
 * for dz. u (rows,blocks) is written by fwd, read by bwd.
 * dz (estimate: the gradient that the unit's soft mask m would have, straight through):
 *   dz[n] += m_j (delta_nj - m_n) dh_j u 1[u > 0], dh_j = c dy.w2_j. */
typedef struct SparseFf {
    int64_t rows;
    int width, blocks, block;
    bool scaled;
    const int32_t *pick;
    const void *x, *w1, *w2, *bias, *z;
    void *y, *u;
    const void *dy;
    void *dx, *dw1, *dw2, *dbias, *dz;
} SparseFf;

/* Rotary positions: pairs of the first `rot` of d columns of every head turn by
 * t * base^(-2 i / rot), t = pos + row mod len. half: pair i is (i, i + rot/2); else (2i, 2i + 1).
 * inverse turns back (the backward pass). y = turned x, or y += it when `add`. x, y (B*T, H, d). */
typedef struct Rope {
    int64_t rows, len, pos;
    int heads, d, rot;
    double base;
    bool half, inverse, add;
    const void *x;
    void *y;
} Rope;

/* y (rows,width) = table[ids[row]]; bwd: dtable[ids[row]] += dy[row] in row order. */
typedef struct Embed {
    int64_t rows;
    int width, vocab;
    const int32_t *ids;
    const void *table;
    void *y;
    const void *dy;
    void *dtable;
} Embed;

/* nll[r] = logsumexp(logits[r]) - logits[r][target[r]]; target < 0: 0, the row does not count.
 * bwd: dlogits[r] += weight * dloss[0] * (softmax(logits[r]) - onehot) for rows that count. */
typedef struct Xent {
    int64_t rows;
    int vocab;
    const void *logits;
    const int32_t *target;
    void *nll;
    double weight;
    const void *dloss;
    void *dlogits;
} Xent;

/* dst[r * dst_row + c] = src[r * src_row + c] (add: +=), r < rows, c < width, for `batch` matrices
 * that begin dst_batch and src_batch elements apart. */
typedef struct Copy {
    int64_t batch, rows, width;
    const void *src;
    void *dst;
    int64_t src_row, dst_row, src_batch, dst_batch;
    bool add;
} Copy;

/* One step of AdamW with decoupled decay (Loshchilov 2019). step counts from 1. */
typedef struct AdamW {
    int64_t n, step;
    double lr, beta1, beta2, eps, decay;
    double grad_scale; /* gradients are multiplied by it first */
    void *w, *m, *v;
    const void *grad;
    /* (1), the sum of squares of all gradients, or NULL. Where it is not finite nothing changes;
     * else gradients are multiplied by clip / norm as well, if clip > 0 and the norm is larger. */
    const void *norm2;
    double clip;
} AdamW;

/* What gradients are multiplied by; not finite where nothing is to change. */
static inline double adamw_scale(const AdamW *a, double norm2)
{
    double norm = sqrt(norm2);
    return isfinite(norm) ? a->grad_scale * (a->clip > 0 && norm > a->clip ? a->clip / norm : 1.0)
                          : norm;
}

struct Kernels {
    const char *isa; /* what the table was compiled for: "avx2", "sm_90", ... */
    bool overwrites; /* looks at the flags set_... */
    Status (*gemm)(Dev *d, const Gemm *a);
    Status (*attn_fwd)(Dev *d, const Attn *a);
    Status (*attn_bwd)(Dev *d, const Attn *a);
    Status (*chunks_fwd)(Dev *d, const Chunks *a);
    Status (*chunks_bwd)(Dev *d, const Chunks *a); /* whole sequence from position 0, no state */
    Status (*lsh_hash)(Dev *d, const LshHash *a);
    Status (*lsh_fwd)(Dev *d, const Lsh *a);
    Status (*lsh_bwd)(Dev *d, const Lsh *a);
    Status (*lsh_decode)(Dev *d, const LshDecode *a);
    Status (*sru_fwd)(Dev *d, const Sru *a);
    Status (*sru_bwd)(Dev *d, const Sru *a);
    Status (*norm_fwd)(Dev *d, const Norm *a);
    Status (*norm_bwd)(Dev *d, const Norm *a);
    Status (*gate_fwd)(Dev *d, const Gate *a);
    Status (*gate_bwd)(Dev *d, const Gate *a);
    Status (*affine_fwd)(Dev *d, const Affine *a);
    Status (*affine_bwd)(Dev *d, const Affine *a);
    Status (*conv_fwd)(Dev *d, const Conv *a);
    Status (*conv_bwd)(Dev *d, const Conv *a);
    Status (*mult_fwd)(Dev *d, const Mult *a);
    Status (*mult_bwd)(Dev *d, const Mult *a);
    Status (*modconv_fwd)(Dev *d, const ModConv *a);
    Status (*modconv_bwd)(Dev *d, const ModConv *a);
    Status (*soft_blocks_fwd)(Dev *d, const SoftBlocks *a);
    Status (*soft_blocks_bwd)(Dev *d, const SoftBlocks *a);
    Status (*pick)(Dev *d, const Pick *a);
    Status (*sparse_ff_fwd)(Dev *d, const SparseFf *a);
    Status (*sparse_ff_bwd)(Dev *d, const SparseFf *a);
    Status (*rope)(Dev *d, const Rope *a);
    Status (*rel_fwd)(Dev *d, const Rel *a);
    Status (*rel_bwd)(Dev *d, const Rel *a);
    Status (*embed_fwd)(Dev *d, const Embed *a);
    Status (*embed_bwd)(Dev *d, const Embed *a);
    Status (*xent_fwd)(Dev *d, const Xent *a);
    Status (*xent_bwd)(Dev *d, const Xent *a);
    Status (*copy)(Dev *d, const Copy *a);
    Status (*add)(Dev *d, int64_t n, const void *a, const void *b,
                  void *y); /* y = a + b; y may be a */
    Status (*blend)(Dev *d, int64_t n, double a, const void *x, double b, const void *z,
                    void *y); /* y = a x + b z; y may be x or z */
    /* Normal numbers offset .. of the random stream, rounded to float on every backend. */
    Status (*normal)(Dev *d, int64_t n, uint64_t seed, uint32_t stream, uint64_t offset, void *y);
    Status (*colsum)(Dev *d, int64_t rows, int64_t width, const void *x, void *y); /* y += sums */
    Status (*fill)(Dev *d, int64_t n, double value, void *y);
    Status (*sum)(Dev *d, int64_t n, double scale, const void *x, void *y); /* y[0] = scale * sum */
    Status (*sumsq)(Dev *d, int64_t n, const void *x, void *y); /* y[0] += sum of squares */
    Status (*adamw)(Dev *d, const AdamW *a);
};

#ifdef __cplusplus
}
#endif
#endif
