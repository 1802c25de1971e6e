/* modconv.cu - convolution over positions and modules, as products of tiles (tile.cuh).
 *
 * A row is one (position, module); its neighbourhood, taps x side vectors of `in` numbers, is one
 * line of K = taps side in. The matrix of lines is never in memory: cp.async fetches a slab of it
 * from where its numbers lie, each found by four divisions, which are products (divide.cuh).
 *     y = lines(x) w,   dx = lines of the future (dy) w turned round,   dw = lines(x)' dy
 * Block (x, y, z): 16 WARPS rows and 64 columns of the result, share z of the sum. Few blocks (dw,
 * decoding) cut their sum into shares, which a last launch adds in order. One warp a block where
 * there are few rows. Shared memory: slabs(). FLOPs 2 rows K out each; bytes 4 rows (in + out),
 * and taps side times x from L2. H100 (computed, 3.35 TB/s, 5.5 TB/s from L2, 989 TFLOP/s bf16),
 * T = 8192, 16 modules of 64, 3 x 3: y 20 us of traffic, 55 us of L2, 10 us of products. */
#include "kernels/cuda/divide.cuh"
#include "kernels/cuda/ops.cuh"
#include "kernels/cuda/tile.cuh"

enum { THREADS = 256, COLUMNS = 64, MAX_SHARES = 256, MIN_SHARE = 4 * KC };

/* ---- lines ---- */
/* first: position of tap 0, relative to the row's. Element (0, 0) is (row0, col0). */
struct Lines {
    const float *x, *halo;
    int64_t rows, row0, col0;
    int len, modules, in, taps, side, first, k;
    ShortDivisor by_len, by_modules, by_in, by_side;
    bool wide; /* 16 bytes at a time */
};

/* An element's place, or NULL for one that counts as zero. */
__device__ __forceinline__ const float *line_at(const Lines &s, int64_t r, int64_t c)
{
    if (r + s.row0 >= s.rows || c + s.col0 >= s.k)
        return NULL;
    const unsigned row = (unsigned)(r + s.row0), col = (unsigned)(c + s.col0);
    const unsigned position = quotient(row, s.by_modules), b = quotient(position, s.by_len);
    const unsigned near = quotient(col, s.by_in), tap = quotient(near, s.by_side);
    const int i = (int)(col - near * s.in), j = (int)(near - tap * s.side) - (s.side - 1) / 2;
    const int m = (int)(row - position * s.modules) + j;
    const int t = (int)(position - b * s.len + tap) + s.first;
    if (m < 0 || m >= s.modules || t >= s.len || (t < 0 && s.halo == NULL))
        return NULL;
    if (t >= 0)
        return s.x + (((int64_t)b * s.len + t) * s.modules + m) * s.in + i;
    return s.halo + (((int64_t)b * (s.taps - 1) + s.taps - 1 + t) * s.modules + m) * s.in + i;
}

/* As tile.cuh's, of lines. */
template <int ROWS, int COLS, int T>
__device__ void fetch(float *to, int to_row, const Lines &s, int64_t r0, int64_t c0)
{
    if (s.wide) {
#pragma unroll 1
        for (int i = threadIdx.x; i < ROWS * COLS / 4; i += T) {
            const int r = i / (COLS / 4), c = i % (COLS / 4) * 4;
            const float *from = line_at(s, r0 + r, c0 + c);
            cp_async16(to + r * to_row + c, from != NULL ? from : s.x, from != NULL);
        }
        return;
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < ROWS * COLS; i += T) {
        const int r = i / COLS, c = i % COLS;
        const float *from = line_at(s, r0 + r, c0 + c);
        cp_async4(to + r * to_row + c, from != NULL ? from : s.x, from != NULL);
    }
}

static bool aligned(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

static Lines lines_of(const ModConv *a, const void *x, int in, int first)
{
    Lines s = {};
    s.x = (const float *)x, s.halo = (const float *)a->halo;
    s.rows = a->batch * a->len * a->modules;
    s.len = (int)a->len, s.modules = a->modules, s.in = in, s.taps = a->taps, s.side = a->side;
    s.first = first, s.k = a->taps * a->side * in;
    s.by_len = short_divisor(a->len), s.by_modules = short_divisor(a->modules);
    s.by_in = short_divisor(in), s.by_side = short_divisor(a->side);
    s.wide = in % 4 == 0 && aligned(x) && aligned(a->halo);
    return s;
}

/* ---- products ---- */
/* c (m,n) = lines b [+ bias] [+ c], b (k,n); of the transposed lines for dw. The sum in shares of
 * `each` of k (a multiple of KC): parts (shares, m, n), or NULL for one. */
struct Product {
    Lines lines;
    int64_t m, n, k, each, shares;
    const float *b, *bias;
    float *c, *parts;
    bool add;
};

__device__ __forceinline__ void finish(const Product &p, int64_t row, int64_t col, float sum)
{
    float *to = p.c + row * p.n + col;
    *to = sum + (p.bias != NULL ? p.bias[col] : 0.0f) + (p.add ? *to : 0.0f);
}

template <Math M, int WARPS, bool TURNED>
__global__ void __launch_bounds__(32 * WARPS) modconv_kernel(Product p)
{
    const int64_t m0 = (int64_t)blockIdx.x * (16 * WARPS), k0 = blockIdx.z * p.each;
    const int n0 = blockIdx.y * COLUMNS;
    const Source b = source(p.b + k0 * p.n, p.n, p.k - k0, p.n);
    Lines lines = p.lines;
    float out[COLUMNS / 8][4];
    lines.row0 = TURNED ? k0 : 0, lines.col0 = TURNED ? 0 : k0;
    clear(out);
    tile_product<M, WARPS, COLUMNS, TURNED, false>(
        out, lines, m0, b, n0, p.each < p.k - k0 ? p.each : p.k - k0, dyn_smem<float>());
#pragma unroll
    for (int j = 0; j < COLUMNS / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int64_t row = m0 + tile_row(e), col = n0 + tile_col(j, e);
            if (row >= p.m || col >= p.n)
                continue;
            if (p.parts != NULL)
                p.parts[(blockIdx.z * p.m + row) * p.n + col] = out[j][e];
            else
                finish(p, row, col, out[j][e]);
        }
}

__global__ void modconv_shares_kernel(Product p)
{
    for (int64_t i = first_of(); i < p.m * p.n; i += step_of()) {
        float sum = 0.0f;
        for (int64_t s = 0; s < p.shares; s++)
            sum += p.parts[s * p.m * p.n + i];
        finish(p, i / p.n, i % p.n, sum);
    }
}

template <Math M, int WARPS, bool TURNED>
static Status run(Dev *d, const char *op, const Product &p)
{
    const dim3 grid((unsigned)ceil_div(p.m, 16 * WARPS), (unsigned)ceil_div(p.n, COLUMNS),
                    (unsigned)p.shares);
    TRY(launch(d, op, modconv_kernel<M, WARPS, TURNED>, grid, 32 * WARPS,
               slabs<M, WARPS, COLUMNS>() * sizeof(float), p));
    if (p.shares == 1)
        return ST_OK;
    return launch(d, op, modconv_shares_kernel, grid_for(d, p.m * p.n, THREADS), THREADS, 0, p);
}

template <Math M>
static Status shaped(Dev *d, const char *op, const Product &p, bool turned)
{
    if (turned)
        return run<M, 4, true>(d, op, p);
    return p.m <= 64 ? run<M, 1, false>(d, op, p) : run<M, 4, false>(d, op, p);
}

/* Shares for two blocks a multiprocessor, and scratch: `more` floats, then the shares' sums. */
static Status take_room(Dev *d, Product *p, bool turned, int64_t more, float **room)
{
    const int64_t height = turned || p->m > 64 ? 64 : 16;
    const int64_t blocks = ceil_div(p->m, height) * ceil_div(p->n, COLUMNS);
    const int64_t wanted = least(MAX_SHARES, ceil_div(2 * (int64_t)cuda_of(d)->sms, blocks));
    void *work;
    p->each = ceil_div(ceil_div(p->k, max64(1, least(wanted, p->k / MIN_SHARE))), KC) * KC;
    p->shares = ceil_div(p->k, p->each);
    if (p->shares > 1)
        more += p->shares * p->m * p->n;
    if (more == 0)
        return ST_OK;
    TRY(cuda_work(d, (size_t)more * sizeof(float), &work));
    *room = (float *)work;
    if (p->shares > 1)
        p->parts = *room + more - p->shares * p->m * p->n;
    return ST_OK;
}

static Status run_product(Dev *d, const char *op, const Product &p, bool turned)
{
    switch (cuda_of(d)->math) {
    case MATH_F32:
        return shaped<MATH_F32>(d, op, p, turned);
    case MATH_TF32:
        return shaped<MATH_TF32>(d, op, p, turned);
    case MATH_BF16:
        return shaped<MATH_BF16>(d, op, p, turned);
    }
    return FAIL(ST_UNSUPPORTED, "no such math");
}

static Status fits(const ModConv *a)
{
    const int64_t rows = a->batch * a->len * a->modules;
    if (rows > INT32_MAX)
        return FAIL(ST_UNSUPPORTED,
                    "cuda: a convolution of %lld positions times modules, at most "
                    "2147483647",
                    (long long)rows);
    return ST_OK;
}

/* ---- forward ---- */
/* Fails: ST_UNSUPPORTED from 2^31 rows on. */
Status cuda_modconv_fwd(Dev *d, const ModConv *a)
{
    Product p = {};
    float *room;
    TRY(fits(a));
    p.lines = lines_of(a, a->x, a->in, 1 - a->taps);
    p.m = p.lines.rows, p.n = a->out, p.k = p.lines.k;
    p.b = (const float *)a->w, p.bias = (const float *)a->bias, p.c = (float *)a->y;
    TRY(take_room(d, &p, false, 0, &room));
    return run_product(d, "modconv_fwd", p, false);
}

/* ---- backward ---- */
/* turned[k', j', o, i] = w[k, j, i, o] with taps and modules in reverse. */
__global__ void modconv_turn_kernel(ModConv a, float *turned)
{
    const int64_t all = (int64_t)a.taps * a.side * a.in * a.out;
    for (int64_t n = first_of(); n < all; n += step_of()) {
        const int64_t i = n % a.in, o = n / a.in % a.out, q = n / a.in / a.out;
        turned[n] = ((const float *)a.w)[((a.taps * a.side - 1 - q) * a.in + i) * a.out + o];
    }
}

static Status backward_x(Dev *d, const ModConv *a)
{
    const int64_t all = (int64_t)a->taps * a->side * a->in * a->out;
    Product p = {};
    float *turned;
    p.lines = lines_of(a, a->dy, a->out, 0);
    p.m = p.lines.rows, p.n = a->in, p.k = p.lines.k;
    p.c = (float *)a->dx, p.add = true;
    TRY(take_room(d, &p, false, all, &turned));
    p.b = turned;
    TRY(launch(d, "modconv_bwd dx", modconv_turn_kernel, grid_for(d, all, THREADS), THREADS, 0, *a,
               turned));
    return run_product(d, "modconv_bwd dx", p, false);
}

static Status backward_w(Dev *d, const ModConv *a)
{
    Product p = {};
    float *room;
    p.lines = lines_of(a, a->x, a->in, 1 - a->taps);
    p.m = p.lines.k, p.n = a->out, p.k = p.lines.rows;
    p.b = (const float *)a->dy, p.c = (float *)a->dw, p.add = true;
    TRY(take_room(d, &p, true, 0, &room));
    return run_product(d, "modconv_bwd dw", p, true);
}

Status cuda_modconv_bwd(Dev *d, const ModConv *a)
{
    CHECK(a->halo == NULL);
    TRY(fits(a));
    if (a->dx != NULL)
        TRY(backward_x(d, a));
    if (a->dw != NULL)
        TRY(backward_w(d, a));
    if (a->dbias == NULL)
        return ST_OK;
    return cuda_colsum(d, a->batch * a->len * a->modules, a->out, a->dy, a->dbias);
}
