/* embed.c - rows of a table by id, and the scatter of their gradients. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#include <string.h>

/* Columns of one task of the scatter: each task walks all rows, so every element of the table
 * receives its rows in their order; pieces of rows are asked for so many rows ahead. */
enum { COLUMNS = 64, AHEAD = 8 };

Status CPU(embed_fwd)(Dev *d, const Embed *a)
{
    (void)d;
    int64_t n = a->width;
#pragma omp parallel for schedule(static) if (a->rows * n > PARALLEL_FROM)
    for (int64_t r = 0; r < a->rows; r++) {
        CHECK(a->ids[r] >= 0 && a->ids[r] < a->vocab);
        memcpy((float *)a->y + r * n, (const float *)a->table + a->ids[r] * n,
               (size_t)n * sizeof(float));
    }
    return ST_OK;
}

Status CPU(embed_bwd)(Dev *d, const Embed *a)
{
    (void)d;
    int64_t n = a->width;
    if (a->dtable == NULL)
        return ST_OK;
#pragma omp parallel for schedule(static) if (a->rows * n > PARALLEL_FROM)
    for (int64_t c = 0; c < n; c += COLUMNS) {
        int64_t width = min64(COLUMNS, n - c);
        for (int64_t r = 0; r < a->rows; r++) {
            CHECK(a->ids[r] >= 0 && a->ids[r] < a->vocab);
            const float *dy = (const float *)a->dy + r * n + c;
            for (int64_t i = 0; i < width && r + AHEAD < a->rows; i += 16)
                __builtin_prefetch(dy + AHEAD * n + i);
            row_add((float *)a->dtable + a->ids[r] * n + c, dy, width);
        }
    }
    return ST_OK;
}
