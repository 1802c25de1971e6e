/* conv.c - causal convolution by columns. A block of ROWS positions goes by at a time, so that a
 * row is loaded once for all the outputs it takes part in.
 *
 * Traffic: forward x and y once, y past the caches if it is large; backward x, dy once and dx once
 * more as it is written. Roof: the bandwidth. A row of 1024 floats is a page, where the prefetcher
 * stops, so the rows of the next block are asked for. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#include <string.h>

/* Compiled anew where it is called: loops over rows and taps are unrolled if these are constants.
 */
#define INLINE static inline __attribute__((always_inline))

enum { ROWS = 4, TAPS = 3 }; /* the usual sizes, which have code of their own */

/* Positions [t, t + n) of one batch row. Output i meets filter row k at near[i + k]. */
typedef struct Block {
    int64_t row; /* of position t in the (B*T) rows */
    int n;
    const float *near[CONV_TAPS_MAX + ROWS];
} Block;

/* A call cut into blocks. zero: (width) */
typedef struct Cut {
    const Conv *a;
    int64_t per_row, blocks; /* in a batch row, and in all */
    const float *zero;
} Cut;

static Cut cut_of(const Conv *a, const float *zero)
{
    int64_t per_row = ceil_div(a->len, ROWS);
    return (Cut){a, per_row, a->batch * per_row, zero};
}

/* Position t of batch row b of x, which may lie before the call. */
static const float *input(const Cut *c, int64_t b, int64_t t)
{
    const Conv *a = c->a;
    if (t >= 0)
        return (const float *)a->x + (b * a->len + t) * a->width;
    if (a->halo == NULL)
        return c->zero;
    return (const float *)a->halo + (b * (a->taps - 1) + a->taps - 1 + t) * a->width;
}

/* The oldest input first: filter row k is w's row taps - 1 - k. */
static Block inputs_of(const Cut *c, int64_t block)
{
    const Conv *a = c->a;
    const int64_t b = block / c->per_row, t = block % c->per_row * ROWS;
    Block s = {.row = b * a->len + t, .n = (int)min64(ROWS, a->len - t)};
    for (int i = 0; i < s.n + a->taps - 1; i++)
        s.near[i] = input(c, b, t - a->taps + 1 + i);
    return s;
}

/* Output gradients that the block's inputs took part in: filter row k is w's row k. */
static Block pulls_of(const Cut *c, int64_t block)
{
    const Conv *a = c->a;
    const int64_t t = block % c->per_row * ROWS, b = block / c->per_row;
    const float *dy = (const float *)a->dy;
    Block s = {.row = b * a->len + t, .n = (int)min64(ROWS, a->len - t)};
    for (int i = 0; i < s.n + a->taps - 1; i++)
        s.near[i] = t + i < a->len ? dy + (s.row + i) * a->width : c->zero;
    return s;
}

/* y_i = first_i + sum_k w_k near_(i+k) for rows i of y, `width` apart; w: its rows w_step apart.
 * first: one row for all (first_step 0), or y itself, or NULL. */
typedef struct Sum {
    const float *w, *first;
    int64_t w_step, first_step, width;
    float *y;
} Sum;

/* Pointers are copied first: to the compiler a store could change those of *s. */
INLINE void sum_rows(const int n, const int taps, const Block *s, Sum o, int64_t c, int64_t end)
{
    const Block own = *s;
    for (; c < end; c += VW) {
        const int64_t m = end - c;
        for (int i = 0; i < n; i++) {
            vf sum = o.first != NULL ? vget(o.first + i * o.first_step + c, m) : vset(0.0f);
            for (int k = 0; k < taps; k++)
                sum += vget(o.w + k * o.w_step + c, m) * vget(own.near[i + k] + c, m);
            vput(o.y + i * o.width + c, sum, m);
        }
    }
}

/* Whole vectors of the usual sizes, with everything that is used twice in registers. past: y goes
 * past the caches, and the rows of the next block are asked for. */
INLINE int64_t sum_usual(const Block *s, Sum o, const bool past)
{
    const float *near[ROWS + TAPS - 1];
    int64_t c = 0;
    for (int i = 0; i < ROWS + TAPS - 1; i++)
        near[i] = s->near[i];
    for (; c + VW <= o.width; c += VW) {
        vf w[TAPS], x[ROWS + TAPS - 1];
        for (int k = 0; k < TAPS; k++)
            w[k] = vload(o.w + k * o.w_step + c);
        for (int i = 0; i < ROWS + TAPS - 1; i++)
            x[i] = vload(near[i] + c);
        for (int i = TAPS - 1; past && i < ROWS + TAPS - 1; i++)
            __builtin_prefetch(near[i] + ROWS * o.width + c);
        for (int i = 0; i < ROWS; i++) {
            vf sum = o.first != NULL ? vload(o.first + i * o.first_step + c) : vset(0.0f);
            for (int k = 0; k < TAPS; k++)
                sum += w[k] * x[i + k];
            if (past)
                vstream(o.y + i * o.width + c, sum);
            else
                vstore(o.y + i * o.width + c, sum);
        }
    }
    return c;
}

INLINE void sum_block(const Block *s, int taps, Sum o)
{
    int64_t c = s->n == ROWS && taps == TAPS ? sum_usual(s, o, false) : 0;
    sum_rows(s->n, taps, s, o, c, o.width);
}

static void stream_block(const Block *s, int taps, Sum o)
{
    int64_t c = s->n == ROWS && taps == TAPS ? sum_usual(s, o, true) : 0;
    sum_rows(s->n, taps, s, o, c, o.width);
}

/* to += sum_i dy_i x_i, or sum_i dy_i where x is NULL. */
INLINE void add_products(const int n, int64_t width, const float *dy, const float *const x[],
                         float *to)
{
    const float *at[ROWS];
    for (int i = 0; i < n && x != NULL; i++)
        at[i] = x[i];
    for (int64_t c = 0; c < width; c += VW) {
        vf sum = vget(to + c, width - c);
        for (int i = 0; i < n; i++) {
            const vf pull = vget(dy + i * width + c, width - c);
            sum += x != NULL ? pull * vget(at[i] + c, width - c) : pull;
        }
        vput(to + c, sum, width - c);
    }
}

/* dw_k += sum_i dy_i near_(i + taps - 1 - k), dbias += sum_i dy_i. */
static void weigh_block(const Conv *a, const Block *s, float *dw, float *dbias)
{
    const float *dy = (const float *)a->dy + s->row * a->width;
    for (int k = 0; k < a->taps && dw != NULL; k++) {
        const float *const *x = s->near + a->taps - 1 - k;
        float *to = dw + (int64_t)k * a->width;
        if (s->n == ROWS)
            add_products(ROWS, a->width, dy, x, to);
        else
            add_products(s->n, a->width, dy, x, to);
    }
    if (dbias != NULL)
        add_products(s->n, a->width, dy, NULL, dbias);
}

/* The last taps - 1 rows of [halo, x] of batch row b. */
static void keep_halo(const Conv *a, int64_t b)
{
    const int64_t rows = a->taps - 1, kept = max64(0, rows - a->len), fresh = rows - kept;
    const size_t row = (size_t)a->width * sizeof(float);
    float *halo = (float *)a->halo + b * rows * a->width;
    const float *x = (const float *)a->x + (b * a->len + a->len - fresh) * a->width;
    memmove(halo, halo + fresh * a->width, (size_t)kept * row);
    memcpy(halo + kept * a->width, x, (size_t)fresh * row);
}

static Status fits(const Conv *a)
{
    if (a->taps < 1 || a->taps > CONV_TAPS_MAX)
        return FAIL(ST_UNSUPPORTED, "a convolution of %d taps (1 to %d)", a->taps, CONV_TAPS_MAX);
    return ST_OK;
}

/* A row of zeros, then room for `floats` more. */
static Status scratch_of(Dev *d, const Conv *a, size_t floats, float **zero)
{
    void *scratch;
    TRY(dev_scratch(d, ((size_t)a->width + floats) * sizeof(float), &scratch));
    memset(scratch, 0, (size_t)a->width * sizeof(float));
    *zero = scratch;
    return ST_OK;
}

/* Fails: ST_UNSUPPORTED for more than CONV_TAPS_MAX taps. */
Status CPU(conv_fwd)(Dev *d, const Conv *a)
{
    float *zero;
    TRY(fits(a));
    TRY(scratch_of(d, a, 0, &zero));
    const Cut cut = cut_of(a, zero);
    const float *last = (const float *)a->w + (int64_t)(a->taps - 1) * a->width;
    Sum o = {last, a->bias, -a->width, 0, a->width, NULL};
    const bool past = streams(a->y, a->batch * a->len, a->width);
#pragma omp parallel firstprivate(o) if (a->batch * a->len * a->width > PARALLEL_FROM)
    {
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < cut.blocks; i++) {
            const Block s = inputs_of(&cut, i);
            o.y = (float *)a->y + s.row * a->width;
            past ? stream_block(&s, a->taps, o) : sum_block(&s, a->taps, o);
        }
        _mm_sfence();
    }
    for (int64_t b = 0; b < a->batch && a->halo != NULL; b++)
        keep_halo(a, b);
    dev_count_flops(d, 2.0 * (double)(a->batch * a->len) * (double)a->width * a->taps);
    return ST_OK;
}

/* Blocks [i0, i1); part: (taps + 1, width) partial sums of dw and dbias. */
static void slab_bwd(const Cut *cut, int64_t i0, int64_t i1, float *part)
{
    const Conv *a = cut->a;
    const int64_t taps = (int64_t)a->taps * a->width;
    memset(part, 0, (size_t)(taps + a->width) * sizeof *part);
    for (int64_t i = i0; i < i1; i++) {
        const Block in = inputs_of(cut, i), out = pulls_of(cut, i);
        float *dx = (float *)a->dx + in.row * a->width;
        if (a->dx != NULL)
            sum_block(&out, a->taps, (Sum){a->w, dx, a->width, a->width, a->width, dx});
        weigh_block(a, &in, a->dw != NULL ? part : NULL, a->dbias != NULL ? part + taps : NULL);
    }
}

Status CPU(conv_bwd)(Dev *d, const Conv *a)
{
    float *zero;
    const int64_t taps = (int64_t)a->taps * a->width, stride = taps + a->width;
    CHECK(a->halo == NULL);
    TRY(fits(a));
    Slabs slabs = slabs_of(cut_of(a, NULL).blocks);
    TRY(scratch_of(d, a, (size_t)slabs.n * (size_t)stride, &zero));
    const Cut cut = cut_of(a, zero);
    float *part = zero + a->width;
#pragma omp parallel for schedule(static) if (a->batch * a->len * a->width > PARALLEL_FROM)
    for (int i = 0; i < slabs.n; i++)
        slab_bwd(&cut, slab_begin(&slabs, i), slab_end(&slabs, i), part + i * stride);
    if (a->dw != NULL)
        slabs_fold(part, slabs.n, stride, taps, a->dw);
    if (a->dbias != NULL)
        slabs_fold(part + taps, slabs.n, stride, a->width, a->dbias);
    return ST_OK;
}
