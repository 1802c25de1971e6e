/* gemm.c - C = alpha op(A) op(B) + beta C + bias: B packed in panels, A read where it lies.
 *
 * Tiling: a task makes mt x nt of C, so cuts of m and n change no bits. k is cut into blocks of kc:
 * a panel of B (kc x NR, at most 32 KiB) stays in L1 while the task's rows of A (mt x kc) pass by
 * from L2. All threads pack B, a slab of columns and a stretch of blocks at a time (at most 4 MiB,
 * so it stays in L3). Rows of A that lie a multiple of 4 KiB apart would share their cache sets:
 * these a task copies first.
 * Traffic: A is read n / nt times from L3, B ceil(m / mt) times, C 2 k / stretch times.
 * Roof: the multiply-adds, except for low m, n or k, where packing and C count. Few rows of A take
 * B where it lies (B stored (k,n)), and up to SKINNY of them go to gemm_skinny.c. */
#include <omp.h>

#include "kernels/cpu/cpu.h"

enum {
    KC = NR >= 32 ? 256 : 512,
    STRETCH = 1024 / KC, /* blocks of k packed at a time */
    SLAB = 1024,         /* columns packed at a time */
    MT = 96 / MR * MR,   /* rows of a task */
    FEW = 2 * MR,        /* rows that do not repay packing B */
    TASKS = 16,          /* wanted, where the shape allows */
    PACK_COLS = 2 * NR   /* of one packing task */
};

typedef struct Cut {
    int kc, mt, nt;        /* inner size of a block; rows and columns of a task */
    int64_t slab, stretch; /* columns and inner size packed at a time */
    bool copy_a, pack_b;
    int64_t a_block, b_all; /* floats: one thread's copy of rows of A; of B packed at a time */
} Cut;

/* ceil(n / parts) in whole units. */
static int64_t share(int64_t n, int64_t parts, int64_t unit)
{
    return round_up(ceil_div(n, parts), unit);
}

static Cut cut_of(const Gemm *a)
{
    const int64_t k = max64(a->k, 1);
    Cut c = {.copy_a = a->lda % PAGE == 0};
    c.pack_b = a->tb || a->m > FEW || a->n % NR != 0 || a->alpha != 1.0;
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
    c.a_block = c.copy_a ? max64(mt * tile_pad(c.kc), c.kc * tile_pad(mt)) : 0;
    c.b_all = c.pack_b ? c.slab * c.stretch : 0;
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

/* Columns [j0, ...) of block kb. */
static TileB right_of(const Phase *p, int64_t kb, int64_t j0)
{
    const Gemm *g = p->g;
    if (p->c->pack_b)
        return b_packed(b_at(p, kb, j0), block_k(p, kb));
    return b_rows((const float *)g->b + (p->k0 + kb * p->c->kc) * g->ldb + p->n0 + j0, g->ldb);
}

/* Rows [i0, i0 + rows) of block kb; copy: room for one block. */
static TileA left_of(const Phase *p, int64_t kb, int64_t i0, int rows, float *copy)
{
    const Gemm *g = p->g;
    const int64_t k0 = p->k0 + kb * p->c->kc;
    const int k = block_k(p, kb), lines = g->ta ? k : rows, length = g->ta ? rows : k;
    const float *a = (const float *)g->a + (g->ta ? k0 * g->lda + i0 : i0 * g->lda + k0);
    int64_t ld = g->lda;
    if (p->c->copy_a) {
        ld = tile_pad(length);
        CPU(copy_rows)(lines, length, a, g->lda, copy, ld);
        a = copy;
    }
    return g->ta ? a_cols(a, ld) : a_rows(a, ld);
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
    float *copy = p->a + omp_get_thread_num() * c->a_block;
    for (int64_t kb = 0; kb == 0 || kb * c->kc < p->k; kb++, mode = TILE_ADD) {
        const TileA left = left_of(p, kb, i0, rows, copy);
        CPU(tile_mm)
        (rows, cols, block_k(p, kb), left, right_of(p, kb, j0), out, g->ldc, mode);
    }
}

static void one_phase(const Phase *p)
{
    const Cut *c = p->c;
    const int64_t blocks = c->pack_b ? ceil_div(p->k, c->kc) : 0, down = ceil_div(p->g->m, c->mt);
    const int64_t across = ceil_div(p->n, c->nt), packs = ceil_div(p->n, PACK_COLS);
    if (blocks > 0) {
#pragma omp for schedule(static)
        for (int64_t t = 0; t < blocks * packs; t++)
            pack_b(p, t / packs, t % packs * PACK_COLS);
    }
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
    return is_skinny(a) ? 0 : (size_t)(omp_get_max_threads() * c.a_block + c.b_all);
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
            p.b = scratch + omp_get_max_threads() * c.a_block;
            one_phase(&p);
        }
}

double CPU(gemm_flops)(const Gemm *a)
{
    return is_skinny(a) ? CPU(skinny_flops)(a) : tile_flops(a->m, a->n, a->k);
}

Status CPU(gemm)(Dev *d, const Gemm *a)
{
    void *scratch = NULL;
    if (a->m <= 0 || a->n <= 0)
        return ST_OK;
    TRY(dev_scratch(d, CPU(gemm_scratch)(a) * sizeof(float), &scratch));
    CPU(gemm_in)(a, scratch);
    dev_count_flops(d, CPU(gemm_flops)(a));
    return ST_OK;
}
