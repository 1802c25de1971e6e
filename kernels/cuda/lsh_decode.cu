/* lsh_decode.cu - decode of LSH attention: buckets of the past compared by the whole device, then
 * attention over the keys that were picked, without a word to the host.
 *
 * remember: a thread a new bucket. count: a warp a query and 512 positions, lane by lane, leaves
 * the number of matches. pick: the same warps, the newest positions first; what newer segments
 * matched tells where their own picks go, so that nobody waits for anybody: the match number m goes
 * to place m, another position, of which m newer ones match, behind all matches. attend: a block of
 * 256 threads a query: a warp a key for the scores (one read of the key for its norm, too), then a
 * warp every 8th key and a lane a column of o, put together in shared memory (1 KB) in order.
 * Bytes of a step, of a head of a batch row: 4 rounds (p + 1) of buckets, those of the segments
 * that fill the window once more, and 4 window (d + dv); FLOPs 2 window (2 d + dv). H100
 * (computed, 3.35 TB/s), p = 2^20, H = 16, 4 rounds, window 512, d = dv = 64: 0.27 GB and 4 MB:
 * 0.08 ms. A window is some chunks, so a block for each query is little work; queries are made in
 * groups whose scratch fits 64 MiB. */
#include "kernels/cuda/blocks.cuh"
#include "kernels/cuda/ops.cuh"

enum { THREADS = 256, WARPS = THREADS / 32, SEGMENT = 512 };
static const float EPS = 1e-6f;
static const int64_t ROOM = (int64_t)16 << 20; /* words */

/* Queries first .. first + n, in order of batch row, head, position. */
struct Decode {
    LshDecode a;
    int64_t first, n, segments;
    int *count; /* (n, segments) matches */
    int *pick;  /* (n, window) positions; the query's own is the first */
    float *s;   /* (n, window) scores */
};

struct DecodeQuery {
    int64_t pair, b, h, i, p; /* p: position */
    const float *bucket;      /* (rounds, cap) */
    bool valid;
};

__device__ DecodeQuery query_at(const Decode &f, int64_t n)
{
    const LshDecode &a = f.a;
    DecodeQuery q;
    q.pair = (f.first + n) / a.q_len, q.i = (f.first + n) % a.q_len;
    q.b = q.pair / a.heads, q.h = q.pair % a.heads;
    q.p = a.pos + q.i;
    q.bucket = (const float *)a.bucket + q.pair * a.rounds * a.cap;
    q.valid = a.lens == NULL || q.p < a.lens[q.b];
    return q;
}

/* ---- which keys ---- */
__global__ void decode_remember_kernel(LshDecode a)
{
    const int64_t n = a.batch * a.heads * a.rounds * a.q_len;
    for (int64_t i = first_of(); i < n; i += step_of())
        ((float *)a.bucket)[i / a.q_len * a.cap + a.pos + i % a.q_len] = (float)a.fresh[i];
}

__device__ __forceinline__ bool matches(const LshDecode &a, const DecodeQuery &q, int64_t j)
{
    bool same = false;
    for (int r = 0; r < a.rounds; r++)
        same = same || q.bucket[r * a.cap + j] == q.bucket[r * a.cap + q.p];
    return same;
}

__device__ __forceinline__ int warp_sum(int x)
{
    for (int with = 16; with > 0; with /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, with);
    return x;
}

__device__ __forceinline__ int64_t segment_end(const DecodeQuery &q, int64_t segment)
{
    const int64_t end = (segment + 1) * SEGMENT;
    return end < q.p + 1 ? end : q.p + 1;
}

__global__ void decode_count_kernel(Decode f)
{
    for (int64_t w = first_of() / 32; w < f.n * f.segments; w += step_of() / 32) {
        const DecodeQuery q = query_at(f, w / f.segments);
        const int64_t segment = w % f.segments, end = q.valid ? segment_end(q, segment) : 0;
        int n = 0;
#pragma unroll 4
        for (int64_t j = segment * SEGMENT + threadIdx.x % 32; j < end; j += 32)
            n += matches(f.a, q, j);
        n = warp_sum(n);
        if (threadIdx.x % 32 == 0)
            f.count[w] = n;
    }
}

/* Places of this segment's positions, from the newest down; m: matches that are newer. */
__device__ void pick_segment(const Decode &f, const DecodeQuery &q, int64_t segment, int64_t m,
                             int64_t total, int *pick)
{
    const int lane = threadIdx.x % 32;
    const unsigned newer = (1u << lane) - 1; /* lanes before this one */
    for (int64_t top = segment_end(q, segment) - 1; top >= segment * SEGMENT; top -= 32) {
        const int64_t j = top - lane;
        const bool in = j >= segment * SEGMENT, match = in && matches(f.a, q, j);
        const unsigned bits = __ballot_sync(0xffffffffu, match);
        const int64_t mine = m + __popc(bits & newer);
        const int64_t place = match ? mine : total + (q.p - j) - mine;
        if (in && place < f.a.window)
            pick[place] = (int)j;
        m += __popc(bits);
    }
}

__global__ void decode_pick_kernel(Decode f)
{
    const int64_t window = f.a.window;
    for (int64_t w = first_of() / 32; w < f.n * f.segments; w += step_of() / 32) {
        const int64_t n = w / f.segments, segment = w % f.segments;
        const DecodeQuery q = query_at(f, n);
        const int64_t end = segment_end(q, segment);
        int newer = 0, total = 0;
        if (!q.valid || end <= segment * SEGMENT)
            continue;
        for (int64_t s = threadIdx.x % 32; s < f.segments; s += 32) {
            const int one = f.count[n * f.segments + s];
            total += one;
            newer += s > segment ? one : 0;
        }
        newer = warp_sum(newer);
        total = warp_sum(total);
        if (newer >= window && total + (q.p + 1 - end) - newer >= window)
            continue;
        pick_segment(f, q, segment, newer, total, f.pick + n * window);
    }
}

/* ---- attention ---- */
/* q.k / sqrt(|k|^2 + eps d), by a warp. */
__device__ float score_of(const LshDecode &a, const float *q, const float *key)
{
    float dot = 0.0f, norm = 0.0f;
    for (int c = threadIdx.x % 32; c < a.d; c += 32) {
        dot += q[c] * key[c];
        norm += key[c] * key[c];
    }
    dot = over_lanes(dot, Sum(), 32);
    norm = over_lanes(norm, Sum(), 32);
    return dot / sqrtf(norm + EPS * (float)a.d);
}

/* s[k] becomes exp(s[k] - top) / sum for k in [1, n). */
__device__ void softmax(float *s, int64_t n, float *warps)
{
    float top = -INFINITY, sum = 0.0f;
    for (int64_t k = 1 + threadIdx.x; k < n; k += THREADS)
        top = Max()(s[k], top);
    top = block_reduce(top, Max(), warps);
    for (int64_t k = 1 + threadIdx.x; k < n; k += THREADS)
        sum += expf(s[k] - top);
    sum = block_reduce(sum, Sum(), warps);
    for (int64_t k = 1 + threadIdx.x; k < n; k += THREADS)
        s[k] = expf(s[k] - top) / sum;
}

/* The query's own key is hidden from it, unless there is no other. */
__global__ void decode_attend_kernel(Decode f)
{
    float *sums = dyn_smem<float>();
    const LshDecode &a = f.a;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int64_t m = blockIdx.x; m < f.n; m += gridDim.x) {
        const DecodeQuery q = query_at(f, m);
        const int64_t row = (q.b * a.q_len + q.i) * a.heads + q.h;
        const float *keys = (const float *)a.keys + (q.b * a.cap * a.heads + q.h) * a.d;
        const float *v = (const float *)a.v + (q.b * a.cap * a.heads + q.h) * a.dv;
        const int *pick = f.pick + m * a.window;
        float *s = f.s + m * a.window, *o = (float *)a.o + row * a.dv;
        const int64_t n = !q.valid ? 0 : q.p + 1 < a.window ? q.p + 1 : a.window;
        for (int64_t k = 1 + warp; k < n; k += WARPS) {
            const float one = score_of(a, (const float *)a.q + row * a.d,
                                       keys + (int64_t)pick[k] * a.heads * a.d);
            if (lane == 0)
                s[k] = one;
        }
        __syncthreads();
        if (n > 1)
            softmax(s, n, sums);
        for (int64_t c = lane; c - lane < a.dv; c += 32) {
            float sum = 0.0f;
            __syncthreads(); /* s is there, and the last sums are done with */
#pragma unroll 4
            for (int64_t k = 1 + warp; k < n; k += WARPS)
                if (c < a.dv)
                    sum += s[k] * v[(int64_t)pick[k] * a.heads * a.dv + c];
            sums[threadIdx.x] = sum;
            __syncthreads();
            for (int w = 1; w < WARPS; w++)
                sum = warp == 0 ? sum + sums[32 * w + lane] : sum;
            if (warp == 0 && c < a.dv)
                o[c] = n == 1 ? v[q.p * a.heads * a.dv + c] : sum;
        }
    }
}

static Status some_queries(Dev *d, const Decode &f)
{
    const dim3 warps = grid_for(d, 32 * f.n * f.segments, THREADS);
    TRY(launch(d, "lsh_decode", decode_count_kernel, warps, THREADS, 0, f));
    TRY(launch(d, "lsh_decode", decode_pick_kernel, warps, THREADS, 0, f));
    return launch(d, "lsh_decode", decode_attend_kernel, dim3((unsigned)least(f.n, 1 << 20)),
                  THREADS, THREADS * sizeof(float), f);
}

Status cuda_lsh_decode(Dev *d, const LshDecode *a)
{
    const int64_t queries = a->batch * a->heads * a->q_len;
    Decode f = {};
    void *work;
    f.a = *a, f.segments = ceil_div(a->pos + a->q_len, SEGMENT);
    const int64_t words = f.segments + 2 * a->window, most = max64(1, least(queries, ROOM / words));
    CHECK(a->window > 0 && a->pos + a->q_len <= a->cap && a->cap < INT32_MAX);
    TRY(cuda_work(d, (size_t)(most * words) * sizeof(float), &work));
    f.count = (int *)work, f.pick = f.count + most * f.segments;
    f.s = (float *)(f.pick + most * a->window);
    TRY(launch(d, "lsh_decode", decode_remember_kernel, grid_for(d, queries * a->rounds, THREADS),
               THREADS, 0, *a));
    for (f.first = 0; f.first < queries; f.first += most) {
        f.n = least(most, queries - f.first);
        TRY(some_queries(d, f));
    }
    return ST_OK;
}
