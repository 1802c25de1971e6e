/* rel.cu - tables of biases by the distance of key and query, and their gradients.
 *
 * REL_ROPE: with pairs (a1, a2) of a and (c1, c2) of c, <a, c turned by t> is a sum over pairs of
 *     A cos(t theta) + B sin(t theta),   A = a1 c1 + a2 c2,   B = a2 c1 - a1 c2
 * Angles are in half turns, t theta / pi in double, which keep their fraction for any distance; a
 * thread turns on from one distance to the next by a rotation, and starts anew every TURNS.
 * Forward: one thread TURNS distances, THREADS apart; a block first makes A, B and angles of all
 * pairs (5 doubles each in shared memory, at most 48 KB). Backward: a lane a pair, block (x, y) a
 * span of distances of 32 pairs, a warp an eighth of it; shared memory 8 x 64 doubles; a last
 * launch adds the spans. Bytes 4 n; FLOPs 6 n width in double. H100 (computed, 34 TFLOP/s in
 * double), n = 2^20, width 128: 0.03 ms.
 * REL_BUCKET: one thread a distance; backward, the distances of a bucket lie together: block (x, y)
 * sums part x of bucket y, a last launch (a thread a bucket) the parts. Bytes 4 n: 1 us. */
#include "kernels/cuda/ops.cuh"

#include <math.h>

enum { THREADS = 128, TURNS = 8, LANES = 32, SUM_THREADS = 256, WARPS = SUM_THREADS / 32 };
#define BY_PI 0.31830988618379067 /* 1 / pi */
enum { RUN = 64 };                /* distances that a lane turns through before it starts anew */
enum { PAIR_DOUBLES = 5, PAIRS_MAX = (48 << 10) / (PAIR_DOUBLES * 8) };

/* ---- rotary ---- */
/* A pair of columns and its angle a distance, in half turns. */
struct Pair {
    int first, second;
    double angle;
};

__device__ __forceinline__ Pair pair_of(const Rel &a, int i)
{
    const double angle = pow(a.base, -2.0 * i / a.width) * BY_PI;
    return a.half ? Pair{i, i + a.width / 2, angle} : Pair{2 * i, 2 * i + 1, angle};
}

struct Wave {
    double cosine, sine;
};

__device__ __forceinline__ Wave wave_at(double half_turns)
{
    Wave w;
    sincospi(half_turns, &w.sine, &w.cosine);
    return w;
}

__device__ __forceinline__ Wave turned(Wave w, Wave by)
{
    return {w.cosine * by.cosine - w.sine * by.sine, w.sine * by.cosine + w.cosine * by.sine};
}

/* Of pair i, at room[i], room[pairs + i] ...: A, B, the angle, cosine and sine of THREADS angles.
 */
__device__ void pairs_prepare(const Rel &a, int pairs, double *room)
{
    const float *x = (const float *)a.a, *y = (const float *)a.c;
    for (int i = threadIdx.x; i < pairs; i += blockDim.x) {
        const Pair p = pair_of(a, i);
        const double x1 = x[p.first], x2 = x[p.second], y1 = y[p.first], y2 = y[p.second];
        const Wave step = wave_at((int)THREADS * p.angle);
        room[i] = x1 * y1 + x2 * y2;
        room[pairs + i] = x2 * y1 - x1 * y2;
        room[2 * pairs + i] = p.angle;
        room[3 * pairs + i] = step.cosine;
        room[4 * pairs + i] = step.sine;
    }
    __syncthreads();
}

__global__ void rel_rope_kernel(Rel a)
{
    const int pairs = a.width / 2;
    double *room = dyn_smem<double>();
    pairs_prepare(a, pairs, room);
    for (int64_t n = blockIdx.x; n * (THREADS * TURNS) < a.n; n += gridDim.x) {
        const int64_t e0 = n * (THREADS * TURNS) + threadIdx.x;
        double y[TURNS] = {0.0};
        for (int i = 0; i < pairs && e0 < a.n; i++) {
            const double by_cos = room[i], by_sin = room[pairs + i];
            const Wave step = {room[3 * pairs + i], room[4 * pairs + i]};
            Wave w = wave_at((double)(a.first + e0) * room[2 * pairs + i]);
#pragma unroll
            for (int k = 0; k < TURNS; k++) {
                y[k] += by_cos * w.cosine + by_sin * w.sine;
                w = turned(w, step);
            }
        }
#pragma unroll
        for (int k = 0; k < TURNS; k++)
            if (e0 + k * THREADS < a.n)
                ((float *)a.y)[e0 + k * THREADS] = (float)y[k];
    }
}

/* parts (spans, 2, pairs): gradients of A, of B. */
__global__ void rel_rope_sums_kernel(Rel a, int64_t span, double *parts)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, pairs = a.width / 2;
    const int i = blockIdx.y * LANES + lane;
    const int64_t each = (span + WARPS - 1) / WARPS, begin = blockIdx.x * span + warp * each;
    const int64_t stop = (blockIdx.x + 1) * span < a.n ? (blockIdx.x + 1) * span : a.n;
    const int64_t end = begin + each < stop ? begin + each : stop;
    const double angle = i < pairs ? pair_of(a, i).angle : 0.0;
    const Wave step = wave_at(angle);
    double *sums = dyn_smem<double>(), by_cos = 0.0, by_sin = 0.0;
    for (int64_t e0 = begin; e0 < end; e0 += RUN) {
        Wave w = wave_at((double)(a.first + e0) * angle);
        for (int64_t e = e0; e < e0 + RUN && e < end; e++) {
            const double dy = ((const float *)a.dy)[e];
            by_cos += dy * w.cosine;
            by_sin += dy * w.sine;
            w = turned(w, step);
        }
    }
    sums[threadIdx.x] = by_cos;
    sums[SUM_THREADS + threadIdx.x] = by_sin;
    __syncthreads();
    if (warp > 1 || i >= pairs) /* the first warp adds cosines, the second sines */
        return;
    double sum = 0.0;
    for (int w = 0; w < WARPS; w++)
        sum += sums[warp * SUM_THREADS + w * 32 + lane];
    parts[(2 * (int64_t)blockIdx.x + warp) * pairs + i] = sum;
}

/* grad += by_a x + by_b (x turned by a quarter, sign 1 or -1). */
__device__ void add_pair(Pair p, double by_a, double by_b, const float *x, float *grad)
{
    const double x1 = x[p.first], x2 = x[p.second];
    grad[p.first] += (float)(by_a * x1 - by_b * x2);
    grad[p.second] += (float)(by_a * x2 + by_b * x1);
}

__global__ void rel_rope_bwd_kernel(Rel a, int64_t spans, const double *parts)
{
    const int pairs = a.width / 2;
    for (int i = (int)first_of(); i < pairs; i += (int)step_of()) {
        const Pair p = pair_of(a, i);
        double by_a = 0.0, by_b = 0.0;
        for (int64_t s = 0; s < spans; s++) {
            by_a += parts[2 * s * pairs + i];
            by_b += parts[(2 * s + 1) * pairs + i];
        }
        if (a.da != NULL)
            add_pair(p, by_a, by_b, (const float *)a.c, (float *)a.da);
        if (a.dc != NULL)
            add_pair(p, by_a, -by_b, (const float *)a.a, (float *)a.dc);
    }
}

static Status rope_bwd(Dev *d, const Rel *a)
{
    const int64_t pairs = a->width / 2, across = ceil_div(pairs, LANES);
    const int64_t wanted = ceil_div(4 * (int64_t)cuda_of(d)->sms, across);
    const int64_t span = ceil_div(a->n, max64(1, least(wanted, a->n / (4 * WARPS))));
    const int64_t spans = ceil_div(a->n, span);
    void *parts;
    TRY(cuda_work(d, 2 * (size_t)(spans * pairs) * sizeof(double), &parts));
    TRY(launch(d, "rel_bwd", rel_rope_sums_kernel, dim3((unsigned)spans, (unsigned)across),
               SUM_THREADS, 2 * SUM_THREADS * sizeof(double), *a, span, (double *)parts));
    return launch(d, "rel_bwd", rel_rope_bwd_kernel, grid_for(d, pairs, 32), 32, 0, *a, spans,
                  (const double *)parts);
}

/* ---- buckets ---- */
/* Buckets of the distances -FAR to FAR; all beyond are in those of the ends. */
enum { FAR = 128, LAST = 2 * FAR };
struct Buckets {
    uint8_t at[LAST + 1];
};

static Buckets buckets_of(const Rel *a)
{
    Buckets b;
    for (int i = 0; i <= LAST; i++)
        b.at[i] = (uint8_t)rel_bucket(a->causal, i - FAR);
    return b;
}

__global__ void rel_bucket_kernel(Rel a, Buckets b)
{
    for (int64_t e = first_of(); e < a.n; e += step_of()) {
        const int64_t at = a.first + e + FAR;
        const int n = b.at[at < 0 ? 0 : at > LAST ? (int64_t)LAST : at];
        ((float *)a.y)[e] = (float)a.scale * ((const float *)a.a)[n];
    }
}

/* Entries [begin, end) of the table are those of a bucket. */
struct Stretches {
    int64_t begin[REL_BUCKETS], end[REL_BUCKETS];
};

/* A bucket's distances lie together, and the ends reach as far as the table. */
static Stretches stretches_of(const Rel *a)
{
    const Buckets b = buckets_of(a);
    Stretches s = {};
    for (int i = 0; i <= LAST; i++) {
        const int64_t from = i == 0 ? 0 : i - FAR - a->first;
        const int64_t to = i == LAST ? a->n : i - FAR - a->first + 1;
        const int64_t begin = max64(0, from), end = least(to, a->n);
        const int n = b.at[i];
        if (begin >= end)
            continue;
        if (s.end[n] == s.begin[n])
            s.begin[n] = begin;
        s.end[n] = end;
    }
    return s;
}

/* parts (buckets, gridDim.x) */
__global__ void rel_bucket_sums_kernel(Rel a, Stretches s, double *parts)
{
    const int64_t begin = s.begin[blockIdx.y], end = s.end[blockIdx.y];
    double sum = 0.0;
    for (int64_t e = begin + first_of(); e < end; e += step_of())
        sum += (double)((const float *)a.dy)[e];
    sum = block_reduce(sum, Sum(), dyn_smem<double>());
    if (threadIdx.x == 0)
        parts[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

__global__ void rel_bucket_bwd_kernel(Rel a, int n, const double *parts)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += parts[threadIdx.x * n + i];
    ((float *)a.da)[threadIdx.x] += (float)(a.scale * sum);
}

static Status buckets_bwd(Dev *d, const Rel *a)
{
    const int n = (int)max64(1, least(64, a->n / (16 * THREADS)));
    void *parts;
    if (a->da == NULL)
        return ST_OK;
    TRY(cuda_work(d, (size_t)(REL_BUCKETS * n) * sizeof(double), &parts));
    TRY(launch(d, "rel_bwd", rel_bucket_sums_kernel, dim3((unsigned)n, REL_BUCKETS), THREADS,
               MAX_WARPS * sizeof(double), *a, stretches_of(a), (double *)parts));
    return launch(d, "rel_bwd", rel_bucket_bwd_kernel, dim3(1), REL_BUCKETS, 0, *a, n,
                  (const double *)parts);
}

/* ---- both ---- */
static Status fits(const Rel *a)
{
    CHECK(a->kind != REL_ROPE || a->width % 2 == 0);
    if (a->kind == REL_ROPE && a->width > 2 * PAIRS_MAX)
        return FAIL(ST_UNSUPPORTED, "relative biases of vectors of %d, at most %d", a->width,
                    2 * PAIRS_MAX);
    return ST_OK;
}

/* Fails: ST_UNSUPPORTED for wider vectors than shared memory holds. */
Status cuda_rel_fwd(Dev *d, const Rel *a)
{
    TRY(fits(a));
    if (a->kind == REL_BUCKET)
        return launch(d, "rel_fwd", rel_bucket_kernel, grid_for(d, a->n, THREADS), THREADS, 0, *a,
                      buckets_of(a));
    return launch(d, "rel_fwd", rel_rope_kernel, grid_for(d, ceil_div(a->n, TURNS), THREADS),
                  THREADS, (size_t)(PAIR_DOUBLES * a->width / 2) * sizeof(double), *a);
}

Status cuda_rel_bwd(Dev *d, const Rel *a)
{
    TRY(fits(a));
    return a->kind == REL_BUCKET ? buckets_bwd(d, a) : rope_bwd(d, a);
}
