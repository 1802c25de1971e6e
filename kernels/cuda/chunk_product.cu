/* chunk_product.cu - the products of chunks.cuh: a block for 16 WARPS x 64 numbers of C of one
 * chunk, by tile.cuh; blocks (x: chunk of a batch row, y: columns of C, z: rows).
 *
 * FLOPs 2 m n k a chunk; bytes: A once for every 64 columns, B once for every 16 WARPS rows, both
 * from L2 but the first time. Shared memory: slabs(). Roofline: see chunks.cu. */
#include "kernels/cuda/chunks.cuh"

/* c_g: the divisor is the number of earlier chunks, or of chunks with a valid position. */
__device__ float chunk_factor(const ChunkProduct &p, int64_t b, int64_t g)
{
    const int64_t valid = p.lens != NULL && p.lens[b] < p.total ? p.lens[b] : p.total;
    const int64_t n = p.causal ? p.pos / p.chunk + g : (valid + p.chunk - 1) / p.chunk;
    if (!p.scaled)
        return 1.0f;
    return n == 0 ? 0.0f : p.lin_mean ? p.lin_scale / (float)n : p.lin_scale;
}

template <Math M, int WARPS, bool TA, bool TB>
__global__ void __launch_bounds__(32 * WARPS, WARPS == 4 ? 2 : 1)
    chunk_product_kernel(ChunkProduct p)
{
    constexpr int N = 64, BM = 16 * WARPS;
    const int64_t b = blockIdx.x / p.groups, g = blockIdx.x % p.groups;
    int64_t valid = p.len; /* rows of this call that count */
    if (p.lens != NULL && p.lens[b] - p.pos < valid)
        valid = p.lens[b] > p.pos ? p.lens[b] - p.pos : 0;
    int64_t rows = (p.valid_only ? valid : p.len) - g * p.chunk;
    rows = rows > p.chunk ? p.chunk : rows > 0 ? rows : 0;
    const int64_t m = TA ? p.m : rows, k = TA ? rows : p.k, m0 = (int64_t)blockIdx.z * BM;
    const int n0 = blockIdx.y * N;
    if (m0 >= m)
        return;
    const Source a = source(p.a.p + b * p.a.batch + g * p.a.group, p.a.row, TA ? k : m, TA ? m : k);
    const Source x =
        source(p.b.p + b * p.b.batch + g * p.b.group, p.b.row, TB ? p.n : k, TB ? k : p.n);
    const float factor = chunk_factor(p, b, g);
    float out[N / 8][4];
    clear(out);
    tile_product<M, WARPS, N, TA, TB>(out, a, m0, x, n0, k, dyn_smem<float>());
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int64_t row = m0 + tile_row(e), col = n0 + tile_col(j, e);
            if (row >= m || col >= p.n)
                continue;
            float *to = p.c.p + b * p.c.batch + g * p.c.group + row * p.c.row + col;
            *to = p.add ? *to + factor * out[j][e] : factor * out[j][e];
        }
}

template <Math M, int WARPS, bool TA, bool TB>
static Status run(Dev *d, const char *op, const ChunkProduct &p)
{
    const int64_t m = p.ta ? p.m : least(p.chunk, p.len);
    const dim3 grid((unsigned)(p.batch * p.groups), (unsigned)ceil_div(p.n, 64),
                    (unsigned)ceil_div(m, 16 * WARPS));
    return launch(d, op, chunk_product_kernel<M, WARPS, TA, TB>, grid, 32 * WARPS,
                  slabs<M, WARPS, 64>() * sizeof(float), p);
}

template <Math M, int WARPS>
static Status turned(Dev *d, const char *op, const ChunkProduct &p)
{
    return p.ta   ? run<M, WARPS, true, false>(d, op, p)
           : p.tb ? run<M, WARPS, false, true>(d, op, p)
                  : run<M, WARPS, false, false>(d, op, p);
}

template <Math M>
static Status shaped(Dev *d, const char *op, const ChunkProduct &p)
{
    const int64_t m = p.ta ? p.m : least(p.chunk, p.len);
    return m <= 16 ? turned<M, 1>(d, op, p) : turned<M, 4>(d, op, p);
}

Status chunk_product(Dev *d, const char *op, const ChunkProduct &p)
{
    switch (cuda_of(d)->math) {
    case MATH_F32:
        return shaped<MATH_F32>(d, op, p);
    case MATH_TF32:
        return shaped<MATH_TF32>(d, op, p);
    case MATH_BF16:
        return shaped<MATH_BF16>(d, op, p);
    }
    return FAIL(ST_UNSUPPORTED, "no such math");
}
