/* sparse_ff.c - feed-forward with one unit of every block: what is touched is what is computed.
 *
 * Forward, per row: dots with the chosen rows of w1, four side by side (x is loaded once for four,
 * and four rows of w1 are on their way from memory at a time), then sums of the chosen rows of w2
 * whose u is positive, four at a time. Few rows are cut by units and by columns. Each number is one
 * sum in one order, however the work is cut.
 * Backward: a task owns a block of units, so it alone adds to their rows; dx and dz go by rows. */
#include <string.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/cpu.h"

enum {
    GROUP = 4,    /* units at a time */
    AHEAD = 1024, /* numbers asked for in advance where rows come from memory */
    COLS = 256,   /* least columns of a task */
    TILE = 64,    /* rows of a task */
    FEW = 16      /* rows that are cut by columns and units */
};

static const float *unit(const SparseFf *a, const void *w, int64_t r, int64_t k)
{
    return (const float *)w + (k * a->block + a->pick[r * a->blocks + k]) * a->width;
}

/* The two lines that are needed a page later: of the row, then of the one that comes after it. */
static inline void ask_for(const float *row, const float *next, int64_t c, int64_t width)
{
    const int64_t at = c + AHEAD - width;
    const float *p = at < 0 ? row + c + AHEAD : next + at;
    __builtin_prefetch(p);
    __builtin_prefetch(p + 16);
}

/* out[i] = x . row[i], n <= GROUP rows of `width` numbers; next: rows that will be wanted then, or
 * NULL. n, and whether there is a next, are constants. */
__attribute__((always_inline)) static inline void dots(const int n, int64_t width, const float *x,
                                                       const float *const row[],
                                                       const float *const next[], float out[])
{
    vf even[GROUP], odd[GROUP];
    int64_t c = 0;
    for (int i = 0; i < n; i++)
        even[i] = odd[i] = vset(0);
    for (; c + 2 * VW <= width; c += 2 * VW) {
        const vf x0 = vload(x + c), x1 = vload(x + c + VW);
        for (int i = 0; i < n && next != NULL; i++)
            ask_for(row[i], next[i], c, width);
        for (int i = 0; i < n; i++) {
            even[i] += x0 * vload(row[i] + c);
            odd[i] += x1 * vload(row[i] + c + VW);
        }
    }
    for (; c < width; c += VW)
        for (int i = 0; i < n; i++)
            even[i] += vget(x + c, width - c) * vget(row[i] + c, width - c);
    for (int i = 0; i < n; i++)
        out[i] = vsum(even[i] + odd[i]);
}

/* out[k - k0] = x . (chosen row of w in block k) for k in [k0, k1). */
static void unit_dots(const SparseFf *a, const float *x, const void *w, int64_t r, int64_t k0,
                      int64_t k1, float *out)
{
    const float *row[GROUP];
    int64_t k = k0;
    for (; k + GROUP <= k1; k += GROUP) {
        for (int i = 0; i < GROUP; i++)
            row[i] = unit(a, w, r, k + i);
        dots(GROUP, a->width, x, row, NULL, out + k - k0);
    }
    for (; k < k1; k++) {
        row[0] = unit(a, w, r, k);
        dots(1, a->width, x, row, NULL, out + k - k0);
    }
}

/* The same for one group, from memory. */
static void cold_dots(const SparseFf *a, const float *x, const void *w, int64_t r, int64_t k0,
                      float *out)
{
    const float *row[GROUP], *next[GROUP];
    if (k0 + GROUP > a->blocks) {
        unit_dots(a, x, w, r, k0, a->blocks, out);
        return;
    }
    for (int i = 0; i < GROUP; i++) {
        row[i] = unit(a, w, r, k0 + i);
        next[i] = unit(a, w, r, min64(a->blocks - 1, k0 + GROUP + i));
    }
    dots(GROUP, a->width, x, row, next, out);
}

/* y[0..n) += h[i] row[i], i < rows in order. */
__attribute__((always_inline)) static inline void
add_rows(const int rows, int64_t n, const float h[], const float *const row[], float *y)
{
    for (int64_t c = 0; c < n; c += VW) {
        vf sum = vget(y + c, n - c);
        for (int i = 0; i < rows; i++)
            sum += vset(h[i]) * vget(row[i] + c, n - c);
        vput(y + c, sum, n - c);
    }
}

/* Asks for columns [c0, c0 + n) of the chosen row of block k, if it counts. */
static void ask_for_unit(const SparseFf *a, const float *h, const void *w, int64_t r, int64_t k,
                         int64_t c0, int64_t n)
{
    if (k >= a->blocks || h[k] == 0)
        return;
    for (const float *p = unit(a, w, r, k) + c0, *end = p + n; p < end; p += 16)
        __builtin_prefetch(p);
}

/* A stretch of the columns of a row, and of its blocks. */
typedef struct Part {
    int64_t r, c, n, k0, k1;
    bool cold; /* its units come from memory */
} Part;

/* y[c..c+n) += sum over k in [k0, k1) of h[k] (chosen row of w in block k), without those whose h
 * is 0. */
static void add_units(const SparseFf *a, const float *h, const void *w, Part p, float *y)
{
    const float *row[GROUP];
    float factor[GROUP];
    int m = 0;
    for (int64_t k = p.k0; k < p.k1; k++) {
        if (p.cold)
            ask_for_unit(a, h, w, p.r, k + 2 * GROUP, p.c, p.n);
        if (h[k] == 0)
            continue;
        row[m] = unit(a, w, p.r, k) + p.c;
        factor[m++] = h[k];
        if (m == GROUP) {
            add_rows(GROUP, p.n, factor, row, y + p.c);
            m = 0;
        }
    }
    for (int i = 0; i < m; i++)
        add_rows(1, p.n, factor + i, row + i, y + p.c);
}

static const float *logits(const SparseFf *a, int64_t r, int64_t k)
{
    return (const float *)a->z + (r * a->blocks + k) * a->block;
}

/* Soft mask of the chosen unit of block k. */
static float mask(const SparseFf *a, int64_t r, int64_t k)
{
    const float *z = logits(a, r, k);
    return block_mask(block_soft(z, a->block), vset(z[a->pick[r * a->blocks + k]]))[0];
}

/* h = relu(u) c of a row; how many units count. */
static int64_t hidden(const SparseFf *a, int64_t r, float *h)
{
    const float *u = (const float *)a->u + r * a->blocks;
    int64_t count = 0;
    for (int64_t k = 0; k < a->blocks; k++) {
        h[k] = u[k] <= 0 ? 0.0f : u[k];
        if (a->scaled && h[k] != 0)
            h[k] *= mask(a, r, k);
        count += h[k] != 0;
    }
    return count;
}

static void begin_row(const SparseFf *a, float *y, int64_t c0, int64_t n)
{
    if (a->bias != NULL)
        memcpy(y + c0, (const float *)a->bias + c0, (size_t)n * sizeof *y);
    else
        memset(y + c0, 0, (size_t)n * sizeof *y);
}

/* Rows [r0, r1): all through some blocks before the next, so that their units stay in L2. Returns
 * how many units count. */
static int64_t row_tile(const SparseFf *a, int64_t r0, int64_t r1, float *h)
{
    const int64_t w = a->width, all = a->blocks;
    int64_t count = 0;
    for (int64_t k = 0; k < all; k += GROUP)
        for (int64_t r = r0; r < r1; r++)
            unit_dots(a, (const float *)a->x + r * w, a->w1, r, k, min64(all, k + GROUP),
                      (float *)a->u + r * all + k);
    for (int64_t r = r0; r < r1; r++) {
        count += hidden(a, r, h + r * all);
        begin_row(a, (float *)a->y + r * w, 0, w);
    }
    for (int64_t k = 0; k < all; k += 2 * GROUP)
        for (int64_t r = r0; r < r1; r++)
            add_units(a, h + r * all, a->w2, (Part){r, 0, w, k, min64(all, k + 2 * GROUP), false},
                      (float *)a->y + r * w);
    return count;
}

/* h (rows, blocks): scratch. Returns how many units count in all. */
static int64_t by_rows(const SparseFf *a, float *h)
{
    int64_t count = 0;
#pragma omp parallel for schedule(static) reduction(+ : count)
    for (int64_t r = 0; r < a->rows; r += TILE)
        count += row_tile(a, r, min64(a->rows, r + TILE), h);
    return count;
}

static int64_t by_parts(const SparseFf *a, float *h)
{
    const int64_t w = a->width, cols = max64(COLS, round_up(ceil_div(w, 16), 64));
    const int64_t across = ceil_div(w, cols), parts = ceil_div(a->blocks, GROUP);
    int64_t count = 0;
#pragma omp parallel if (a->rows * a->blocks * w > PARALLEL_FROM / 4)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < a->rows * parts; i++) {
            const int64_t r = i / parts, k = i % parts * GROUP;
            cold_dots(a, (const float *)a->x + r * w, a->w1, r, k,
                      (float *)a->u + r * a->blocks + k);
        }
#pragma omp for schedule(static) reduction(+ : count)
        for (int64_t r = 0; r < a->rows; r++)
            count += hidden(a, r, h + r * a->blocks);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < a->rows * across; i++) {
            const int64_t r = i / across, c = i % across * cols, n = min64(cols, w - c);
            begin_row(a, (float *)a->y + r * w, c, n);
            add_units(a, h + r * a->blocks, a->w2, (Part){r, c, n, 0, a->blocks, true},
                      (float *)a->y + r * w);
        }
    }
    return count;
}

Status CPU(sparse_ff_fwd)(Dev *d, const SparseFf *a)
{
    void *h;
    TRY(dev_scratch(d, (size_t)(a->rows * a->blocks) * sizeof(float), &h));
    const int64_t count = a->rows <= FEW ? by_parts(a, h) : by_rows(a, h);
    dev_count_flops(d, 2.0 * (double)(a->rows * a->blocks + count) * a->width);
    return ST_OK;
}

/* ---- backward ---- */

/* All rows through block k: du[r,k], and the gradients of its units. */
static void block_bwd(const SparseFf *a, int64_t k, float *du)
{
    const int64_t w = a->width;
    for (int64_t r = 0; r < a->rows; r++) {
        const float *dy = (const float *)a->dy + r * w, *x = (const float *)a->x + r * w;
        const float *row = unit(a, a->w2, r, k), u = ((const float *)a->u)[r * a->blocks + k];
        const int64_t at = row - (const float *)a->w2;
        float *out = du + r * a->blocks + k, c = 1.0f;
        *out = 0;
        if (!(u > 0))
            continue;
        if (a->scaled)
            c = mask(a, r, k);
        dots(1, w, dy, &row, NULL, out);
        *out *= c;
        c *= u;
        if (a->dw2 != NULL)
            add_rows(1, w, &c, &dy, (float *)a->dw2 + at);
        if (a->dw1 != NULL)
            add_rows(1, w, out, &x, (float *)a->dw1 + at);
    }
}

/* dz[n] += m_j (delta_nj - m_n) du u. */
static void dz_block(const SparseFf *a, int64_t r, int64_t k, float pull)
{
    const int j = a->pick[r * a->blocks + k];
    const float *z = logits(a, r, k);
    const BlockSoft s = block_soft(z, a->block);
    float *dz = (float *)a->dz + (z - (const float *)a->z);
    const float m = block_mask(s, vset(z[j]))[0];
    for (int n = 0; n < a->block; n += VW) {
        vf mn = block_mask(s, vget(z + n, a->block - n));
        vput(dz + n, vget(dz + n, a->block - n) - mn * (m * pull), a->block - n);
    }
    dz[j] += m * pull;
}

static void row_bwd(const SparseFf *a, int64_t r, const float *du)
{
    const float *u = (const float *)a->u + r * a->blocks;
    if (a->dx != NULL)
        add_units(a, du, a->w1, (Part){r, 0, a->width, 0, a->blocks, false},
                  (float *)a->dx + r * a->width);
    for (int64_t k = 0; k < a->blocks && a->dz != NULL; k++)
        if (du[k] != 0)
            dz_block(a, r, k, du[k] * u[k]);
}

Status CPU(sparse_ff_bwd)(Dev *d, const SparseFf *a)
{
    void *scratch;
    TRY(dev_scratch(d, (size_t)(a->rows * a->blocks) * sizeof(float), &scratch));
    float *du = scratch;
#pragma omp parallel if (a->rows * a->blocks * a->width > PARALLEL_FROM / 4)
    {
#pragma omp for schedule(static)
        for (int64_t k = 0; k < a->blocks; k++)
            block_bwd(a, k, du);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < a->rows; r++)
            row_bwd(a, r, du + r * a->blocks);
    }
    if (a->dbias == NULL)
        return ST_OK;
    return CPU(colsum)(d, a->rows, a->width, a->dy, a->dbias);
}
