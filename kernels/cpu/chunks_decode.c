/* chunks_decode.c - one position of mixed chunk attention: state and open chunk are read once, row
 * after row, at the speed of memory: 3 S E + C (S + E) numbers a batch row.
 *
 * A task takes some rows of the state, or some of the open chunk, and makes its own part of the
 * output; the parts are added in order. */
#include "kernels/cpu/chunks.h"
#include "kernels/cpu/rows.h"

#include <string.h>

enum { DECODE_ROWS = 32 };

/* The position of one batch row. */
typedef struct Token {
    const Chunks *a;
    int64_t b;
    int first; /* rows of the open chunk before this one */
    int keys;  /* valid keys of the open chunk, this one included */
    float c;
} Token;

static Token token_of(const Chunks *a, int64_t b)
{
    int64_t first = a->pos % a->chunk, chunk_at = a->pos - first;
    return (Token){a, b, (int)first, keys_from(a, b, chunk_at, first + 1),
                   chunks_factor(a, b, chunk_at / a->chunk)};
}

static float dot(const float *x, const float *y, int n)
{
    vf sum = {0};
    for (int i = 0; i < n; i += VW)
        sum += vget(x + i, n - i) * vget(y + i, n - i);
    return vsum(sum);
}

/* o[0..n) += sum over rows of w[r] x[r], four rows at a time; rows of n, one after another */
static void mix_rows(float *o, const float *x, const float *w, int rows, int64_t n)
{
    int r = 0;
    for (; r + 4 <= rows; r += 4, x += 4 * n)
        for (int64_t i = 0; i < n; i += VW) {
            vf y = vget(o + i, n - i) + w[r] * vget(x + i, n - i);
            y += w[r + 1] * vget(x + n + i, n - i);
            y += w[r + 2] * vget(x + 2 * n + i, n - i);
            vput(o + i, y + w[r + 3] * vget(x + 3 * n + i, n - i), n - i);
        }
    for (; r < rows; r++, x += n)
        for (int64_t i = 0; i < n; i += VW)
            vput(o + i, vget(o + i, n - i) + w[r] * vget(x + i, n - i), n - i);
}

/* part += kl v in one row of the state; a chunk that closes moves part into sum. */
static void gather(const Token *t, float kl, const float *v, float *part, float *sum)
{
    int64_t n = t->a->e;
    bool valid = t->keys > t->first, closes = t->first + 1 == t->a->chunk;
    for (int64_t i = 0; i < n && (valid || closes); i += VW) {
        vf x = vget(part + i, n - i);
        if (valid)
            x += kl * vget(v + i, n - i);
        if (closes)
            vput(sum + i, vget(sum + i, n - i) + x, n - i);
        vput(part + i, closes ? vset(0.0f) : x, n - i);
    }
}

/* Rows [r0,r1) of the state: o += c ql M, then they take the new key and value. */
static void state_rows(const Token *t, int r0, int r1, float *o)
{
    const Chunks *a = t->a;
    const float *ql = (const float *)a->ql + t->b * a->s, *kl = (const float *)a->kl + t->b * a->s;
    const float *v = (const float *)a->v + t->b * a->e;
    float *sum = (float *)a->sum + t->b * a->s * a->e, weights[DECODE_ROWS];
    float *part = (float *)a->part + t->b * a->s * a->e;
    for (int r = r0; r < r1; r++)
        weights[r - r0] = t->c * ql[r];
    if (t->c != 0.0f)
        mix_rows(o, sum + (int64_t)r0 * a->e, weights, r1 - r0, a->e);
    for (int64_t r = r0; r < r1; r++)
        gather(t, kl[r], v, part + r * a->e, sum + r * a->e);
}

/* Rows [r0,r1) of the open chunk, the last of which may be new: o += A v. */
static void open_rows(const Token *t, int r0, int r1, float *o)
{
    const Chunks *a = t->a;
    const float *qq = (const float *)a->qq + t->b * a->s;
    float *keys = (float *)a->keys + t->b * a->chunk * a->s, weights[DECODE_ROWS];
    float *vals = (float *)a->vals + t->b * a->chunk * a->e;
    if (t->first < r1) {
        memcpy(keys + (int64_t)t->first * a->s, (const float *)a->kq + t->b * a->s,
               (size_t)a->s * sizeof *keys);
        memcpy(vals + (int64_t)t->first * a->e, (const float *)a->v + t->b * a->e,
               (size_t)a->e * sizeof *vals);
    }
    r1 = min_int(r1, t->keys);
    for (int r = r0; r < r1; r++) {
        float x = (float)a->local_scale * dot(qq, keys + (int64_t)r * a->s, a->s);
        if (a->bias != NULL)
            x += (float)a->bias_scale * ((const float *)a->bias)[a->chunk - 1 + r - t->first];
        x = x <= 0.0f ? 0.0f : x;
        weights[r - r0] = (float)a->local_post * x * x;
    }
    mix_rows(o, vals + (int64_t)r0 * a->e, weights, r1 - r0, a->e);
}

Status CPU(chunks_decode)(Dev *d, const Chunks *a)
{
    void *scratch;
    int open = (int)(a->pos % a->chunk) + 1; /* rows of the open chunk, the new one included */
    int of_state = (int)ceil_div(a->s, DECODE_ROWS);
    int parts = of_state + (int)ceil_div(open, DECODE_ROWS);
    int64_t e = a->e, moved = a->batch * (3 * a->s * e + open * (a->s + e));
    TRY(dev_scratch(d, (size_t)(a->batch * parts * e) * sizeof(float), &scratch));
#pragma omp parallel for collapse(2) schedule(dynamic) if (moved > PARALLEL_FROM)
    for (int64_t b = 0; b < a->batch; b++)
        for (int p = 0; p < parts; p++) {
            Token t = token_of(a, b);
            float *o = (float *)scratch + (b * parts + p) * e;
            int r = (p < of_state ? p : p - of_state) * DECODE_ROWS;
            memset(o, 0, (size_t)e * sizeof *o);
            if (p < of_state)
                state_rows(&t, r, min_int(r + DECODE_ROWS, a->s), o);
            else
                open_rows(&t, r, min_int(r + DECODE_ROWS, open), o);
        }
    memset(a->o, 0, (size_t)(a->batch * e) * sizeof(float));
    for (int64_t b = 0; b < a->batch; b++)
        slabs_fold((float *)scratch + b * parts * e, parts, e, e, (float *)a->o + b * e);
    for (int64_t b = 0; b < a->batch; b++) {
        const Token t = token_of(a, b);
        const double state = (double)((t.c != 0.0f) + (t.keys > t.first)) * a->s * (double)e;
        dev_count_flops(d, 2 * (state + (double)t.keys * (double)(a->s + e)));
    }
    return ST_OK;
}
