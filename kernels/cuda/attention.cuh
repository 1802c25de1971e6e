/* attention.cuh - attention for other files of this folder. */
#ifndef LONGMIX_CUDA_ATTENTION_CUH
#define LONGMIX_CUDA_ATTENTION_CUH

#include "kernels/cuda/pairs_kernel.cuh"

Pairs pairs_of(const Attn *a);
/* All queries, splits and all. Both use dev_scratch. */
Status pairs_forward(Dev *d, const char *op, Pairs p);
Status pairs_backward(Dev *d, const char *op, Pairs p);

Status naive_fwd(Dev *d, const Attn *a); /* naive.cu */
Status naive_bwd(Dev *d, const Attn *a);

#endif
