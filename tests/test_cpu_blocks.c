/* test_cpu_blocks.c - blocks of units of the cpu backend against ref: soft masks, picks and the
 * layer that computes one unit of a block, around the widths of vectors, groups and cuts. */
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static Dev *ref;

static void open_ref(void)
{
    cr_assert(dev_open(&ref, "ref", 0, 0) == ST_OK);
}
static void close_ref(void)
{
    dev_close(ref);
}
TestSuite(cpu_blocks, .init = open_ref, .fini = close_ref);

/* One number, and one less, as many and one more than vectors of 4, 8 and 16 hold, or two of them.
 */
static const int widths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33};

/* As pool_random, with numbers behind them that spoil whoever reads too far. */
static float *guarded(int64_t n, double sd, uint32_t seed)
{
    enum { BEHIND = 32 };
    float *x = pool_random(n + BEHIND, sd, seed);
    for (int64_t i = n; i < n + BEHIND; i++)
        x[i] = NAN;
    return x;
}

/* ---- soft masks ---- */
static Status soft_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->soft_blocks_fwd(d, a);
}
static Status soft_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->soft_blocks_bwd(d, a);
}

static void expect_soft(Dev *d, int64_t n, int block, const float *z)
{
    char what[64];
    const int64_t all = n * block;
    SoftBlocks a = {.n = n, .block = block, .z = z, .m = guarded(all, 0, 9)}, w = a;
    a.dm = guarded(all, 1, 2);
    a.dz = guarded(all, 1, 3);
    w.z = pool_widen(z, all);
    w.m = pool_doubles(all);
    w.dm = pool_widen(a.dm, all);
    w.dz = pool_widen(a.dz, all);
    snprintf(what, sizeof what, "%ld blocks of %d", (long)n, block);
    cr_assert(soft_fwd(ref, &w) == ST_OK && soft_bwd(ref, &w) == ST_OK);
    Out fwd[] = {{a.m, all, w.m, 1e-6}}, bwd[] = {{a.dz, all, w.dz, 5e-6}};
    cpu_expect(d, soft_fwd, &a, fwd, 1, what);
    cpu_expect(d, soft_bwd, &a, bwd, 1, what);
}

static void soft(Dev *d)
{
    for (int i = 0; i < COUNT(widths); i++) {
        expect_soft(d, 1, widths[i], guarded(widths[i], 2, 1));
        expect_soft(d, 7, widths[i], guarded(7 * widths[i], 2, 1));
        pool_free();
    }
    expect_soft(d, 5000, 9, guarded(5000 * 9, 2, 1)); /* several threads */
    pool_free();
}
Test(cpu_blocks, soft_blocks)
{
    each_isa(soft);
}

/* Equal logits, far ones, and logits that only differences bring into range. */
static void soft_extremes(Dev *d)
{
    float z[3 * 17];
    for (int i = 0; i < 17; i++) {
        z[i] = 3;
        z[17 + i] = i == 16 ? 100 : -100;
        z[34 + i] = 30000.0f + (float)i;
    }
    expect_soft(d, 3, 17, z);
    pool_free();
}
Test(cpu_blocks, soft_blocks_of_equal_and_far_logits)
{
    each_isa(soft_extremes);
}

/* ---- picks ---- */
static void expect_picks(Dev *d, Pick a, const float *z, const float *u)
{
    int32_t got[64], want[64];
    Pick w = a;
    cr_assert(a.n <= COUNT(got));
    a.z = z;
    a.u = u;
    a.pick = got;
    w.z = pool_widen(z, a.n * a.block);
    w.u = u != NULL ? pool_widen(u, a.n * a.block) : NULL;
    w.pick = want;
    memset(got, 9, sizeof got);
    cr_assert(dev_kernels(ref)->pick(ref, &w) == ST_OK && dev_kernels(d)->pick(d, &a) == ST_OK);
    for (int64_t i = 0; i < a.n; i++)
        cr_expect_eq(got[i], want[i], "block %ld of %d: unit %d, not %d", (long)i, a.block, got[i],
                     want[i]);
}

static void picks(Dev *d)
{
    float *u = guarded(64 * 33, 1, 5);
    for (int64_t i = 0; i < 64 * 33; i++)
        u[i] = (float)(0.5 + 0.5 * tanh((double)u[i]));
    u[0] = 0; /* clamped */
    u[1] = 1;
    for (int i = 0; i < COUNT(widths); i++) {
        const float *z = guarded(64 * widths[i], 1, 4);
        expect_picks(d, (Pick){.n = 64, .block = widths[i]}, z, NULL);
        expect_picks(d, (Pick){.n = 1, .block = widths[i]}, z, NULL);
        expect_picks(d, (Pick){.n = 64, .block = widths[i], .tau = 0.7}, z, u);
        expect_picks(d, (Pick){64, widths[i], 0.7, .seed = 3, .offset = 77, .stream = 5}, z, NULL);
    }
    pool_free();
}
Test(cpu_blocks, picks)
{
    each_isa(picks);
}

/* The first of two that lead, wherever they stand; of all; and of none that is above -infinity. */
static void tied_picks(Dev *d)
{
    enum { MOST = 33 };
    int32_t pick;
    for (int w = 0; w < COUNT(widths); w++)
        for (int first = 0; first < widths[w]; first++)
            for (int second = first; second < widths[w]; second += 1 + widths[w] / 5) {
                float z[MOST];
                for (int i = 0; i < widths[w]; i++)
                    z[i] = i == first || i == second ? -1.5f : -2;
                Pick a = {.n = 1, .block = widths[w], .z = z, .pick = &pick};
                cr_assert(dev_kernels(d)->pick(d, &a) == ST_OK);
                cr_expect_eq(pick, first, "%d and %d of %d lead, %d is picked", first, second,
                             widths[w], pick);
            }
    float low[MOST];
    for (int i = 0; i < MOST; i++)
        low[i] = -HUGE_VALF;
    Pick a = {.n = 1, .block = MOST, .z = low, .pick = &pick};
    cr_assert(dev_kernels(d)->pick(d, &a) == ST_OK);
    cr_expect_eq(pick, 0);
}
Test(cpu_blocks, picks_of_ties)
{
    each_isa(tied_picks);
}

/* ---- the layer ---- */
static Status ff_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->sparse_ff_fwd(d, a);
}
static Status ff_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->sparse_ff_bwd(d, a);
}

/* Backward from the u that the cpu found: which unit is active is then one question. */
static void expect_backward(Dev *d, SparseFf a, SparseFf w, double size_of_dy, const char *what)
{
    const int64_t units = (int64_t)a.blocks * a.block, n = a.rows * a.width;
    a.dy = guarded(n, size_of_dy, 6);
    w.dy = pool_widen(a.dy, n);
    w.u = pool_widen(a.u, a.rows * a.blocks);
    float *grad[] = {a.dx, a.dw1, a.dw2, a.dbias, a.dz};
    const int64_t size[] = {n, units * a.width, units * a.width, a.width, a.rows * units};
    void **const wide[] = {&w.dx, &w.dw1, &w.dw2, &w.dbias, &w.dz};
    Out out[COUNT(grad)];
    int n_out = 0;
    for (int i = 0; i < COUNT(grad); i++) {
        *wide[i] = grad[i] != NULL ? pool_widen(grad[i], size[i]) : NULL;
        if (grad[i] != NULL)
            out[n_out++] =
                (Out){grad[i], size[i], *wide[i], 3 * sum_tol(a.width + a.blocks + a.rows)};
    }
    cr_assert(ff_bwd(ref, &w) == ST_OK);
    cpu_expect(d, ff_bwd, &a, out, n_out, what);
}

static void expect_ff(Dev *d, SparseFf a, float size_of_x)
{
    char what[96];
    const int64_t units = (int64_t)a.blocks * a.block, n = a.rows * a.width;
    snprintf(what, sizeof what, "%ld rows of %d, %d blocks of %d%s", (long)a.rows, a.width,
             a.blocks, a.block, a.scaled ? ", scaled" : "");
    a.x = guarded(n, (double)size_of_x, 1);
    a.w1 = guarded(units * a.width, 1, 2);
    a.w2 = guarded(units * a.width, 1, 3);
    a.bias = a.blocks % 2 != 0 ? guarded(a.width, 1, 4) : NULL;
    a.z = guarded(a.rows * units, 1, 5);
    a.pick = pool_ids(a.rows * a.blocks, a.block, 6);
    a.y = pool_zeros(n);
    a.u = pool_zeros(a.rows * a.blocks);
    SparseFf w = a;
    w.x = pool_widen(a.x, n);
    w.w1 = pool_widen(a.w1, units * a.width);
    w.w2 = pool_widen(a.w2, units * a.width);
    w.bias = a.bias != NULL ? pool_widen(a.bias, a.width) : NULL;
    w.z = pool_widen(a.z, a.rows * units);
    w.y = pool_doubles(n);
    w.u = pool_doubles(a.rows * a.blocks);
    cr_assert(ff_fwd(ref, &w) == ST_OK);
    Out out[] = {{a.y, n, w.y, 3 * sum_tol(a.width + a.blocks)},
                 {a.u, a.rows * a.blocks, w.u, sum_tol(a.width)}};
    cpu_expect(d, ff_fwd, &a, out, 2, what);
    a.dx = guarded(n, 1, 7);
    a.dw1 = guarded(units * a.width, 1, 8);
    a.dw2 = guarded(units * a.width, 1, 9);
    a.dbias = a.bias != NULL ? guarded(a.width, 1, 10) : NULL;
    a.dz = guarded(a.rows * units, 1, 11);
    expect_backward(d, a, w, size_of_x > 0 ? (double)size_of_x : 1, what);
    pool_free();
}

static void layers(Dev *d)
{
    for (int i = 0; i < COUNT(widths); i++) {
        SparseFf a = {.rows = 3, .width = widths[i], .blocks = 1 + i % 6, .block = 4};
        expect_ff(d, a, 1);
        a.width = 19;
        a.block = widths[i];
        a.scaled = i % 2 == 0;
        expect_ff(d, a, 1);
        a.block = 3;
        a.blocks = widths[i];
        expect_ff(d, a, 1);
    }
    static const int64_t rows[] = {1, 15, 16, 17, 40}; /* few are cut by columns, many by rows */
    for (int i = 0; i < COUNT(rows); i++)
        expect_ff(d, (SparseFf){rows[i], .width = 24, .blocks = 5, .block = 2, .scaled = true}, 1);
    /* one row of decode, wide enough for several tasks of columns and of units */
    expect_ff(d, (SparseFf){1, .width = 1100, .blocks = 70, .block = 2}, 0.01f);
    expect_ff(d, (SparseFf){2, .width = 257, .blocks = 9, .block = 1}, 0.05f);
}
Test(cpu_blocks, layer)
{
    each_isa(layers);
}

/* x = 0: no unit is active, nothing but the bias comes out, and nothing goes back but to it. */
static void silent(Dev *d)
{
    expect_ff(d, (SparseFf){1, .width = 17, .blocks = 5, .block = 3}, 0);
    expect_ff(d, (SparseFf){20, .width = 8, .blocks = 3, .block = 2, .scaled = true}, 0);
}
Test(cpu_blocks, layer_without_an_active_unit)
{
    each_isa(silent);
}
