/* lsh.cu - LSH attention: items sorted by bucket and position (sort.cu), chunks of them attended
 * (lsh.cuh), and the rounds put together, as many heads of batch rows at a time as the room allows.
 *
 * keys: a thread an item; factors, join, fold: a warp a position of a head.
 * Bytes an item: sort 8 written, then 20 a pass of 8 bits; parts forward 4 dv written and read,
 * backward 4 (2 d + dv), and 4 (d + 2 dv) of operands for delta and the norm. FLOPs beside the
 * pairs: about 2 (d + dv) an item. Roofline on an H100 (computed, 3.35 TB/s), T = 65536, H = 16, d
 * = dv = 64, 2 rounds: 2 M items: sort 0.03 ms, factors 0.08 ms (0.24 ms with delta), joining 0.24
 * ms, folding 1.0 ms. No shared memory. */
#include "kernels/cuda/divide.cuh"
#include "kernels/cuda/lsh.cuh"
#include "kernels/cuda/ops.cuh"
#include "kernels/cuda/sort.cuh"

enum { THREADS = 256 };
static const int64_t ROOM = (int64_t)64 << 20; /* floats of scratch at a time */

/* ---- order ---- */
struct LshKeys {
    LshPairs p;
    int64_t n; /* slots * items */
    Divisor padded, rounds;
    int n_buckets;
    const int32_t *bucket;
    uint32_t *key;
    int32_t *position;
};

/* Keys rise with slot, round and bucket; the sort is stable, so that positions break ties. */
__global__ void lsh_keys_kernel(LshKeys k)
{
    for (int64_t i = first_of(); i < k.n; i += step_of()) {
        const int64_t row = quotient(i, k.padded), t = i - row * k.p.padded;
        const int64_t pair = k.p.first + quotient(row, k.rounds);
        const int64_t bucket_row = k.p.first * k.p.rounds + row;
        const bool valid = t < lsh_valid(k.p, pair);
        const int bucket = valid ? k.bucket[bucket_row * k.p.len + t] : k.n_buckets;
        k.key[i] = (uint32_t)(row * (k.n_buckets + 1) + bucket);
        k.position[i] = (int32_t)t;
    }
}

/* ---- norms of keys, and do.o ---- */
__device__ __forceinline__ float warp_dot(const float *x, const float *y, int n)
{
    float sum = 0.0f;
    for (int c = threadIdx.x % 32; c < n; c += 32)
        sum += x[c] * y[c];
    for (int with = 16; with > 0; with /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, with);
    return sum;
}

__global__ void lsh_factors_kernel(LshPairs p, Divisor by_len, float *by, float *delta)
{
    for (int64_t i = first_of() / 32; i < p.slots * p.len; i += step_of() / 32) {
        const int64_t slot = quotient(i, by_len), t = i - slot * p.len, pair = p.first + slot;
        const float *q = p.q + lsh_row(p, pair, t, p.d);
        const int64_t at = lsh_row(p, pair, t, p.dv);
        const float norm = warp_dot(q, q, p.d) + LSH_EPS * (float)p.d;
        const float pull = delta != NULL ? warp_dot(p.d_o + at, p.o + at, p.dv) : 0.0f;
        if (threadIdx.x % 32 != 0)
            continue;
        by[i] = 1.0f / sqrtf(norm);
        if (delta != NULL)
            delta[i] = pull;
    }
}

/* ---- rounds put together ---- */
/* Of round r, relative to the largest; alone: any round has the value. */
__device__ __forceinline__ float round_weight(const LshPairs &p, int64_t at, int r, float top)
{
    return top != -INFINITY ? expf(p.part_lse[at + r * p.len] - top) : r == 0 ? 1.0f : 0.0f;
}

/* o = sum_r exp(lse_r - lse) o_r; padding gives zeros. With one round only the padding is left. */
__global__ void lsh_join_kernel(LshPairs p, Divisor by_len)
{
    const int lane = threadIdx.x % 32;
    for (int64_t i = first_of() / 32; i < p.slots * p.len; i += step_of() / 32) {
        const int64_t slot = quotient(i, by_len), t = i - slot * p.len, pair = p.first + slot;
        const int64_t at = slot * p.rounds * p.len + t;
        const bool valid = t < lsh_valid(p, pair);
        float *o = p.o + lsh_row(p, pair, t, p.dv), top = -INFINITY, sum = 0.0f;
        if (valid && p.rounds == 1)
            continue;
        for (int r = 0; r < p.rounds && valid; r++)
            top = Max()(p.part_lse[at + r * p.len], top);
        for (int r = 0; r < p.rounds && valid; r++)
            sum += round_weight(p, at, r, top);
        for (int c = lane; c < p.dv; c += 32) {
            float y = 0.0f;
            for (int r = 0; r < p.rounds && valid; r++)
                y += round_weight(p, at, r, top) * p.part[(at + r * p.len) * p.dv + c];
            o[c] = valid ? y / sum : 0.0f;
        }
        if (p.lse != NULL && lane == 0)
            p.lse[pair * p.len + t] = !valid             ? -INFINITY
                                      : top == -INFINITY ? LSH_ALONE
                                                         : top + logf(sum);
    }
}

/* dq += sum_r dq_r + by (dk - (k.dk) k), dk = sum_r dk_r, k = by q; dv += sum_r dv_r, and do where
 * the value was the output. A warp a position; NULL results are not wanted. */
struct LshFold {
    LshPairs p;
    Divisor by_len;
    const float *part_q, *part_k, *part_v; /* (slots, rounds, len, d or dv) */
    float *dq, *dv;
};

__device__ __forceinline__ float round_sum(const LshPairs &p, const float *part, int64_t at,
                                           int width, int c)
{
    float sum = 0.0f;
    for (int r = 0; r < p.rounds; r++)
        sum += part[(at + r * p.len) * width + c];
    return sum;
}

__global__ void lsh_fold_kernel(LshFold f)
{
    const LshPairs &p = f.p;
    const int lane = threadIdx.x % 32;
    for (int64_t i = first_of() / 32; i < p.slots * p.len; i += step_of() / 32) {
        const int64_t slot = quotient(i, f.by_len), t = i - slot * p.len, pair = p.first + slot;
        const int64_t at = slot * p.rounds * p.len + t, q_at = lsh_row(p, pair, t, p.d);
        const int64_t v_at = lsh_row(p, pair, t, p.dv);
        const float by = p.by[i];
        float along = 0.0f; /* k.dk */
        if (t >= lsh_valid(p, pair))
            continue;
        for (int c = lane; c < p.d && f.dq != NULL; c += 32)
            along += by * p.q[q_at + c] * round_sum(p, f.part_k, at, p.d, c);
        for (int with = 16; with > 0; with /= 2)
            along += __shfl_xor_sync(0xffffffffu, along, with);
        for (int c = lane; c < p.d && f.dq != NULL; c += 32)
            f.dq[q_at + c] +=
                round_sum(p, f.part_q, at, p.d, c) +
                by * (round_sum(p, f.part_k, at, p.d, c) - along * by * p.q[q_at + c]);
        const bool alone = p.lse[pair * p.len + t] <= 0.5f * LSH_ALONE;
        for (int c = lane; c < p.dv && f.dv != NULL; c += 32)
            f.dv[v_at + c] +=
                round_sum(p, f.part_v, at, p.dv, c) + (alone ? p.d_o[v_at + c] : 0.0f);
    }
}

/* ---- scratch: everything of some heads of batch rows ---- */
struct LshRoom {
    uint32_t *key, *sorted_key;
    int32_t *position, *order;
    float *by, *delta, *part_lse, *part[3];
    Sort sort;
};

/* Floats of parts of one head: forward o of every round, if several; backward dq, dk and dv. */
static int64_t part_floats(const Lsh *a, bool back, int which)
{
    const int64_t rows = a->rounds * a->len;
    if (!back)
        return which == 0 && a->rounds > 1 ? rows * a->dv : 0;
    if (which == 2)
        return a->dv_ != NULL ? rows * a->dv : 0;
    return a->dq != NULL ? rows * a->d : 0;
}

static int64_t head_floats(const Lsh *a, bool back)
{
    int64_t n = 4 * a->rounds * a->padded + 2 * a->len + a->rounds * a->len;
    for (int i = 0; i < 3; i++)
        n += part_floats(a, back, i);
    return n;
}

/* As many heads as the room holds, and as 32 bits number. */
static int64_t slots_for(const Lsh *a, bool back)
{
    const int64_t items = a->rounds * a->padded, buckets = (int64_t)a->rounds * (a->n_buckets + 1);
    const int64_t most = least(INT32_MAX / items, INT32_MAX / buckets);
    CHECK(items % a->chunk == 0 && a->padded >= a->len && most > 0);
    return max64(
        1, least(least(a->batch * a->heads, 65535), least(most, ROOM / head_floats(a, back))));
}

static Status make_room(Dev *d, const Lsh *a, bool back, int64_t slots, LshRoom *room)
{
    const int64_t items = slots * a->rounds * a->padded;
    const int64_t words = ceil_div(slots * head_floats(a, back), 64) * 64;
    void *work;
    *room = {};
    room->sort.bits = bits_of(slots * a->rounds * (a->n_buckets + 1) - 1);
    TRY(sort_room(d, items, room->sort.bits, &room->sort.room_size));
    TRY(cuda_work(d, (size_t)words * sizeof(float) + room->sort.room_size, &work));
    room->key = (uint32_t *)work, room->sorted_key = room->key + items;
    room->position = (int32_t *)(room->sorted_key + items), room->order = room->position + items;
    room->by = (float *)(room->order + items), room->delta = room->by + slots * a->len;
    room->part_lse = room->delta + slots * a->len;
    float *part = room->part_lse + slots * a->rounds * a->len;
    for (int i = 0; i < 3; i++) {
        room->part[i] = part;
        part += slots * part_floats(a, back, i);
    }
    room->sort.room = (float *)work + words;
    room->sort.key = room->key, room->sort.sorted_key = room->sorted_key;
    room->sort.value = room->position, room->sort.sorted = room->order;
    return ST_OK;
}

static LshPairs pairs_at(const Lsh *a, const LshRoom &room, int64_t first, int64_t slots)
{
    LshPairs p = {};
    p.causal = a->causal, p.heads = a->heads, p.d = a->d, p.dv = a->dv, p.rounds = a->rounds;
    p.len = a->len, p.padded = a->padded, p.chunk = a->chunk, p.items = a->rounds * a->padded;
    p.before = a->before * a->chunk, p.after = a->after * a->chunk;
    p.first = first, p.slots = slots, p.lens = a->lens, p.order = room.order;
    p.q = (const float *)a->q, p.v = (const float *)a->v, p.d_o = (const float *)a->d_o;
    p.by = room.by, p.delta = room.delta, p.part = room.part[0], p.part_lse = room.part_lse;
    p.o = (float *)a->o, p.lse = (float *)a->lse;
    return p;
}

/* Order, norms and, backward, delta of these heads. */
static Status prepare(Dev *d, const char *op, const Lsh *a, const LshRoom &room, const LshPairs &p,
                      bool back)
{
    const LshKeys k = {
        p,         p.slots * p.items, divisor(p.padded), divisor(p.rounds), a->n_buckets,
        a->bucket, room.key,          room.position};
    Sort sort = room.sort;
    sort.n = k.n;
    TRY(launch(d, op, lsh_keys_kernel, grid_for(d, k.n, THREADS), THREADS, 0, k));
    TRY(sort_pairs(d, op, sort));
    return launch(d, op, lsh_factors_kernel, grid_for(d, 32 * p.slots * p.len, THREADS), THREADS, 0,
                  p, divisor(p.len), room.by, back ? room.delta : (float *)NULL);
}

static Status heads_forward(Dev *d, const char *op, const LshPairs &p)
{
    TRY(cuda_lsh_out(d, op, p));
    return launch(d, op, lsh_join_kernel, grid_for(d, 32 * p.slots * p.len, THREADS), THREADS, 0, p,
                  divisor(p.len));
}

static Status heads_backward(Dev *d, const char *op, const Lsh *a, LshPairs p, const LshRoom &room)
{
    const LshFold f = {p,
                       divisor(p.len),
                       room.part[0],
                       room.part[1],
                       room.part[2],
                       (float *)a->dq,
                       (float *)a->dv_};
    if (a->dq != NULL) {
        TRY(cuda_lsh_dq(d, op, p));
        p.part = room.part[1];
        TRY(cuda_lsh_dk(d, op, p));
    }
    p.part = room.part[2];
    if (a->dv_ != NULL)
        TRY(cuda_lsh_dv(d, op, p));
    return launch(d, op, lsh_fold_kernel, grid_for(d, 32 * p.slots * p.len, THREADS), THREADS, 0,
                  f);
}

static Status all_heads(Dev *d, const char *op, const Lsh *a, bool back)
{
    const int64_t pairs = a->batch * a->heads, slots = slots_for(a, back);
    LshRoom room;
    TRY(make_room(d, a, back, slots, &room));
    for (int64_t first = 0; first < pairs; first += slots) {
        const LshPairs p = pairs_at(a, room, first, least(slots, pairs - first));
        TRY(prepare(d, op, a, room, p, back));
        TRY(back ? heads_backward(d, op, a, p, room) : heads_forward(d, op, p));
    }
    return ST_OK;
}

Status cuda_lsh_fwd(Dev *d, const Lsh *a)
{
    return all_heads(d, "lsh_fwd", a, false);
}

Status cuda_lsh_bwd(Dev *d, const Lsh *a)
{
    CHECK(a->lse != NULL);
    return all_heads(d, "lsh_bwd", a, true);
}
