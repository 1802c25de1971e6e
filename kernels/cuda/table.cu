/* table.cu - the kernels of this backend. A missing entry means unsupported, with its name. */
#include "kernels/cuda/ops.cuh"

const Kernels cuda_table = {
    .isa = "cuda", /* the open device's copy says sm_90 and so on */
    .gemm = cuda_gemm,
    .attn_fwd = cuda_attn_fwd,
    .attn_bwd = cuda_attn_bwd,
    .chunks_fwd = cuda_chunks_fwd,
    .chunks_bwd = cuda_chunks_bwd,
    .norm_fwd = cuda_norm_fwd,
    .norm_bwd = cuda_norm_bwd,
    .gate_fwd = cuda_gate_fwd,
    .gate_bwd = cuda_gate_bwd,
    .affine_fwd = cuda_affine_fwd,
    .affine_bwd = cuda_affine_bwd,
    .rope = cuda_rope,
    .embed_fwd = cuda_embed_fwd,
    .embed_bwd = cuda_embed_bwd,
    .xent_fwd = cuda_xent_fwd,
    .xent_bwd = cuda_xent_bwd,
    .copy = cuda_copy,
    .add = cuda_add,
    .colsum = cuda_colsum,
    .fill = cuda_fill,
    .sum = cuda_sum,
    .sumsq = cuda_sumsq,
    .adamw = cuda_adamw,
};
