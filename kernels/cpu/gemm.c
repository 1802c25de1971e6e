/* gemm.c - C = alpha op(A) op(B) + beta C + bias: B packed once for all, A tile by tile.
 *
 * One task makes one tile of C over the whole of k, so no result depends on the number of threads.
 * The inner size is cut so that an NR-wide panel of B stays in L1, the tile's block of A in L2. */
#include <omp.h>

#include "kernels/cpu/cpu.h"

enum {
    KC = NR >= 32 ? 256 : 512,
    MT = 8 * MR >= 96 ? 8 * MR : 96 / MR * MR, /* rows of a task */
    NT_MIN = 2 * NR,
    SLAB_FLOATS = 1 << 20, /* of B packed at a time, or one panel */
    TASKS = 16,            /* wanted, where the shape allows */
    PACK_COLS = 8 * NR     /* of one packing task */
};

typedef struct Cut {
    int kc, mt, nt; /* inner size of a block; rows and columns of a task */
    int64_t slab;   /* columns of B packed at a time */
    int64_t a_size; /* floats of a thread's block of A */
} Cut;

/* ceil(n / parts) in whole units. */
static int64_t share(int64_t n, int64_t parts, int64_t unit)
{
    return round_up(ceil_div(n, parts), unit);
}

static Cut cut_of(const Gemm *a)
{
    Cut c;
    const int64_t k = max64(a->k, 1);
    c.kc = (int)share(k, ceil_div(k, KC), 4);
    c.slab = min64(round_up(a->n, NR), max64(NR, SLAB_FLOATS / k / NR * NR));
    int64_t mt = share(a->m, ceil_div(a->m, MT), MR), nt = c.slab;
    while (nt > NT_MIN && ceil_div(a->m, mt) * ceil_div(c.slab, nt) < TASKS)
        nt = share(nt, 2, NR);
    while (mt > 2 * MR && ceil_div(a->m, mt) * ceil_div(c.slab, nt) < TASKS)
        mt = share(mt, 2, MR);
    c.mt = (int)mt;
    c.nt = (int)nt;
    c.a_size = round_up(mt * tile_pad(c.kc), 16);
    return c;
}

/* The slab's columns [j0, j0 + cols) of block kb, in panels behind those of the blocks before. */
static void pack_b(const Gemm *a, const Cut *c, int64_t n0, int64_t kb, int64_t j0, float *slab)
{
    const int64_t k0 = kb * c->kc, n = min64(c->slab, a->n - n0);
    const int k = (int)min64(c->kc, a->k - k0), cols = (int)min64(PACK_COLS, n - j0);
    const float *b = a->b;
    float *dst = slab + k0 * c->slab + j0 * k;
    if (a->tb)
        CPU(pack_cols)(NR, k, cols, b + (n0 + j0) * a->ldb + k0, a->ldb, (float)a->alpha, dst);
    else
        CPU(pack_rows)(NR, k, cols, b + k0 * a->ldb + n0 + j0, a->ldb, (float)a->alpha, dst);
}

static TileA pack_a(const Gemm *a, int64_t i0, int rows, int64_t k0, int k, float *dst)
{
    const float *src = a->a;
    if (a->ta) {
        CPU(pack_rows)(MR, k, rows, src + k0 * a->lda + i0, a->lda, 1.0f, dst);
        return a_packed(dst, k);
    }
    CPU(copy_rows)(rows, k, src + i0 * a->lda + k0, a->lda, dst, tile_pad(k));
    return a_rows(dst, tile_pad(k));
}

/* Puts the bias under the sum; says whether the sum is to be added to what is there. */
static TileMode begin_tile(const Gemm *a, float *c, int rows, int64_t j0, int cols)
{
    const float *bias = a->bias;
    for (int i = 0; bias != NULL && i < rows; i++)
        for (int j = 0; j < cols; j++)
            c[i * a->ldc + j] = bias[j0 + j] + (a->beta != 0 ? c[i * a->ldc + j] : 0.0f);
    return bias != NULL || a->beta != 0 ? TILE_ADD : TILE_SET;
}

static void one_task(const Gemm *a, const Cut *c, int64_t n0, int64_t i0, int64_t j0,
                     const float *slab, float *a_block)
{
    const int rows = (int)min64(c->mt, a->m - i0);
    const int cols = (int)min64(c->nt, min64(c->slab, a->n - n0) - j0);
    float *out = (float *)a->c + i0 * a->ldc + n0 + j0;
    TileMode mode = begin_tile(a, out, rows, n0 + j0, cols);
    for (int64_t k0 = 0; k0 == 0 || k0 < a->k; k0 += c->kc, mode = TILE_ADD) {
        const int k = (int)min64(c->kc, a->k - k0);
        TileA left = pack_a(a, i0, rows, k0, k, a_block);
        const float *right = slab + k0 * c->slab + j0 * k;
        CPU(tile_mm)(rows, cols, k, left, b_packed(right, k), out, a->ldc, mode);
    }
}

static void one_slab(const Gemm *a, const Cut *c, int64_t n0, float *slab, float *a_blocks)
{
    const int64_t n = min64(c->slab, a->n - n0), packs = ceil_div(n, PACK_COLS);
    const int64_t blocks = ceil_div(a->k, c->kc), across = ceil_div(n, c->nt);
    float *mine = a_blocks + omp_get_thread_num() * c->a_size;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < blocks * packs; t++)
        pack_b(a, c, n0, t / packs, t % packs * PACK_COLS, slab);
#pragma omp for schedule(dynamic)
    for (int64_t t = 0; t < ceil_div(a->m, c->mt) * across; t++)
        one_task(a, c, n0, t / across * c->mt, t % across * c->nt, slab, mine);
}

static bool is_skinny(const Gemm *a)
{
    return a->m <= SKINNY && !a->ta;
}

size_t CPU(gemm_scratch)(const Gemm *a)
{
    Cut c = cut_of(a);
    return (size_t)(round_up(c.slab * a->k, 16) + omp_get_max_threads() * c.a_size);
}

void CPU(gemm_in)(const Gemm *a, float *scratch)
{
    if (is_skinny(a)) {
        CPU(gemm_skinny)(a);
        return;
    }
    const Cut c = cut_of(a);
    float *a_blocks = scratch + round_up(c.slab * a->k, 16);
#pragma omp parallel if (a->m * a->n * a->k >= 8 * PARALLEL_FROM)
    for (int64_t n0 = 0; n0 < a->n; n0 += c.slab)
        one_slab(a, &c, n0, scratch, a_blocks);
}

Status CPU(gemm)(Dev *d, const Gemm *a)
{
    void *scratch = NULL;
    if (a->m <= 0 || a->n <= 0)
        return ST_OK;
    if (!is_skinny(a))
        TRY(dev_scratch(d, CPU(gemm_scratch)(a) * sizeof(float), &scratch));
    CPU(gemm_in)(a, scratch);
    return ST_OK;
}
