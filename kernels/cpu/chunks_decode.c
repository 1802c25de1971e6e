/* chunks_decode.c - one position of mixed chunk attention: the state and the open chunk are read
 * once, at the speed of memory; S E + C (S + E) numbers a batch row. */
#include "kernels/cpu/chunks.h"
#include "kernels/cpu/rows.h"

#include <string.h>

enum { DECODE_COLUMNS = 256, DECODE_KEYS = 64 };

/* The position of one batch row: its place in the open chunk, and what it weighs. */
typedef struct Token {
    int first; /* rows of the open chunk before this one */
    int keys;  /* valid keys of the open chunk, this one included */
    float c;
    float *weights; /* (S + C): [c ql | A] */
} Token;

static Token token_of(const Chunks *a, int64_t b, float *weights)
{
    int64_t first = a->pos % a->chunk, chunk_at = a->pos - first;
    return (Token){
        .first = (int)first,
        .keys = keys_from(a, b, chunk_at, first + 1),
        .c = (float)chunks_factor(a, b, chunk_at / a->chunk),
        .weights = weights + b * (a->s + a->chunk),
    };
}

static float dot(const float *x, const float *y, int n)
{
    vf sum = {0};
    for (int i = 0; i < n; i += VW)
        sum += vget(x + i, n - i) * vget(y + i, n - i);
    return vsum(sum);
}

/* A of keys [j0,j1); the task that meets the new key puts it into the buffer. */
static void score_keys(const Chunks *a, int64_t b, const Token *t, int j0, int j1)
{
    const float *qq = (const float *)a->qq + b * a->s;
    float *keys = (float *)a->keys + b * a->chunk * a->s;
    if (t->first < j1)
        memcpy(keys + (int64_t)t->first * a->s, (const float *)a->kq + b * a->s,
               (size_t)a->s * sizeof *keys);
    for (int j = j0; j < min_int(j1, t->keys); j++) {
        float x = (float)a->local_scale * dot(qq, keys + (int64_t)j * a->s, a->s);
        x = x <= 0.0f ? 0.0f : x;
        t->weights[a->s + j] = (float)a->local_post * x * x;
    }
}

/* o[0..n) += sum over rows of w[r] x[r], four rows at a time */
static void mix_rows(float *o, const float *x, int64_t ld, const float *w, int rows, int n)
{
    int r = 0;
    for (; r + 4 <= rows; r += 4, x += 4 * ld)
        for (int i = 0; i < n; i += VW) {
            vf y = vget(o + i, n - i) + w[r] * vget(x + i, n - i);
            y += w[r + 1] * vget(x + ld + i, n - i);
            y += w[r + 2] * vget(x + 2 * ld + i, n - i);
            vput(o + i, y + w[r + 3] * vget(x + 3 * ld + i, n - i), n - i);
        }
    for (; r < rows; r++, x += ld)
        for (int i = 0; i < n; i += VW)
            vput(o + i, vget(o + i, n - i) + w[r] * vget(x + i, n - i), n - i);
}

/* part += kl' v; a chunk that closes moves part into sum. n columns. */
static void gather(const Chunks *a, const Token *t, const float *kl, const float *v, float *part,
                   float *sum, int n)
{
    bool valid = t->keys > t->first, closes = t->first + 1 == a->chunk;
    for (int p = 0; p < a->s && (valid || closes); p++, part += a->e, sum += a->e)
        for (int i = 0; i < n; i += VW) {
            vf x = vget(part + i, n - i);
            if (valid)
                x += kl[p] * vget(v + i, n - i);
            if (closes)
                vput(sum + i, vget(sum + i, n - i) + x, n - i);
            vput(part + i, closes ? vset(0.0f) : x, n - i);
        }
}

/* Columns [j, j + n) of the output, the value buffer and the state. */
static void columns(const Chunks *a, int64_t b, const Token *t, int j, int n)
{
    float *o = (float *)a->o + b * a->e + j;
    float *vals = (float *)a->vals + b * a->chunk * a->e + j;
    float *sum = (float *)a->sum + b * a->s * a->e + j;
    float *part = (float *)a->part + b * a->s * a->e + j;
    const float *v = (const float *)a->v + b * a->e + j;
    memcpy(vals + (int64_t)t->first * a->e, v, (size_t)n * sizeof *v);
    memset(o, 0, (size_t)n * sizeof *o);
    if (t->c != 0.0f)
        mix_rows(o, sum, a->e, t->weights, a->s, n);
    mix_rows(o, vals, a->e, t->weights + a->s, t->keys, n);
    gather(a, t, (const float *)a->kl + b * a->s, v, part, sum, n);
}

Status CPU(chunks_decode)(Dev *d, const Chunks *a)
{
    void *scratch;
    int64_t first = a->pos % a->chunk, e = a->e;
    int64_t moved = a->batch * (3 * a->s * e + (first + 1) * (a->s + e));
    TRY(dev_scratch(d, (size_t)(a->batch * (a->s + a->chunk)) * sizeof(float), &scratch));
#pragma omp parallel if (moved > PARALLEL_FROM)
    {
#pragma omp for collapse(2)
        for (int64_t b = 0; b < a->batch; b++)
            for (int64_t j = 0; j <= first; j += DECODE_KEYS) {
                Token t = token_of(a, b, scratch);
                score_keys(a, b, &t, (int)j, (int)min64(j + DECODE_KEYS, first + 1));
            }
#pragma omp for
        for (int64_t b = 0; b < a->batch; b++) {
            Token t = token_of(a, b, scratch);
            for (int p = 0; p < a->s; p++)
                t.weights[p] = t.c * ((const float *)a->ql)[b * a->s + p];
        }
#pragma omp for collapse(2)
        for (int64_t b = 0; b < a->batch; b++)
            for (int64_t j = 0; j < e; j += DECODE_COLUMNS) {
                Token t = token_of(a, b, scratch);
                columns(a, b, &t, (int)j, (int)min64(DECODE_COLUMNS, e - j));
            }
    }
    return ST_OK;
}
