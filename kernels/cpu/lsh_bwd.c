/* lsh_bwd.c - gradients of LSH attention: scores are made again from q, k and lse.
 *
 *   p_ij = exp(s_ij - lse_i), ds_ij = p_ij (do_i.v_j - do_i.o_i) over the items that meet;
 *   dv_j += p_ij do_i, dk_j += ds_ij q_i, dq_i += ds_ij k_j; dq += c (dk - (k.dk) k), k = c q
 *
 * lse is that of all rounds together, so the weights of the rounds need nothing of their own.
 * A task makes a strip of chunks, as queries; it also has sums for the neighbours that they see.
 * Every strip leaves all its sums in a region of its own, in the order of the items, and a position
 * adds up those of its items, strip by strip: the same order for any number of threads. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/cpu/lsh.h"
#include "kernels/cpu/rows.h"

enum {
    SUM_FLOATS = 32 << 20, /* of the strips' regions at a time, or one head */
    ROW_BLOCK = 128
};

typedef struct Bwd {
    LshPlan p;
    int64_t group;
    int64_t region;      /* chunks of a strip with its neighbours */
    int64_t width;       /* of a row of a region: d + dv */
    int64_t tiles, slot; /* tiles of a chunk; floats of a slot */
    int64_t mine;        /* floats of one thread */
    float *sums;         /* (group, strips, region, chunk, width) */
    int32_t *use;        /* (chunks) the first region chunk that sums for a chunk; -1: none */
    int32_t *next;       /* (strips * region) the next one of the same chunk */
    int32_t *count;
    float *scratch;
} Bwd;

/* A chunk as keys, with its sums. */
typedef struct Slot {
    float *kt, *vt;     /* per tile (d, LSH_TILE) scaled and (dv, LSH_TILE), packed */
    float *k, *dq, *dk; /* (chunk, q_ld) */
    float *dv, *c;      /* (chunk, v_ld); (chunk) k = c q */
    int32_t *pos;       /* (chunk), LSH_NONE for padding */
} Slot;

/* A tile of queries. */
typedef struct Rows {
    const Bwd *f;
    int64_t pair;
    int n;
    int32_t pos[LSH_TILE];
    float lse[LSH_TILE], delta[LSH_TILE]; /* base 2; do.o */
    float *q, *d_o, *p, *ds;              /* (LSH_TILE, q_ld), (LSH_TILE, v_ld), scores */
} Rows;

/* ---- slots ---- */
static Slot slot_at(const Bwd *f, float *ring, int64_t x)
{
    const Lsh *a = f->p.a;
    Slot s = {.kt = ring + x % f->p.near * f->slot};
    s.vt = s.kt + f->tiles * LSH_TILE * a->d;
    s.k = s.vt + f->tiles * LSH_TILE * a->dv;
    s.dq = s.k + a->chunk * f->p.q_ld;
    s.dk = s.dq + a->chunk * f->p.q_ld;
    s.dv = s.dk + a->chunk * f->p.q_ld;
    s.c = s.dv + a->chunk * f->p.v_ld;
    s.pos = (void *)(s.c + a->chunk);
    return s;
}

static void load_slot(const Bwd *f, int64_t pair, const int32_t *order, float *row, Slot s)
{
    const Lsh *a = f->p.a;
    const size_t q_size = (size_t)(a->chunk * f->p.q_ld), v_size = (size_t)(a->chunk * f->p.v_ld);
    CPU(lsh_keys)(a, pair, order, a->chunk, s.k, f->p.q_ld, s.c);
    for (int64_t at = 0; at < a->chunk; at += LSH_TILE) {
        const int n = (int)min64(LSH_TILE, a->chunk - at);
        CPU(pack_cols)(NR, a->d, n, s.k + at * f->p.q_ld, f->p.q_ld, LOG2_E, s.kt + at * a->d);
        CPU(lsh_gather)(a, pair, a->v, a->dv, order + at, n, row, f->p.v_ld);
        CPU(pack_cols)(NR, a->dv, n, row, f->p.v_ld, 1.0f, s.vt + at * a->dv);
    }
    for (int64_t i = 0; i < a->chunk; i++)
        s.pos[i] = order[i] >= 0 ? order[i] : LSH_NONE;
    memset(s.dq, 0, q_size * sizeof *s.dq);
    memset(s.dk, 0, q_size * sizeof *s.dk);
    memset(s.dv, 0, v_size * sizeof *s.dv);
}

/* The sums of a chunk that no further chunk of the strip sees, into its region. */
static void store_slot(const Bwd *f, Slot s, float *to)
{
    const Lsh *a = f->p.a;
    for (int64_t i = 0; i < a->chunk; i++, to += f->width) {
        const float *k = s.k + i * f->p.q_ld, *dk = s.dk + i * f->p.q_ld;
        const float along = CPU(lsh_dot)(k, dk, a->d);
        for (int c = 0; c < a->d; c += VW) {
            const int n = a->d - c;
            const vf chain = s.c[i] * (vget(dk + c, n) - along * vget(k + c, n));
            vput(to + c, vget(s.dq + i * f->p.q_ld + c, n) + chain, n);
        }
        row_scale(to + a->d, s.dv + i * f->p.v_ld, a->dv, 1.0f);
    }
}

/* ---- a tile of queries against a tile of keys ---- */
static void load_rows(Rows *t, const int32_t *order)
{
    const Lsh *a = t->f->p.a;
    const float *lse = (const float *)a->lse + t->pair * a->len;
    CPU(lsh_gather)(a, t->pair, a->q, a->d, order, t->n, t->q, t->f->p.q_ld);
    CPU(lsh_gather)(a, t->pair, a->d_o, a->dv, order, t->n, t->d_o, t->f->p.v_ld);
    for (int i = 0; i < t->n; i++) {
        t->pos[i] = order[i];
        t->delta[i] = t->lse[i] = 0;
        if (order[i] < 0)
            continue;
        const float *o = (const float *)a->o + lsh_row(a, t->pair, order[i], a->dv);
        t->delta[i] = CPU(lsh_dot)(t->d_o + i * t->f->p.v_ld, o, a->dv);
        t->lse[i] = lse[order[i]] * LOG2_E;
    }
}

/* Scores to weights, do.v to ds: row i sees the keys before it, or all but itself. */
static void weights(const Rows *t, const int32_t *pos, int n)
{
    const bool causal = t->f->p.a->causal;
    for (int i = 0; i < t->n; i++) {
        float *p = t->p + i * LSH_TILE, *ds = t->ds + i * LSH_TILE;
        const vi q = (vi){0} + t->pos[i], none = (vi){0} + LSH_NONE;
        for (int j = 0; j < n; j += VW) {
            vi key, sees;
            __builtin_memcpy(&key, pos + j, sizeof key);
            sees = causal ? key < q : (key != q) & (key != none) & (q >= 0);
            const vf w = vexp2(vload(p + j) - t->lse[i]);
            const vf g = w * (vload(ds + j) - t->delta[i]);
            vstore(p + j, vselect(sees, w, vset(0)));
            vstore(ds + j, vselect(sees, g, vset(0)));
        }
    }
}

static bool hidden(const Rows *t, const int32_t *key, int n)
{
    int32_t last = -1, first = LSH_NONE;
    for (int i = 0; i < t->n; i++)
        last = t->pos[i] > last ? t->pos[i] : last;
    for (int j = 0; j < n; j++)
        first = key[j] < first ? key[j] : first;
    return t->f->p.a->causal ? first >= last : first == LSH_NONE;
}

/* dq: of the queries' slot. Columns beyond n are of no consequence: no product reads them. */
static void one_tile(const Rows *t, Slot s, int64_t at, int n, float *dq)
{
    const Lsh *a = t->f->p.a;
    const int64_t q_ld = t->f->p.q_ld, v_ld = t->f->p.v_ld;
    if (hidden(t, s.pos + at, n))
        return;
    const int cols = (int)round_up(n, VW);
    CPU(tile_mm)
    (t->n, cols, a->d, a_rows(t->q, q_ld), b_packed(s.kt + at * a->d, a->d), t->p, LSH_TILE,
     TILE_SET);
    CPU(tile_mm)
    (t->n, cols, a->dv, a_rows(t->d_o, v_ld), b_packed(s.vt + at * a->dv, a->dv), t->ds, LSH_TILE,
     TILE_SET);
    weights(t, s.pos + at, n);
    CPU(tile_mm)
    (n, a->dv, t->n, a_cols(t->p, LSH_TILE), b_rows(t->d_o, v_ld), s.dv + at * v_ld, v_ld,
     TILE_ADD);
    CPU(tile_mm)
    (n, a->d, t->n, a_cols(t->ds, LSH_TILE), b_rows(t->q, q_ld), s.dk + at * q_ld, q_ld, TILE_ADD);
    CPU(tile_mm)
    (t->n, a->d, n, a_rows(t->ds, LSH_TILE), b_rows(s.k + at * q_ld, q_ld), dq, q_ld, TILE_ADD);
}

/* ---- a strip of chunks of one head ---- */
static void one_chunk(Rows *t, int64_t chunk, const int32_t *order, float *ring)
{
    const Bwd *f = t->f;
    const Lsh *a = f->p.a;
    float *dq = slot_at(f, ring, chunk + a->before).dq;
    for (int64_t at = 0; at < a->chunk; at += LSH_TILE, dq += LSH_TILE * f->p.q_ld) {
        t->n = (int)min64(LSH_TILE, a->chunk - at);
        load_rows(t, order + chunk * a->chunk + at);
        for (int64_t x = chunk; x < chunk + f->p.near; x++) {
            const Slot s = slot_at(f, ring, x);
            for (int64_t k = 0; k < a->chunk; k += LSH_TILE)
                one_tile(t, s, k, (int)min64(LSH_TILE, a->chunk - k), dq);
        }
    }
}

/* Slot x of the ring is chunk x - before, as in lsh_fwd.c. */
static void one_strip(const Bwd *f, int64_t pair, int64_t slot, int64_t strip)
{
    const Lsh *a = f->p.a;
    const int64_t begin = strip * f->p.strip, end = min64(begin + f->p.strip, f->p.chunks);
    const int32_t *order = f->p.order + slot * f->p.items;
    const int64_t rows = a->chunk * f->width, last = end + f->p.near - 1;
    float *ring = f->scratch + omp_get_thread_num() * f->mine;
    float *to = f->sums + (slot * f->p.strips + strip) * f->region * rows;
    Rows t = {.f = f, .pair = pair};
    t.q = ring + f->p.near * f->slot;
    t.d_o = t.q + LSH_TILE * f->p.q_ld;
    t.p = t.d_o + LSH_TILE * f->p.v_ld;
    t.ds = t.p + LSH_TILE * LSH_TILE;
    for (int64_t x = begin; x < last; x++) {
        int64_t chunk = (x - a->before) % f->p.chunks;
        chunk += chunk < 0 ? f->p.chunks : 0;
        load_slot(f, pair, order + chunk * a->chunk, t.d_o, slot_at(f, ring, x));
        if (x < begin + f->p.near - 1)
            continue;
        one_chunk(&t, x - f->p.near + 1, order, ring);
        store_slot(f, slot_at(f, ring, x - f->p.near + 1), to);
        to += rows;
    }
    for (int64_t x = end; x < last; x++, to += rows)
        store_slot(f, slot_at(f, ring, x), to);
}

/* ---- sums of positions ---- */

/* Chains the region chunks that sum for the same chunk, in the order of the strips. */
static void chain_regions(const Bwd *f)
{
    const Lsh *a = f->p.a;
    for (int64_t x = 0; x < f->p.chunks; x++)
        f->use[x] = -1;
    for (int64_t strip = f->p.strips - 1; strip >= 0; strip--) {
        const int64_t begin = strip * f->p.strip, end = min64(begin + f->p.strip, f->p.chunks);
        for (int64_t x = end + f->p.near - 2; x >= begin; x--) {
            const int64_t at = strip * f->region + x - begin;
            int64_t chunk = (x - a->before) % f->p.chunks;
            chunk += chunk < 0 ? f->p.chunks : 0;
            f->next[at] = f->use[chunk];
            f->use[chunk] = (int32_t)at;
        }
    }
}

static void add_item(const Bwd *f, const float *sums, int64_t item, float *dq, float *dv)
{
    const Lsh *a = f->p.a;
    for (int64_t at = f->use[item / a->chunk]; at >= 0; at = f->next[at]) {
        const float *row = sums + (at * a->chunk + item % a->chunk) * f->width;
        if (dq != NULL)
            row_add(dq, row, a->d);
        if (dv != NULL)
            row_add(dv, row + a->d, a->dv);
    }
}

static void fold_rows(const Bwd *f, int64_t pair, int64_t slot, int64_t begin)
{
    const Lsh *a = f->p.a;
    const int64_t end = min64(begin + ROW_BLOCK, lsh_valid(a, pair / a->heads));
    const float *sums = f->sums + slot * f->p.strips * f->region * a->chunk * f->width;
    for (int64_t t = begin; t < end; t++) {
        const int64_t q_at = lsh_row(a, pair, t, a->d), v_at = lsh_row(a, pair, t, a->dv);
        float *dq = a->dq != NULL ? (float *)a->dq + q_at : NULL;
        float *dv = a->dv_ != NULL ? (float *)a->dv_ + v_at : NULL;
        for (int r = 0; r < a->rounds; r++)
            add_item(f, sums, f->p.place[(slot * a->rounds + r) * a->len + t], dq, dv);
        if (dv != NULL && ((const float *)a->lse)[pair * a->len + t] <= LSH_ALONE / 2)
            row_add(dv, (const float *)a->d_o + v_at, a->dv); /* its value was the output */
    }
}

static void one_group(const Bwd *f, int64_t first, int64_t n)
{
    const Lsh *a = f->p.a;
    const int64_t blocks = ceil_div(a->len, ROW_BLOCK);
    CPU(lsh_sort)(&f->p, first, n, f->count);
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < n * f->p.strips; t++)
        one_strip(f, first + t / f->p.strips, t / f->p.strips, t % f->p.strips);
#pragma omp for schedule(static)
    for (int64_t t = 0; t < n * blocks; t++)
        fold_rows(f, first + t / blocks, t / blocks, t % blocks * ROW_BLOCK);
}

static Bwd plan(const Lsh *a)
{
    Bwd f = {.p = CPU(lsh_plan)(a), .width = a->d + a->dv, .tiles = ceil_div(a->chunk, LSH_TILE)};
    f.region = f.p.strip + f.p.near - 1;
    f.slot = f.tiles * LSH_TILE * f.width + a->chunk * (3 * f.p.q_ld + f.p.v_ld + 2) + VW;
    f.slot = round_up(f.slot, 16);
    f.mine = f.p.near * f.slot + LSH_TILE * (f.p.q_ld + f.p.v_ld + 2 * LSH_TILE);
    f.mine = round_up(f.mine, 16);
    f.group = SUM_FLOATS / (f.p.strips * f.region * a->chunk * f.width);
    f.group = min64(max64(1, f.group), f.p.pairs);
    return f;
}

Status CPU(lsh_bwd)(Dev *d, const Lsh *a)
{
    Bwd f = plan(a);
    void *scratch;
    const int64_t sums = round_up(f.group * f.p.strips * f.region * a->chunk * f.width, 16);
    const int64_t order = round_up(f.group * f.p.items, 16), threads = omp_get_max_threads();
    const int64_t place = round_up(f.group * a->rounds * a->len, 16);
    const int64_t chain = round_up(f.p.chunks + f.p.strips * f.region, 16);
    const int64_t count = threads * (a->n_buckets + 1);
    CHECK(a->lse != NULL);
    TRY(dev_scratch(
        d, (size_t)(threads * f.mine + sums + order + place + chain + count) * sizeof(float),
        &scratch));
    f.scratch = scratch;
    f.sums = f.scratch + threads * f.mine;
    f.p.order = (void *)(f.sums + sums);
    f.p.place = f.p.order + order;
    f.use = f.p.place + place;
    f.next = f.use + f.p.chunks;
    f.count = f.use + chain;
    chain_regions(&f);
    const double work = (double)f.p.pairs * (double)f.p.items * (double)(f.p.near * a->chunk);
#pragma omp parallel if (work * (a->d + a->dv) >= 4.0 * PARALLEL_FROM)
    for (int64_t first = 0; first < f.p.pairs; first += f.group)
        one_group(&f, first, min64(f.group, f.p.pairs - first));
    return ST_OK;
}
