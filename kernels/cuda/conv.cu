/* conv.cu - causal convolution, one filter a column.
 *
 * Forward and dx: one thread a column of STRIP positions, neighbouring threads in neighbouring
 * columns. Filter row k meets a window of STRIP inputs in registers, which then moves by one: a
 * thread loads taps + STRIP - 1 numbers of x and taps of w for STRIP outputs. dx is the same with
 * positions in reverse. No shared memory.
 * dw: block (x, y) has a span of positions of one sequence and 32 columns, a warp an eighth of the
 * span. A thread keeps a window of MOST inputs and the sums of its column in registers, reads x and
 * dy once, and the warps' sums are added in shared memory: 8 (MOST + 1) 32 floats, 34 KB at most. A
 * last launch adds the spans in order.
 * Bytes a number: forward 8, backward 12 for dx and 8 for dw; 2 taps FLOPs each. H100 (computed,
 * 3.35 TB/s), 16384 x 1024, 3 taps: 0.04 ms forward, 0.10 backward. */
#include "kernels/cuda/divide.cuh"
#include "kernels/cuda/ops.cuh"

enum { THREADS = 128, STRIP = 8, SUM_THREADS = 256, COLUMNS = 32, WARPS = SUM_THREADS / 32 };

/* ---- forward and dx ---- */
/* Position t of sequence b, which may lie before the call. */
__device__ __forceinline__ float input(const Conv &a, int64_t b, int64_t t, int64_t c)
{
    const int64_t before = a.taps - 1;
    if (t >= a.len || t < -before || (t < 0 && a.halo == NULL))
        return 0.0f;
    if (t >= 0)
        return ((const float *)a.x)[(b * a.len + t) * a.width + c];
    return ((const float *)a.halo)[(b * before + before + t) * a.width + c];
}

/* Output i of a strip meets filter row k at position place(t0, i - k). */
template <bool BACK>
__device__ __forceinline__ int64_t place(int64_t t0, int i)
{
    return BACK ? t0 + STRIP - 1 - i : t0 + i;
}

/* All that a strip reads lies within the call. */
template <bool BACK>
__device__ __forceinline__ bool inside(const Conv &a, int64_t t0)
{
    return t0 + STRIP + (BACK ? a.taps - 1 : 0) <= a.len && (BACK || t0 >= a.taps - 1);
}

/* Sums over the filter for a strip, in order of its rows. BACK: a.x are output gradients. */
template <bool BACK>
__device__ __forceinline__ void filter(const Conv &a, int64_t b, int64_t t0, int64_t c,
                                       float (&sum)[STRIP])
{
    const float *w = (const float *)a.w + c, *x = (const float *)a.x + b * a.len * a.width + c;
    const bool whole = inside<BACK>(a, t0);
    float near[STRIP];
#pragma unroll
    for (int i = 0; i < STRIP; i++) {
        const int64_t t = place<BACK>(t0, i);
        near[i] = whole ? x[t * a.width] : input(a, b, t, c);
    }
#pragma unroll 1
    for (int k = 0; k < a.taps; k++) {
        const float by = w[(int64_t)k * a.width];
        const int64_t t = place<BACK>(t0, -k - 1);
#pragma unroll
        for (int i = 0; i < STRIP; i++)
            sum[i] += by * near[i];
#pragma unroll
        for (int i = STRIP - 1; i > 0; i--)
            near[i] = near[i - 1];
        if (k + 1 < a.taps)
            near[0] = whole ? x[t * a.width] : input(a, b, t, c);
    }
}

template <bool BACK>
__global__ void conv_kernel(Conv a, Divisor by_width, Divisor by_strips)
{
    const int64_t all = a.batch * by_strips.by * a.width;
    const float *bias = (const float *)a.bias;
    for (int64_t n = first_of(); n < all; n += step_of()) {
        const int64_t strip = quotient(n, by_width), b = quotient(strip, by_strips);
        const int64_t c = n - strip * a.width, t0 = (strip - b * by_strips.by) * STRIP;
        float *y = (float *)a.y + b * a.len * a.width + c;
        float sum[STRIP];
#pragma unroll
        for (int i = 0; i < STRIP; i++)
            sum[i] = bias != NULL ? bias[c] : 0.0f;
        filter<BACK>(a, b, t0, c, sum);
#pragma unroll
        for (int i = 0; i < STRIP; i++) {
            const int64_t t = place<BACK>(t0, i);
            if (t < a.len)
                y[t * a.width] = BACK ? y[t * a.width] + sum[i] : sum[i];
        }
    }
}

/* Row i of the new halo is position len - (taps - 1) + i: from the oldest on, each from a row that
 * is not yet overwritten. */
__global__ void conv_halo_kernel(Conv a)
{
    const int64_t before = a.taps - 1;
    for (int64_t n = first_of(); n < a.batch * a.width; n += step_of()) {
        const int64_t b = n / a.width, c = n % a.width;
        float *halo = (float *)a.halo + b * before * a.width + c;
        for (int64_t i = 0; i < before; i++)
            halo[i * a.width] = input(a, b, a.len - before + i, c);
    }
}

static Status fits(const Conv *a)
{
    if (a->taps < 1 || a->taps > CONV_TAPS_MAX)
        return FAIL(ST_UNSUPPORTED, "a convolution of %d taps (1 to %d)", a->taps, CONV_TAPS_MAX);
    return ST_OK;
}

template <bool BACK>
static Status strips(Dev *d, const char *op, const Conv &a)
{
    const int64_t n = ceil_div(a.len, STRIP);
    return launch(d, op, conv_kernel<BACK>, grid_for(d, a.batch * n * a.width, THREADS), THREADS, 0,
                  a, divisor(a.width), divisor(n));
}

/* Fails: ST_UNSUPPORTED for more than CONV_TAPS_MAX taps. */
Status cuda_conv_fwd(Dev *d, const Conv *a)
{
    TRY(fits(a));
    TRY(strips<false>(d, "conv_fwd", *a));
    if (a->halo == NULL || a->taps == 1)
        return ST_OK;
    return launch(d, "conv_fwd halo", conv_halo_kernel, grid_for(d, a->batch * a->width, THREADS),
                  THREADS, 0, *a);
}

/* ---- dw and dbias ---- */
/* Spans of a sequence, positions of a span; parts (B spans, taps + 1, W): sums for dw, dbias. */
struct Spans {
    int64_t n, each;
    float *parts;
};

/* Adds the warps' sums, (WARPS, rows, 32), to those of the first, and writes them. */
__device__ void fold_warps(const Conv &a, const float *sums, int rows, float *parts, int64_t col)
{
    for (int k = threadIdx.x / 32; k < rows; k += WARPS) {
        float all = 0.0f;
        for (int w = 0; w < WARPS; w++)
            all += sums[(w * rows + k) * 32 + threadIdx.x % 32];
        if (col < a.width)
            parts[(int64_t)k * a.width + col] = all;
    }
}

template <int MOST>
__global__ void __launch_bounds__(SUM_THREADS) conv_dw_kernel(Conv a, Spans s)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, rows = a.taps + 1;
    const int64_t col = (int64_t)blockIdx.y * COLUMNS + lane, b = blockIdx.x / s.n;
    const int64_t each = (s.each + WARPS - 1) / WARPS, end = (blockIdx.x % s.n + 1) * s.each;
    const int64_t t0 = end - s.each + warp * each, t1 = t0 + each < end ? t0 + each : end;
    const float *dy = (const float *)a.dy + b * a.len * a.width + col;
    float *sums = dyn_smem<float>(), near[MOST], sum[MOST], bias = 0.0f;
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        near[k] = k < a.taps && col < a.width ? input(a, b, t0 - 1 - k, col) : 0.0f;
        sum[k] = 0.0f;
    }
    for (int64_t t = t0; t < t1 && t < a.len && col < a.width; t++) {
        const float pull = dy[t * a.width];
#pragma unroll
        for (int k = MOST - 1; k > 0; k--)
            near[k] = near[k - 1];
        near[0] = input(a, b, t, col);
#pragma unroll
        for (int k = 0; k < MOST; k++)
            sum[k] += pull * near[k];
        bias += pull;
    }
#pragma unroll
    for (int k = 0; k < MOST; k++)
        if (k < a.taps)
            sums[(warp * rows + k) * 32 + lane] = sum[k];
    sums[(warp * rows + a.taps) * 32 + lane] = bias;
    __syncthreads();
    fold_warps(a, sums, rows, s.parts + (int64_t)blockIdx.x * rows * a.width, col);
}

__global__ void conv_spans_kernel(Conv a, Spans s)
{
    const int64_t taps = (int64_t)a.taps * a.width, row = taps + a.width;
    for (int64_t i = first_of(); i < row; i += step_of()) {
        float *to = i < taps ? (float *)a.dw : (float *)a.dbias, sum = 0.0f;
        for (int64_t n = 0; n < a.batch * s.n; n++)
            sum += s.parts[n * row + i];
        if (to != NULL)
            to[i < taps ? i : i - taps] += sum;
    }
}

/* Spans for four blocks a multiprocessor, of at least four positions a warp. */
static Spans spans_of(Dev *d, const Conv *a)
{
    const int64_t across = a->batch * ceil_div(a->width, COLUMNS);
    const int64_t wanted = ceil_div(4 * (int64_t)cuda_of(d)->sms, across);
    const int64_t n = max64(1, least(wanted, a->len / (4 * WARPS)));
    const int64_t each = ceil_div(a->len, n);
    return {ceil_div(a->len, each), each, NULL};
}

static Status backward_w(Dev *d, const Conv *a)
{
    const int64_t row = (a->taps + 1) * (int64_t)a->width;
    void (*kernel)(Conv, Spans) = a->taps <= 4    ? conv_dw_kernel<4>
                                  : a->taps <= 16 ? conv_dw_kernel<16>
                                                  : conv_dw_kernel<CONV_TAPS_MAX>;
    Spans s = spans_of(d, a);
    void *work;
    TRY(cuda_work(d, (size_t)(a->batch * s.n * row) * sizeof(float), &work));
    s.parts = (float *)work;
    TRY(launch(d, "conv_bwd dw", kernel,
               dim3((unsigned)(a->batch * s.n), (unsigned)ceil_div(a->width, COLUMNS)), SUM_THREADS,
               (size_t)WARPS * (a->taps + 1) * 32 * sizeof(float), *a, s));
    return launch(d, "conv_bwd dw", conv_spans_kernel, grid_for(d, row, THREADS), THREADS, 0, *a,
                  s);
}

Status cuda_conv_bwd(Dev *d, const Conv *a)
{
    Conv dx = *a;
    CHECK(a->halo == NULL);
    TRY(fits(a));
    dx.x = a->dy, dx.y = a->dx, dx.bias = NULL;
    if (a->dx != NULL)
        TRY(strips<true>(d, "conv_bwd dx", dx));
    return a->dw != NULL || a->dbias != NULL ? backward_w(d, a) : ST_OK;
}
