/* chunks.cuh - products over the positions of chunks, for chunks.cu. */
#ifndef LONGMIX_CUDA_CHUNKS_CUH
#define LONGMIX_CUDA_CHUNKS_CUH

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/ops.cuh"

/* A matrix for every batch row and chunk: rows `row` apart, matrices `batch` and `group` apart. */
struct ChunkMatrix {
    float *p;
    int64_t row, batch, group;
};

/* C = f op(A) op(B) (add: +=) for every chunk g < groups of every batch row. The positions of the
 * chunk are the rows of A, and of C, or (ta) the rows of A and of B, which are summed over. They
 * end at len, and with valid_only at the valid length. f is 1, or (scaled) c_g of Chunks. */
struct ChunkProduct {
    ChunkMatrix a, b, c;
    int m, n, k; /* m (ta: k) is the number of positions, whatever it says */
    bool ta, tb, add, scaled, valid_only, causal, lin_mean;
    float lin_scale;
    int64_t batch, groups, chunk, len, pos, total;
    const int32_t *lens;
};

Status chunk_product(Dev *d, const char *op, const ChunkProduct &p); /* chunk_product.cu */

#endif
