/* copy.c - what hardly computes: strided copies, sums of two arrays, constants, random numbers. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"
#include "kernels/rng.h"

#include <string.h>

/* Columns of one task. */
enum { PIECE = 4096 };

static void piece(const Copy *a, int64_t row, int64_t c)
{
    int64_t b = row / a->rows, r = row % a->rows, n = min64(PIECE, a->width - c);
    const float *src = (const float *)a->src + b * a->src_batch + r * a->src_row + c;
    float *dst = (float *)a->dst + b * a->dst_batch + r * a->dst_row + c;
    if (a->add)
        row_add(dst, src, n);
    else
        memcpy(dst, src, (size_t)n * sizeof *dst);
}

/* The same copy with rows, then matrices, that touch on both sides joined into longer ones. */
static Copy joined(Copy a)
{
    if (a.src_row == a.width && a.dst_row == a.width) {
        a.width *= a.rows;
        a.rows = 1;
    }
    if (a.rows == 1 && a.src_batch == a.width && a.dst_batch == a.width) {
        a.width *= a.batch;
        a.batch = 1;
    }
    return a;
}

Status CPU(copy)(Dev *d, const Copy *copy)
{
    (void)d;
    Copy a = joined(*copy);
    int64_t rows = a.batch * a.rows, pieces = ceil_div(a.width, PIECE);
#pragma omp parallel for collapse(2) schedule(static) if (rows * a.width > PARALLEL_FROM)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t p = 0; p < pieces; p++)
            piece(&a, r, p * PIECE);
    return ST_OK;
}

Status CPU(add)(Dev *d, int64_t n, const void *a, const void *b, void *y)
{
    (void)d;
    const float *left = a, *right = b;
    float *sum = y;
#pragma omp parallel for schedule(static) if (n > PARALLEL_FROM)
    for (int64_t i = 0; i < n; i += VW)
        vput(sum + i, vget(left + i, n - i) + vget(right + i, n - i), n - i);
    return ST_OK;
}

Status CPU(blend)(Dev *d, int64_t n, double a, const void *x, double b, const void *z, void *y)
{
    (void)d;
    const float *left = x, *right = z, f = (float)a, g = (float)b;
    float *sum = y;
#pragma omp parallel for schedule(static) if (n > PARALLEL_FROM)
    for (int64_t i = 0; i < n; i += VW)
        vput(sum + i, f * vget(left + i, n - i) + g * vget(right + i, n - i), n - i);
    return ST_OK;
}

Status CPU(normal)(Dev *d, int64_t n, uint64_t seed, uint32_t stream, uint64_t offset, void *y)
{
    (void)d;
    enum { DRAWN = 512 }; /* by a task: a number takes some 20 ns */
#pragma omp parallel for schedule(static) if (n > 2 * DRAWN)
    for (int64_t i = 0; i < n; i += DRAWN)
        rng_fill_normal((float *)y + i, min64(DRAWN, n - i), 1.0, seed, stream,
                        offset + (uint64_t)i);
    return ST_OK;
}

Status CPU(fill)(Dev *d, int64_t n, double value, void *y)
{
    (void)d;
    vf x = vset((float)value);
    float *to = y;
#pragma omp parallel for schedule(static) if (n > PARALLEL_FROM)
    for (int64_t i = 0; i < n; i += VW)
        vput(to + i, x, n - i);
    return ST_OK;
}
