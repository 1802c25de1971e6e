/* language.cu - both ends of a language model: rows of the embedding table, and cross entropy.
 *
 * embed: one thread an element; bytes 8 rows width. Its gradient gives each word of the vocabulary
 * a block for every 128 columns, which looks through all ids, 32 at a time (a warp's ballot), and
 * adds the rows of its word in row order: no atomics, one order. Ids are read vocab x rows / 32
 * times 128 bytes from L2: 4 MB for 16384 rows and 256 words.
 * xent: one block a row, which reads the row twice (thrice with the gradient): bytes 8 rows vocab
 * forward from L2 half of them, 12 backward. Computed for 16384 x 256 on an H100: 5 and 15 us. */
#include "kernels/cuda/divide.cuh"
#include "kernels/cuda/ops.cuh"

#include <math.h>

enum { THREADS = 256, EMBED_COLUMNS = 128 };

__global__ void embed_fwd_kernel(Embed a, Divisor by_width)
{
    const float *table = (const float *)a.table;
    float *y = (float *)a.y;
    for (int64_t i = first_of(); i < a.rows * a.width; i += step_of()) {
        const int64_t row = quotient(i, by_width);
        y[i] = table[(a.ids[row] - row) * a.width + i];
    }
}

Status cuda_embed_fwd(Dev *d, const Embed *a)
{
    return launch(d, "embed_fwd", embed_fwd_kernel, grid_for(d, a->rows * a->width, THREADS),
                  THREADS, 0, *a, divisor(a->width));
}

__global__ void embed_bwd_kernel(Embed a)
{
    const int64_t col = (int64_t)blockIdx.y * EMBED_COLUMNS + threadIdx.x;
    const int word = (int)blockIdx.x, lane = threadIdx.x % 32;
    const float *dy = (const float *)a.dy;
    float sum = 0.0f;
    for (int64_t r0 = 0; r0 < a.rows; r0 += 32) {
        const bool mine = r0 + lane < a.rows && a.ids[r0 + lane] == word;
        unsigned hits = __ballot_sync(0xffffffffu, mine);
        for (; hits != 0; hits &= hits - 1)
            if (col < a.width)
                sum += dy[(r0 + __ffs((int)hits) - 1) * a.width + col];
    }
    if (col < a.width)
        ((float *)a.dtable)[word * (int64_t)a.width + col] += sum;
}

Status cuda_embed_bwd(Dev *d, const Embed *a)
{
    const int threads = a->width > 64 ? EMBED_COLUMNS : a->width > 32 ? 64 : 32;
    if (a->dtable == NULL)
        return ST_OK;
    return launch(d, "embed_bwd", embed_bwd_kernel,
                  dim3((unsigned)a->vocab, (unsigned)ceil_div(a->width, EMBED_COLUMNS)), threads, 0,
                  *a);
}

/* ---- cross entropy ---- */
/* A row's largest number and the sum of exp(x - top); apart, since top may be large. A NaN stays,
 * -inf has no share. */
struct RowSum {
    float top, sum;
};

__device__ RowSum row_sum(const float *x, int n, float *warps)
{
    RowSum r = {-INFINITY, 0.0f};
    for (int c = threadIdx.x; c < n; c += blockDim.x)
        r.top = Max()(x[c], r.top);
    r.top = block_reduce(r.top, Max(), warps);
    for (int c = threadIdx.x; c < n; c += blockDim.x)
        r.sum += expf(x[c] - r.top);
    r.sum = block_reduce(r.sum, Sum(), warps);
    return r;
}

__global__ void xent_fwd_kernel(Xent a)
{
    float *warps = dyn_smem<float>();
    for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
        const float *x = (const float *)a.logits + r * a.vocab;
        const int target = a.target[r]; /* the same for the whole block */
        float nll = 0.0f;
        if (target >= 0) {
            const RowSum s = row_sum(x, a.vocab, warps);
            nll = logf(s.sum) + (s.top - x[target]);
        }
        if (threadIdx.x == 0)
            ((float *)a.nll)[r] = nll;
    }
}

static dim3 row_grid(int64_t rows)
{
    return dim3((unsigned)least(rows, 1 << 20));
}

Status cuda_xent_fwd(Dev *d, const Xent *a)
{
    return launch(d, "xent_fwd", xent_fwd_kernel, row_grid(a->rows), threads_for_row(a->vocab),
                  MAX_WARPS * sizeof(float), *a);
}

__global__ void xent_bwd_kernel(Xent a)
{
    float *warps = dyn_smem<float>();
    const float scale = (float)a.weight * *(const float *)a.dloss;
    for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
        const float *x = (const float *)a.logits + r * a.vocab;
        float *dx = (float *)a.dlogits + r * a.vocab;
        const int target = a.target[r];
        if (target < 0)
            continue;
        const RowSum s = row_sum(x, a.vocab, warps);
        for (int c = threadIdx.x; c < a.vocab; c += blockDim.x)
            dx[c] += scale * (expf(x[c] - s.top) / s.sum - (c == target ? 1.0f : 0.0f));
    }
}

Status cuda_xent_bwd(Dev *d, const Xent *a)
{
    if (a->dlogits == NULL)
        return ST_OK;
    return launch(d, "xent_bwd", xent_bwd_kernel, row_grid(a->rows), threads_for_row(a->vocab),
                  MAX_WARPS * sizeof(float), *a);
}
