/* lsh_decode.c - decode of LSH attention: buckets of the past compared newest first, then attention
 * over the keys that were picked.
 *
 * Instead of sorting priorities, matches are taken from the newest back until the window is full;
 * if it is not, the newest of the others fill it. Keys are gathered in place: each is read once. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/cpu/lsh.h"
#include "kernels/cpu/rows.h"

enum {
    SKIP = 8,    /* vectors of buckets looked at at once: matches are rare */
    AHEAD = 2048 /* buckets asked for in advance: the processor does not foresee a way back */
};

typedef struct Decode {
    const LshDecode *a;
    int64_t mine; /* floats of one thread: window positions, window scores */
    float *scratch;
} Decode;

/* Bit i: position j + i shares a bucket with p in some round. */
static unsigned matches(const LshDecode *a, const float *bucket, int64_t p, int64_t j)
{
    const int n = (int)min64(VW, p + 1 - j);
    vi same = {0};
    unsigned bits = 0;
    for (int r = 0; r < a->rounds; r++, bucket += a->cap)
        same |= vget(bucket + j, n) == vset(bucket[p]);
    for (int i = 0; i < n; i++)
        bits |= (unsigned)(same[i] & 1) << i;
    return bits;
}

/* Does none of positions [j, j + SKIP VW), all before p, share a bucket with p? */
static bool none(const LshDecode *a, const float *bucket, int64_t p, int64_t j)
{
    vi any = {0};
    int32_t all = 0;
    for (int r = 0; r < a->rounds; r++, bucket += a->cap)
        for (int v = 0; v < SKIP; v++) {
            __builtin_prefetch(bucket + max64(0, j + v * VW - AHEAD));
            any |= vload(bucket + j + v * VW) == vset(bucket[p]);
        }
    for (int i = 0; i < VW; i++)
        all |= any[i];
    return all == 0;
}

/* Appends to `pick`, newest first, the positions of [0, p] that match (or do not); stops when the
 * window is full. Returns how many there are now. */
static int64_t scan(const LshDecode *a, const float *bucket, int64_t p, bool match, int32_t *pick,
                    int64_t n)
{
    for (int64_t j = p / VW * VW; j >= 0 && n < a->window; j -= VW) {
        while (match && j >= (SKIP - 1) * VW && j + VW <= p &&
               none(a, bucket, p, j - (SKIP - 1) * VW))
            j -= SKIP * VW;
        if (j < 0)
            break;
        const unsigned all =
            p + 1 - j < VW ? (1u << (p + 1 - j)) - 1 : (unsigned)((1ull << VW) - 1);
        unsigned bits = matches(a, bucket, p, j);
        bits = match ? bits : all & ~bits;
        while (bits != 0 && n < a->window) {
            const int i = 31 - __builtin_clz(bits);
            pick[n++] = (int32_t)(j + i);
            bits &= ~(1u << i);
        }
    }
    return n;
}

static float score(const LshDecode *a, const float *q, const float *key)
{
    const float c = CPU(lsh_dot)(key, key, a->d) + LSH_EPS * (float)a->d;
    return CPU(lsh_dot)(q, key, a->d) / sqrtf(c);
}

static void attend(const LshDecode *a, const float *q, const float *keys, const float *v,
                   const int32_t *pick, int64_t n, float *s, float *o)
{
    float top = -INFINITY, sum = 0;
    for (int64_t k = 1; k < n; k++) { /* pick[0] is the query itself */
        s[k] = score(a, q, keys + (int64_t)pick[k] * a->heads * a->d);
        top = fmaxf(top, s[k]);
    }
    memset(o, 0, (size_t)a->dv * sizeof *o);
    if (n == 1)
        row_scale(o, v + (int64_t)pick[0] * a->heads * a->dv, a->dv, 1.0f);
    for (int64_t k = 1; k < n; k++)
        sum += s[k] = expf(s[k] - top);
    for (int64_t k = 1; k < n; k++) {
        const float *row = v + (int64_t)pick[k] * a->heads * a->dv;
        for (int c = 0; c < a->dv; c += VW)
            vput(o + c, vget(o + c, a->dv - c) + s[k] / sum * vget(row + c, a->dv - c), a->dv - c);
    }
}

static void one_head(const Decode *f, int64_t pair)
{
    const LshDecode *a = f->a;
    const int64_t b = pair / a->heads, h = pair % a->heads;
    const float *bucket = (const float *)a->bucket + pair * a->rounds * a->cap;
    const float *keys = (const float *)a->keys + (b * a->cap * a->heads + h) * a->d;
    const float *v = (const float *)a->v + (b * a->cap * a->heads + h) * a->dv;
    float *mine = f->scratch + omp_get_thread_num() * f->mine;
    int32_t *pick = (void *)mine;
    for (int64_t i = 0; i < a->q_len; i++) {
        const int64_t p = a->pos + i, row = (b * a->q_len + i) * a->heads + h;
        float *o = (float *)a->o + row * a->dv;
        if (a->lens != NULL && p >= a->lens[b]) {
            memset(o, 0, (size_t)a->dv * sizeof *o);
            continue;
        }
        int64_t n = scan(a, bucket, p, true, pick, 0);
        n = scan(a, bucket, p, false, pick, n);
        attend(a, (const float *)a->q + row * a->d, keys, v, pick, n, mine + a->window, o);
    }
}

static void remember(const LshDecode *a, int64_t n)
{
    float *bucket = (float *)a->bucket + n * a->cap + a->pos;
    for (int64_t i = 0; i < a->q_len; i++)
        bucket[i] = (float)a->fresh[n * a->q_len + i];
}

Status CPU(lsh_decode)(Dev *d, const LshDecode *a)
{
    Decode f = {.a = a, .mine = round_up(2 * a->window, 16)};
    void *scratch;
    const int64_t pairs = a->batch * a->heads;
    TRY(dev_scratch(d, (size_t)(omp_get_max_threads() * f.mine) * sizeof(float), &scratch));
    f.scratch = scratch;
    const double work = (double)pairs * (double)a->q_len *
                        (double)(a->pos * a->rounds + a->window * (a->d + a->dv));
    double seen = 0; /* pairs; a key's own square counts with its product */
    for (int64_t i = 0; i < a->batch * a->q_len; i++) {
        const int64_t p = a->pos + i % a->q_len, b = i / a->q_len;
        seen += (double)(a->lens != NULL && p >= a->lens[b] ? 0 : min64(a->window, p + 1) - 1);
    }
#pragma omp parallel if (work >= 2.0 * PARALLEL_FROM)
    {
#pragma omp for schedule(static)
        for (int64_t n = 0; n < pairs * a->rounds; n++)
            remember(a, n);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < pairs; n++)
            one_head(&f, n);
    }
    dev_count_flops(d, 2.0 * seen * (double)a->heads * (2 * a->d + a->dv));
    return ST_OK;
}
