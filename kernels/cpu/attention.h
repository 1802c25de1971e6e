/* attention.h - what the files of pairwise attention share: where things lie, who sees what. */
#ifndef LONGMIX_CPU_ATTENTION_H
#define LONGMIX_CPU_ATTENTION_H

#include "kernels/cpu/cpu.h"

#include <math.h>

static const float LOG2_E = 1.44269504f, LN_2 = 0.69314718f;

/* Valid keys of batch row b. */
static inline int64_t attn_keys(const Attn *a, int64_t b)
{
    return a->lens != NULL ? max64(0, min64(a->lens[b], a->k_len)) : a->k_len;
}
/* Of these, the ones that query i sees: always the first ones. */
static inline int64_t attn_seen(const Attn *a, int64_t keys, int64_t i)
{
    return a->causal ? min64(keys, a->q_pos + i + 1) : keys;
}
/* The first query that sees key j. */
static inline int64_t attn_first_query(const Attn *a, int64_t j)
{
    return a->causal ? max64(0, j - a->q_pos) : 0;
}
/* post_i of relu2 for a query that sees `seen` keys. */
static inline float attn_post(const Attn *a, int64_t seen)
{
    return (float)(a->post_rows && seen > 0 ? a->post / (double)seen : a->post);
}

/* scale_i of a query that sees `seen` keys. */
static inline float attn_scale(const Attn *a, int64_t seen)
{
    if (a->log_base == 0.0)
        return (float)a->scale;
    return (float)(a->scale * log(fmax((double)seen, a->log_floor)) / log(a->log_base));
}

/* Floats of a table of biases, and where in it key k0 is for query i. */
static inline int64_t attn_bias_size(const Attn *a)
{
    return a->bias != NULL ? a->bias_zero + a->k_len : 0;
}
static inline int64_t attn_bias_at(const Attn *a, int64_t i, int64_t k0)
{
    return a->bias_zero + k0 - (a->q_pos + i);
}

/* Element offsets of position 0 of head h of batch row b. */
static inline int64_t attn_q_at(const Attn *a, int64_t b, int64_t h)
{
    return b * a->q_len * a->q_row + h * a->d;
}
static inline int64_t attn_o_at(const Attn *a, int64_t b, int64_t h)
{
    return b * a->q_len * a->o_row + h * a->dv;
}
static inline int64_t attn_k_at(const Attn *a, int64_t b, int64_t h)
{
    return b * a->k_batch + h * a->d;
}
static inline int64_t attn_v_at(const Attn *a, int64_t b, int64_t h)
{
    return b * a->v_batch + h * a->dv;
}

static inline int64_t clamp64(int64_t x, int64_t lo, int64_t hi)
{
    return min64(max64(x, lo), hi);
}

Status CPU(attn_fwd_tiled)(Dev *d, const Attn *a);
Status CPU(attn_bwd_tiled)(Dev *d, const Attn *a);
Status CPU(attn_fwd_naive)(Dev *d, const Attn *a);
Status CPU(attn_bwd_naive)(Dev *d, const Attn *a);
/* p[0..n) += factor bias of keys k0, k0 + 1, ... for query i. */
void CPU(attn_add_bias)(const Attn *a, int64_t i, int64_t k0, int n, float factor, float *p);
/* sums, laid out as bias, += factor ds[0..n) likewise. */
void CPU(attn_pull_bias)(const Attn *a, int64_t i, int64_t k0, int n, float factor, const float *ds,
                         float *sums);
Status CPU(attn_decode)(Dev *d, const Attn *a); /* q_len is 1 */

#endif
