/* gemm.c - C = alpha op(A) op(B) + beta C + bias: both operands packed, C made tile by tile.
 *
 * k is cut into blocks (a panel of B stays in L1, the block of A of a tile in L2), and for each
 * stretch of blocks and slab of columns B is packed by all threads. Of a low A, so is A; of a high
 * one every task packs its own rows. A task makes one tile of C, so cuts of m and n change no bits.
 */
#include <omp.h>

#include "kernels/cpu/cpu.h"

enum {
    KC = NR >= 32 ? 256 : 512,
    STRETCH = 2048 / KC, /* blocks of k packed at a time */
    SLAB = 1024,         /* columns packed at a time */
    MT = 96 / MR * MR,   /* rows of a task */
    LOW = 8 * MT,        /* rows up to which all of A is packed before the tasks */
    TASKS = 16,          /* wanted, where the shape allows */
    PACK_COLS = 2 * NR   /* of one packing task */
};

typedef struct Cut {
    int kc, mt, nt;         /* inner size of a block; rows and columns of a task */
    int64_t slab, stretch;  /* columns and inner size packed at a time */
    bool low;               /* A is packed before the tasks */
    int64_t a_block, a_all; /* floats: one block of a task's or all rows of A; all of A */
    int64_t b_all;          /* floats of B packed at a time */
} Cut;

/* ceil(n / parts) in whole units. */
static int64_t share(int64_t n, int64_t parts, int64_t unit)
{
    return round_up(ceil_div(n, parts), unit);
}

static Cut cut_of(const Gemm *a)
{
    Cut c = {.low = a->m <= LOW};
    const int64_t k = max64(a->k, 1);
    c.kc = (int)share(k, ceil_div(k, KC), 4);
    c.stretch = min64(STRETCH, ceil_div(k, c.kc)) * c.kc;
    c.slab = share(a->n, ceil_div(a->n, SLAB), NR);
    int64_t mt = share(a->m, ceil_div(a->m, MT), MR), nt = c.slab;
    while (nt > 2 * NR && ceil_div(a->m, mt) * ceil_div(c.slab, nt) < TASKS)
        nt = share(nt, 2, NR);
    while (mt > 2 * MR && ceil_div(a->m, mt) * ceil_div(c.slab, nt) < TASKS)
        mt = share(mt, 2, MR);
    c.mt = (int)mt;
    c.nt = (int)nt;
    c.a_block = (c.low ? round_up(a->m, mt) : mt) * tile_pad(c.kc);
    c.a_all = c.a_block * (c.low ? c.stretch / c.kc : omp_get_max_threads());
    c.b_all = c.slab * c.stretch;
    return c;
}

/* One stretch of k and slab of n: [k0, k0 + k), [n0, n0 + n). */
typedef struct Phase {
    const Gemm *g;
    const Cut *c;
    int64_t k0, k, n0, n;
    float *a, *b;
} Phase;

/* Inner size of block kb of the phase. */
static int block_k(const Phase *p, int64_t kb)
{
    return (int)min64(p->c->kc, p->k - kb * p->c->kc);
}
/* Packed columns from j0 (a multiple of NR) of block kb. */
static float *b_at(const Phase *p, int64_t kb, int64_t j0)
{
    return p->b + kb * p->c->kc * p->c->slab + j0 * block_k(p, kb);
}

static void pack_b(const Phase *p, int64_t kb, int64_t j0)
{
    const Gemm *g = p->g;
    const int k = block_k(p, kb), cols = (int)min64(PACK_COLS, p->n - j0);
    const int64_t k0 = p->k0 + kb * p->c->kc, n0 = p->n0 + j0;
    const float *b = g->b, alpha = (float)g->alpha;
    if (g->tb)
        CPU(pack_cols)(NR, k, cols, b + n0 * g->ldb + k0, g->ldb, alpha, b_at(p, kb, j0));
    else
        CPU(pack_rows)(NR, k, cols, b + k0 * g->ldb + n0, g->ldb, alpha, b_at(p, kb, j0));
}

/* Rows [i0, i0 + rows) of block kb as they lie in a packed block that begins with row `from`. */
static TileA a_at(const Phase *p, int64_t kb, int64_t i0, int64_t from, float *block)
{
    const int k = block_k(p, kb);
    if (p->g->ta)
        return a_packed(block + (i0 - from) * k, k);
    return a_rows(block + (i0 - from) * tile_pad(k), tile_pad(k));
}

static void pack_a(const Phase *p, int64_t kb, int64_t i0, int64_t from, float *block)
{
    const Gemm *g = p->g;
    const int k = block_k(p, kb), rows = (int)min64(p->c->mt, g->m - i0);
    const int64_t k0 = p->k0 + kb * p->c->kc;
    const float *a = g->a;
    if (g->ta)
        CPU(pack_rows)(MR, k, rows, a + k0 * g->lda + i0, g->lda, 1.0f, block + (i0 - from) * k);
    else
        CPU(copy_rows)
    (rows, k, a + i0 * g->lda + k0, g->lda, block + (i0 - from) * tile_pad(k), tile_pad(k));
}

/* Puts the bias under the sum; says whether the sum is to be added to what is there. */
static TileMode begin_tile(const Gemm *g, float *c, int rows, int64_t j0, int cols)
{
    const float *bias = g->bias;
    for (int i = 0; bias != NULL && i < rows; i++)
        for (int j = 0; j < cols; j++)
            c[i * g->ldc + j] = bias[j0 + j] + (g->beta != 0 ? c[i * g->ldc + j] : 0.0f);
    return bias != NULL || g->beta != 0 ? TILE_ADD : TILE_SET;
}

static void one_tile(const Phase *p, int64_t i0, int64_t j0)
{
    const Gemm *g = p->g;
    const Cut *c = p->c;
    const int rows = (int)min64(c->mt, g->m - i0), cols = (int)min64(c->nt, p->n - j0);
    float *out = (float *)g->c + i0 * g->ldc + p->n0 + j0;
    TileMode mode = p->k0 > 0 ? TILE_ADD : begin_tile(g, out, rows, p->n0 + j0, cols);
    float *mine = p->a + omp_get_thread_num() * c->a_block;
    for (int64_t kb = 0; kb == 0 || kb * c->kc < p->k; kb++, mode = TILE_ADD) {
        if (!c->low)
            pack_a(p, kb, i0, i0, mine);
        TileA left =
            c->low ? a_at(p, kb, i0, 0, p->a + kb * c->a_block) : a_at(p, kb, i0, i0, mine);
        CPU(tile_mm)
        (rows, cols, block_k(p, kb), left, b_packed(b_at(p, kb, j0), block_k(p, kb)), out, g->ldc,
         mode);
    }
}

static void one_phase(const Phase *p)
{
    const Cut *c = p->c;
    const int64_t blocks = ceil_div(p->k, c->kc), down = ceil_div(p->g->m, c->mt);
    const int64_t across = ceil_div(p->n, c->nt), packs = ceil_div(p->n, PACK_COLS);
#pragma omp for schedule(static) nowait
    for (int64_t t = 0; t < blocks * packs; t++)
        pack_b(p, t / packs, t % packs * PACK_COLS);
    if (c->low) {
#pragma omp for schedule(static) nowait
        for (int64_t t = 0; t < blocks * down; t++)
            pack_a(p, t / down, t % down * c->mt, 0, p->a + t / down * c->a_block);
    }
#pragma omp barrier
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < down * across; t++)
        one_tile(p, t / across * c->mt, t % across * c->nt);
}

static bool is_skinny(const Gemm *g)
{
    return g->m <= SKINNY && !g->ta;
}

size_t CPU(gemm_scratch)(const Gemm *a)
{
    const Cut c = cut_of(a);
    return is_skinny(a) ? 0 : (size_t)(round_up(c.a_all, 16) + c.b_all);
}

void CPU(gemm_in)(const Gemm *a, float *scratch)
{
    if (is_skinny(a)) {
        CPU(gemm_skinny)(a);
        return;
    }
    const Cut c = cut_of(a);
#pragma omp parallel if (a->m * a->n * a->k >= 16 * PARALLEL_FROM)
    for (int64_t n0 = 0; n0 < a->n; n0 += c.slab)
        for (int64_t k0 = 0; k0 == 0 || k0 < a->k; k0 += c.stretch) {
            Phase p = {.g = a, .c = &c, .k0 = k0, .n0 = n0};
            p.k = min64(c.stretch, a->k - k0);
            p.n = min64(c.slab, a->n - n0);
            p.a = scratch;
            p.b = scratch + round_up(c.a_all, 16);
            one_phase(&p);
        }
}

Status CPU(gemm)(Dev *d, const Gemm *a)
{
    void *scratch = NULL;
    if (a->m <= 0 || a->n <= 0)
        return ST_OK;
    TRY(dev_scratch(d, CPU(gemm_scratch)(a) * sizeof(float), &scratch));
    CPU(gemm_in)(a, scratch);
    return ST_OK;
}
