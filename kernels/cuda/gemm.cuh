/* gemm.cuh - matrix products for other files of this folder. */
#ifndef LONGMIX_CUDA_GEMM_CUH
#define LONGMIX_CUDA_GEMM_CUH

#include "kernels/cuda/cuda.cuh"

/* `count` products, whose matrices begin so many elements apart. */
struct GemmBatch {
    int64_t count, a, b, c;
};

Status cuda_gemm(Dev *d, const Gemm *g);
/* Uses dev_scratch, unless the library needs no workspace; not more of it than lies before what
 * gemm_work gives, which stays until other scratch is asked for. */
Status gemm_work(Dev *d, size_t size, void **out);
Status cuda_gemm_batch(Dev *d, const Gemm *g, const GemmBatch *many);

#endif
