/* sru.cu - the simple recurrent unit: one thread a column of a chunk of positions.
 *
 * c_t = f_t c_(t-1) + (1 - f_t) y_t is linear in what comes in: a chunk of positions turns c into
 * A c + B, where A is the product of its f. Backward likewise, from the last position to the first:
 * dc becomes A dc + B with the same A. Where sequences and columns alone would leave the device
 * idle, positions are cut into chunks: one launch finds A and B of each, a second (a thread a
 * column) runs over the chunks and leaves what comes into each, a third does the work from there.
 * Otherwise the third alone. Chunks depend on the shape and the device only: one order of sums.
 * Neighbouring threads have neighbouring columns; no shared memory.
 * Bytes a number: forward 24, backward 56, and 8 and 12 more for the first launch of chunks. H100
 * (computed, 3.35 TB/s), T = 2^20, width 512, batch 1: 5.1 and 10.9 ms; 20 FLOPs a number. */
#include "kernels/cuda/ops.cuh"

#include <math.h>

enum { THREADS = 128, MIN_CHUNK = 32 };
#define ROOT3 1.73205081f

/* Positions of a chunk, chunks of a sequence. A (B,chunks,W), then carry of the same size: what
 * comes into the chunk; NULL for one chunk. */
struct Cut {
    int64_t each, chunks;
    float *product, *carry;
};

/* What a thread works on: column i of positions [begin, end) (rows of the B T). */
struct Run {
    int64_t b, i, begin, end;
    bool first, last; /* chunk of the sequence */
};

__device__ __forceinline__ Run run_of(const Sru &a, const Cut &cut, int64_t n)
{
    const int64_t chunk = n / a.width % cut.chunks, b = n / a.width / cut.chunks;
    const int64_t begin = chunk * cut.each, end = begin + cut.each;
    return {b,
            n % a.width,
            b * a.len + begin,
            b * a.len + (end < a.len ? end : a.len),
            chunk == 0,
            chunk == cut.chunks - 1};
}

__device__ __forceinline__ float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* ---- chunks ---- */
/* A and B of every chunk; B goes to where the carry will be. */
template <bool BACK>
__global__ void sru_chunk_kernel(Sru a, Cut cut)
{
    const int64_t w = a.width, all = a.batch * cut.chunks * w;
    for (int64_t n = first_of(); n < all; n += step_of()) {
        const Run r = run_of(a, cut, n);
        float product = 1.0f, c = 0.0f;
#pragma unroll 4
        for (int64_t k = 0; k < r.end - r.begin; k++) {
            const int64_t t = BACK ? r.end - 1 - k : r.begin + k;
            const float *g = (const float *)a.g + t * 3 * w + r.i;
            const float f = sigmoid(g[w]);
            if (BACK)
                c = f * (c + sigmoid(g[0]) * ((const float *)a.dh)[t * w + r.i]);
            else
                c = g[2 * w] + f * (c - g[2 * w]);
            product *= f;
        }
        cut.product[n] = product;
        cut.carry[n] = c;
    }
}

/* From the first chunk to the last, or back. */
__global__ void sru_carry_kernel(Sru a, Cut cut, bool back)
{
    for (int64_t n = first_of(); n < a.batch * a.width; n += step_of()) {
        const float *state = (const float *)a.state;
        float c = state != NULL ? state[n] : 0.0f;
#pragma unroll 4
        for (int64_t k = 0; k < cut.chunks; k++) {
            const int64_t chunk = back ? cut.chunks - 1 - k : k;
            const int64_t at = (n / a.width * cut.chunks + chunk) * a.width + n % a.width;
            const float own = cut.carry[at];
            cut.carry[at] = c;
            c = cut.product[at] * c + own;
        }
    }
}

/* ---- the work ---- */
__global__ void sru_fwd_kernel(Sru a, Cut cut)
{
    const int64_t w = a.width, all = a.batch * cut.chunks * w;
    float *state = (float *)a.state, *kept = (float *)a.c;
    for (int64_t n = first_of(); n < all; n += step_of()) {
        const Run r = run_of(a, cut, n);
        float c = cut.carry != NULL ? cut.carry[n] : state != NULL ? state[n] : 0.0f;
#pragma unroll 4
        for (int64_t t = r.begin; t < r.end; t++) {
            const float *g = (const float *)a.g + t * 3 * w + r.i;
            const float reset = sigmoid(g[0]), f = sigmoid(g[w]), y = g[2 * w];
            const float x = ((const float *)a.x)[t * w + r.i];
            c = y + f * (c - y);
            ((float *)a.h)[t * w + r.i] = reset * c + (1.0f - reset) * (ROOT3 * x);
            if (kept != NULL)
                kept[t * w + r.i] = c;
        }
        if (state != NULL && r.last)
            state[r.b * w + r.i] = c;
    }
}

__global__ void sru_bwd_kernel(Sru a, Cut cut)
{
    const int64_t w = a.width, all = a.batch * cut.chunks * w;
    const float *kept = (const float *)a.c;
    for (int64_t n = first_of(); n < all; n += step_of()) {
        const Run run = run_of(a, cut, n);
        float dc = cut.carry != NULL ? cut.carry[n] : 0.0f;
        float c = kept[(run.end - 1) * w + run.i];
#pragma unroll 2
        for (int64_t t = run.end - 1; t >= run.begin; t--) {
            const int64_t at = t * w + run.i, row = t * 3 * w + run.i;
            const float *g = (const float *)a.g + row;
            const float r = sigmoid(g[0]), f = sigmoid(g[w]), y = g[2 * w];
            const float x = ((const float *)a.x)[at], dh = ((const float *)a.dh)[at];
            const float before = t > run.begin || !run.first ? kept[at - w] : 0.0f;
            dc += r * dh;
            if (a.dg != NULL) {
                float *dg = (float *)a.dg + row;
                dg[0] += dh * (c - ROOT3 * x) * r * (1.0f - r);
                dg[w] += dc * (before - y) * f * (1.0f - f);
                dg[2 * w] += dc * (1.0f - f);
            }
            if (a.dx != NULL)
                ((float *)a.dx)[at] += dh * (1.0f - r) * ROOT3;
            dc *= f;
            c = before;
        }
    }
}

/* ---- launches ---- */
/* Enough chunks for a full device, of at least MIN_CHUNK positions. */
static Status cut_positions(Dev *d, const Sru *a, Cut *cut)
{
    const int64_t columns = a->batch * a->width, wanted = 2048 * (int64_t)cuda_of(d)->sms;
    const int64_t most = max64(1, least(wanted / columns, a->len / MIN_CHUNK));
    void *work;
    *cut = {ceil_div(a->len, most), 0, NULL, NULL};
    cut->chunks = ceil_div(a->len, cut->each);
    if (cut->chunks == 1)
        return ST_OK;
    TRY(cuda_work(d, 2 * (size_t)(columns * cut->chunks) * sizeof(float), &work));
    cut->product = (float *)work;
    cut->carry = cut->product + columns * cut->chunks;
    return ST_OK;
}

static Status run(Dev *d, const char *op, const Sru *a, bool back)
{
    const int64_t columns = a->batch * a->width;
    Cut cut;
    TRY(cut_positions(d, a, &cut));
    const dim3 grid = grid_for(d, columns * cut.chunks, THREADS);
    if (cut.chunks > 1) {
        TRY(launch(d, op, back ? sru_chunk_kernel<true> : sru_chunk_kernel<false>, grid, THREADS, 0,
                   *a, cut));
        TRY(launch(d, op, sru_carry_kernel, grid_for(d, columns, THREADS), THREADS, 0, *a, cut,
                   back));
    }
    return launch(d, op, back ? sru_bwd_kernel : sru_fwd_kernel, grid, THREADS, 0, *a, cut);
}

Status cuda_sru_fwd(Dev *d, const Sru *a)
{
    return run(d, "sru_fwd", a, false);
}

Status cuda_sru_bwd(Dev *d, const Sru *a)
{
    CHECK(a->state == NULL && a->c != NULL);
    return run(d, "sru_bwd", a, true);
}
