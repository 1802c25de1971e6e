/* sums.cu - sums over all numbers and over the rows of a matrix, in two steps and one fixed order.
 *
 * sum, sumsq: block b adds numbers b * 256 + t, + the grid's stride, in double; a second launch of
 * one block adds the blocks' results. Bytes 4 n: 0.16 ms for n = 2^27 on an H100 (computed, 3.35
 * TB/s); a double addition per 4 bytes stays below that on every chip with 1/64 rate or better.
 * columns: block (x, y) adds a span of rows of 32 columns, a warp a row at a time (128 bytes
 * together), then over its warps in shared memory (8 x 33 x 2 floats); a second launch adds the
 * spans. Bytes 4 rows width for each of dy and x: 0.08 ms for 16384 x 1024 twice (computed). */
#include "kernels/cuda/ops.cuh"

enum { THREADS = 256, COLUMNS = 32, WARPS = THREADS / 32, MAX_PARTS = 1024 };

/* ---- all numbers ---- */
template <bool SQUARE>
__global__ void sum_parts_kernel(int64_t n, const float *x, double *parts)
{
    double sum = 0.0;
    for (int64_t i = first_of(); i < n; i += step_of())
        sum += SQUARE ? (double)x[i] * (double)x[i] : (double)x[i];
    sum = block_reduce(sum, Sum(), dyn_smem<double>());
    if (threadIdx.x == 0)
        parts[blockIdx.x] = sum;
}

__global__ void sum_all_kernel(int n, const double *parts, double scale, bool add, float *y)
{
    double sum = 0.0;
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        sum += parts[i];
    sum = block_reduce(sum, Sum(), dyn_smem<double>());
    if (threadIdx.x == 0)
        y[0] = (float)(scale * sum + (add ? (double)y[0] : 0.0));
}

static Status sum_of(Dev *d, const char *op, void (*kernel)(int64_t, const float *, double *),
                     int64_t n, double scale, bool add, const void *x, void *y)
{
    const int64_t blocks = max64(1, least(MAX_PARTS, ceil_div(n, 16 * THREADS)));
    const size_t shared = MAX_WARPS * sizeof(double);
    void *parts;
    TRY(cuda_work(d, (size_t)blocks * sizeof(double), &parts));
    TRY(launch(d, op, kernel, dim3((unsigned)blocks), THREADS, shared, n, (const float *)x,
               (double *)parts));
    return launch(d, op, sum_all_kernel, dim3(1), THREADS, shared, (int)blocks,
                  (const double *)parts, scale, add, (float *)y);
}

Status cuda_sum(Dev *d, int64_t n, double scale, const void *x, void *y)
{
    return sum_of(d, "sum", sum_parts_kernel<false>, n, scale, false, x, y);
}

Status cuda_sumsq(Dev *d, int64_t n, const void *x, void *y)
{
    return sum_of(d, "sumsq", sum_parts_kernel<true>, n, 1.0, true, x, y);
}

/* ---- columns ---- */
/* parts (spans, 2, width): sums for dgain, then for dbias. */
__global__ void columns_parts_kernel(Columns c, int64_t span, float *parts)
{
    float *gains = dyn_smem<float>(), *biases = gains + WARPS * (COLUMNS + 1);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, at = warp * (COLUMNS + 1) + lane;
    const int64_t col = (int64_t)blockIdx.y * COLUMNS + lane;
    const int64_t begin = blockIdx.x * span, end = begin + span < c.rows ? begin + span : c.rows;
    float gain = 0.0f, bias = 0.0f;
    for (int64_t r = begin + warp; r < end && col < c.width; r += WARPS) {
        const float dy = c.dy[r * c.width + col];
        bias += dy;
        if (c.dgain != NULL) {
            const float mean = c.stats != NULL ? c.stats[2 * r] : 0.0f;
            const float rstd = c.stats != NULL ? c.stats[2 * r + 1] : 1.0f;
            gain += dy * (c.x[r * c.width + col] - mean) * rstd;
        }
    }
    gains[at] = gain;
    biases[at] = bias;
    __syncthreads();
    if (warp != 0 || col >= c.width)
        return;
    for (int w = 1; w < WARPS; w++) {
        gain += gains[w * (COLUMNS + 1) + lane];
        bias += biases[w * (COLUMNS + 1) + lane];
    }
    parts[2 * blockIdx.x * c.width + col] = gain;
    parts[(2 * blockIdx.x + 1) * c.width + col] = bias;
}

__global__ void columns_all_kernel(Columns c, int64_t spans, const float *parts)
{
    for (int64_t col = first_of(); col < c.width; col += step_of()) {
        float gain = 0.0f, bias = 0.0f;
        for (int64_t s = 0; s < spans; s++) {
            gain += parts[2 * s * c.width + col];
            bias += parts[(2 * s + 1) * c.width + col];
        }
        if (c.dgain != NULL && !c.one_gain)
            c.dgain[col] += gain;
        if (c.dbias != NULL)
            c.dbias[col] += bias;
    }
}

/* The one gain of a ScaleNorm: over all columns of all spans. */
__global__ void columns_one_gain_kernel(Columns c, int64_t spans, const float *parts)
{
    float sum = 0.0f;
    for (int64_t i = threadIdx.x; i < spans * c.width; i += blockDim.x)
        sum += parts[2 * (i / c.width) * c.width + i % c.width];
    sum = block_reduce(sum, Sum(), dyn_smem<float>());
    if (threadIdx.x == 0)
        c.dgain[0] += sum;
}

Status cuda_columns(Dev *d, const char *op, const Columns *c)
{
    const int64_t across = ceil_div(c->width, COLUMNS);
    const int64_t spans = max64(
        1, least(ceil_div(c->rows, 2 * WARPS), ceil_div(4 * (int64_t)cuda_of(d)->sms, across)));
    const int64_t span = ceil_div(c->rows, spans);
    void *parts;
    TRY(cuda_work(d, 2 * (size_t)(spans * c->width) * sizeof(float), &parts));
    TRY(launch(d, op, columns_parts_kernel, dim3((unsigned)spans, (unsigned)across), THREADS,
               2 * WARPS * (COLUMNS + 1) * sizeof(float), *c, span, (float *)parts));
    if (c->dbias != NULL || !c->one_gain)
        TRY(launch(d, op, columns_all_kernel, grid_for(d, c->width, 128), 128, 0, *c, spans,
                   (const float *)parts));
    if (c->dgain == NULL || !c->one_gain)
        return ST_OK;
    return launch(d, op, columns_one_gain_kernel, dim3(1), THREADS, MAX_WARPS * sizeof(float), *c,
                  spans, (const float *)parts);
}

Status cuda_colsum(Dev *d, int64_t rows, int64_t width, const void *x, void *y)
{
    Columns c = {};
    c.rows = rows, c.width = width;
    c.dy = (const float *)x, c.dbias = (float *)y;
    return cuda_columns(d, "colsum", &c);
}
