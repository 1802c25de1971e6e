/* tile.c - the micro-kernel: an MR x NR tile of C in registers, broadcasts of A times rows of B. */
#include "kernels/cpu/tile.h"

/* A loop over rows must vanish early or acc stays in memory: gcc has to be told, clang unrolls by
 * itself but too late when told. */
#ifdef __clang__
#define FLAT
#else
#define FLAT _Pragma("GCC unroll 16")
#endif

enum { LONG = 128 }; /* sums that leave time to fetch C meanwhile */

/* One tile of C: rows and whole vectors of columns as given to the kernel. */
typedef struct Micro {
    const float *a, *b;
    float *c;
    int64_t a_row, a_col, b_row, ldc;
    int k;
    TileMode mode;
} Micro;

/* rows, vecs and cols are constants at every call and all loops over them unrolled, so that acc
 * lives in registers. cols: a_row is 1, so rows of A are displacements. */
/* clang-format off */
__attribute__((always_inline)) static inline void micro(const int rows, const int vecs,
                                                        const bool cols, const Micro *t)
{
    if (rows > MR)
        return;
    const float *a = t->a, *b = t->b;
    const int64_t ld = cols ? 1 : t->a_row, step = cols ? t->a_col : 1;
    vf acc[MR][2];
    FLAT
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vecs; j++)
            acc[i][j] = vset(0);
    if (t->k >= LONG)
        FLAT
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vecs * VW; j += 16)
            __builtin_prefetch(t->c + i * t->ldc + j, 1);
#pragma GCC unroll 4
    for (int p = 0; p < t->k; p++) {
        vf bv[2];
        for (int j = 0; j < vecs; j++)
            bv[j] = vload(b + j * VW);
        FLAT
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < vecs; j++)
                acc[i][j] += vset(a[i * ld]) * bv[j];
        a += step;
        b += t->b_row;
    }
    FLAT
    for (int i = 0; i < rows; i++) {
        float *c = t->c + i * t->ldc;
        for (int j = 0; j < vecs; j++)
            vstore(c + j * VW, t->mode == TILE_ADD ? vload(c + j * VW) + acc[i][j] : acc[i][j]);
    }
}
/* clang-format on */

__attribute__((always_inline)) static inline void micro_rows(int rows, const int vecs,
                                                             const bool cols, const Micro *t)
{
    switch (rows) {
    case 1:
        micro(1, vecs, cols, t);
        return;
    case 2:
        micro(2, vecs, cols, t);
        return;
    case 3:
        micro(3, vecs, cols, t);
        return;
    case 4:
        micro(4, vecs, cols, t);
        return;
    case 5:
        micro(5, vecs, cols, t);
        return;
    case 6:
        micro(6, vecs, cols, t);
        return;
    case 7:
        micro(7, vecs, cols, t);
        return;
    case 8:
        micro(8, vecs, cols, t);
        return;
    case 9:
        micro(9, vecs, cols, t);
        return;
    case 10:
        micro(10, vecs, cols, t);
        return;
    case 11:
        micro(11, vecs, cols, t);
        return;
    default:
        micro(MR, vecs, cols, t);
    }
}

/* One function per form, so that each keeps its registers to itself. */
__attribute__((noinline)) static void wide_cols(int rows, const Micro *t)
{
    micro_rows(rows, 2, true, t);
}
__attribute__((noinline)) static void wide_rows(int rows, const Micro *t)
{
    micro_rows(rows, 2, false, t);
}
__attribute__((noinline)) static void slim_cols(int rows, const Micro *t)
{
    micro_rows(rows, 1, true, t);
}
__attribute__((noinline)) static void slim_rows(int rows, const Micro *t)
{
    micro_rows(rows, 1, false, t);
}

static void call(int rows, int n, bool cols, const Micro *t)
{
    if (n > VW)
        cols ? wide_cols(rows, t) : wide_rows(rows, t);
    else
        cols ? slim_cols(rows, t) : slim_rows(rows, t);
}

/* n is not whole vectors: through a tile of our own, of which n columns are copied. */
static void call_edge(int rows, int n, bool cols, Micro t)
{
    float edge[MR * NR], *c = t.c;
    const int64_t ldc = t.ldc;
    const int lo = n < VW ? n : VW, hi = n - lo;
    if (t.mode == TILE_ADD)
        for (int i = 0; i < rows; i++) {
            vstore(edge + i * NR, vload_n(c + i * ldc, lo));
            vstore(edge + i * NR + VW, vload_n(c + i * ldc + lo, hi));
        }
    t.c = edge;
    t.ldc = NR;
    call(rows, n, cols, &t);
    for (int i = 0; i < rows; i++) {
        vstore_n(c + i * ldc, vload(edge + i * NR), lo);
        vstore_n(c + i * ldc + lo, vload(edge + i * NR + VW), hi);
    }
}

void CPU(tile_mm)(int m, int n, int k, TileA a, TileB b, float *c, int64_t ldc, TileMode mode)
{
    Micro t = {.a_row = a.row, .a_col = a.col, .b_row = b.row, .ldc = ldc, .k = k, .mode = mode};
    for (int j = 0; j < n; j += NR) {
        int width = n - j < NR ? n - j : NR;
        t.b = b.p + j / NR * b.panel;
        for (int i = 0; i < m; i += MR) {
            int rows = m - i < MR ? m - i : MR;
            t.a = a.p + i / MR * a.panel;
            t.c = c + i * ldc + j;
            if (width % VW == 0)
                call(rows, width, a.row == 1, &t);
            else
                call_edge(rows, width, a.row == 1, t);
        }
    }
}
