/* chunks_fwd.c - mixed chunk attention over whole chunks, step by step. */
#include "kernels/cpu/chunks.h"
#include "kernels/cpu/rows.h"

#include <omp.h>
#include <string.h>

/* A pass over positions [base, base + len) of the call; rows below count from base. */
typedef struct Run {
    const Chunks *a;
    int64_t base, len;
    int64_t step, group; /* rows and batch rows of a step */
    int spans;           /* chunks that one step of one batch row touches, at most */
    float *left, *keys;  /* (group,step,left), (group,spans) packed keys */
    float *state;        /* (group) states in panels */
    float *right;        /* (threads, S + C, NR) */
} Run;

/* One step: batch rows [b0,b1), rows [t0,t1), of which all lie in one chunk or begin one. */
typedef struct Step {
    int64_t b0, b1, t0, t1;
    int spans;
} Step;

static Status run_init(Dev *d, Run *r)
{
    const Chunks *a = r->a;
    void *scratch;
    int64_t ld = chunks_left(a), fit = STEP_FLOATS / ld;
    r->step = fit >= a->chunk ? min64(fit / a->chunk * a->chunk, r->len)
                              : min64(max64(fit, STEP_ROWS_MIN), a->chunk);
    r->spans = (int)ceil_div(r->step, a->chunk);
    r->group = max64(1, min64(a->batch, STEP_FLOATS / (r->step * ld)));
    size_t group = (size_t)r->group, left = group * (size_t)(r->step * ld);
    size_t keys = group * (size_t)r->spans * chunks_keys(a), state = group * chunks_state(a);
    size_t right = (size_t)omp_get_max_threads() * (size_t)(a->s + a->chunk) * NR;
    TRY(dev_scratch(d, (left + keys + state + right) * sizeof(float), &scratch));
    r->left = scratch;
    r->keys = r->left + left;
    r->state = r->keys + keys;
    r->right = r->state + state;
    return ST_OK;
}

/* The step from row t0 on: whole chunks, or a part of one. */
static Step step_at(const Run *r, int64_t b0, int64_t t0)
{
    int64_t chunk = r->a->chunk, t1 = min64(t0 + r->step, r->len);
    if (r->step < chunk)
        t1 = min64(t1, t0 / chunk * chunk + chunk);
    return (Step){b0, min64(b0 + r->group, r->a->batch), t0, t1,
                  (int)(ceil_div(t1, chunk) - t0 / chunk)};
}

/* Chunk q of the step in batch row b. */
static Span span_of(const Run *r, const Step *at, int64_t b, int q)
{
    const Chunks *a = r->a;
    int64_t begin = (at->t0 / a->chunk + q) * a->chunk; /* of the chunk */
    int64_t lo = max64(at->t0, begin), hi = min64(at->t1, begin + a->chunk);
    int64_t row = b * a->len + r->base + lo, start = b * a->len + r->base + begin;
    int64_t position = a->pos + r->base + begin;
    return (Span){
        .first = (int)(lo - begin),
        .n = (int)(hi - lo),
        .keys = keys_from(a, b, position, min64(a->chunk, r->len - begin)),
        .c = (float)chunks_factor(a, b, position / a->chunk),
        .qq = (const float *)a->qq + row * a->s,
        .ql = (const float *)a->ql + row * a->s,
        .kpack = r->keys + (size_t)((b - at->b0) * r->spans + q) * chunks_keys(a),
        .v = (const float *)a->v + start * a->e,
        .left = r->left + ((b - at->b0) * r->step + lo - at->t0) * chunks_left(a),
        .o = (float *)a->o + row * a->e,
    };
}

static void pack_keys(const Run *r, const Step *at)
{
    const Chunks *a = r->a;
    int64_t rows = at->b1 - at->b0, blocks = ceil_div(a->chunk, KEY_BLOCK);
#pragma omp for collapse(3) schedule(static)
    for (int64_t b = 0; b < rows; b++)
        for (int q = 0; q < at->spans; q++)
            for (int64_t k = 0; k < blocks; k++) {
                Span s = span_of(r, at, at->b0 + b, q);
                int64_t j = k * KEY_BLOCK, row = (s.qq - (const float *)a->qq) / a->s + j;
                if (s.first == 0 && j < s.keys)
                    CPU(pack_cols)(NR, a->s, min_int(KEY_BLOCK, s.keys - (int)j),
                                   (const float *)a->kq + row * a->s, a->s, (float)a->local_scale,
                                   (float *)s.kpack + j * a->s);
            }
}

static void make_scores(const Run *r, const Step *at)
{
    int64_t rows = at->b1 - at->b0;
    int blocks = (int)ceil_div(min64(r->a->chunk, at->t1 - at->t0), QUERY_BLOCK);
#pragma omp for collapse(3) schedule(dynamic)
    for (int64_t b = 0; b < rows; b++)
        for (int q = 0; q < at->spans; q++)
            for (int k = 0; k < blocks; k++) {
                Span s = span_of(r, at, at->b0 + b, q);
                int i = k * QUERY_BLOCK;
                if (i < s.n)
                    CPU(chunks_scores)(r->a, &s, i, min_int(i + QUERY_BLOCK, s.n));
            }
}

/* state += kl' v of the span's chunk, columns [j, j + NR), whose values lie packed behind M */
static void advance(const Run *r, const Span *s, int j, const float *right, float *state)
{
    const Chunks *a = r->a;
    int64_t row = (s->qq - (const float *)a->qq) / a->s - s->first;
    TileB v = {right + (int64_t)a->s * NR, NR, 0};
    CPU(tile_mm)(a->s, min_int(NR, a->e - j), s->keys,
                 a_cols((const float *)a->kl + row * a->s, a->s), v, state, NR, TILE_ADD);
}

/* The values that `walk` packs after columns [j, j + NR) of chunk q; NULL where rows would end. */
static const float *ahead(const Run *r, const Step *at, int64_t b, int q, int j, int j0, int j1)
{
    int next = j + NR < j1 ? q : q + 1;
    Span s = span_of(r, at, b, next < at->spans ? next : q);
    return s.n == r->a->chunk ? s.v + (next == q ? j + NR : j0) : NULL;
}

/* Columns [j0,j1) of batch row b through the chunks of the step. */
static void walk(const Run *r, const Step *at, int64_t b, int j0, int j1)
{
    const Chunks *a = r->a;
    float *right = r->right + (size_t)omp_get_thread_num() * (size_t)(a->s + a->chunk) * NR;
    float *state = r->state + (size_t)(b - at->b0) * chunks_state(a);
    for (int q = 0; q < at->spans; q++) {
        Span s = span_of(r, at, b, q);
        bool done = s.first + s.n == a->chunk && (at->t1 < r->len || a->sum != NULL);
        for (int j = j0; j < j1; j += NR) {
            float *m = state + (int64_t)j * a->s;
            if (s.c != 0.0f)
                memcpy(right, m, (size_t)a->s * NR * sizeof *m);
            CPU(chunks_out)(a, &s, j, right, ahead(r, at, b, q, j, j0, j1));
            if (a->causal && (done || q + 1 < at->spans))
                advance(r, &s, j, right, m);
        }
    }
}

static void make_out(const Run *r, const Step *at)
{
    int64_t rows = at->b1 - at->b0;
    int e = r->a->e;
#pragma omp for collapse(2) schedule(static)
    for (int64_t b = 0; b < rows; b++)
        for (int j = 0; j < e; j += COLUMN_BLOCK)
            walk(r, at, at->b0 + b, j, min_int(j + COLUMN_BLOCK, e));
}

/* state = sum of kl' v over all valid positions, columns [j, j + n): what every query of a
 * bidirectional pass sees. */
static void total(const Run *r, int64_t b, int j, int n, float *right, float *state)
{
    const Chunks *a = r->a;
    int64_t valid = chunks_valid(a, b), at_once = a->s + a->chunk; /* rows that `right` holds */
    memset(state, 0, (size_t)a->s * NR * sizeof *state);
    for (int64_t t = 0; t < valid; t += at_once) {
        int64_t row = b * a->len + t;
        int k = (int)min64(at_once, valid - t);
        CPU(pack_rows)(NR, k, n, (const float *)a->v + row * a->e + j, a->e, 1.0f, right);
        CPU(tile_mm)(a->s, n, k, a_cols((const float *)a->kl + row * a->s, a->s),
                     (TileB){right, NR, 0}, state, NR, TILE_ADD);
    }
}

/* The state that the first chunk of a run sees. */
static void begin(const Run *r, int64_t b0, int64_t rows)
{
    const Chunks *a = r->a;
#pragma omp for collapse(2) schedule(static)
    for (int64_t b = 0; b < rows; b++)
        for (int j = 0; j < a->e; j += NR) {
            float *m = r->state + (size_t)b * chunks_state(a) + (int64_t)j * a->s;
            float *right = r->right + (size_t)omp_get_thread_num() *
                                          (size_t)(a->s + a->chunk) * NR;
            const float *sum = (const float *)a->sum + (b0 + b) * a->s * a->e + j;
            int n = min_int(NR, a->e - j);
            if (!a->causal)
                total(r, b0 + b, j, n, right, m);
            else if (a->sum != NULL)
                CPU(pack_rows)(NR, a->s, n, sum, a->e, 1.0f, m);
            else
                memset(m, 0, (size_t)a->s * NR * sizeof *m);
        }
}

static void keep_state(const Run *r, int64_t b0, int64_t rows)
{
    const Chunks *a = r->a;
#pragma omp for collapse(2) schedule(static)
    for (int64_t b = 0; b < rows; b++)
        for (int p = 0; p < a->s; p++) {
            const float *m = r->state + (size_t)b * chunks_state(a) + (int64_t)p * NR;
            float *sum = (float *)a->sum + ((b0 + b) * a->s + p) * a->e;
            for (int j = 0; j < a->e; j += NR)
                memcpy(sum + j, m + (int64_t)j * a->s,
                       (size_t)min_int(NR, a->e - j) * sizeof *m);
        }
}

Status CPU(chunks_run)(Dev *d, const Chunks *a, int64_t base, int64_t len)
{
    Run run = {.a = a, .base = base, .len = len}, *r = &run;
    TRY(run_init(d, r));
#pragma omp parallel if (a->batch * len * (a->chunk + a->s) > PARALLEL_FROM)
    for (int64_t b0 = 0; b0 < a->batch; b0 += r->group) {
        int64_t rows = min64(r->group, a->batch - b0);
        begin(r, b0, rows);
        for (int64_t t0 = 0; t0 < len;) {
            Step at = step_at(r, b0, t0);
            pack_keys(r, &at);
            make_scores(r, &at);
            make_out(r, &at);
            t0 = at.t1;
        }
        if (a->sum != NULL)
            keep_state(r, b0, rows);
    }
    return ST_OK;
}

Status CPU(chunks_fwd)(Dev *d, const Chunks *a)
{
    if (a->len == 0 || a->batch == 0)
        return ST_OK;
    if (a->sum != NULL)
        return CPU(chunks_resume)(d, a);
    CHECK(a->pos == 0);
    return CPU(chunks_run)(d, a, 0, a->len);
}
