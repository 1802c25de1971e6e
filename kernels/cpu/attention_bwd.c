/* attention_bwd.c - gradients of tiled attention: scores are made again from q, k and lse.
 *
 *   softmax: p = exp(s - lse), ds = scale p (do.v - delta), delta_i = do_i.o_i  (Dao 2022, app. B)
 *   relu2:   p = post relu(s)^2, ds = 2 scale post relu(s) (do.v)
 *   dv += p'do, dk += ds'q, dq += ds k, and the bias of a distance gets ds / scale of its pairs
 *
 * Tiling: a task has some key tiles of one head to itself and walks the queries that see them, so
 * dk and dv are its own. With many heads it has all keys and adds to dq directly. With few, the
 * keys of a head are cut into slabs, each with its own sum for dq, and these are added in order at
 * the end: nothing is computed twice, and the cut depends on the shape alone.
 * Traffic: q, do and dq once per BK keys, from L2 or L3; p and ds (36 KiB each) from L2; k, v and
 * their gradients once.
 * Roof: the multiply-adds, five products of d or dv a pair; exponentials take a tenth at d = 64. At
 * T = 512 products take three quarters of the time, weights and their gradients a fifth, packing a
 * twentieth, and of the products 6 % are for pairs beyond the diagonal; copies of rows 1 or 2 KiB
 * apart (a quarter or half of the cache sets) and a shorter exponential gain nothing. */
#include <omp.h>
#include <string.h>

#include "kernels/cpu/attention.h"

enum {
    BQ = 96, /* queries and keys of a tile: whole panels of MR and of NR */
    BK = 96,
    KC = 256,              /* columns of do.v at a time */
    TASKS = 32,            /* wanted, where the shape allows */
    SLABS_MAX = 8,         /* of a head */
    SUM_FLOATS = 16 << 20, /* all sums for dq, unless two slabs of a head have more */
    ROW_BLOCK = 64         /* of a task that goes over rows only */
};

typedef struct Bwd {
    const Attn *a;
    int64_t pairs, k_tiles, slabs;
    int64_t d_ld, v_ld; /* row distances of copies */
    int64_t mine;       /* floats of one thread */
    float *delta;       /* (pairs, q_len) */
    float *sums;        /* (pairs, slabs, q_len, d_ld), if slabs > 1 */
    float *bias;        /* (pairs, slabs, bias_size) sums, if the bias wants its gradient */
    float *scratch;
} Bwd;

/* One key tile of one head: keys [k0, k0 + n). */
typedef struct Task {
    const Bwd *f;
    const Attn *a;
    int64_t pair, b, h, k0;
    int n;
    float *kt, *vt;       /* (d, BK) scaled and (dv, BK), packed */
    float *k;             /* (BK, d_ld) */
    float *dk, *dv;       /* (BK, d_ld), (BK, v_ld): sums */
    const float *q, *d_o; /* of a query tile: rows q_ld and o_ld apart, where they lie or copied */
    int64_t q_ld, o_ld;
    float *q_copy, *o_copy; /* (BQ, d_ld), (BQ, v_ld) */
    float *p, *ds;          /* (BQ, BK) scores, then weights; do.v, then ds */
    float *bias;            /* sums of the slab, or NULL */
    float *dq;              /* of query 0, rows dq_ld apart; NULL: not wanted */
    int64_t dq_ld;
    TileMode dq_mode;
} Task;

/* Queries [q0, q0 + m) against it; query i sees keys j <= i + diff. */
typedef struct Rows {
    int64_t q0;
    int m, diff;
} Rows;

static int first_row(const Rows *r, int key)
{
    return (int)clamp64(key - r->diff, 0, r->m);
}
/* Keys that some query before `end` sees. */
static int seen_before(const Task *t, const Rows *r, int end)
{
    return (int)clamp64(end + r->diff, 0, t->n);
}
static bool all_see_all(const Task *t, const Rows *r)
{
    return r->diff + 1 >= t->n;
}

/* p = q k' and ds = do v' for the pairs that see each other, and some that do not. */
static void scores(const Task *t, const Rows *r)
{
    const int64_t d = t->a->d, dv = t->a->dv;
    const int step = all_see_all(t, r) ? t->n : NR;
    for (int j = 0; j < t->n; j += step) {
        const int i = first_row(r, j), m = r->m - i, n = t->n - j < step ? t->n - j : step;
        float *s = t->p + i * BK + j, *ds = t->ds + i * BK + j;
        CPU(tile_mm)
        (m, n, (int)d, a_rows(t->q + i * t->q_ld, t->q_ld), b_packed(t->kt + j * d, d), s, BK,
         TILE_SET);
        for (int64_t c = 0; c < dv; c += KC) {
            const TileB v = {t->vt + j * dv + c * NR, NR, NR * dv};
            CPU(tile_mm)
            (m, n, (int)min64(KC, dv - c), a_rows(t->d_o + i * t->o_ld + c, t->o_ld), v, ds, BK,
             c == 0 ? TILE_SET : TILE_ADD);
        }
    }
}

/* One row of p and ds from scores and do.v; zeros from key `seen` on. */
static void softmax_row(int n, int seen, float lse, float delta, float scale, float *p, float *ds)
{
    for (int j = 0; j < n; j += VW) {
        vf w = vexp2(vload(p + j) - lse), g = w * (vload(ds + j) - delta) * scale;
        if (j + VW > seen) {
            const vi live = viota() < (vi){0} + (seen - j);
            w = vselect(live, w, vset(0));
            g = vselect(live, g, vset(0));
        }
        vstore(p + j, w);
        vstore(ds + j, g);
    }
}
static void relu2_row(int n, int seen, float post, float scale, float *p, float *ds)
{
    for (int j = 0; j < n; j += VW) {
        vf s = vmax(vset(0), vload(p + j)), w = s * s * post;
        vf g = s * (2.0f * scale * post) * vload(ds + j);
        if (j + VW > seen) {
            const vi live = viota() < (vi){0} + (seen - j);
            w = vselect(live, w, vset(0));
            g = vselect(live, g, vset(0));
        }
        vstore(p + j, w);
        vstore(ds + j, g);
    }
}

/* Scores of queries with a scale of their own, or with a bias. */
static void adjust_scores(const Task *t, const Rows *r)
{
    const Attn *a = t->a;
    const float factor = (float)a->bias_scale * (a->kind == ATTN_SOFTMAX ? LOG2_E : 1.0f);
    for (int i = 0; i < r->m; i++) {
        const int64_t seen = attn_seen(a, attn_keys(a, t->b), r->q0 + i);
        const float f = attn_scale(a, seen) / (float)a->scale;
        for (int j = 0; j < t->n && a->log_base != 0.0; j++)
            t->p[i * BK + j] *= f;
        if (a->bias != NULL)
            CPU(attn_add_bias)(a, r->q0 + i, t->k0, t->n, factor, t->p + i * BK);
    }
}

static void pull_bias(const Task *t, const Rows *r)
{
    for (int i = 0; i < r->m; i++)
        CPU(attn_pull_bias)
    (t->a, r->q0 + i, t->k0, t->n, (float)(t->a->bias_scale / t->a->scale), t->ds + i * BK,
     t->bias);
}

static void weights(const Task *t, const Rows *r)
{
    const Attn *a = t->a;
    const float *lse = a->lse;
    for (int i = 0; i < r->m; i++) {
        const int seen = seen_before(t, r, i + 1);
        const int64_t q = r->q0 + i, at = t->pair * a->q_len + q;
        const float scale = attn_scale(a, attn_seen(a, attn_keys(a, t->b), q));
        float *p = t->p + i * BK, *ds = t->ds + i * BK;
        if (a->kind == ATTN_SOFTMAX)
            softmax_row(t->n, seen, lse[at] * LOG2_E, t->f->delta[at], scale, p, ds);
        else
            relu2_row(t->n, seen, attn_post(a, attn_seen(a, attn_keys(a, t->b), q)), scale, p, ds);
    }
}

static void add_gradients(const Task *t, const Rows *r)
{
    const Attn *a = t->a;
    const int64_t d_ld = t->f->d_ld, v_ld = t->f->v_ld;
    const bool all = all_see_all(t, r);
    const int k_step = all ? t->n : MR, q_step = all ? r->m : MR;
    for (int j = 0; j < t->n; j += k_step) {
        const int i = first_row(r, j), m = t->n - j < k_step ? t->n - j : k_step;
        CPU(tile_mm)
        (m, a->dv, r->m - i, a_cols(t->p + i * BK + j, BK), b_rows(t->d_o + i * t->o_ld, t->o_ld),
         t->dv + j * v_ld, v_ld, TILE_ADD);
        CPU(tile_mm)
        (m, a->d, r->m - i, a_cols(t->ds + i * BK + j, BK), b_rows(t->q + i * t->q_ld, t->q_ld),
         t->dk + j * d_ld, d_ld, TILE_ADD);
    }
    for (int i = 0; i < r->m && t->dq != NULL; i += q_step) {
        const int m = r->m - i < q_step ? r->m - i : q_step;
        CPU(tile_mm)
        (m, a->d, seen_before(t, r, i + m), a_rows(t->ds + i * BK, BK), b_rows(t->k, d_ld),
         t->dq + (r->q0 + i) * t->dq_ld, t->dq_ld, t->dq_mode);
    }
}

/* Rows of a query tile as a right operand: copied if they share cache sets, or where reading whole
 * panels would pass the end of the last. *ld: their distance, which becomes that of the copy. */
static const float *operand(const float *x, int rows, int cols, float *copy, int64_t copy_ld,
                            int64_t *ld)
{
    if (*ld % PAGE != 0 && cols % NR == 0)
        return x;
    CPU(copy_rows)(rows, cols, x, *ld, copy, copy_ld);
    *ld = copy_ld;
    return copy;
}

static void one_query_tile(Task *t, int64_t q0)
{
    const Attn *a = t->a;
    const float *q = (const float *)a->q + attn_q_at(a, t->b, t->h) + q0 * a->q_row;
    const float *d_o = (const float *)a->d_o + attn_o_at(a, t->b, t->h) + q0 * a->o_row;
    Rows r = {q0, (int)min64(BQ, a->q_len - q0), BK};
    if (a->causal)
        r.diff = (int)min64(BK, a->q_pos + q0 - t->k0);
    t->q_ld = a->q_row;
    t->o_ld = a->o_row;
    t->q = operand(q, r.m, a->d, t->q_copy, t->f->d_ld, &t->q_ld);
    t->d_o = operand(d_o, r.m, a->dv, t->o_copy, t->f->v_ld, &t->o_ld);
    scores(t, &r);
    if (a->log_base != 0.0 || a->bias != NULL)
        adjust_scores(t, &r);
    weights(t, &r);
    if (t->bias != NULL)
        pull_bias(t, &r);
    add_gradients(t, &r);
}

/* dst += src, or dst = src. */
static void give_rows(bool set, int rows, int cols, const float *src, int64_t ld, float *dst,
                      int64_t dst_ld)
{
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < cols; c++)
            dst[i * dst_ld + c] = src[i * ld + c] + (set ? 0.0f : dst[i * dst_ld + c]);
}

static void zero_rows(int64_t rows, int cols, float *dst, int64_t dst_ld)
{
    CHECK(rows <= 0 || dst != NULL);
    for (int64_t i = 0; i < rows; i++)
        memset(dst + i * dst_ld, 0, (size_t)cols * sizeof *dst);
}

/* Of gradients that are overwritten, the rows that no task comes to: keys from `keys` on. */
static void zero_unseen(const Task *t, int64_t keys)
{
    const Attn *a = t->a;
    const int64_t k_at = attn_k_at(a, t->b, t->h) + keys * a->k_row;
    const int64_t v_at = attn_v_at(a, t->b, t->h) + keys * a->v_row;
    if (a->set_dk)
        zero_rows(a->k_len - keys, a->d, (float *)a->dk + k_at, a->k_row);
    if (a->set_dv)
        zero_rows(a->k_len - keys, a->dv, (float *)a->dv_ + v_at, a->v_row);
    if (a->set_dq && keys == 0)
        zero_rows(a->q_len, a->d, (float *)a->dq + attn_q_at(a, t->b, t->h), a->q_row);
}

static void one_key_tile(Task *t)
{
    const Attn *a = t->a;
    const int64_t k_at = attn_k_at(a, t->b, t->h) + t->k0 * a->k_row;
    const int64_t v_at = attn_v_at(a, t->b, t->h) + t->k0 * a->v_row;
    const float *k = (const float *)a->k + k_at, *v = (const float *)a->v + v_at;
    const float scale = (float)a->scale * (a->kind == ATTN_SOFTMAX ? LOG2_E : 1.0f);
    CPU(pack_cols)(NR, a->d, t->n, k, a->k_row, scale, t->kt);
    CPU(pack_cols)(NR, a->dv, t->n, v, a->v_row, 1.0f, t->vt);
    CPU(copy_rows)(t->n, a->d, k, a->k_row, t->k, t->f->d_ld);
    for (int64_t i = 0; i < BK * t->f->d_ld; i++)
        t->dk[i] = 0;
    for (int64_t i = 0; i < BK * t->f->v_ld; i++)
        t->dv[i] = 0;
    for (int64_t q0 = attn_first_query(a, t->k0); q0 < a->q_len; q0 += BQ)
        one_query_tile(t, q0);
    if (a->dk != NULL)
        give_rows(a->set_dk, t->n, a->d, t->dk, t->f->d_ld, (float *)a->dk + k_at, a->k_row);
    if (a->dv_ != NULL)
        give_rows(a->set_dv, t->n, a->dv, t->dv, t->f->v_ld, (float *)a->dv_ + v_at, a->v_row);
}

/* The first key tile of a slab: equal numbers of (query, key tile) pairs before and behind. */
static int64_t slab_begin(const Bwd *f, int64_t slab)
{
    int64_t all = 0, sum = 0, t = 0;
    for (int64_t i = 0; i < f->k_tiles; i++)
        all += max64(0, f->a->q_len - attn_first_query(f->a, i * BK));
    for (; t < f->k_tiles && sum * f->slabs < slab * all; t++)
        sum += max64(0, f->a->q_len - attn_first_query(f->a, t * BK));
    return slab == f->slabs ? f->k_tiles : t;
}

static void one_slab(const Bwd *f, int64_t pair, int64_t slab)
{
    const Attn *a = f->a;
    Task t = {.f = f, .a = a, .pair = pair, .b = pair / a->heads, .h = pair % a->heads};
    const int64_t keys = attn_seen(a, attn_keys(a, t.b), a->q_len - 1);
    const int64_t begin = slab_begin(f, slab), end = min64(slab_begin(f, slab + 1) * BK, keys);
    t.kt = f->scratch + omp_get_thread_num() * f->mine;
    t.vt = t.kt + (int64_t)a->d * BK;
    t.k = t.vt + (int64_t)a->dv * BK;
    t.dk = t.k + BK * f->d_ld;
    t.q_copy = t.dk + BK * f->d_ld;
    t.dv = t.q_copy + BQ * f->d_ld;
    t.o_copy = t.dv + BK * f->v_ld;
    t.p = t.o_copy + BQ * f->v_ld;
    t.ds = t.p + BQ * BK;
    if (a->dq != NULL) {
        t.dq = f->slabs > 1 ? f->sums + (pair * f->slabs + slab) * a->q_len * f->d_ld
                            : (float *)a->dq + attn_q_at(a, t.b, t.h);
        t.dq_ld = f->slabs > 1 ? f->d_ld : a->q_row;
    }
    if (f->bias != NULL) {
        t.bias = f->bias + (pair * f->slabs + slab) * attn_bias_size(a);
        memset(t.bias, 0, (size_t)attn_bias_size(a) * sizeof *t.bias);
    }
    for (t.k0 = begin * BK; t.k0 < end; t.k0 += BK) {
        t.n = (int)min64(BK, end - t.k0);
        t.dq_mode = (f->slabs > 1 || a->set_dq) && t.k0 == begin * BK ? TILE_SET : TILE_ADD;
        one_key_tile(&t);
    }
    if (slab + 1 == f->slabs)
        zero_unseen(&t, keys);
}

static void row_deltas(const Bwd *f, int64_t pair, int64_t q0)
{
    const Attn *a = f->a;
    const int64_t at = attn_o_at(a, pair / a->heads, pair % a->heads);
    for (int64_t q = q0; q < min64(a->q_len, q0 + ROW_BLOCK); q++) {
        const float *o = (const float *)a->o + at + q * a->o_row;
        const float *d_o = (const float *)a->d_o + at + q * a->o_row;
        vf sum = vset(0);
        int c = 0;
        for (; c + VW <= a->dv; c += VW)
            sum += vload(o + c) * vload(d_o + c);
        sum += vload_n(o + c, a->dv - c) * vload_n(d_o + c, a->dv - c);
        f->delta[pair * a->q_len + q] = vsum(sum);
    }
}

/* dq += the sums of the slabs whose first key the query sees. */
static void fold_sums(const Bwd *f, int64_t pair, int64_t q0)
{
    const Attn *a = f->a;
    const int64_t b = pair / a->heads, rows = min64(ROW_BLOCK, a->q_len - q0);
    for (int64_t s = 0; s < f->slabs; s++) {
        const int64_t key = slab_begin(f, s) * BK, first = max64(q0, attn_first_query(a, key));
        const float *sum = f->sums + ((pair * f->slabs + s) * a->q_len + first) * f->d_ld;
        float *dq = (float *)a->dq + attn_q_at(a, b, pair % a->heads) + first * a->q_row;
        if (key < attn_keys(a, b) && slab_begin(f, s + 1) * BK > key)
            give_rows(a->set_dq && s == 0, (int)max64(0, q0 + rows - first), a->d, sum, f->d_ld, dq,
                      a->q_row);
    }
}

/* d_bias += the sums of all slabs, in order, for entries [e0, e0 + n). */
static void fold_bias(const Bwd *f, int64_t e0, int64_t n)
{
    float *to = (float *)f->a->d_bias + e0;
    for (int64_t s = 0; s < f->pairs * f->slabs; s++)
        give_rows(false, 1, (int)n, f->bias + s * attn_bias_size(f->a) + e0, 0, to, 0);
}

static void run(const Bwd *f)
{
    const int64_t blocks = ceil_div(f->a->q_len, ROW_BLOCK), pairs = f->pairs;
    if (f->a->kind == ATTN_SOFTMAX) {
#pragma omp for schedule(static)
        for (int64_t t = 0; t < pairs * blocks; t++)
            row_deltas(f, t / blocks, t % blocks * ROW_BLOCK);
    }
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < pairs * f->slabs; t++)
        one_slab(f, t % pairs, t / pairs);
    if (f->slabs > 1 && f->a->dq != NULL) {
#pragma omp for schedule(static)
        for (int64_t t = 0; t < pairs * blocks; t++)
            fold_sums(f, t / blocks, t % blocks * ROW_BLOCK);
    }
    if (f->bias != NULL) {
        const int64_t size = attn_bias_size(f->a);
#pragma omp for schedule(static)
        for (int64_t e = 0; e < size; e += ROW_BLOCK)
            fold_bias(f, e, min64(ROW_BLOCK, size - e));
    }
}

static Bwd plan(const Attn *a)
{
    Bwd f = {.a = a, .pairs = a->batch * a->heads, .d_ld = tile_pad(a->d), .v_ld = tile_pad(a->dv)};
    f.k_tiles = ceil_div(attn_seen(a, a->k_len, a->q_len - 1), BK);
    const int64_t room = SUM_FLOATS / (f.pairs * a->q_len * f.d_ld);
    f.slabs = clamp64(ceil_div(TASKS, f.pairs), 1, min64(SLABS_MAX, max64(2, room)));
    f.slabs = clamp64(f.k_tiles, 1, f.slabs);
    f.mine = round_up((int64_t)BK * (a->d + a->dv) + (2 * BK + BQ) * f.d_ld + (BK + BQ) * f.v_ld +
                          2 * BQ * BK,
                      16);
    return f;
}

Status CPU(attn_bwd_tiled)(Dev *d, const Attn *a)
{
    Bwd f = plan(a);
    void *scratch;
    const int64_t deltas = round_up(f.pairs * a->q_len, 16);
    const int64_t sums = f.slabs > 1 ? f.pairs * f.slabs * a->q_len * f.d_ld : 0;
    const int64_t all = deltas + sums + omp_get_max_threads() * f.mine;
    const int64_t bias = a->d_bias != NULL ? f.pairs * f.slabs * attn_bias_size(a) : 0;
    CHECK(a->kind != ATTN_SOFTMAX || a->lse != NULL);
    TRY(dev_scratch(d, (size_t)(all + bias) * sizeof(float), &scratch));
    f.delta = scratch;
    f.sums = f.delta + deltas;
    f.scratch = f.sums + sums;
    f.bias = bias > 0 ? f.delta + all : NULL;
#pragma omp parallel if (f.pairs * a->q_len * f.k_tiles * BK * (a->d + a->dv) >= 4 * PARALLEL_FROM)
    run(&f);
    return ST_OK;
}
