/* lsh.h - what the files of LSH attention share: items in order, their rows gathered into tiles. */
#ifndef LONGMIX_CPU_LSH_H
#define LONGMIX_CPU_LSH_H

#include "kernels/cpu/cpu.h"

enum {
    LSH_TILE = 128,    /* queries and keys of a tile; a chunk has one, or several */
    LSH_STRIP = 8,     /* chunks of a task, at most: neighbours are gathered again by each task */
    LSH_TASKS = 16,    /* wanted, where the shape allows */
    LSH_NONE = 1 << 30 /* the position of a padding key: after every other */
};
static const float LSH_EPS = 1e-6f, LSH_ALONE = -1e5f, LOG2_E = 1.44269504f, LN_2 = 0.69314718f;

/* One call cut into pieces, by shape alone. A pair is one head of one batch row. */
typedef struct LshPlan {
    const Lsh *a;
    int64_t items, chunks, pairs, strip, strips;
    int near;           /* chunks that one chunk sees */
    int64_t q_ld, v_ld; /* row distances of gathered rows */
    int32_t *order;     /* (group, items) positions, -1 for padding */
    int32_t *place;     /* (group, rounds, len) items of positions */
} LshPlan;
LshPlan CPU(lsh_plan)(const Lsh *a);

/* Of batch row b. */
static inline int64_t lsh_valid(const Lsh *a, int64_t b)
{
    return a->lens != NULL ? max64(0, min64(a->lens[b], a->len)) : a->len;
}
static inline int64_t lsh_row(const Lsh *a, int64_t pair, int64_t t, int width)
{
    return ((pair / a->heads * a->len + t) * a->heads + pair % a->heads) * width;
}

/* Sorts pairs [first, first + n) into order and place; all threads of a team call it. count: room
 * for n_buckets + 1 numbers a thread. */
void CPU(lsh_sort)(const LshPlan *f, int64_t first, int64_t n, int32_t *count);

/* dst (n, ld) = the rows of `base` (B,len,H*width) at these positions, zeros for padding and from
 * `width` to the next multiple of NR. */
void CPU(lsh_gather)(const Lsh *a, int64_t pair, const void *base, int width, const int32_t *at,
                     int64_t n, float *dst, int64_t ld);
/* The same rows of q as keys: k = c q; c (n) may be NULL. */
void CPU(lsh_keys)(const Lsh *a, int64_t pair, const int32_t *at, int64_t n, float *dst, int64_t ld,
                   float *c);
float CPU(lsh_dot)(const float *x, const float *y, int n);

#endif
