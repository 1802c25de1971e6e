/* chunks.h - what the files of mixed chunk attention share: how work is cut, and the two halves of
 * a chunk's output.
 *
 * Output rows of a chunk are one product with inner size S + C:
 *   o = [c_g ql | A] [M; v],  A = local_post relu(local_scale qq kq')^2.
 * The left factor is made first, for a number of rows that keeps scratch bounded (a step); then
 * blocks of columns of o and M walk the chunks of the step in order, each by itself. */
#ifndef LONGMIX_CPU_CHUNKS_H
#define LONGMIX_CPU_CHUNKS_H

#include "kernels/cpu/cpu.h"

enum {
    STEP_FLOATS = 1 << 20,   /* that the rows of a step hold in scratch, where a chunk allows it */
    STEP_ROWS_MIN = 12 * MR, /* where it does not */
    QUERY_BLOCK = 4 * MR,    /* rows of one task that makes scores */
    KEY_BLOCK = 2 * NR,      /* keys that one task packs */
    COLUMN_BLOCK = 128       /* columns of one task: whole panels */
};

/* This build's copies of what is called everywhere, under plain names. */
static inline void tile_mm(int m, int n, int k, TileA a, TileB b, float *c, int64_t ldc,
                           TileMode mode)
{
    CPU(tile_mm)(m, n, k, a, b, c, ldc, mode);
}
static inline void pack_rows(int width, int k, int n, const float *src, int64_t ld, float scale,
                             float *dst)
{
    CPU(pack_rows)(width, k, n, src, ld, scale, dst);
}
static inline void pack_cols(int width, int k, int n, const float *src, int64_t ld, float scale,
                             float *dst)
{
    CPU(pack_cols)(width, k, n, src, ld, scale, dst);
}

/* Positions [base, base + len) of a call, base + pos a multiple of C, cut into steps: `step` rows
 * of `group` batch rows, whole chunks or a part of one. Rows of a cut count from base. */
typedef struct Cut {
    const Chunks *a;
    int64_t base, len, step, group;
    int spans; /* chunks that a step of one batch row touches, at most */
} Cut;

/* Batch rows [b0,b1), rows [t0,t1) of the cut. */
typedef struct Step {
    int64_t b0, b1, t0, t1;
    int spans;
} Step;

/* Queries [first, first + n) of one chunk of one batch row, counted from the chunk's start. */
typedef struct Span {
    int64_t row,
        start;    /* of the first query and of the chunk's start, in the (B*T) rows of a call */
    int64_t at;   /* of the first query, in the step's scratch of group * step rows */
    int64_t slot; /* of the chunk, among group * spans */
    int first, n;
    int keys; /* valid keys at hand, from the chunk's start */
    float c;  /* factor of ql M; 0: no M */
} Span;

static inline int min_int(int a, int b)
{
    return a < b ? a : b;
}
static inline int max_int(int a, int b)
{
    return a > b ? a : b;
}

/* Asks for columns [0, NR) of some rows that the next products will touch: rows of E numbers are
 * far apart, so the hardware does not foresee them. */
static inline void tile_fetch(const float *p, int64_t ld, int rows)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < NR; j += 16)
            __builtin_prefetch(p + i * ld + j, 1);
}

/* A sequence shorter than a chunk is a chunk: scratch is by the size of a chunk. */
static inline Chunks chunks_clipped(const Chunks *a)
{
    Chunks c = *a;
    c.chunk = (int)min64(a->chunk, a->len);
    if (a->bias != NULL)
        c.bias = (const float *)a->bias + a->chunk - c.chunk;
    if (a->d_bias != NULL)
        c.d_bias = (float *)a->d_bias + a->chunk - c.chunk;
    return c;
}

/* Multiply-adds of `rows` positions of every batch row, roughly. */
static inline int64_t chunks_work(const Chunks *a, int64_t rows)
{
    return a->batch * rows * (min64(rows, a->chunk) + a->s) * a->e;
}

/* Row distance of the left factor. */
static inline int64_t chunks_left(const Chunks *a)
{
    return tile_pad((int64_t)a->s + a->chunk);
}
/* Floats of one state (S,E) in panels of E, and of the keys of one chunk. */
static inline size_t chunks_state(const Chunks *a)
{
    return pack_size(NR, a->s, a->e);
}
static inline size_t chunks_keys(const Chunks *a)
{
    return pack_size(NR, a->s, a->chunk);
}
/* Valid positions of batch row b, counted from position 0. */
static inline int64_t chunks_valid(const Chunks *a, int64_t b)
{
    int64_t end = a->pos + a->len;
    return a->lens != NULL ? min64(a->lens[b], end) : end;
}
/* Valid keys among n positions from `at`. */
static inline int keys_from(const Chunks *a, int64_t b, int64_t at, int64_t n)
{
    return (int)max64(0, min64(n, chunks_valid(a, b) - at));
}
/* c_g of kernels.h */
static inline float chunks_factor(const Chunks *a, int64_t b, int64_t g)
{
    int64_t n = a->causal ? g : ceil_div(chunks_valid(a, b), a->chunk);
    return n <= 0 ? 0.0f : (float)(a->lin_scale / (a->lin_mean ? (double)n : 1.0));
}
/* row[0..n) += the biases of keys 0 .. n - 1 of the chunk for its query i. */
static inline void chunks_add_bias(const Chunks *a, int i, int n, float *row)
{
    const float *bias = (const float *)a->bias + a->chunk - 1 - i;
    for (int j = 0; j < n; j++)
        row[j] += (float)a->bias_scale * bias[j];
}
/* Keys that queries before `end` of the chunk may see. */
static inline int span_sees(const Chunks *a, const Span *s, int end)
{
    return a->causal ? min_int(s->keys, end) : s->keys;
}

Cut CPU(cut_of)(const Chunks *a, int64_t base, int64_t len, int64_t floats_per_row);
Step CPU(cut_step)(const Cut *c, int64_t b0, int64_t t0);
/* Chunk q of the step in batch row b. */
Span CPU(cut_span)(const Cut *c, const Step *at, int64_t b, int q);

/* Rows [i0,i1) of [c ql | A], chunks_left apart. kpack: local_scale kq' of the chunk, (S,keys).
 * This and the next return the flops of their products. */
double CPU(chunks_scores)(const Chunks *a, const Span *s, const float *kpack, int i0, int i1,
                          float *left);
/* Columns [j, j + NR) of the span's output. v: values of the chunk; right ((S + C), NR) begins with
 * M of those columns and takes v behind it; ahead: values that will be wanted next, or NULL. */
double CPU(chunks_out)(const Chunks *a, const Span *s, const float *left, const float *v, int j,
                       float *right, const float *ahead);

/* Whole chunks, forward: reads and updates a->sum if there is one. */
Status CPU(chunks_run)(Dev *d, const Chunks *a, int64_t base, int64_t len);
/* The forward pass with state, and of one position. */
Status CPU(chunks_resume)(Dev *d, const Chunks *a);
Status CPU(chunks_decode)(Dev *d, const Chunks *a);

#endif
