/* test_executed.c - what the cpu kernels say they did, against a count: the linker puts functions
 * of this file before the micro-kernel's, so every product that runs goes through them. */
#define CPU_ISA base /* for the declarations of tile.h; nothing of it is compiled here */
#include "kernels/cpu/tile.h"

#include "tests/cpu_check.h"
#include "tests/stand.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* ---- the count ---- */
static double counted;

typedef void Product(int m, int n, int k, TileA a, TileB b, float *c, int64_t ldc, TileMode mode);
Product real_base __asm__("__real_tile_mm_base"), real_avx2 __asm__("__real_tile_mm_avx2"),
    real_avx512 __asm__("__real_tile_mm_avx512");
Product seen_base __asm__("__wrap_tile_mm_base"), seen_avx2 __asm__("__wrap_tile_mm_avx2"),
    seen_avx512 __asm__("__wrap_tile_mm_avx512");

/* Multiply-adds in whole vectors of `wide` columns. */
static void count(int m, int n, int k, int wide)
{
    const double flops = 2.0 * m * k * ((n + wide - 1) / wide * wide);
#pragma omp atomic
    counted += flops;
}

void seen_base(int m, int n, int k, TileA a, TileB b, float *c, int64_t ldc, TileMode mode)
{
    count(m, n, k, 4);
    real_base(m, n, k, a, b, c, ldc, mode);
}
void seen_avx2(int m, int n, int k, TileA a, TileB b, float *c, int64_t ldc, TileMode mode)
{
    count(m, n, k, 8);
    real_avx2(m, n, k, a, b, c, ldc, mode);
}
void seen_avx512(int m, int n, int k, TileA a, TileB b, float *c, int64_t ldc, TileMode mode)
{
    count(m, n, k, 16);
    real_avx512(m, n, k, a, b, c, ldc, mode);
}

/* ---- single products ---- */
static void gemms(Dev *d)
{
    static const int64_t sizes[][3] = {{13, 37, 50}, {97, 1025, 33}, {200, 64, 300}, {30, 1, 7}};
    for (int i = 0; i < COUNT(sizes); i++) {
        const int64_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
        const double before = dev_counted_flops(d);
        Gemm g = {.m = m, .n = n, .k = k, .alpha = 1, .lda = k, .ldb = n, .ldc = n};
        g.a = pool_random(m * k, 1, 1);
        g.b = pool_random(n * k, 1, 2);
        g.c = pool_zeros(m * n);
        counted = 0;
        cr_assert_eq(dev_kernels(d)->gemm(d, &g), ST_OK);
        cr_expect_gt(counted, 0);
        cr_expect_eq(dev_counted_flops(d) - before, counted, "%ld x %ld x %ld", (long)m, (long)n,
                     (long)k);
        cr_expect_geq(counted, 2.0 * (double)(m * n * k));
    }
}

Test(executed, of_a_matrix_product)
{
    each_isa(gemms);
}

static void mults(Dev *d)
{
    static const int64_t rows[] = {1, 3, 8, 9, 50};
    enum { IN = 130, S = 12, M = 24 };
    for (int i = 0; i < COUNT(rows); i++) {
        const double before = dev_counted_flops(d);
        const Mult a = {.rows = rows[i],
                        .in = IN,
                        .modules = S,
                        .m = M,
                        .x = pool_random(rows[i] * IN, 1, 1),
                        .g = pool_random(IN * S, 1, 2),
                        .e = pool_random(IN * M, 1, 3),
                        .y = pool_zeros(rows[i] * S * M)};
        counted = 0;
        cr_assert_eq(dev_kernels(d)->mult_fwd(d, &a), ST_OK);
        const double said = dev_counted_flops(d) - before;
        cr_expect_geq(said, 2.0 * (double)rows[i] * IN * S * M);
        cr_expect_eq(said, counted, "%ld rows", (long)rows[i]);
    }
}

Test(executed, of_a_multiplicative_layer)
{
    each_isa(mults);
}

/* ---- whole layers ---- */

/* Layers whose products all go through the micro-kernel. */
static bool all_tiles(const Variant *v)
{
    static const char *const names[] = {"vanilla",     "transformer_pp", "gau",
                                        "gau_alpha",   "flash_linear",   "primer_relu2",
                                        "scaling_qkv", "scaling_loss",   "lsh"};
    for (int i = 0; i < COUNT(names); i++)
        if (strcmp(v->name, names[i]) == 0)
            return true;
    return false;
}

static double useful(const Stand *r)
{
    return tape_cost(r->m.tape).flops;
}

static void check_layer(const Variant *v, int64_t len, bool causal)
{
    Setting s = setting_small(v, "cpu");
    Stand r;
    s.len = len;
    s.causal = causal;
    if (!causal && (variant_caps(v) & CAP_BIDIRECTIONAL) == 0)
        return;
    stand_open(&r, &s);
    tape_grad(r.m.tape, false);
    const double before = dev_counted_flops(r.d);
    counted = 0;
    model_blocks(&r.m, &r.x);
    cr_assert_eq(tape_status(r.m.tape), ST_OK, "%s", status_reason());
    const double said = dev_counted_flops(r.d) - before;
    cr_expect_gt(counted, 0);
    if (all_tiles(v))
        cr_expect_eq(said, counted, "%s at %ld: said %.0f, %.0f were done", v->name, (long)len,
                     said, counted);
    else
        cr_expect_gt(said, counted, "%s at %ld", v->name, (long)len);
    if ((variant_caps(v) & CAP_CHOICES) == 0) /* hidden tiles and units that are 0 are left out */
        cr_expect_geq(said, useful(&r), "%s at %ld: %.0f of %.0f", v->name, (long)len, said,
                      useful(&r));
    tape_reset(r.m.tape);
    stand_close(&r);
}

Test(executed, of_a_layer)
{
    static const int64_t lens[] = {9, 37, 400};
    for (int i = 0; variant_table[i] != NULL; i++)
        for (int k = 0; k < COUNT(lens); k++) {
            check_layer(variant_table[i], lens[k], true);
            check_layer(variant_table[i], lens[k], false);
        }
}
