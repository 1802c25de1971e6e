/* ref.h - the kernels of the float64 backend: the definition that everything is tested against.
 *
 * Every kernel is the formula of kernels.h written as loops, sums run from the first term to the
 * last, and no algorithm is shared with a fast backend. All reals are double. Threads work on
 * independent rows only. */
#ifndef LONGMIX_REF_H
#define LONGMIX_REF_H

#include "kernels/kernels.h"

#include <math.h>

enum { REF_PARALLEL_WORK = 1 << 18 }; /* flops below which threads cost more than they bring */

static inline double ref_dot(const double *x, const double *y, int64_t n)
{
    double sum = 0.0;
    for (int64_t c = 0; c < n; c++)
        sum += x[c] * y[c];
    return sum;
}

/* y += w x; a NULL y is a gradient that is not wanted. */
static inline void ref_add_scaled(double *y, double w, const double *x, int64_t n)
{
    for (int64_t c = 0; y != NULL && c < n; c++)
        y[c] += w * x[c];
}

/* max(x, 0) that lets a NaN through, as fmax does not. */
static inline double ref_relu(double x)
{
    return x < 0.0 ? 0.0 : x;
}

/* log sum_j exp(x_j), -inf for no term; the largest is taken out, so nothing overflows. */
static inline double ref_log_sum_exp(const double *x, int64_t n)
{
    double top = -HUGE_VAL, sum = 0.0;
    for (int64_t j = 0; j < n; j++)
        top = fmax(top, x[j]);
    for (int64_t j = 0; j < n; j++)
        sum += exp(x[j] - top);
    return n > 0 ? top + log(sum) : -HUGE_VAL;
}

/* Element `at` of a gradient, NULL for one that is not wanted. */
static inline double *ref_grad(void *base, int64_t at)
{
    return base != NULL ? (double *)base + at : NULL;
}

Status ref_gemm(Dev *d, const Gemm *a);
Status ref_attn_fwd(Dev *d, const Attn *a);
Status ref_attn_bwd(Dev *d, const Attn *a);
Status ref_chunks_fwd(Dev *d, const Chunks *a);
Status ref_chunks_bwd(Dev *d, const Chunks *a);
Status ref_lsh_hash(Dev *d, const LshHash *a);
Status ref_lsh_fwd(Dev *d, const Lsh *a);
Status ref_lsh_bwd(Dev *d, const Lsh *a);
Status ref_lsh_decode(Dev *d, const LshDecode *a);
Status ref_sru_fwd(Dev *d, const Sru *a);
Status ref_sru_bwd(Dev *d, const Sru *a);
Status ref_norm_fwd(Dev *d, const Norm *a);
Status ref_norm_bwd(Dev *d, const Norm *a);
Status ref_gate_fwd(Dev *d, const Gate *a);
Status ref_gate_bwd(Dev *d, const Gate *a);
Status ref_affine_fwd(Dev *d, const Affine *a);
Status ref_affine_bwd(Dev *d, const Affine *a);
Status ref_conv_fwd(Dev *d, const Conv *a);
Status ref_conv_bwd(Dev *d, const Conv *a);
Status ref_mult_fwd(Dev *d, const Mult *a);
Status ref_mult_bwd(Dev *d, const Mult *a);
Status ref_modconv_fwd(Dev *d, const ModConv *a);
Status ref_modconv_bwd(Dev *d, const ModConv *a);
Status ref_soft_blocks_fwd(Dev *d, const SoftBlocks *a);
Status ref_soft_blocks_bwd(Dev *d, const SoftBlocks *a);
Status ref_pick(Dev *d, const Pick *a);
Status ref_sparse_ff_fwd(Dev *d, const SparseFf *a);
Status ref_sparse_ff_bwd(Dev *d, const SparseFf *a);
Status ref_rope(Dev *d, const Rope *a);
Status ref_rel_fwd(Dev *d, const Rel *a);
Status ref_rel_bwd(Dev *d, const Rel *a);
Status ref_embed_fwd(Dev *d, const Embed *a);
Status ref_embed_bwd(Dev *d, const Embed *a);
Status ref_xent_fwd(Dev *d, const Xent *a);
Status ref_xent_bwd(Dev *d, const Xent *a);
Status ref_copy(Dev *d, const Copy *a);
Status ref_add(Dev *d, int64_t n, const void *a, const void *b, void *y);
Status ref_blend(Dev *d, int64_t n, double a, const void *x, double b, const void *z, void *y);
Status ref_normal(Dev *d, int64_t n, uint64_t seed, uint32_t stream, uint64_t offset, void *y);
Status ref_colsum(Dev *d, int64_t rows, int64_t width, const void *x, void *y);
Status ref_fill(Dev *d, int64_t n, double value, void *y);
Status ref_sum(Dev *d, int64_t n, double scale, const void *x, void *y);
Status ref_sumsq(Dev *d, int64_t n, const void *x, void *y);
Status ref_adamw(Dev *d, const AdamW *a);

#endif
