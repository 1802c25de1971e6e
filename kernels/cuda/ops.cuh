/* ops.cuh - the kernels of this folder by name, as table.cu lists them, and what they share. */
#ifndef LONGMIX_CUDA_OPS_CUH
#define LONGMIX_CUDA_OPS_CUH

#include "kernels/cuda/cuda.cuh"

/* Sums over the rows, for each column c (c = 0 for all columns with `one_gain`):
 *   dgain[c] += sum_r dy[r,c] (x[r,c] - mean_r) rstd_r,   dbias[c] += sum_r dy[r,c]
 * with mean_r = 0 and rstd_r = 1 unless stats (rows,2) are given. A NULL sum is not wanted. */
struct Columns {
    int64_t rows, width;
    const float *dy, *x, *stats;
    float *dgain, *dbias;
    bool one_gain;
};
Status cuda_columns(Dev *d, const char *op, const Columns *c); /* sums.cu */

Status cuda_gemm(Dev *d, const Gemm *a);
Status cuda_attn_fwd(Dev *d, const Attn *a);
Status cuda_attn_bwd(Dev *d, const Attn *a);
Status cuda_chunks_fwd(Dev *d, const Chunks *a);
Status cuda_chunks_bwd(Dev *d, const Chunks *a);
Status cuda_sru_fwd(Dev *d, const Sru *a);
Status cuda_sru_bwd(Dev *d, const Sru *a);
Status cuda_lsh_hash(Dev *d, const LshHash *a);
Status cuda_lsh_fwd(Dev *d, const Lsh *a);
Status cuda_lsh_bwd(Dev *d, const Lsh *a);
Status cuda_lsh_decode(Dev *d, const LshDecode *a);
Status cuda_norm_fwd(Dev *d, const Norm *a);
Status cuda_norm_bwd(Dev *d, const Norm *a);
Status cuda_gate_fwd(Dev *d, const Gate *a);
Status cuda_gate_bwd(Dev *d, const Gate *a);
Status cuda_affine_fwd(Dev *d, const Affine *a);
Status cuda_affine_bwd(Dev *d, const Affine *a);
Status cuda_conv_fwd(Dev *d, const Conv *a);
Status cuda_conv_bwd(Dev *d, const Conv *a);
Status cuda_mult_fwd(Dev *d, const Mult *a);
Status cuda_mult_bwd(Dev *d, const Mult *a);
Status cuda_modconv_fwd(Dev *d, const ModConv *a);
Status cuda_modconv_bwd(Dev *d, const ModConv *a);
Status cuda_soft_blocks_fwd(Dev *d, const SoftBlocks *a);
Status cuda_soft_blocks_bwd(Dev *d, const SoftBlocks *a);
Status cuda_pick(Dev *d, const Pick *a);
Status cuda_sparse_ff_fwd(Dev *d, const SparseFf *a);
Status cuda_sparse_ff_bwd(Dev *d, const SparseFf *a);
Status cuda_rope(Dev *d, const Rope *a);
Status cuda_rel_fwd(Dev *d, const Rel *a);
Status cuda_rel_bwd(Dev *d, const Rel *a);
Status cuda_embed_fwd(Dev *d, const Embed *a);
Status cuda_embed_bwd(Dev *d, const Embed *a);
Status cuda_xent_fwd(Dev *d, const Xent *a);
Status cuda_xent_bwd(Dev *d, const Xent *a);
Status cuda_copy(Dev *d, const Copy *a);
Status cuda_add(Dev *d, int64_t n, const void *a, const void *b, void *y);
Status cuda_blend(Dev *d, int64_t n, double a, const void *x, double b, const void *z, void *y);
Status cuda_normal(Dev *d, int64_t n, uint64_t seed, uint32_t stream, uint64_t offset, void *y);
Status cuda_colsum(Dev *d, int64_t rows, int64_t width, const void *x, void *y);
Status cuda_fill(Dev *d, int64_t n, double value, void *y);
Status cuda_sum(Dev *d, int64_t n, double scale, const void *x, void *y);
Status cuda_sumsq(Dev *d, int64_t n, const void *x, void *y);
Status cuda_adamw(Dev *d, const AdamW *a);

#endif
