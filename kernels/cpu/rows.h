/* rows.h - what the one-pass kernels share: ragged vector access, and rows cut into fixed slabs so
 * that a sum over rows has one order, whatever the number of threads. */
#ifndef LONGMIX_CPU_ROWS_H
#define LONGMIX_CPU_ROWS_H

#include "kernels/base.h"
#include "kernels/cpu/vec.h"

/* Up to VW numbers at p, of which n (any count > 0) are left: zeros behind them. */
static inline vf vget(const float *p, int64_t n)
{
    return n >= VW ? vload(p) : vload_n(p, (int)n);
}
static inline void vput(float *p, vf x, int64_t n)
{
    if (n >= VW)
        vstore(p, x);
    else
        vstore_n(p, x, (int)n);
}
/* The first n lanes of x, zeros behind them. */
static inline vf vkeep(vf x, int64_t n)
{
    if (n < VW)
        for (int i = (int)n; i < VW; i++)
            x[i] = 0.0f;
    return x;
}

/* Whether `rows` rows of n at y are written past the caches: when they would leave them before
 * anybody reads them. Otherwise a line that is written is first read, a third of the traffic. */
enum { STREAM_FROM = 1 << 20 };
static inline bool streams(const void *y, int64_t rows, int64_t n)
{
    return rows * n >= STREAM_FROM && n % VW == 0 && (uintptr_t)y % sizeof(vf) == 0;
}

/* p[0..n) += x[0..n) */
static inline void row_add(float *p, const float *x, int64_t n)
{
    for (int64_t c = 0; c < n; c += VW)
        vput(p + c, vget(p + c, n - c) + vget(x + c, n - c), n - c);
}

/* dst[0..n) = c src[0..n) */
static inline void row_scale(float *dst, const float *src, int64_t n, float c)
{
    for (int64_t i = 0; i < n; i += VW)
        vput(dst + i, c * vget(src + i, n - i), n - i);
}

/* n slabs of `height` rows (the last may be lower): by shape alone. */
enum { SLABS_MAX = 64, SLAB_HEIGHT = 16 };
typedef struct Slabs {
    int64_t rows, height;
    int n;
} Slabs;

static inline Slabs slabs_of(int64_t rows)
{
    int64_t height = max64(SLAB_HEIGHT, ceil_div(rows, SLABS_MAX));
    return (Slabs){rows, height, (int)ceil_div(rows, height)};
}
static inline int64_t slab_begin(const Slabs *s, int i)
{
    return i * s->height;
}
static inline int64_t slab_end(const Slabs *s, int i)
{
    return min64(s->rows, (i + 1) * s->height);
}

/* out[0..width) += the slabs' partial sums, which lie `stride` apart, in the order of the slabs. */
static inline void slabs_fold(const float *part, int n, int64_t stride, int64_t width, float *out)
{
    for (int i = 0; i < n; i++)
        row_add(out, part + i * stride, width);
}

#endif
