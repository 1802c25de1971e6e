/* chunks.h - what the files of mixed chunk attention share: sizes, factors, spans of queries.
 *
 * Output rows of a chunk are one product with inner size S + C:
 *   o = [c_g ql | A] [M; v],  A = local_post relu(local_scale qq kq')^2.
 * The left factor is made first, for a number of rows that keeps scratch bounded (a "step"); then
 * blocks of columns of o and M walk the chunks of the step in order, each by itself. */
#ifndef LONGMIX_CPU_CHUNKS_H
#define LONGMIX_CPU_CHUNKS_H

#include "kernels/cpu/cpu.h"

enum {
    STEP_FLOATS = 1 << 20,  /* of the left factor, where one chunk allows it */
    STEP_ROWS_MIN = 12 * MR, /* where it does not */
    QUERY_BLOCK = 4 * MR,   /* rows of one task that makes scores */
    KEY_BLOCK = 2 * NR,     /* keys that one task packs */
    COLUMN_BLOCK = 128      /* columns of one task that walks the chunks: whole panels */
};

/* Queries [first, first + n) of one chunk, counted from the first position of the chunk. */
typedef struct Span {
    int first, n;
    int keys;             /* valid keys at hand, from the first position of the chunk */
    float c;              /* factor of ql M; 0: no M */
    const float *qq, *ql; /* (n,S) */
    const float *kpack;   /* local_scale kq' of the chunk, packed: (S,keys) */
    const float *v;       /* (keys,E) */
    float *left;          /* (n, chunks_left): [c ql | A] */
    float *o;             /* (n,E) */
} Span;

static inline int min_int(int a, int b)
{
    return a < b ? a : b;
}

/* Row distance of the left factor. */
static inline int64_t chunks_left(const Chunks *a)
{
    return tile_pad((int64_t)a->s + a->chunk);
}
/* Floats of one state (S,E) in panels, and of the keys of one chunk. */
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
static inline double chunks_factor(const Chunks *a, int64_t b, int64_t g)
{
    int64_t n = a->causal ? g : ceil_div(chunks_valid(a, b), a->chunk);
    return n <= 0 ? 0.0 : a->lin_scale / (a->lin_mean ? (double)n : 1.0);
}
/* Keys that queries before row `end` of the chunk may see. */
static inline int span_sees(const Chunks *a, const Span *s, int end)
{
    return a->causal ? min_int(s->keys, end) : s->keys;
}

/* Rows [i0,i1) of the span's left factor. */
void CPU(chunks_scores)(const Chunks *a, const Span *s, int i0, int i1);
/* Columns [j, j + NR) of the span's output; right ((S + C), NR) begins with M of those columns and
 * takes the span's values behind it. ahead: values that will be wanted next, or NULL. */
void CPU(chunks_out)(const Chunks *a, const Span *s, int j, float *right, const float *ahead);
/* Whole chunks: positions [base, base + len) of the call, base + pos a multiple of C. Reads and
 * updates a->sum if there is one. */
Status CPU(chunks_run)(Dev *d, const Chunks *a, int64_t base, int64_t len);
/* The forward pass with state. */
Status CPU(chunks_resume)(Dev *d, const Chunks *a);
Status CPU(chunks_decode)(Dev *d, const Chunks *a); /* of one position */

#endif
