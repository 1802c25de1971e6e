/* lsh_fwd.c - LSH attention, forward: chunks of sorted items, tile by tile, online softmax.
 *
 * A task makes a strip of chunks of one head. Keys and values of a chunk are gathered and packed
 * once for all chunks of the strip that see it, in a ring of slots. Scores of a tile are kept
 * transposed, (keys, queries), as in attention_fwd.c. With several rounds the strips leave every
 * item's output and log-sum-exp (base 2), and these are put together position by position.
 * A position is hidden from itself; where it sees nothing else in any round, its value is the
 * output (what -1e5 for itself comes to in exact numbers). */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/cpu/lsh.h"
#include "kernels/cpu/rows.h"

enum {
    PART_FLOATS = 16 << 20, /* of the rounds' outputs at a time, or one head */
    ROW_BLOCK = 128
};
static const float LOWEST = -1e38f; /* of a running maximum: finite, so that differences are */

typedef struct Fwd {
    LshPlan p;
    int64_t group;          /* pairs at a time */
    int64_t k_size, v_size; /* floats of a packed tile */
    int64_t tiles, slot;    /* tiles of a chunk; floats of a slot */
    int64_t mine;           /* floats of one thread */
    float *part, *part_lse; /* (group, rounds, len, dv) and (group, rounds, len), if rounds > 1 */
    int32_t *count;         /* (threads, n_buckets + 1) */
    float *scratch;
    double *flops;
} Fwd;

/* A tile of queries. */
typedef struct Rows {
    const Fwd *f;
    int64_t pair, slot, item; /* head, its place in the group, first item */
    int n, cols;              /* queries; the same in whole vectors */
    int32_t pos[LSH_TILE];
    float m[LSH_TILE], l[LSH_TILE], alpha[LSH_TILE]; /* running maxima (base 2), sums, rescaling */
    float *row, *q, *s, *o;
    bool first;
    double flops;
} Rows;

/* ---- keys ---- */

/* Packed keys and values of chunk x, and its positions behind them. */
static void load_slot(const Fwd *f, int64_t pair, const int32_t *order, float *row, float *slot)
{
    const Lsh *a = f->p.a;
    int32_t *pos = (void *)(slot + f->tiles * (f->k_size + f->v_size));
    for (int64_t at = 0; at < a->chunk; at += LSH_TILE, slot += f->k_size + f->v_size) {
        const int n = (int)min64(LSH_TILE, a->chunk - at);
        CPU(lsh_keys)(a, pair, order + at, n, row, f->p.q_ld, NULL);
        CPU(pack_cols)(MR, a->d, n, row, f->p.q_ld, 1.0f, slot);
        CPU(lsh_gather)(a, pair, a->v, a->dv, order + at, n, row, f->p.v_ld);
        CPU(pack_rows)(NR, n, a->dv, row, f->p.v_ld, 1.0f, slot + f->k_size);
        for (int i = 0; i < n; i++)
            pos[at + i] = order[at + i] >= 0 ? order[at + i] : LSH_NONE;
    }
}

/* ---- queries ---- */
static void load_rows(Rows *t, const int32_t *order)
{
    const Lsh *a = t->f->p.a;
    t->cols = (int)round_up(t->n, VW);
    for (int i = 0; i < t->cols; i++) {
        t->pos[i] = i < t->n ? order[i] : -1;
        t->m[i] = LOWEST;
        t->l[i] = 0;
    }
    t->first = true;
    CPU(lsh_gather)(a, t->pair, a->q, a->d, order, t->n, t->row, t->f->p.q_ld);
    CPU(pack_cols)(NR, a->d, t->n, t->row, t->f->p.q_ld, LOG2_E, t->q);
}

/* Which of VW queries see a key: never themselves. */
static vi sees(const Lsh *a, vi q, int32_t key)
{
    const vi k = (vi){0} + key;
    if (a->causal)
        return q > k;
    return (q != k) & ((vi){0} - (key != LSH_NONE));
}

static void softmax(Rows *t, const int32_t *key, int n)
{
    const Lsh *a = t->f->p.a;
    for (int i = 0; i < t->cols; i += VW) {
        float *s = t->s + i;
        vi q;
        __builtin_memcpy(&q, t->pos + i, sizeof q);
        const vf before = vload(t->m + i);
        vf m = before, sum = vset(0);
        for (int j = 0; j < n; j++) {
            const vf x = vselect(sees(a, q, key[j]), vload(s + j * LSH_TILE), vset(-INFINITY));
            vstore(s + j * LSH_TILE, x);
            m = vmax(m, x);
        }
        for (int j = 0; j < n; j++) {
            const vf e = vexp2(vload(s + j * LSH_TILE) - m);
            vstore(s + j * LSH_TILE, e);
            sum += e;
        }
        const vf alpha = vexp2(before - m);
        vstore(t->l + i, vload(t->l + i) * alpha + sum);
        vstore(t->m + i, m);
        vstore(t->alpha + i, alpha);
    }
}

static void rescale(const Rows *t)
{
    for (int i = 0; i < t->n; i++)
        if (t->alpha[i] != 1.0f)
            row_scale(t->o + i * t->f->p.v_ld, t->o + i * t->f->p.v_ld, t->f->p.a->dv, t->alpha[i]);
}

/* Causal, and every key is at or after every query: nothing to do. */
static bool hidden(const Rows *t, const int32_t *key, int n)
{
    int32_t last = -1, first = LSH_NONE;
    for (int i = 0; i < t->n; i++)
        last = t->pos[i] > last ? t->pos[i] : last;
    for (int j = 0; j < n; j++)
        first = key[j] < first ? key[j] : first;
    return t->f->p.a->causal ? first >= last : first == LSH_NONE;
}

static void one_tile(Rows *t, const float *k, const float *v, const int32_t *key, int n)
{
    const Lsh *a = t->f->p.a;
    if (hidden(t, key, n))
        return;
    CPU(tile_mm)
    (n, t->cols, a->d, a_packed(k, a->d), b_packed(t->q, a->d), t->s, LSH_TILE, TILE_SET);
    softmax(t, key, n);
    if (!t->first)
        rescale(t);
    CPU(tile_mm)
    (t->n, a->dv, n, a_cols(t->s, LSH_TILE), b_packed(v, n), t->o, t->f->p.v_ld,
     t->first ? TILE_SET : TILE_ADD);
    t->first = false;
    t->flops += tile_flops(n, t->cols, a->d) + tile_flops(t->n, a->dv, n);
}

/* o = sums / l, or v where nothing but itself is seen; returns log-sum-exp (base 2). */
static float put_row(const Rows *t, int i, float *o)
{
    const Lsh *a = t->f->p.a;
    const bool alone = t->first || t->l[i] == 0.0f;
    if (alone)
        row_scale(o, (const float *)a->v + lsh_row(a, t->pair, t->pos[i], a->dv), a->dv, 1.0f);
    else
        row_scale(o, t->o + i * t->f->p.v_ld, a->dv, 1.0f / t->l[i]);
    return alone ? -INFINITY : t->m[i] + log2f(t->l[i]);
}

static float natural(float lse2)
{
    return lse2 == -INFINITY ? LSH_ALONE : LN_2 * lse2;
}

static void write_rows(const Rows *t)
{
    const Lsh *a = t->f->p.a;
    for (int i = 0; i < t->n; i++) {
        const int64_t r = (t->item + i) / a->padded, pos = t->pos[i];
        const int64_t part = (t->slot * a->rounds + r) * a->len + pos;
        if (pos < 0)
            continue;
        if (a->rounds > 1) {
            t->f->part_lse[part] = put_row(t, i, t->f->part + part * a->dv);
            continue;
        }
        float lse = put_row(t, i, (float *)a->o + lsh_row(a, t->pair, pos, a->dv));
        if (a->lse != NULL)
            ((float *)a->lse)[t->pair * a->len + pos] = natural(lse);
    }
}

/* ---- a strip of chunks of one head ---- */
static void one_chunk(Rows *t, int64_t chunk, const int32_t *order, const float *ring)
{
    const Fwd *f = t->f;
    const Lsh *a = f->p.a;
    for (int64_t at = 0; at < a->chunk; at += LSH_TILE) {
        t->item = chunk * a->chunk + at;
        t->n = (int)min64(LSH_TILE, a->chunk - at);
        load_rows(t, order + t->item);
        for (int64_t x = chunk; x < chunk + f->p.near; x++) {
            const float *slot = ring + x % f->p.near * f->slot;
            const int32_t *pos = (const void *)(slot + f->tiles * (f->k_size + f->v_size));
            for (int64_t k = 0; k < a->chunk; k += LSH_TILE, slot += f->k_size + f->v_size)
                one_tile(t, slot, slot + f->k_size, pos + k, (int)min64(LSH_TILE, a->chunk - k));
        }
        write_rows(t);
    }
}

/* Ring slots are numbered from the strip's first neighbour: chunk x - before is in slot x. */
static void one_strip(const Fwd *f, int64_t pair, int64_t slot, int64_t strip)
{
    const Lsh *a = f->p.a;
    const int64_t begin = strip * f->p.strip, end = min64(begin + f->p.strip, f->p.chunks);
    const int32_t *order = f->p.order + slot * f->p.items;
    float *ring = f->scratch + omp_get_thread_num() * f->mine;
    Rows t = {.f = f, .pair = pair, .slot = slot};
    t.row = ring + f->p.near * f->slot;
    t.q = t.row + LSH_TILE * max64(f->p.q_ld, f->p.v_ld);
    t.s = t.q + (int64_t)LSH_TILE * a->d;
    t.o = t.s + LSH_TILE * LSH_TILE;
    int64_t loaded = begin;
    const int64_t near = f->p.near;
    CHECK(near > 0);
    for (int64_t chunk = begin; chunk < end; chunk++) {
        for (; loaded < chunk + near; loaded++) {
            int64_t x = (loaded - a->before) % f->p.chunks;
            x += x < 0 ? f->p.chunks : 0;
            load_slot(f, pair, order + x * a->chunk, t.row, ring + loaded % near * f->slot);
        }
        one_chunk(&t, chunk, order, ring);
    }
    tally(f->flops, t.flops);
}

/* ---- rounds put together ---- */
static void join_row(const Fwd *f, int64_t pair, int64_t slot, int64_t t)
{
    const Lsh *a = f->p.a;
    const float *lse = f->part_lse + slot * a->rounds * a->len + t;
    float *o = (float *)a->o + lsh_row(a, pair, t, a->dv), top = -INFINITY, sum = 0;
    for (int r = 0; r < a->rounds; r++)
        top = fmaxf(top, lse[r * a->len]);
    for (int r = 0; r < a->rounds; r++)
        sum += top > -INFINITY ? exp2f(lse[r * a->len] - top) : r == 0;
    for (int r = 0; r < a->rounds; r++) {
        const float w = (top > -INFINITY ? exp2f(lse[r * a->len] - top) : r == 0) / sum;
        const float *x = f->part + ((slot * a->rounds + r) * a->len + t) * a->dv;
        for (int c = 0; c < a->dv; c += VW) {
            const vf before = r > 0 ? vget(o + c, a->dv - c) : vset(0);
            vput(o + c, before + w * vget(x + c, a->dv - c), a->dv - c);
        }
    }
    if (a->lse != NULL)
        ((float *)a->lse)[pair * a->len + t] = natural(top > -INFINITY ? top + log2f(sum) : top);
}

static void join_rows(const Fwd *f, int64_t pair, int64_t slot, int64_t begin)
{
    const Lsh *a = f->p.a;
    const int64_t valid = lsh_valid(a, pair / a->heads);
    for (int64_t t = begin; t < min64(begin + ROW_BLOCK, a->len); t++) {
        if (t < valid && a->rounds > 1)
            join_row(f, pair, slot, t);
        if (t < valid)
            continue;
        memset((float *)a->o + lsh_row(a, pair, t, a->dv), 0, (size_t)a->dv * sizeof(float));
        if (a->lse != NULL)
            ((float *)a->lse)[pair * a->len + t] = -INFINITY;
    }
}

static void one_group(const Fwd *f, int64_t first, int64_t n)
{
    const Lsh *a = f->p.a;
    const int64_t blocks = ceil_div(a->len, ROW_BLOCK);
    CPU(lsh_sort)(&f->p, first, n, f->count);
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < n * f->p.strips; t++)
        one_strip(f, first + t / f->p.strips, t / f->p.strips, t % f->p.strips);
#pragma omp for schedule(static)
    for (int64_t t = 0; t < n * blocks; t++)
        join_rows(f, first + t / blocks, t / blocks, t % blocks * ROW_BLOCK);
}

static Fwd plan(const Lsh *a)
{
    Fwd f = {.p = CPU(lsh_plan)(a), .tiles = ceil_div(a->chunk, LSH_TILE)};
    const int64_t tile = min64(LSH_TILE, a->chunk), parts = a->rounds > 1 ? a->rounds * a->len : 0;
    f.k_size = round_up(tile, MR) * a->d;
    f.v_size = tile * round_up(a->dv, NR);
    f.slot = round_up(f.tiles * (f.k_size + f.v_size) + a->chunk, 16);
    f.mine = f.p.near * f.slot + LSH_TILE * (max64(f.p.q_ld, f.p.v_ld) + f.p.v_ld + a->d) +
             LSH_TILE * LSH_TILE;
    f.mine = round_up(f.mine, 16);
    f.group = PART_FLOATS / (parts * (a->dv + 1) + f.p.items + a->rounds * a->len);
    f.group = min64(max64(1, f.group), f.p.pairs);
    return f;
}

Status CPU(lsh_fwd)(Dev *d, const Lsh *a)
{
    Fwd f = plan(a);
    double flops = 0;
    void *scratch;
    const int64_t parts = a->rounds > 1 ? round_up(f.group * a->rounds * a->len, 16) : 0;
    const int64_t order = round_up(f.group * f.p.items, 16);
    const int64_t place = round_up(f.group * a->rounds * a->len, 16);
    const int64_t threads = omp_get_max_threads();
    const int64_t count = round_up(threads * (a->n_buckets + 1), 16);
    const int64_t all = parts * (a->dv + 1) + order + place + count + threads * f.mine;
    TRY(dev_scratch(d, (size_t)all * sizeof(float), &scratch));
    f.scratch = scratch;
    f.flops = &flops;
    f.part = f.scratch + threads * f.mine;
    f.part_lse = f.part + parts * a->dv;
    f.p.order = (void *)(f.part_lse + parts);
    f.p.place = f.p.order + order;
    f.count = f.p.place + place;
    const double work = (double)f.p.pairs * (double)f.p.items * (double)(f.p.near * a->chunk);
#pragma omp parallel if (work * (a->d + a->dv) >= 8.0 * PARALLEL_FROM)
    for (int64_t first = 0; first < f.p.pairs; first += f.group)
        one_group(&f, first, min64(f.group, f.p.pairs - first));
    dev_count_flops(d, flops);
    return ST_OK;
}
