/* chunks_local.c - the part of the gradient of mixed chunk attention that stays in the chunk. */
#include "kernels/cpu/chunks_bwd.h"
#include "kernels/cpu/rows.h"

#include <omp.h>
#include <string.h>

enum { BIAS_BLOCK = 64 }; /* entries of a task */

static size_t bias_size(const Chunks *a)
{
    return a->d_bias != NULL ? 2 * (size_t)a->chunk - 1 : 0;
}
/* Sums for the bias of the queries from i on of a span in slot `slot`. */
static float *bias_of(const Local *l, int64_t slot, int i)
{
    int64_t blocks = ceil_div(min64(l->a->chunk, l->cut.step), QUERY_BLOCK);
    return l->bias + (size_t)(slot * blocks + i / QUERY_BLOCK) * bias_size(l->a);
}

Local CPU(chunks_local)(const Chunks *a, const Grouping *most, float *scratch, size_t *floats)
{
    int64_t ld = tile_pad(a->chunk), len = min64(most->chunks * a->chunk, a->len);
    Local l = {.a = a, .cut = CPU(cut_of)(a, 0, len, 2 * ld), .ld = ld, .p = scratch};
    l.cut.group = min64(l.cut.group, most->rows);
    size_t rows = (size_t)(l.cut.group * l.cut.step * ld);
    size_t slots = (size_t)(l.cut.group * l.cut.spans), span = min64(a->chunk, l.cut.step);
    size_t sides = slots * pack_size(NR, a->chunk, a->s), values = pack_size(NR, a->e, a->chunk);
    l.work_floats = (size_t)QUERY_BLOCK * DEPTH_LD + span * NR;
    size_t biases = slots * (size_t)ceil_div(span, QUERY_BLOCK) * bias_size(a);
    *floats = 2 * rows + slots * chunks_keys(a) + 2 * sides + slots * values + biases +
              (size_t)omp_get_max_threads() * l.work_floats;
    if (scratch != NULL) {
        l.g = l.p + rows;
        l.kpack = l.g + rows;
        l.krow = l.kpack + slots * chunks_keys(a);
        l.qrow = l.krow + sides;
        l.vpack = l.qrow + sides;
        l.bias = l.vpack + slots * values;
        l.work = l.bias + biases;
    }
    return l;
}

static float *work_of(const Local *l)
{
    return l->work + (size_t)omp_get_thread_num() * l->work_floats;
}
static float *side(const Local *l, float *base, const Span *s)
{
    return base + (size_t)s->slot * pack_size(NR, l->a->chunk, l->a->s);
}
static float *keys_of(const Local *l, const Span *s)
{
    return l->kpack + (size_t)s->slot * chunks_keys(l->a);
}
static float *values_of(const Local *l, const Span *s)
{
    return l->vpack + (size_t)s->slot * pack_size(NR, l->a->e, l->a->chunk);
}

/* Keys and values of the chunks that begin in this step, transposed. */
static void pack_transposed(const Local *l, const Step *at)
{
    const Chunks *a = l->a;
#pragma omp for collapse(3) schedule(static) nowait
    for (int64_t b = at->b0; b < at->b1; b++)
        for (int q = 0; q < at->spans; q++)
            for (int j = 0; j < a->chunk; j += KEY_BLOCK) {
                Span s = CPU(cut_span)(&l->cut, at, b, q);
                int n = min_int(KEY_BLOCK, s.keys - j);
                if (s.first != 0 || n <= 0)
                    continue;
                pack_cols(NR, a->s, n, (const float *)a->kq + (s.start + j) * a->s, a->s,
                          (float)a->local_scale, keys_of(l, &s) + (int64_t)j * a->s);
                pack_cols(NR, a->e, n, (const float *)a->v + (s.start + j) * a->e, a->e, 1.0f,
                          values_of(l, &s) + (int64_t)j * a->e);
            }
}

/* Queries of the step, and keys of the chunks that begin in it, as right factors. */
static void pack_plain(const Local *l, const Step *at)
{
    const Chunks *a = l->a;
#pragma omp for collapse(3) schedule(static)
    for (int64_t b = at->b0; b < at->b1; b++)
        for (int q = 0; q < at->spans; q++)
            for (int j = 0; j < a->s; j += NR) {
                Span s = CPU(cut_span)(&l->cut, at, b, q);
                int n = min_int(NR, a->s - j);
                pack_rows(NR, s.n, n, (const float *)a->qq + s.row * a->s + j, a->s, 1.0f,
                          side(l, l->qrow, &s) + (int64_t)j * s.n);
                if (s.first == 0)
                    pack_rows(NR, s.keys, n, (const float *)a->kq + s.start * a->s + j, a->s, 1.0f,
                              side(l, l->krow, &s) + (int64_t)j * s.keys);
            }
}

/* One row: p, the scaled products qq kq', becomes A = post relu(p)^2, and g, do v', becomes
 * slope relu(p) g; zeros from `see` to n. */
static void slopes(float *p, float *g, int see, int n, float post, float slope)
{
    vf zero = {0};
    for (int j = 0; j < see; j += VW) {
        vf x = vget(p + j, see - j);
        x = vselect(x <= zero, zero, x);
        vput(g + j, slope * x * vget(g + j, see - j), see - j);
        vput(p + j, post * x * x, see - j);
    }
    for (int j = see; j < n; j++)
        p[j] = g[j] = 0.0f;
}

/* g (rows, keys) = do v', do from its row on. */
static void pull_scores(const Local *l, const Span *s, int64_t row, int rows, int keys, float *g)
{
    const Chunks *a = l->a;
    const float *d_o = (const float *)a->d_o + row * a->e, *v = values_of(l, s);
    float *left = work_of(l);
    for (int e = 0; e < a->e; e += DEPTH_BLOCK) {
        int k = min_int(DEPTH_BLOCK, a->e - e);
        CPU(copy_rows)(rows, k, d_o + e, a->e, left, DEPTH_LD);
        tile_mm(rows, keys, k, a_rows(left, DEPTH_LD),
                (TileB){v + (int64_t)e * NR, NR, (int64_t)a->e * NR}, g, l->ld,
                e == 0 ? TILE_SET : TILE_ADD);
    }
}

/* Row i of the chunk: sums by distance of g / local_scale. */
static void pull_bias(const Chunks *a, int i, int see, const float *g, float *sums)
{
    const float factor = (float)(a->bias_scale / a->local_scale);
    sums += a->chunk - 1 - i;
    for (int j = 0; j < see; j++)
        sums[j] += factor * g[j];
}

/* Rows [i0,i1) of P, G and dqq. */
static void rows_bwd(const Local *l, const Span *s, int i0, int i1)
{
    const Chunks *a = l->a;
    int see = span_sees(a, s, s->first + i1);
    int fill = min_int(s->keys, s->first + i1 + MR); /* key tiles read so far beyond the diagonal */
    int64_t row = s->row + i0;
    float *p = l->p + (s->at + i0) * l->ld, *g = l->g + (s->at + i0) * l->ld;
    float post = (float)a->local_post, slope = (float)(2.0 * a->local_post * a->local_scale);
    tile_mm(i1 - i0, see, a->s, a_rows((const float *)a->qq + row * a->s, a->s),
            b_packed(keys_of(l, s), a->s), p, l->ld, TILE_SET);
    pull_scores(l, s, row, i1 - i0, see, g);
    for (int i = i0; i < i1; i++) {
        float *pi = p + (i - i0) * l->ld, *gi = g + (i - i0) * l->ld;
        int sees = span_sees(a, s, s->first + i + 1);
        if (a->bias != NULL)
            chunks_add_bias(a, s->first + i, sees, pi);
        slopes(pi, gi, sees, a->causal ? fill : see, post, slope);
        if (a->d_bias != NULL)
            pull_bias(a, s->first + i, sees, gi, bias_of(l, s->slot, i0));
    }
    if (a->dqq != NULL)
        tile_mm(i1 - i0, a->s, see, a_rows(g, l->ld), b_packed(side(l, l->krow, s), s->keys),
                (float *)a->dqq + row * a->s, a->s, TILE_ADD);
}

/* Blocks of QUERY_BLOCK queries of the step, chunk after chunk, each in one place whatever runs it.
 */
static void query_rows(const Local *l, const Step *at)
{
    int rows = (int)min64(l->a->chunk, at->t1 - at->t0);
#pragma omp for collapse(3) schedule(dynamic)
    for (int64_t b = at->b0; b < at->b1; b++)
        for (int q = 0; q < at->spans; q++)
            for (int i = 0; i < rows; i += QUERY_BLOCK) {
                Span s = CPU(cut_span)(&l->cut, at, b, q);
                if (bias_size(l->a) > 0)
                    memset(bias_of(l, s.slot, i), 0, bias_size(l->a) * sizeof(float));
                if (i < s.n && s.keys > 0)
                    rows_bwd(l, &s, i, min_int(i + QUERY_BLOCK, s.n));
            }
}

/* Entries [e0,e1) of d_bias += the sums of the step's blocks, in order. */
static void fold_entries(const Local *l, const Step *at, int e0, int e1)
{
    int rows = (int)min64(l->a->chunk, at->t1 - at->t0);
    for (int64_t b = at->b0; b < at->b1; b++)
        for (int q = 0; q < at->spans; q++) {
            int64_t slot = CPU(cut_span)(&l->cut, at, b, q).slot;
            for (int i = 0; i < rows; i += QUERY_BLOCK)
                row_add((float *)l->a->d_bias + e0, bias_of(l, slot, i) + e0, e1 - e0);
        }
}

static void fold_bias(const Local *l, const Step *at)
{
    int size = (int)bias_size(l->a);
#pragma omp for schedule(static)
    for (int e = 0; e < size; e += BIAS_BLOCK)
        fold_entries(l, at, e, min_int(e + BIAS_BLOCK, size));
}

/* out (keys,n) += x' right for the keys [j0,j1) of the chunk: x is P or G of the span, right (s->n
 * queries, n) in panels; a tile of keys begins at its first query. */
static void keys_bwd(const Local *l, const Span *s, const float *x, const float *right, int j0,
                     int j1, int n, float *out, int64_t ld)
{
    x += s->at * l->ld;
    for (int j = j0; j < j1; j += MR) {
        int i = l->a->causal ? max_int(0, j - s->first) : 0;
        tile_fetch(out + (j + MR) * ld, ld, min_int(MR, j1 - j - MR));
        if (i < s->n)
            tile_mm(min_int(MR, j1 - j), n, s->n - i, a_cols(x + i * l->ld + j, l->ld),
                    (TileB){right + (int64_t)i * NR, NR, (int64_t)s->n * NR}, out + j * ld, ld,
                    TILE_ADD);
    }
}

static void key_rows(const Local *l, const Step *at)
{
    const Chunks *a = l->a;
#pragma omp for collapse(3) schedule(dynamic) nowait
    for (int64_t b = at->b0; b < at->b1; b++)
        for (int q = 0; q < at->spans; q++)
            for (int j = 0; j < a->chunk; j += QUERY_BLOCK) {
                Span s = CPU(cut_span)(&l->cut, at, b, q);
                keys_bwd(l, &s, l->g, side(l, l->qrow, &s), j, min_int(j + QUERY_BLOCK, s.keys),
                         a->s, (float *)a->dkq + s.start * a->s, a->s);
            }
}

static void value_columns(const Local *l, const Step *at)
{
    const Chunks *a = l->a;
    int panels = (int)ceil_div(a->e, NR);
#pragma omp for collapse(3) schedule(dynamic) nowait
    for (int64_t b = at->b0; b < at->b1; b++)
        for (int q = 0; q < at->spans; q++)
            for (int p = 0; p < panels; p++) {
                Span s = CPU(cut_span)(&l->cut, at, b, q);
                float *d_o = work_of(l); /* (s.n,NR) */
                int j = p * NR, n = min_int(NR, a->e - j);
                pack_rows(NR, s.n, n, (const float *)a->d_o + s.row * a->e + j, a->e, 1.0f, d_o);
                keys_bwd(l, &s, l->p, d_o, 0, s.keys, n, (float *)a->dv + s.start * a->e + j, a->e);
            }
}

/* Every thread is done with the step's scratch when this returns. */
static void step_bwd(const Local *l, const Step *at)
{
    pack_transposed(l, at);
    pack_plain(l, at);
    query_rows(l, at);
    if (l->a->d_bias != NULL)
        fold_bias(l, at);
    if (l->a->dkq != NULL)
        key_rows(l, at);
    if (l->a->dv != NULL)
        value_columns(l, at);
#pragma omp barrier
}

void CPU(chunks_local_bwd)(const Local *l, const Group *g)
{
    Local at = *l;
    at.cut.base = g->c0 * l->a->chunk;
    at.cut.len = min64(g->c1 * l->a->chunk, l->a->len) - at.cut.base;
    for (int64_t b = g->b0; b < g->b1; b += at.cut.group)
        for (int64_t t0 = 0; t0 < at.cut.len;) {
            Step s = CPU(cut_step)(&at.cut, b, t0);
            s.b1 = min64(s.b1, g->b1);
            step_bwd(&at, &s);
            t0 = s.t1;
        }
}
