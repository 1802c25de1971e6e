/* embed.c - rows of a table by id, and the scatter of their gradients.
 *
 * Traffic: forward, the table once and the output once, past the caches if it is large. Backward,
 * rows are taken in the order of their ids, so that a row of the table stays in L1 while it takes
 * all of its gradients, which come from memory once. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#include <string.h>

enum { COLUMNS = 1024 }; /* of a task of the scatter */

static void stream_row(float *y, const float *x, int64_t n)
{
    for (int64_t c = 0; c < n; c += VW)
        vstream(y + c, vload(x + c));
}

Status CPU(embed_fwd)(Dev *d, const Embed *a)
{
    (void)d;
    const int64_t n = a->width;
    const bool past = streams(a->y, a->rows, n);
#pragma omp parallel if (a->rows * n > PARALLEL_FROM)
    {
#pragma omp for schedule(static) nowait
        for (int64_t r = 0; r < a->rows; r++) {
            CHECK(a->ids[r] >= 0 && a->ids[r] < a->vocab);
            float *y = (float *)a->y + r * n;
            const float *x = (const float *)a->table + a->ids[r] * n;
            if (past)
                stream_row(y, x, n);
            else
                memcpy(y, x, (size_t)n * sizeof *y);
        }
        _mm_sfence();
    }
    return ST_OK;
}

/* order: the rows by id, those of one id in their order; end[id]: where the next id begins. */
static void sort_rows(const Embed *a, int64_t *end, int64_t *order)
{
    memset(end, 0, ((size_t)a->vocab + 1) * sizeof *end);
    for (int64_t r = 0; r < a->rows; r++) {
        CHECK(a->ids[r] >= 0 && a->ids[r] < a->vocab);
        end[a->ids[r] + 1]++;
    }
    for (int64_t id = 0; id < a->vocab; id++)
        end[id + 1] += end[id];
    for (int64_t r = 0; r < a->rows; r++)
        order[end[a->ids[r]]++] = r;
}

/* to[0..n) += the rows order[i0..i1) of x, in that order, by pairs, so that half as often `to` is
 * read and written; asks for the next pair meanwhile, which may be of another id. */
static void add_rows(const Embed *a, const int64_t *order, int64_t i0, int64_t i1, const float *x,
                     float *to, int64_t n)
{
    const int64_t last = a->rows - 1;
    int64_t i = i0;
    for (; i + 2 <= i1; i += 2) {
        const float *r = x + order[i] * a->width, *s = x + order[i + 1] * a->width;
        const float *next_r = x + order[min64(i + 2, last)] * a->width;
        const float *next_s = x + order[min64(i + 3, last)] * a->width;
        int64_t c = 0;
        for (; c + VW <= n; c += VW) {
            __builtin_prefetch(next_r + c);
            __builtin_prefetch(next_s + c);
            vstore(to + c, (vload(to + c) + vload(r + c)) + vload(s + c));
        }
        row_add(to + c, r + c, n - c);
        row_add(to + c, s + c, n - c);
    }
    if (i < i1)
        row_add(to, x + order[i] * a->width, n);
}

Status CPU(embed_bwd)(Dev *d, const Embed *a)
{
    const int64_t n = a->width;
    void *scratch;
    if (a->dtable == NULL)
        return ST_OK;
    TRY(dev_scratch(d, (size_t)(a->vocab + 1 + a->rows) * sizeof(int64_t), &scratch));
    int64_t *end = scratch, *order = end + a->vocab + 1;
    sort_rows(a, end, order);
#pragma omp parallel for collapse(2) schedule(dynamic, 32) if (a->rows * n > PARALLEL_FROM)
    for (int64_t i = 0; i < a->rows; i++)
        for (int64_t c = 0; c < n; c += COLUMNS) {
            const int32_t id = a->ids[order[i]];
            if (i == 0 || a->ids[order[i - 1]] != id) /* the first of its id does them all */
                add_rows(a, order, i, end[id], (const float *)a->dy + c,
                         (float *)a->dtable + id * n + c, min64(COLUMNS, n - c));
        }
    return ST_OK;
}
