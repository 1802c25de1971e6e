/* attention_fwd.c - tiled attention: online softmax (Milakov 2018, Dao 2022) and relu squared.
 *
 * Tiling: a task makes BQ rows of the output of one head, BK keys at a time. Scores of a tile are
 * kept transposed, (keys, queries): lanes are queries, so maxima and sums need no work across
 * lanes, and the tile is at once the transposed left operand of the product with V. Keys are read
 * where they lie (or from a copy, if 4 KiB apart); values are packed beforehand in panels of NR, a
 * group of heads at a time, or a span of the keys of a long one: its tasks then rest between spans,
 * sums in the output.
 * Traffic: K and V once per BQ queries, from L2 or L3; scores (72 KiB) from L2; queries, output and
 * the packing of V once. Scratch is bounded, whatever the length.
 * Roof: the multiply-adds. A score costs d + dv of them and about 8 other vector operations, which
 * leaves 0.9 of SGEMM for d = 64; below some 1000 keys packing and tiles cut by the diagonal count.
 */
#include <omp.h>
#include <string.h>

#include "kernels/cpu/attention.h"

enum {
    BQ = 96,               /* queries of a task, at most: whole panels of NR and of MR */
    BK = 192,              /* keys of a tile: whole panels of MR */
    TASKS = 16,            /* wanted, where the shape allows */
    GROUP_FLOATS = 4 << 20 /* of keys and values packed at a time */
};
static const float LOWEST = -1e38f; /* of a running maximum: finite, so that differences are */

typedef struct Fwd {
    const Attn *a;
    int bq;                 /* queries of a task */
    int64_t k_end, span;    /* keys that any query can see; of these, packed at a time */
    int64_t k_ld;           /* row distance of copied keys; 0: read where they lie */
    int64_t k_size, v_size; /* floats of a head's span */
    int64_t group;          /* heads (of all batch rows) packed at a time */
    int64_t o_ld, mine;     /* row distance of a task's sums; floats of one thread */
    float *packed, *scratch;
    float *max, *sum; /* (q_len) of tasks between spans */
    double *flops;
    float *back; /* biases from the last key's on, each for a query one further behind; or NULL */
} Fwd;

typedef struct Task {
    const Attn *a;
    int64_t q0, keys;   /* first query; valid keys of its batch row */
    int rows, cols;     /* queries; the same in whole vectors */
    const float *k, *v; /* of key 0, rows k_ld apart; packed */
    const float *back;  /* of the first query and key 0 */
    float *q, *s, *o;   /* (d, bq) scaled and packed; (BK, BQ) scores, then weights; (bq, o_ld) */
    int64_t k_ld, o_ld;
    float m[BQ], l[BQ], alpha[BQ]; /* running maxima (base 2) and sums; rescaling by this tile */
    double flops;
} Task;

/* Keys [k0, k0 + n) against a task. */
typedef struct Tile {
    int64_t k0;
    int n, packed; /* keys that some query of the task sees; keys in the packed tile */
    int diff;      /* query i sees keys j <= i + diff of the tile */
} Tile;

/* Of the tile's keys, how many some query before `end` sees. */
static int seen_before(const Tile *u, int end)
{
    return (int)clamp64(end + u->diff, 0, u->n);
}

static void scores(Task *t, const Tile *u)
{
    const int d = t->a->d, step = u->diff >= u->n ? t->cols : NR;
    const TileA keys = a_rows(t->k + u->k0 * t->k_ld, t->k_ld);
    for (int i = 0; i < t->cols; i += step) {
        const int n = t->cols - i < step ? t->cols - i : step;
        CPU(tile_mm)
        (seen_before(u, i + n), n, d, keys, b_packed(t->q + (int64_t)i * d, d), t->s + i, BQ,
         TILE_SET);
        t->flops += tile_flops(seen_before(u, i + n), n, d);
    }
}

/* The queries' own scales, in whole panels of NR columns. */
static void scale_queries(const Task *t)
{
    const Attn *a = t->a;
    for (int i = 0; i < t->rows; i++) {
        const float f = attn_scale(a, attn_seen(a, t->keys, t->q0 + i));
        float *q = t->q + (int64_t)(i / NR) * NR * a->d + i % NR;
        for (int c = 0; c < a->d; c++)
            q[c * NR] *= f / (float)a->scale;
    }
}

/* Lanes are queries, so the table runs backward in the keys. */
static void add_bias(const Task *t, const Tile *u)
{
    for (int i = 0; i < t->cols; i += VW)
        for (int j = 0, end = seen_before(u, i + VW); j < end; j++) {
            float *s = t->s + j * BQ + i;
            vstore(s, vload(s) + vload(t->back + i - (u->k0 + j)));
        }
}

/* o += weights' V. Rows of a panel have no weights beyond what the last of them sees. */
static void values(Task *t, const Tile *u)
{
    const int step = u->diff >= u->n ? t->rows : MR;
    const TileB v = {t->v + u->k0 * round_up(t->a->dv, NR), NR, (int64_t)NR * u->packed};
    for (int i = 0; i < t->rows; i += step) {
        const int m = t->rows - i < step ? t->rows - i : step;
        CPU(tile_mm)
        (m, t->a->dv, seen_before(u, i + m), a_cols(t->s + i, BQ), v, t->o + i * t->o_ld, t->o_ld,
         u->k0 == 0 ? TILE_SET : TILE_ADD);
        t->flops += tile_flops(m, t->a->dv, seen_before(u, i + m));
    }
}

/* Queries [i, i + VW): `fill` for unseen keys that others of them see; zeros for the rest. */
static int mask(const Task *t, const Tile *u, int i, float fill)
{
    const int end = seen_before(u, i + VW);
    for (int j = seen_before(u, i + 1); j < end; j++) {
        vi seen = viota() >= (vi){0} + (j - i - u->diff);
        vstore(t->s + j * BQ + i, vselect(seen, vload(t->s + j * BQ + i), vset(fill)));
    }
    for (int j = end; j < u->n; j++)
        vstore(t->s + j * BQ + i, vset(0));
    return end;
}

/* Four chains, so that the loop waits for loads and not for the last maximum. */
static vf column_max(const float *s, int n)
{
    vf m[4] = {vset(LOWEST), vset(LOWEST), vset(LOWEST), vset(LOWEST)};
    int j = 0;
    for (; j + 4 <= n; j += 4)
        for (int c = 0; c < 4; c++)
            m[c] = vmax(m[c], vload(s + (j + c) * BQ));
    for (; j < n; j++)
        m[0] = vmax(m[0], vload(s + j * BQ));
    return vmax(vmax(m[0], m[1]), vmax(m[2], m[3]));
}

static void softmax(Task *t, const Tile *u)
{
    for (int i = 0; i < t->cols; i += VW) {
        float *s = t->s + i;
        const int n = mask(t, u, i, -INFINITY);
        const vf before = vload(t->m + i), m = vmax(before, column_max(s, n));
        vf sum = vset(0);
        for (int j = 0; j < n; j++) {
            vf e = vexp2(vload(s + j * BQ) - m);
            vstore(s + j * BQ, e);
            sum += e;
        }
        const vf alpha = vexp2(before - m);
        vstore(t->l + i, vload(t->l + i) * alpha + sum);
        vstore(t->m + i, m);
        vstore(t->alpha + i, alpha);
    }
}

static void rescale(const Task *t)
{
    for (int i = 0; i < t->rows; i++) {
        if (t->alpha[i] == 1.0f)
            continue;
        float *o = t->o + i * t->o_ld;
        for (int c = 0; c < t->a->dv; c += VW)
            vstore(o + c, vload(o + c) * t->alpha[i]);
    }
}

static void relu2(const Task *t, const Tile *u)
{
    for (int i = 0; i < t->cols; i += VW) {
        float *s = t->s + i;
        const int n = mask(t, u, i, 0.0f);
        for (int j = 0; j < n; j++) {
            vf r = vmax(vset(0), vload(s + j * BQ));
            vstore(s + j * BQ, r * r);
        }
    }
}

static void one_tile(Task *t, int64_t k0, int64_t k_end, int64_t packed)
{
    const Attn *a = t->a;
    const int n = (int)min64(BK, k_end - k0);
    Tile u = {k0, n, (int)min64(BK, packed - k0), BK};
    if (a->causal)
        u.diff = (int)clamp64(a->q_pos + t->q0 - k0, -BQ, BK);
    scores(t, &u);
    if (t->back != NULL)
        add_bias(t, &u);
    if (a->kind == ATTN_RELU2)
        relu2(t, &u);
    else
        softmax(t, &u);
    if (a->kind == ATTN_SOFTMAX && k0 > 0)
        rescale(t);
    values(t, &u);
}

static void write_rows(const Task *t, float *o, float *lse)
{
    const Attn *a = t->a;
    for (int i = 0; i < t->rows; i++, o += a->o_row) {
        const int64_t seen = attn_seen(a, t->keys, t->q0 + i);
        const float *sums = t->o + i * t->o_ld;
        float f = a->kind == ATTN_RELU2 ? attn_post(a, seen) : 1.0f / t->l[i];
        for (int c = 0; c < a->dv; c++)
            o[c] = seen > 0 ? f * sums[c] : 0.0f;
        if (lse != NULL)
            lse[i] = seen > 0 ? LN_2 * (t->m[i] + log2f(t->l[i])) : -INFINITY;
    }
}

/* Sums, maxima and sums of weights of a task that rests, to (save) or from memory. */
static void rest(const Fwd *f, Task *t, float *o, bool save)
{
    const size_t row = (size_t)f->a->dv * sizeof *o, rows = (size_t)t->rows * sizeof *o;
    for (int i = 0; i < t->rows; i++, o += f->a->o_row)
        memcpy(save ? o : t->o + i * t->o_ld, save ? t->o + i * t->o_ld : o, row);
    memcpy(save ? f->max + t->q0 : t->m, save ? t->m : f->max + t->q0, rows);
    memcpy(save ? f->sum + t->q0 : t->l, save ? t->l : f->sum + t->q0, rows);
}

/* The task's operands; `from` is the first key packed in slot `slot`. */
static Task task_of(const Fwd *f, int64_t b, int64_t h, int64_t slot, int64_t q0, int64_t from)
{
    const Attn *a = f->a;
    Task t = {.a = a, .q0 = q0, .keys = attn_keys(a, b), .o_ld = f->o_ld, .k_ld = a->k_row};
    const float *packed = f->packed + slot * (f->k_size + f->v_size);
    t.rows = (int)min64(f->bq, a->q_len - t.q0);
    t.cols = (int)round_up(t.rows, VW);
    t.k = (const float *)a->k + attn_k_at(a, b, h);
    if (f->k_ld > 0) {
        t.k_ld = f->k_ld;
        t.k = packed - from * f->k_ld;
    }
    t.v = packed + f->k_size - from * round_up(a->dv, NR);
    t.q = f->scratch + omp_get_thread_num() * f->mine;
    t.s = t.q + (int64_t)BQ * a->d;
    t.o = t.s + BK * BQ;
    for (int i = 0; i < BQ; i++)
        t.m[i] = LOWEST;
    if (a->bias != NULL)
        t.back = f->back + a->k_len - 1 + a->q_pos + t.q0;
    return t;
}

/* Queries from q0 of head `pair` against the keys packed in slot `slot`, which begin at `from`. */
static void one_task(const Fwd *f, int64_t pair, int64_t slot, int64_t q0, int64_t from)
{
    const Attn *a = f->a;
    const int64_t b = pair / a->heads, h = pair % a->heads;
    const float scale = (float)a->scale * (a->kind == ATTN_SOFTMAX ? LOG2_E : 1.0f);
    const float *q = (const float *)a->q + attn_q_at(a, b, h) + q0 * a->q_row;
    float *o = (float *)a->o + attn_o_at(a, b, h) + q0 * a->o_row;
    float *lse = a->lse != NULL && a->kind == ATTN_SOFTMAX ? a->lse : NULL;
    Task t = task_of(f, b, h, slot, q0, from);
    const int64_t end = attn_seen(a, t.keys, q0 + t.rows - 1);
    if (from > 0 && end <= from)
        return;
    if (from > 0)
        rest(f, &t, o, false);
    CPU(pack_cols)(NR, a->d, t.rows, q, a->q_row, scale, t.q);
    if (a->log_base != 0.0)
        scale_queries(&t);
    for (int64_t k0 = from; k0 < min64(end, from + f->span); k0 += BK)
        one_tile(&t, k0, end, attn_seen(a, t.keys, a->q_len - 1));
    tally(f->flops, t.flops);
    if (end > from + f->span)
        rest(f, &t, o, true);
    else
        write_rows(&t, o, lse != NULL ? lse + pair * a->q_len + q0 : NULL);
}

/* Keys from k0 of head `pair`, a tile of them; slot `slot` begins with key `from`. */
static void pack_tile(const Fwd *f, int64_t pair, int64_t slot, int64_t k0, int64_t from)
{
    const Attn *a = f->a;
    const int64_t b = pair / a->heads, h = pair % a->heads;
    const int n = (int)min64(BK, attn_seen(a, attn_keys(a, b), a->q_len - 1) - k0);
    if (n <= 0)
        return;
    float *k = f->packed + slot * (f->k_size + f->v_size), *v = k + f->k_size;
    if (f->k_ld > 0)
        CPU(copy_rows)
    (n, a->d, (const float *)a->k + attn_k_at(a, b, h) + k0 * a->k_row, a->k_row,
     k + (k0 - from) * f->k_ld, f->k_ld);
    CPU(pack_rows)
    (NR, n, a->dv, (const float *)a->v + attn_v_at(a, b, h) + k0 * a->v_row, a->v_row, 1.0f,
     v + (k0 - from) * round_up(a->dv, NR));
}

/* Heads [first, first + n), keys of the span from `from`: all pack, then the tasks, the long ones
 * first. */
static void one_group(const Fwd *f, int64_t first, int64_t n, int64_t from)
{
    const int64_t k_tiles = ceil_div(min64(f->span, f->k_end - from), BK);
    const int64_t q_tiles = ceil_div(f->a->q_len, f->bq);
#pragma omp for schedule(static)
    for (int64_t t = 0; t < n * k_tiles; t++)
        pack_tile(f, first + t / k_tiles, t / k_tiles, from + t % k_tiles * BK, from);
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < n * q_tiles; t++)
        one_task(f, first + t % n, t % n, (q_tiles - 1 - t / n) * f->bq, from);
}

static Fwd plan(const Attn *a)
{
    Fwd f = {.a = a, .bq = BQ, .o_ld = tile_pad(a->dv)};
    const int64_t pairs = a->batch * a->heads, v_row = round_up(a->dv, NR);
    while (f.bq > NR && pairs * ceil_div(a->q_len, f.bq) < TASKS)
        f.bq = (int)round_up(f.bq / 2, NR);
    f.k_end = attn_seen(a, a->k_len, a->q_len - 1);
    f.k_ld = a->k_row % PAGE == 0 ? tile_pad(a->d) : 0;
    f.span = max64(BK, GROUP_FLOATS / (f.k_ld + v_row) / BK * BK);
    f.span = min64(f.span, max64(1, f.k_end));
    f.k_size = f.span * f.k_ld;
    f.v_size = f.span * v_row;
    f.group = f.span < f.k_end ? 1 : clamp64(GROUP_FLOATS / (f.k_size + f.v_size), 1, pairs);
    f.mine = round_up((int64_t)BQ * a->d + BK * BQ + BQ * f.o_ld, 16);
    return f;
}

/* Entry e: the bias of distance k_len - 1 - e. Lanes of no query read up to BQ beyond the last. */
static void fill_back(const Fwd *f, int64_t n)
{
    const Attn *a = f->a;
    const float *bias = (const float *)a->bias + a->bias_zero + a->k_len - 1;
    const float factor = (float)a->bias_scale * (a->kind == ATTN_SOFTMAX ? LOG2_E : 1.0f);
    for (int64_t e = 0; e < n; e++)
        f->back[e] = e < n - BQ ? factor * bias[-e] : 0.0f;
}

Status CPU(attn_fwd_tiled)(Dev *d, const Attn *a)
{
    Fwd f = plan(a);
    double flops = 0;
    void *scratch;
    const int64_t pairs = a->batch * a->heads, packed = f.group * (f.k_size + f.v_size);
    const int64_t resting = f.span < f.k_end ? round_up(a->q_len, 16) : 0;
    const int64_t all = packed + 2 * resting + omp_get_max_threads() * f.mine;
    const int64_t back = a->bias != NULL ? a->k_len + a->q_pos + a->q_len - 1 + BQ : 0;
    TRY(dev_scratch(d, (size_t)(all + back) * sizeof(float), &scratch));
    f.packed = scratch;
    f.flops = &flops;
    f.max = f.packed + packed;
    f.sum = f.max + resting;
    f.scratch = f.sum + resting;
    f.back = f.packed + all;
    if (a->bias != NULL)
        fill_back(&f, back);
    const double work = (double)pairs * (double)a->q_len * (double)f.k_end * (a->d + a->dv);
#pragma omp parallel if (work >= 8.0 * PARALLEL_FROM)
    for (int64_t first = 0; first < pairs; first += f.group)
        for (int64_t from = 0; from == 0 || from < f.k_end; from += f.span)
            one_group(&f, first, min64(f.group, pairs - first), from);
    dev_count_flops(d, flops);
    return ST_OK;
}
