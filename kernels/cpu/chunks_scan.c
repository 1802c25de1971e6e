/* chunks_scan.c - the linear part of the gradient of mixed chunk attention: scans of states. */
#include "kernels/cpu/chunks_bwd.h"
#include "kernels/cpu/rows.h"

#include <omp.h>
#include <string.h>

/* One chunk: its first row in the (B*T) rows of the call, its rows, and those with a valid key. */
typedef struct Part {
    int64_t row;
    int n, keys;
    float c;
} Part;

static Part part_of(const Chunks *a, int64_t b, int64_t chunk)
{
    int64_t begin = chunk * a->chunk, n = min64(a->chunk, a->len - begin);
    return (Part){b * a->len + begin, (int)n, keys_from(a, b, begin, n),
                  chunks_factor(a, b, chunk)};
}

static size_t state_floats(const Chunks *a)
{
    return pack_size(NR, a->e, a->s);
}
static size_t right_floats(const Chunks *a)
{
    return pack_size(NR, a->chunk, a->s);
}

Scan CPU(chunks_scan)(const Chunks *a, const Grouping *most, float *scratch, size_t *floats)
{
    Scan c = {.a = a, .most = *most, .states = scratch};
    size_t states = (size_t)(most->rows * (most->chunks + 1)) * state_floats(a);
    size_t right = (size_t)(most->rows * most->chunks) * right_floats(a);
    int64_t state = DEPTH_BLOCK * tile_pad(STATE_BLOCK), panel = round_up(a->s, NR) * NR;
    c.work_floats = (size_t)max64(ROW_BLOCK * DEPTH_LD, max64(state, panel));
    *floats = states + right + (size_t)omp_get_max_threads() * c.work_floats;
    if (scratch != NULL) {
        c.right = scratch + states;
        c.work = c.right + right;
    }
    return c;
}

static float *work_of(const Scan *c)
{
    return c->work + (size_t)omp_get_thread_num() * c->work_floats;
}

/* The k-th chunk visited in a group, and the state that it sees: in a bidirectional pass there is
 * one for all. */
static int64_t visited(const Scan *c, const Group *g, int64_t k)
{
    return c->reverse ? g->c1 - 1 - k : g->c0 + k;
}
static float *state_of(const Scan *c, const Group *g, int64_t b, int64_t slot)
{
    int64_t slots = c->most.chunks + 1, at = c->a->causal ? slot % slots : 0;
    return c->states + (size_t)((b - g->b0) * slots + at) * state_floats(c->a);
}
static float *right_of(const Scan *c, const Group *g, int64_t b, int64_t k)
{
    return c->right + (size_t)((b - g->b0) * c->most.chunks + k) * right_floats(c->a);
}
/* Rows of a chunk that add to the state: keys to M, queries to D. */
static int depth_of(const Scan *c, const Part *p)
{
    return c->reverse ? p->n : p->keys;
}

void CPU(scan_reset)(const Scan *c, int64_t b0, int64_t b1)
{
    Group g = {.b0 = b0};
#pragma omp for schedule(static)
    for (int64_t b = b0; b < b1; b++)
        memset(state_of(c, &g, b, 0), 0, state_floats(c->a) * sizeof(float));
}

/* kl or c ql of the group's chunks, in panels of S. */
static void pack_right(const Scan *c, const Group *g)
{
    const Chunks *a = c->a;
    const float *x = c->reverse ? a->ql : a->kl;
#pragma omp for collapse(2) schedule(static)
    for (int64_t b = g->b0; b < g->b1; b++)
        for (int64_t k = 0; k < g->c1 - g->c0; k++) {
            Part p = part_of(a, b, visited(c, g, k));
            pack_rows(NR, depth_of(c, &p), a->s, x + p.row * a->s, a->s, c->reverse ? p.c : 1.0f,
                      right_of(c, g, b, k));
        }
}

/* x (k,n), rows ld apart, as a transposed left factor: where it lies, or copied. */
static TileA left_factor(const float *x, int64_t ld, int k, int n, float *copy)
{
    if (ld % PAGE != 0)
        return a_cols(x, ld);
    CPU(copy_rows)(k, n, x, ld, copy, tile_pad(n));
    return a_cols(copy, tile_pad(n));
}

/* state += left' right of one chunk, rows [e0,e1) of E; left is v or do. */
static void add_chunk(const Scan *c, const Part *p, const float *right, int e0, int e1,
                      float *state)
{
    const Chunks *a = c->a;
    const float *x = (const float *)(c->reverse ? a->d_o : a->v) + p->row * a->e + e0;
    float *left = work_of(c);
    int depth = depth_of(c, p);
    for (int r = 0; r < depth; r += DEPTH_BLOCK) {
        int k = min_int(DEPTH_BLOCK, depth - r);
        const TileA rows = left_factor(x + (int64_t)r * a->e, a->e, k, e1 - e0, left);
        for (int j = 0; j < a->s; j += NR) {
            TileB b = {right + (int64_t)j * depth + (int64_t)r * NR, NR, 0};
            tile_mm(e1 - e0, min_int(NR, a->s - j), k, rows, b,
                    state + (int64_t)j * a->e + (int64_t)e0 * NR, NR, TILE_ADD);
        }
    }
}

/* Nobody sees what the last chunk of a causal pass would add. */
static bool is_last(const Scan *c, int64_t chunk)
{
    int64_t last = c->reverse ? 0 : ceil_div(c->a->len, c->a->chunk) - 1;
    return c->a->causal && chunk == last;
}

/* The next slot begins as a copy, rows [e0,e1) of E. */
static void carry(const Chunks *a, const float *from, float *to, int e0, int e1)
{
    for (int j = 0; j < a->s; j += NR) {
        int64_t at = (int64_t)j * a->e + (int64_t)e0 * NR;
        memcpy(to + at, from + at, (size_t)(e1 - e0) * NR * sizeof *to);
    }
}

void CPU(scan_states)(const Scan *c, const Group *g, int64_t slot)
{
    const Chunks *a = c->a;
    pack_right(c, g);
#pragma omp for collapse(2) schedule(static)
    for (int64_t b = g->b0; b < g->b1; b++)
        for (int e0 = 0; e0 < a->e; e0 += STATE_BLOCK) {
            int e1 = min_int(e0 + STATE_BLOCK, a->e);
            for (int64_t k = 0; k < g->c1 - g->c0; k++) {
                Part p = part_of(a, b, visited(c, g, k));
                if (is_last(c, visited(c, g, k)))
                    break;
                float *seen = state_of(c, g, b, slot + k), *next = state_of(c, g, b, slot + k + 1);
                if (next != seen)
                    carry(a, seen, next, e0, e1);
                add_chunk(c, &p, right_of(c, g, b, k), e0, e1, next);
            }
        }
}

/* Rows [r0,r1) of a chunk: dql += c do M', or dkl += v D'. */
static void apply_rows(const Scan *c, const Part *p, const float *state, int r0, int r1)
{
    const Chunks *a = c->a;
    const float *x = (const float *)(c->reverse ? a->v : a->d_o) + (p->row + r0) * a->e;
    float *left = work_of(c), *out = (float *)(c->reverse ? a->dkl : a->dql);
    for (int e = 0; e < a->e; e += DEPTH_BLOCK) {
        int k = min_int(DEPTH_BLOCK, a->e - e);
        TileB b = {state + (int64_t)e * NR, NR, (int64_t)a->e * NR};
        if (c->reverse)
            CPU(copy_rows)(r1 - r0, k, x + e, a->e, left, DEPTH_LD);
        else
            for (int64_t r = 0; r < r1 - r0; r++)
                row_scale(left + r * DEPTH_LD, x + r * a->e + e, k, p->c);
        tile_mm(r1 - r0, a->s, k, a_rows(left, DEPTH_LD), b, out + (p->row + r0) * a->s, a->s,
                TILE_ADD);
    }
}

static void rows_bwd(const Scan *c, const Group *g, int64_t slot)
{
    const Chunks *a = c->a;
#pragma omp for collapse(3) schedule(dynamic) nowait
    for (int64_t b = g->b0; b < g->b1; b++)
        for (int64_t k = 0; k < g->c1 - g->c0; k++)
            for (int r = 0; r < a->chunk; r += ROW_BLOCK) {
                Part p = part_of(a, b, visited(c, g, k));
                int rows = min_int(ROW_BLOCK, (c->reverse ? p.keys : p.n) - r);
                if (rows > 0 && (c->reverse || p.c != 0.0f))
                    apply_rows(c, &p, state_of(c, g, b, slot + k), r, r + rows);
            }
}

/* Columns [j, j + NR) of a chunk: dv += kl D. */
static void apply_columns(const Scan *c, const Part *p, const float *state, int j)
{
    const Chunks *a = c->a;
    float *d = work_of(c); /* (S,NR) */
    int n = min_int(NR, a->e - j);
    for (int s = 0; s < a->s; s += NR)
        pack_cols(NR, min_int(NR, a->s - s), n, state + (int64_t)s * a->e + (int64_t)j * NR, NR,
                  1.0f, d + (int64_t)s * NR);
    const float *kl = (const float *)a->kl + p->row * a->s;
    float *dv = (float *)a->dv + p->row * a->e + j;
    for (int64_t r = 0; r < p->keys; r += MR) {
        int left = p->keys - (int)r;
        tile_fetch(dv + (r + MR) * a->e, a->e, min_int(MR, left - MR));
        tile_mm(min_int(MR, left), n, a->s, a_rows(kl + r * a->s, a->s), (TileB){d, NR, 0},
                dv + r * a->e, a->e, TILE_ADD);
    }
}

static void columns_bwd(const Scan *c, const Group *g, int64_t slot)
{
    const Chunks *a = c->a;
#pragma omp for collapse(3) schedule(dynamic) nowait
    for (int64_t b = g->b0; b < g->b1; b++)
        for (int64_t k = 0; k < g->c1 - g->c0; k++)
            for (int j0 = 0; j0 < a->e; j0 += COLUMN_BLOCK) {
                Part p = part_of(a, b, visited(c, g, k));
                for (int j = j0; j < min_int(j0 + COLUMN_BLOCK, a->e); j += NR)
                    apply_columns(c, &p, state_of(c, g, b, slot + k), j);
            }
}

void CPU(scan_apply)(const Scan *c, const Group *g, int64_t slot)
{
    if ((c->reverse ? c->a->dkl : c->a->dql) != NULL)
        rows_bwd(c, g, slot);
    if (c->reverse && c->a->dv != NULL)
        columns_bwd(c, g, slot);
#pragma omp barrier
}
