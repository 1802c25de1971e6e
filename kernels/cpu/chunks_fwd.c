/* chunks_fwd.c - mixed chunk attention over whole chunks, step by step. */
#include "kernels/cpu/chunks.h"

#include <omp.h>
#include <string.h>

typedef struct Run {
    const Chunks *a;
    Cut cut;
    float *left, *keys; /* (group,step,left), (group,spans) packed keys */
    float *state;       /* (group) states in panels */
    float *right;       /* (threads, S + C, NR) */
    double *flops;
} Run;

static Status run_init(Dev *d, Run *r)
{
    const Chunks *a = r->a;
    void *scratch;
    size_t group = (size_t)r->cut.group;
    size_t left = group * (size_t)(r->cut.step * chunks_left(a));
    size_t keys = group * (size_t)r->cut.spans * chunks_keys(a), state = group * chunks_state(a);
    size_t right = (size_t)omp_get_max_threads() * (size_t)(a->s + a->chunk) * NR;
    TRY(dev_scratch(d, (left + keys + state + right) * sizeof(float), &scratch));
    r->left = scratch;
    r->keys = r->left + left;
    r->state = r->keys + keys;
    r->right = r->state + state;
    return ST_OK;
}

/* This thread's right factor. */
static float *right_of(const Run *r)
{
    return r->right + (size_t)omp_get_thread_num() * (size_t)(r->a->s + r->a->chunk) * NR;
}

static void pack_keys(const Run *r, const Step *at)
{
    const Chunks *a = r->a;
#pragma omp for collapse(3) schedule(static)
    for (int64_t b = at->b0; b < at->b1; b++)
        for (int q = 0; q < at->spans; q++)
            for (int j = 0; j < a->chunk; j += KEY_BLOCK) {
                Span s = CPU(cut_span)(&r->cut, at, b, q);
                if (s.first == 0 && j < s.keys) /* else packed by an earlier step */
                    pack_cols(NR, a->s, min_int(KEY_BLOCK, s.keys - j),
                              (const float *)a->kq + (s.start + j) * a->s, a->s,
                              (float)a->local_scale,
                              r->keys + (size_t)s.slot * chunks_keys(a) + (int64_t)j * a->s);
            }
}

static void make_scores(const Run *r, const Step *at)
{
    int rows = (int)min64(r->a->chunk, at->t1 - at->t0);
#pragma omp for collapse(3) schedule(dynamic)
    for (int64_t b = at->b0; b < at->b1; b++)
        for (int q = 0; q < at->spans; q++)
            for (int i = 0; i < rows; i += QUERY_BLOCK) {
                Span s = CPU(cut_span)(&r->cut, at, b, q);
                float *left = r->left + s.at * chunks_left(r->a);
                const float *keys = r->keys + (size_t)s.slot * chunks_keys(r->a);
                int end = min_int(i + QUERY_BLOCK, s.n);
                if (i < s.n)
                    tally(r->flops, CPU(chunks_scores)(r->a, &s, keys, i, end, left));
            }
}

/* m += kl' v of the span's chunk, columns [j, j + NR), whose values lie packed behind M; its flops
 */
static double advance(const Run *r, const Span *s, int j, const float *right, float *m)
{
    const Chunks *a = r->a;
    TileB v = {right + (int64_t)a->s * NR, NR, 0};
    tile_mm(a->s, min_int(NR, a->e - j), s->keys,
            a_cols((const float *)a->kl + s->start * a->s, a->s), v, m, NR, TILE_ADD);
    return tile_flops(a->s, min_int(NR, a->e - j), s->keys);
}

/* Columns [j0,j1) of batch row b through the chunks of the step. */
static void walk(const Run *r, const Step *at, int64_t b, int j0, int j1)
{
    const Chunks *a = r->a;
    const float *values = a->v;
    float *right = right_of(r), *state = r->state + (size_t)(b - at->b0) * chunks_state(a);
    bool more = at->t1 < r->cut.len || a->sum != NULL; /* someone will want the state */
    double flops = 0;
    for (int q = 0; q < at->spans; q++) {
        Span s = CPU(cut_span)(&r->cut, at, b, q);
        bool done = a->causal && s.first + s.n == a->chunk && (more || q + 1 < at->spans);
        const float *left = r->left + s.at * chunks_left(a), *v = values + s.start * a->e;
        const float *next = q + 1 < at->spans ? v + (int64_t)a->chunk * a->e + j0 : NULL;
        for (int j = j0; j < j1; j += NR) {
            float *m = state + (int64_t)j * a->s;
            if (s.c != 0.0f)
                memcpy(right, m, (size_t)a->s * NR * sizeof *m);
            const float *ahead = j + NR < j1 ? v + j + NR : next;
            flops += CPU(chunks_out)(a, &s, left, v, j, right, ahead);
            if (done)
                flops += advance(r, &s, j, right, m);
        }
    }
    tally(r->flops, flops);
}

static void make_out(const Run *r, const Step *at)
{
    int e = r->a->e;
#pragma omp for collapse(2) schedule(static)
    for (int64_t b = at->b0; b < at->b1; b++)
        for (int j = 0; j < e; j += COLUMN_BLOCK)
            walk(r, at, b, j, min_int(j + COLUMN_BLOCK, e));
}

/* m = sum of kl' v over all valid positions, columns [j, j + n): what every query of a
 * bidirectional pass sees. */
static void total(const Run *r, int64_t b, int j, int n, float *m)
{
    const Chunks *a = r->a;
    int64_t valid = chunks_valid(a, b), at_once = a->s + a->chunk; /* rows of the right factor */
    float *right = right_of(r);
    for (int64_t t = 0; t < valid; t += at_once) {
        int64_t row = b * a->len + t;
        int k = (int)min64(at_once, valid - t);
        pack_rows(NR, k, n, (const float *)a->v + row * a->e + j, a->e, 1.0f, right);
        tile_mm(a->s, n, k, a_cols((const float *)a->kl + row * a->s, a->s), (TileB){right, NR, 0},
                m, NR, TILE_ADD);
        tally(r->flops, tile_flops(a->s, n, k));
    }
}

/* The state that the first chunk of a run sees. */
static void begin_state(const Run *r, int64_t b0, int64_t b1)
{
    const Chunks *a = r->a;
#pragma omp for collapse(2) schedule(static)
    for (int64_t b = b0; b < b1; b++)
        for (int j = 0; j < a->e; j += NR) {
            float *m = r->state + (size_t)(b - b0) * chunks_state(a) + (int64_t)j * a->s;
            int n = min_int(NR, a->e - j);
            if (a->sum != NULL)
                pack_rows(NR, a->s, n, (const float *)a->sum + b * a->s * a->e + j, a->e, 1.0f, m);
            else
                memset(m, 0, (size_t)a->s * NR * sizeof *m);
            if (!a->causal)
                total(r, b, j, n, m);
        }
}

static void keep_state(const Run *r, int64_t b0, int64_t b1)
{
    const Chunks *a = r->a;
#pragma omp for collapse(2) schedule(static)
    for (int64_t b = b0; b < b1; b++)
        for (int p = 0; p < a->s; p++) {
            const float *m = r->state + (size_t)(b - b0) * chunks_state(a) + (int64_t)p * NR;
            float *sum = (float *)a->sum + (b * a->s + p) * a->e;
            for (int j = 0; j < a->e; j += NR)
                memcpy(sum + j, m + (int64_t)j * a->s, (size_t)min_int(NR, a->e - j) * sizeof *m);
        }
}

Status CPU(chunks_run)(Dev *d, const Chunks *a, int64_t base, int64_t len)
{
    double flops = 0;
    Run run = {.a = a, .cut = CPU(cut_of)(a, base, len, chunks_left(a)), .flops = &flops};
    const Run *r = &run;
    TRY(run_init(d, &run));
#pragma omp parallel if (chunks_work(a, len) > PARALLEL_FROM)
    for (int64_t b0 = 0; b0 < a->batch; b0 += r->cut.group) {
        int64_t b1 = min64(b0 + r->cut.group, a->batch);
        begin_state(r, b0, b1);
        for (int64_t t0 = 0; t0 < len;) {
            Step at = CPU(cut_step)(&r->cut, b0, t0);
            pack_keys(r, &at);
            make_scores(r, &at);
            make_out(r, &at);
            t0 = at.t1;
        }
        if (a->sum != NULL)
            keep_state(r, b0, b1);
    }
    dev_count_flops(d, flops);
    return ST_OK;
}

Status CPU(chunks_fwd)(Dev *d, const Chunks *a)
{
    if (a->len == 0 || a->batch == 0)
        return ST_OK;
    if (a->sum != NULL)
        return CPU(chunks_resume)(d, a);
    CHECK(a->pos == 0);
    Chunks one = chunks_clipped(a);
    return CPU(chunks_run)(d, &one, 0, a->len);
}
