/* tile.h - the one matrix product all others are built of: tiles in cache, operands by stride.
 *
 * The micro-kernel keeps an MR x NR tile of C in registers and runs over the whole k, so every
 * element of C is one sum in the order of k, whatever m and n: cutting m and n never changes bits.
 * An operand is a pointer with strides; A may be rows, columns or packed panels of MR rows, B is
 * rows or packed panels of NR columns. B is read NR columns at a time: rows must be readable (but
 * may hold anything) up to the next multiple of NR. Row distances that are large powers of two
 * share cache sets: copy_rows to a distance of tile_pad(cols), or pack. */
#ifndef LONGMIX_CPU_TILE_H
#define LONGMIX_CPU_TILE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/cpu/vec.h"

#if defined __AVX512F__
enum { MR = 12 };
#elif defined __AVX2__
enum { MR = 6 };
#else
enum { MR = 4 };
#endif
enum { NR = 2 * VW };
/* Floats in 4 KiB: rows a multiple of that apart share cache sets. */
enum { PAGE = 1024 };

/* Element (i,p) is p[(i / MR) * panel + (i % MR) * row + p * col]; row or col is 1. */
typedef struct TileA {
    const float *p;
    int64_t row, col, panel;
} TileA;
/* Element (p,j) is p[(j / NR) * panel + p * row + j % NR]. */
typedef struct TileB {
    const float *p;
    int64_t row, panel;
} TileB;

/* A (m,k) stored by rows, ld apart. */
static inline TileA a_rows(const float *p, int64_t ld)
{
    return (TileA){p, ld, 1, MR * ld};
}
/* A (m,k) stored transposed: k rows of m, ld apart. */
static inline TileA a_cols(const float *p, int64_t ld)
{
    return (TileA){p, 1, ld, MR};
}
/* A (m,k) packed by pack_* with width MR. */
static inline TileA a_packed(const float *p, int64_t k)
{
    return (TileA){p, 1, MR, MR * k};
}
/* B (k,n) stored by rows, ld apart. */
static inline TileB b_rows(const float *p, int64_t ld)
{
    return (TileB){p, ld, NR};
}
/* B (k,n) packed by pack_* with width NR. */
static inline TileB b_packed(const float *p, int64_t k)
{
    return (TileB){p, NR, NR * k};
}

typedef enum TileMode { TILE_SET, TILE_ADD } TileMode;

/* C (m,n), rows ldc apart, = A B or += A B. Any m, n, k >= 0; exactly (m,n) of C is touched. */
void CPU(tile_mm)(int m, int n, int k, TileA a, TileB b, float *c, int64_t ldc, TileMode mode);

/* Panels of `width` (MR or NR) columns, the last one filled up with zeros:
 *   dst[(j / width) * k * width + p * width + j % width] = scale * X(p,j), p < k, j < n
 * pack_rows: X is stored (k,n), rows ld apart; pack_cols: X is stored transposed, (n,k).
 * So B stored (k,n) goes by rows, B stored (n,k) by cols; A stored (m,k) by cols with n = m, A
 * stored (k,m) by rows. dst takes pack_size(width, k, n) floats. */
void CPU(pack_rows)(int width, int k, int n, const float *src, int64_t ld, float scale, float *dst);
void CPU(pack_cols)(int width, int k, int n, const float *src, int64_t ld, float scale, float *dst);

/* dst (rows, dst_ld) = src (rows, ld), cols of each, zeros from cols to the next multiple of NR. */
void CPU(copy_rows)(int64_t rows, int cols, const float *src, int64_t ld, float *dst,
                    int64_t dst_ld);

static inline size_t pack_size(int width, int64_t k, int64_t n)
{
    return (size_t)((n + width - 1) / width * width) * (size_t)k;
}
static inline int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}
/* Flops that tile_mm does for (m,n,k): the last columns are filled up to whole vectors. */
static inline double tile_flops(int64_t m, int64_t n, int64_t k)
{
    return 2.0 * (double)m * (double)round_up(n, VW) * (double)k;
}
/* Row distance of a private copy: whole panels, and an odd number of cache lines. */
static inline int64_t tile_pad(int64_t cols)
{
    return (round_up(cols, NR > 16 ? NR : 16) / 16 | 1) * 16;
}

#endif
