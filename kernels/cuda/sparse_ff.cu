/* sparse_ff.cu - feed-forward with one unit of every block: rows of w1 and w2 are gathered.
 *
 * units: a unit (row r, block k) is a dot of `width` numbers, by a warp, eight to a thread block;
 * where there are few rows (decode), by a whole thread block of up to 512 threads, so that all rows
 * of w1 are on their way from memory at once. The same kernel makes the backward dots dy.w2.
 * sums: y and dx, a thread a column, which walks the row's units; with few rows, eight parts of the
 * units side by side, 32 columns each, put together in shared memory (1 KB) in order of the parts.
 * A unit whose u is not positive has no share and is not read.
 * weights: live units (r, k) sorted by unit (sort.cu), then a thread block for every unit and 128
 * columns adds the rows that chose it, in row order: no atomics.
 * FLOPs 4 rows blocks width forward, 8 backward. Bytes: decode 8 blocks width, all from memory:
 * 0.16 us of an H100 for width 1024 and 64 blocks (computed, 3.35 TB/s): it is latency that one
 * will see. Training: 8 rows blocks width, gathered from L2 (the weights of width 1024 are 32 MB):
 * 8.6 GB forward for 16384 rows if all units live, 1.6 ms (computed, 5.5 TB/s of L2), backward 3.2
 * ms. */
#include "kernels/cuda/blocks.cuh"
#include "kernels/cuda/ops.cuh"
#include "kernels/cuda/sort.cuh"

enum { THREADS = 256, FEW = 16, PARTS = 8, COLUMNS = 128 };

/* ---- dots of units ---- */
__device__ __forceinline__ int64_t unit_of(const SparseFf &a, int64_t i)
{
    return i % a.blocks * a.block + a.pick[i];
}

/* x.w over every step-th number (every four of them if `wide`) from `first` on. */
__device__ float dot_share(const float *x, const float *w, int n, bool wide, int first, int step)
{
    float sum = 0.0f;
    if (wide) {
        const float4 *x4 = (const float4 *)x, *w4 = (const float4 *)w;
#pragma unroll 4
        for (int c = first; c < n / 4; c += step) {
            const float4 p = x4[c], q = w4[c];
            sum += p.x * q.x + p.y * q.y + p.z * q.z + p.w * q.w;
        }
        return sum;
    }
#pragma unroll 4
    for (int c = first; c < n; c += step)
        sum += x[c] * w[c];
    return sum;
}

/* h = relu(u) c. By the first warp of the unit. */
__device__ void finish_forward(const SparseFf &a, int64_t i, float u, float *h)
{
    float c = 1.0f;
    if (a.scaled) {
        const float *z = (const float *)a.z + i * a.block;
        c = block_soft(z, a.block, threadIdx.x % 32, 32).mask(z[a.pick[i]]);
    }
    if (threadIdx.x % 32 == 0) {
        ((float *)a.u)[i] = u;
        h[i] = (u <= 0.0f ? 0.0f : u) * c; /* lets a NaN through */
    }
}

/* dot = dy.w2: du = c dot, and dz[n] += m_j (delta_nj - m_n) du u. */
__device__ void finish_backward(const SparseFf &a, int64_t i, float u, float dot, float *h,
                                float *du)
{
    const int lane = threadIdx.x % 32, j = a.pick[i];
    float m = 1.0f;
    if (a.scaled || a.dz != NULL) {
        const float *z = (const float *)a.z + i * a.block;
        const BlockSoft s = block_soft(z, a.block, lane, 32);
        m = s.mask(z[j]);
        const float pull = m * (a.scaled ? m * dot : dot) * u;
        for (int n = lane; n < a.block && a.dz != NULL; n += 32)
            ((float *)a.dz)[i * a.block + n] += pull * ((n == j ? 1.0f : 0.0f) - s.mask(z[n]));
    }
    if (lane == 0) {
        du[i] = (a.scaled ? m : 1.0f) * dot;
        h[i] = (a.scaled ? m : 1.0f) * u;
    }
}

/* `threads` a unit: 32, or the whole block. h and du (rows, blocks). */
template <bool BACK>
__global__ void units_kernel(SparseFf a, int threads, bool wide, float *h, float *du)
{
    const int lane = threadIdx.x % threads, here = blockDim.x / threads;
    const float *rows = (const float *)(BACK ? a.dy : a.x),
                *w = (const float *)(BACK ? a.w2 : a.w1);
    for (int64_t i = (int64_t)blockIdx.x * here + threadIdx.x / threads; i < a.rows * a.blocks;
         i += (int64_t)gridDim.x * here) {
        const float u = BACK ? ((const float *)a.u)[i] : 0.0f;
        if (BACK && !(u > 0.0f)) {
            if (lane == 0)
                h[i] = du[i] = 0.0f;
            continue;
        }
        float dot = dot_share(rows + i / a.blocks * a.width, w + unit_of(a, i) * a.width, a.width,
                              wide, lane, threads);
        dot = threads == 32 ? over_lanes(dot, Sum(), 32)
                            : block_reduce(dot, Sum(), dyn_smem<float>());
        if (lane >= 32)
            continue;
        if (BACK)
            finish_backward(a, i, u, dot, h, du);
        else
            finish_forward(a, i, dot, h);
    }
}

static bool aligned(const void *p)
{
    return (uintptr_t)p % sizeof(float4) == 0;
}

template <bool BACK>
static Status units(Dev *d, const char *op, const SparseFf *a, float *h, float *du)
{
    const int64_t n = a->rows * a->blocks;
    const bool wide =
        a->width % 4 == 0 && aligned(BACK ? a->dy : a->x) && aligned(BACK ? a->w2 : a->w1);
    const int threads = a->rows <= FEW ? threads_for_row(a->width) : THREADS;
    const int each = a->rows <= FEW ? threads : 32;
    return launch(d, op, units_kernel<BACK>, grid_for(d, n * each, threads), threads,
                  MAX_WARPS * sizeof(float), *a, each, wide, h, du);
}

/* ---- sums of a row's units ---- */
/* y[r,c] (= bias[c], or += if add) + sum_k by[r,k] w[unit,c]. */
struct RowSums {
    SparseFf a;
    const float *by, *w, *bias;
    float *y;
    bool add;
    int parts;
};

__global__ void sums_kernel(RowSums s)
{
    float *sums = dyn_smem<float>();
    const int cols = blockDim.x / s.parts, part = threadIdx.x / cols;
    const int64_t width = s.a.width, across = (width + cols - 1) / cols;
    for (int64_t n = blockIdx.x; n < s.a.rows * across; n += gridDim.x) {
        const int64_t r = n / across, c = n % across * cols + threadIdx.x % cols;
        float sum = 0.0f;
#pragma unroll 4
        for (int k = part; k < s.a.blocks; k += s.parts) {
            const int64_t i = r * s.a.blocks + k;
            const float by = s.by[i];
            if (by != 0.0f && c < width)
                sum += by * s.w[((int64_t)k * s.a.block + s.a.pick[i]) * width + c];
        }
        if (s.parts > 1) {
            __syncthreads(); /* the last sums may still be read */
            sums[threadIdx.x] = sum;
            __syncthreads();
            for (int p = 1; p < s.parts; p++)
                sum = part == 0 ? sum + sums[p * cols + threadIdx.x] : sum;
        }
        if (part != 0 || c >= width)
            continue;
        float *y = s.y + r * width + c;
        *y = (s.add ? *y : s.bias != NULL ? s.bias[c] : 0.0f) + sum;
    }
}

static Status row_sums(Dev *d, const char *op, RowSums s)
{
    const int cols = s.a.rows <= FEW ? 32 : (int)least(THREADS, ceil_div(s.a.width, 32) * 32);
    s.parts = s.a.rows <= FEW ? PARTS : 1;
    const int threads = cols * s.parts;
    return launch(d, op, sums_kernel, grid_for(d, s.a.rows * s.a.width * s.parts, threads), threads,
                  (size_t)threads * sizeof(float), s);
}

Status cuda_sparse_ff_fwd(Dev *d, const SparseFf *a)
{
    void *h;
    TRY(cuda_work(d, (size_t)(a->rows * a->blocks) * sizeof(float), &h));
    TRY(units<false>(d, "sparse_ff_fwd", a, (float *)h, NULL));
    RowSums s = {};
    s.a = *a, s.by = (const float *)h, s.w = (const float *)a->w2;
    s.bias = (const float *)a->bias, s.y = (float *)a->y;
    return row_sums(d, "sparse_ff_fwd", s);
}

/* ---- gradients of the weights ---- */
/* The live units in order: rows row[start[j]] to row[start[j + 1] - 1] chose unit j. */
struct ByUnit {
    int64_t n, units;
    float *h, *du;
    uint32_t *key, *sorted_key;
    int32_t *all, *row, *start;
};

/* A unit without a share comes behind all others. */
__global__ void keys_kernel(SparseFf a, ByUnit b)
{
    for (int64_t i = first_of(); i < b.n; i += step_of()) {
        const bool live = ((const float *)a.u)[i] > 0.0f;
        b.key[i] = (uint32_t)(live ? unit_of(a, i) : b.units);
        b.all[i] = (int32_t)(i / a.blocks);
    }
}

__global__ void starts_kernel(ByUnit b)
{
    for (int64_t i = first_of(); i <= b.n; i += step_of()) {
        const int64_t last = i > 0 ? (int64_t)b.sorted_key[i - 1] : -1;
        const int64_t next = i < b.n ? (int64_t)b.sorted_key[i] : b.units;
        for (int64_t j = last + 1; j <= next; j++)
            b.start[j] = (int32_t)i;
    }
}

__global__ void weights_kernel(SparseFf a, ByUnit b)
{
    const float *x = (const float *)a.x, *dy = (const float *)a.dy;
    const int64_t width = a.width, across = (width + blockDim.x - 1) / blockDim.x;
    for (int64_t n = blockIdx.x; n < b.units * across; n += gridDim.x) {
        const int64_t j = n / across, c = n % across * blockDim.x + threadIdx.x;
        const int begin = b.start[j], end = b.start[j + 1], k = (int)j / a.block;
        float first = 0.0f, second = 0.0f;
        if (c >= width || begin == end)
            continue;
#pragma unroll 4
        for (int s = begin; s < end; s++) {
            const int64_t r = b.row[s], i = r * a.blocks + k, at = r * width + c;
            first += b.du[i] * x[at];
            second += b.h[i] * dy[at];
        }
        if (a.dw1 != NULL)
            ((float *)a.dw1)[j * width + c] += first;
        if (a.dw2 != NULL)
            ((float *)a.dw2)[j * width + c] += second;
    }
}

static Status weights(Dev *d, const char *op, const SparseFf *a, const ByUnit &b, Sort s)
{
    const int threads = (int)least(COLUMNS, ceil_div(a->width, 32) * 32);
    s.key = b.key, s.value = b.all, s.sorted_key = b.sorted_key, s.sorted = b.row;
    TRY(launch(d, op, keys_kernel, grid_for(d, b.n, THREADS), THREADS, 0, *a, b));
    TRY(sort_pairs(d, op, s));
    TRY(launch(d, op, starts_kernel, grid_for(d, b.n + 1, THREADS), THREADS, 0, b));
    return launch(d, op, weights_kernel,
                  grid_for(d, b.units * ceil_div(a->width, threads) * threads, threads), threads, 0,
                  *a, b);
}

/* Scratch: h and du, then what sorting takes if there are weights to train. */
static Status backward(Dev *d, const char *op, const SparseFf *a)
{
    const bool train = a->dw1 != NULL || a->dw2 != NULL;
    ByUnit b = {};
    Sort s = {};
    void *work;
    b.n = s.n = a->rows * a->blocks, b.units = (int64_t)a->blocks * a->block;
    s.bits = bits_of(b.units);
    CHECK(b.n < INT32_MAX && b.units < INT32_MAX);
    if (train)
        TRY(sort_room(d, b.n, s.bits, &s.room_size));
    const int64_t words = ceil_div((train ? 6 : 2) * b.n + (train ? b.units + 1 : 0), 64) * 64;
    TRY(cuda_work(d, (size_t)words * sizeof(float) + s.room_size, &work));
    b.h = (float *)work, b.du = b.h + b.n;
    b.key = (uint32_t *)(b.du + b.n), b.sorted_key = b.key + b.n;
    b.all = (int32_t *)(b.sorted_key + b.n), b.row = b.all + b.n, b.start = b.row + b.n;
    s.room = (float *)work + words;
    TRY(units<true>(d, op, a, b.h, b.du));
    if (train)
        TRY(weights(d, op, a, b, s));
    RowSums x = {};
    x.a = *a, x.by = b.du, x.w = (const float *)a->w1, x.y = (float *)a->dx, x.add = true;
    return a->dx != NULL ? row_sums(d, op, x) : ST_OK;
}

Status cuda_sparse_ff_bwd(Dev *d, const SparseFf *a)
{
    TRY(backward(d, "sparse_ff_bwd", a));
    return a->dbias != NULL ? cuda_colsum(d, a->rows, a->width, a->dy, a->dbias) : ST_OK;
}
