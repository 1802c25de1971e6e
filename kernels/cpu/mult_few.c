/* mult_few.c - the multiplicative layer of few rows: y[r, s M + m] = sum_i x[r,i] g[i,s] e[i,m].
 *
 * For a row this is the product of g' and e with row i of one of them scaled by x[r,i]: i is cut
 * into spans, tasks whose sums are added in order, and these into blocks; of a block the left
 * factor is copied, scaled, and the right one read in place where it is whole panels. The right
 * factor is the one with less to fill up to whole vectors. Roof: the multiply-adds, 2 S M for S + M
 * numbers, after reading these from memory: asking for the next block meanwhile gained nothing. */
#include <omp.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

enum {
    KB = 128,  /* i of a block */
    SPANS = 16 /* wanted */
};

typedef struct Few {
    const Mult *a;
    const float *left, *right; /* (in, l_width), (in, r_width) */
    int64_t l_width, r_width;
    int64_t lines, ld; /* rows * l_width: rows of the product; row distance of a block of these */
    bool swapped;      /* the left factor is e */
    int64_t blocks, spans, mine;
    float *scratch, *part; /* (threads, mine), (spans, lines, r_width) */
} Few;

static Few plan(const Mult *a)
{
    Few f = {.a = a, .left = a->g, .right = a->e, .l_width = a->modules, .r_width = a->m};
    const int64_t by_m = a->modules * round_up(a->m, VW), by_s = a->m * round_up(a->modules, VW);
    f.swapped = by_s < by_m;
    if (f.swapped) {
        f.left = a->e;
        f.right = a->g;
        f.l_width = a->m;
        f.r_width = a->modules;
    }
    f.lines = a->rows * f.l_width;
    f.ld = tile_pad(f.lines);
    f.blocks = ceil_div(a->in, KB);
    f.spans = min64(f.blocks, SPANS);
    f.mine = round_up(KB * (f.ld + round_up(f.r_width, NR)), 16);
    return f;
}

/* Line (r, l) of i: x[r,i] left[i,l]. */
static void scale_left(const Few *f, int64_t i0, int k, float *to)
{
    for (int p = 0; p < k; p++, to += f->ld)
        for (int64_t r = 0; r < f->a->rows; r++)
            row_scale(to + r * f->l_width, f->left + (i0 + p) * f->l_width, f->l_width,
                      ((const float *)f->a->x)[r * f->a->in + i0 + p]);
}

static TileB right_of(const Few *f, int64_t i, int k, float *packed)
{
    const float *right = f->right + i * f->r_width;
    if (f->r_width % NR == 0)
        return b_rows(right, f->r_width);
    CPU(pack_rows)(NR, k, (int)f->r_width, right, f->r_width, 1.0f, packed);
    return b_packed(packed, k);
}

static void one_block(const Few *f, int64_t i, float *z, float *out, TileMode mode)
{
    const int k = (int)min64(KB, f->a->in - i);
    scale_left(f, i, k, z);
    CPU(tile_mm)
    ((int)f->lines, (int)f->r_width, k, a_cols(z, f->ld), right_of(f, i, k, z + KB * f->ld), out,
     f->r_width, mode);
}

static void one_span(const Few *f, int64_t span)
{
    float *z = f->scratch + omp_get_thread_num() * f->mine;
    float *out = f->part + span * f->lines * f->r_width;
    int64_t block = span * f->blocks / f->spans, end = (span + 1) * f->blocks / f->spans;
    for (TileMode mode = TILE_SET; block < end; block++, mode = TILE_ADD)
        one_block(f, block * KB, z, out, mode);
}

/* Where numbers [j, j + VW) of line l belong: neighbours in y, or M apart. */
static void put(const Few *f, int64_t l, int64_t j, vf sum)
{
    const Mult *a = f->a;
    const int64_t M = a->m, n = f->r_width - j;
    const float *bias = a->bias;
    if (!f->swapped) {
        const int64_t at = l * M + j;
        vput((float *)a->y + at, bias != NULL ? sum + vget(bias + l % a->modules * M + j, n) : sum,
             n);
        return;
    }
    float *y = (float *)a->y + l / M * M * a->modules;
    for (int i = 0; i < VW && i < n; i++) {
        const int64_t c = (j + i) * M + l % M;
        y[c] = sum[i] + (bias != NULL ? bias[c] : 0.0f);
    }
}

static void add_spans(const Few *f, int64_t l)
{
    const int64_t all = f->lines * f->r_width;
    for (int64_t j = 0; j < f->r_width; j += VW) {
        const float *part = f->part + l * f->r_width + j;
        vf sum = vset(0);
        for (int64_t i = 0; i < f->spans; i++, part += all)
            sum += vget(part, f->r_width - j);
        put(f, l, j, sum);
    }
}

/* Few lines (a vocabulary in some modules): a product of few rows with a wide e. */
static Status skinny(Dev *d, const Few *f)
{
    const Mult *a = f->a;
    const int64_t S = a->modules, M = a->m, in = a->in;
    void *z;
    TRY(dev_scratch(d, (size_t)(f->lines * in) * sizeof(float), &z));
    for (int64_t l = 0; l < f->lines; l++)
        for (int64_t i = 0; i < in; i++)
            ((float *)z)[l * in + i] =
                ((const float *)a->x)[l / S * in + i] * ((const float *)a->g)[i * S + l % S];
    const Gemm g = {.m = f->lines,
                    .n = M,
                    .k = in,
                    .alpha = 1,
                    .a = z,
                    .b = a->e,
                    .c = a->y,
                    .lda = in,
                    .ldb = M,
                    .ldc = M};
    CPU(gemm_skinny)(&g);
    for (int64_t l = 0; l < f->lines && a->bias != NULL; l++)
        row_add((float *)a->y + l * M, (const float *)a->bias + l % S * M, M);
    dev_count_flops(d, CPU(gemm_flops)(&g));
    return ST_OK;
}

Status CPU(mult_few)(Dev *d, const Mult *a)
{
    Few f = plan(a);
    if (!f.swapped && f.lines <= SKINNY)
        return skinny(d, &f);
    void *scratch;
    const int64_t own = omp_get_max_threads() * f.mine, all = f.lines * f.r_width;
    TRY(dev_scratch(d, (size_t)(own + f.spans * all) * sizeof(float), &scratch));
    f.scratch = scratch;
    f.part = f.scratch + own;
#pragma omp parallel if (all * a->in > PARALLEL_FROM)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < f.spans; i++)
            one_span(&f, i);
#pragma omp for schedule(static)
        for (int64_t l = 0; l < f.lines; l++)
            add_spans(&f, l);
    }
    dev_count_flops(d, tile_flops(f.lines, f.r_width, a->in));
    return ST_OK;
}
