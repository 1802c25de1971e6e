/* chunks_state.c - mixed chunk attention that continues: finish the open chunk, run whole chunks,
 * and keep the rows of the chunk that stays open. */
#include "kernels/cpu/chunks.h"
#include "kernels/cpu/rows.h"

#include <omp.h>
#include <string.h>

/* Rows [row, row + n) of the call: positions [first, first + n) of one chunk. */
typedef struct Open {
    const Chunks *a;
    int64_t row, chunk_at; /* absolute position of the chunk's first row */
    int first, n;
    float *left, *keys, *right; /* (B,n,left), (B) packed keys, (threads, S + C, NR) */
    double *flops;
} Open;

static bool closes(const Open *r)
{
    return r->first + r->n == r->a->chunk;
}

/* Keys and values of the rows go into the buffers of batch row b. */
static void append(const Open *r, int64_t b)
{
    const Chunks *a = r->a;
    int64_t from = b * a->len + r->row, to = b * a->chunk + r->first;
    memcpy((float *)a->keys + to * a->s, (const float *)a->kq + from * a->s,
           (size_t)r->n * (size_t)a->s * sizeof(float));
    memcpy((float *)a->vals + to * a->e, (const float *)a->v + from * a->e,
           (size_t)r->n * (size_t)a->e * sizeof(float));
}

/* The rows against the whole buffer. */
static Span span_of(const Open *r, int64_t b)
{
    const Chunks *a = r->a;
    return (Span){
        .row = b * a->len + r->row,
        .at = b * r->n,
        .slot = b,
        .first = r->first,
        .n = r->n,
        .keys = keys_from(a, b, r->chunk_at, r->first + r->n),
        .c = chunks_factor(a, b, r->chunk_at / a->chunk),
    };
}

/* part += kl' v of the new rows; a chunk that closes moves part into sum. Columns [j, j + NR),
 * whose values lie packed behind M. */
static void gather(const Open *r, const Span *s, int64_t b, int j, const float *right)
{
    const Chunks *a = r->a;
    int n = min_int(NR, a->e - j), valid = keys_from(a, b, r->chunk_at + r->first, r->n);
    float *part = (float *)a->part + b * a->s * a->e + j;
    float *sum = (float *)a->sum + b * a->s * a->e + j;
    tile_mm(a->s, n, valid, a_cols((const float *)a->kl + s->row * a->s, a->s),
            (TileB){right + (int64_t)(a->s + s->first) * NR, NR, 0}, part, a->e, TILE_ADD);
    tally(r->flops, tile_flops(a->s, n, valid));
    for (int p = 0; closes(r) && p < a->s; p++) {
        row_add(sum + (int64_t)p * a->e, part + (int64_t)p * a->e, n);
        memset(part + (int64_t)p * a->e, 0, (size_t)n * sizeof *part);
    }
}

static void panel(const Open *r, int64_t b, int j)
{
    const Chunks *a = r->a;
    Span s = span_of(r, b);
    float *right = r->right + (size_t)omp_get_thread_num() * (size_t)(a->s + a->chunk) * NR;
    if (s.c != 0.0f)
        pack_rows(NR, a->s, min_int(NR, a->e - j), (const float *)a->sum + b * a->s * a->e + j,
                  a->e, 1.0f, right);
    const float *left = r->left + s.at * chunks_left(a);
    const float *vals = (const float *)a->vals + b * a->chunk * a->e;
    tally(r->flops, CPU(chunks_out)(a, &s, left, vals, j, right, NULL));
    gather(r, &s, b, j, right);
}

static void block(const Open *r)
{
    const Chunks *a = r->a;
#pragma omp parallel if (chunks_work(a, r->n) > PARALLEL_FROM)
    {
#pragma omp for
        for (int64_t b = 0; b < a->batch; b++)
            append(r, b);
#pragma omp for collapse(2)
        for (int64_t b = 0; b < a->batch; b++)
            for (int j = 0; j < r->first + r->n; j += KEY_BLOCK) {
                Span s = span_of(r, b);
                if (j < s.keys)
                    pack_cols(NR, a->s, min_int(KEY_BLOCK, s.keys - j),
                              (const float *)a->keys + (b * a->chunk + j) * a->s, a->s,
                              (float)a->local_scale,
                              r->keys + (size_t)b * chunks_keys(a) + (int64_t)j * a->s);
            }
#pragma omp for collapse(2)
        for (int64_t b = 0; b < a->batch; b++)
            for (int i = 0; i < r->n; i += QUERY_BLOCK) {
                Span s = span_of(r, b);
                const float *keys = r->keys + (size_t)b * chunks_keys(a);
                float *left = r->left + s.at * chunks_left(a);
                const int end = min_int(i + QUERY_BLOCK, r->n);
                tally(r->flops, CPU(chunks_scores)(a, &s, keys, i, end, left));
            }
#pragma omp for collapse(2)
        for (int64_t b = 0; b < a->batch; b++)
            for (int j = 0; j < a->e; j += NR)
                panel(r, b, j);
    }
}

static Status open_piece(Dev *d, const Chunks *a, int64_t row, int64_t n)
{
    int64_t first = (a->pos + row) % a->chunk;
    double flops = 0;
    Open r = {a, row, a->pos + row - first, (int)first, (int)n, NULL, NULL, NULL, &flops};
    size_t left = (size_t)(a->batch * n * chunks_left(a));
    size_t keys = (size_t)a->batch * chunks_keys(a);
    size_t right = (size_t)omp_get_max_threads() * (size_t)(a->s + a->chunk) * NR;
    void *scratch;
    TRY(dev_scratch(d, (left + keys + right) * sizeof(float), &scratch));
    r.left = scratch;
    r.keys = r.left + left;
    r.right = r.keys + keys;
    block(&r);
    dev_count_flops(d, flops);
    return ST_OK;
}

/* n rows of one chunk, from `row` of the call on, as many at once as scratch has room for. */
static Status open_rows(Dev *d, const Chunks *a, int64_t row, int64_t n)
{
    int64_t fit = max64(STEP_ROWS_MIN, STEP_FLOATS / (a->batch * chunks_left(a)));
    for (int64_t i = 0; i < n; i += fit)
        TRY(open_piece(d, a, row + i, min64(fit, n - i)));
    return ST_OK;
}

Status CPU(chunks_resume)(Dev *d, const Chunks *a)
{
    int64_t open = a->pos % a->chunk;
    int64_t head = open == 0 ? 0 : min64(a->len, a->chunk - open);
    int64_t body = (a->len - head) / a->chunk * a->chunk;
    CHECK(a->causal && a->part != NULL && a->keys != NULL && a->vals != NULL);
    if (a->len == 1)
        return CPU(chunks_decode)(d, a);
    TRY(open_rows(d, a, 0, head));
    if (body > 0)
        TRY(CPU(chunks_run)(d, a, head, body));
    return open_rows(d, a, head + body, a->len - head - body);
}
