/* attention_decode.c - attention of one query per head over a cache, at the speed of memory.
 *
 * The cache is read once, in place and in the order it lies in memory: a task takes KEYS positions
 * of one batch row and all heads, and leaves per head a maximum, a sum and a sum of values. These
 * are put together in the order of the positions. */
#include <math.h>
#include <omp.h>

#include "kernels/cpu/attention.h"

enum {
    KEYS = 256,  /* of a task */
    AHEAD = 2048 /* floats from what is read to what is asked for: rows lie one behind the other */
};

typedef struct Decode {
    const Attn *a;
    int64_t blocks; /* of KEYS positions */
    int64_t o_ld;   /* floats of one head's sum of values */
    int64_t mine;   /* floats of one thread: weights (heads, KEYS) */
    float *weights;
    float *max_sum; /* (batch, blocks, heads, 2): maximum (base 2) and sum of weights */
    float *values;  /* (batch, blocks, heads, o_ld) */
} Decode;

static float dot(const float *x, const float *y, int n)
{
    vf s0 = vset(0), s1 = vset(0);
    int c = 0;
    for (; c + 2 * VW <= n; c += 2 * VW) {
        s0 += vload(x + c) * vload(y + c);
        s1 += vload(x + c + VW) * vload(y + c + VW);
    }
    if (c + VW <= n) {
        s0 += vload(x + c) * vload(y + c);
        c += VW;
    }
    s1 += vload_n(x + c, n - c) * vload_n(y + c, n - c);
    return vsum(s0 + s1);
}

static void prefetch(const float *p, int n)
{
    for (int c = 0; c < n; c += 16)
        __builtin_prefetch(p + AHEAD + c);
}

/* o[0..n) += w v[0..n) */
static void add_values(float w, const float *v, int n, float *o)
{
    int c = 0;
    for (; c + VW <= n; c += VW)
        vstore(o + c, vload(o + c) + w * vload(v + c));
    for (; c < n; c++)
        o[c] += w * v[c];
}

/* Scores to weights of n keys (a whole number of vectors is there); ms: maximum and sum. */
static void to_weights(const Attn *a, int n, float *s, float *ms)
{
    for (int j = n; j % VW != 0; j++)
        s[j] = a->kind == ATTN_SOFTMAX ? -INFINITY : 0.0f;
    vf max = vset(-1e38f), sum = vset(0);
    for (int j = 0; j < n; j += VW)
        max = vmax(max, vload(s + j));
    ms[0] = vmax1(max);
    for (int j = 0; j < n; j += VW) {
        vf x = vload(s + j), r = vmax(vset(0), x);
        vf w = a->kind == ATTN_SOFTMAX ? vexp2(x - ms[0]) : r * r;
        vstore(s + j, w);
        sum += w;
    }
    ms[1] = vsum(sum);
}

static void one_block(const Decode *f, int64_t b, int64_t block)
{
    const Attn *a = f->a;
    const int64_t k0 = block * KEYS, at = (b * f->blocks + block) * a->heads;
    const int n = (int)clamp64(attn_seen(a, attn_keys(a, b), 0) - k0, 0, KEYS);
    const float *q = (const float *)a->q + attn_q_at(a, b, 0);
    const float *k = (const float *)a->k + attn_k_at(a, b, 0) + k0 * a->k_row;
    const float *v = (const float *)a->v + attn_v_at(a, b, 0) + k0 * a->v_row;
    const float base = a->kind == ATTN_SOFTMAX ? LOG2_E : 1.0f;
    const float scale = attn_scale(a, attn_seen(a, attn_keys(a, b), 0)) * base;
    float *w = f->weights + omp_get_thread_num() * f->mine, *o = f->values + at * f->o_ld;
    for (int j = 0; j < n; j++)
        for (int h = 0; h < a->heads; h++) {
            const float *kh = k + j * a->k_row + h * a->d;
            prefetch(kh, a->d);
            w[h * KEYS + j] = scale * dot(q + h * a->d, kh, a->d);
        }
    for (int h = 0; h < a->heads && a->bias != NULL; h++)
        CPU(attn_add_bias)(a, 0, k0, n, (float)a->bias_scale * base, w + h * KEYS);
    for (int h = 0; h < a->heads; h++)
        to_weights(a, n, w + h * KEYS, f->max_sum + (at + h) * 2);
    for (int64_t c = 0; c < a->heads * f->o_ld; c++)
        o[c] = 0;
    for (int j = 0; j < n; j++)
        for (int h = 0; h < a->heads; h++) {
            const float *vh = v + j * a->v_row + h * a->dv;
            prefetch(vh, a->dv);
            add_values(w[h * KEYS + j], vh, a->dv, o + h * f->o_ld);
        }
}

/* The output of one head from its blocks, in order. */
static void one_head(const Decode *f, int64_t b, int h)
{
    const Attn *a = f->a;
    const bool soft = a->kind == ATTN_SOFTMAX;
    const int64_t seen = attn_seen(a, attn_keys(a, b), 0), blocks = ceil_div(seen, KEYS);
    const int64_t at = b * f->blocks * a->heads + h;
    float *o = (float *)a->o + attn_o_at(a, b, h), *lse = a->lse;
    float max = -1e38f, sum = 0;
    for (int64_t i = 0; i < blocks; i++)
        max = fmaxf(max, f->max_sum[(at + i * a->heads) * 2]);
    for (int c = 0; c < a->dv; c++)
        o[c] = 0;
    for (int64_t i = 0; i < blocks; i++) {
        const float *ms = f->max_sum + (at + i * a->heads) * 2;
        const float w = soft ? exp2f(ms[0] - max) : 1.0f;
        add_values(w, f->values + (at + i * a->heads) * f->o_ld, a->dv, o);
        sum += w * ms[1];
    }
    const float scale = soft ? 1.0f / sum : attn_post(a, seen);
    for (int c = 0; c < a->dv && seen > 0; c++)
        o[c] *= scale;
    if (soft && lse != NULL)
        lse[b * a->heads + h] = seen > 0 ? LN_2 * (max + log2f(sum)) : -INFINITY;
}

static void run(const Decode *f)
{
    const Attn *a = f->a;
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < a->batch * f->blocks; t++)
        one_block(f, t / f->blocks, t % f->blocks);
#pragma omp for schedule(static)
    for (int64_t t = 0; t < a->batch * a->heads; t++)
        one_head(f, t / a->heads, (int)(t % a->heads));
}

Status CPU(attn_decode)(Dev *d, const Attn *a)
{
    Decode f = {.a = a, .o_ld = round_up(a->dv, 16), .mine = (int64_t)a->heads * KEYS};
    void *scratch;
    f.blocks = ceil_div(attn_seen(a, a->k_len, 0), KEYS);
    const int64_t parts = a->batch * f.blocks * a->heads;
    const int64_t weights = omp_get_max_threads() * f.mine;
    TRY(dev_scratch(d, (size_t)(weights + parts * (2 + f.o_ld)) * sizeof(float), &scratch));
    f.weights = scratch;
    f.values = f.weights + weights;
    f.max_sum = f.values + parts * f.o_ld;
#pragma omp parallel if (parts * KEYS * (a->d + a->dv) >= 2 * PARALLEL_FROM)
    run(&f);
    for (int64_t b = 0; b < a->batch; b++)
        dev_count_flops(d,
                        2.0 * (double)attn_seen(a, attn_keys(a, b), 0) * a->heads * (a->d + a->dv));
    return ST_OK;
}
