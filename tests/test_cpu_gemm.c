/* test_cpu_gemm.c - the cpu backend's matrix product against plain loops in double. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cpu_check.h"

enum { GAP = 3 }; /* columns behind every row that nobody may read or write */

static float next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / (float)(1 << 23) - 1.0f;
}

/* rows x cols in (-1, 1), GAP columns of NaN behind each row. */
static float *matrix(int64_t rows, int64_t cols, uint32_t seed)
{
    float *x = malloc((size_t)(rows * (cols + GAP)) * sizeof *x);
    cr_assert(x != NULL);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols + GAP; c++)
            x[r * (cols + GAP) + c] = c < cols ? next(&seed) : NAN;
    return x;
}

static double wanted(const Gemm *g, int64_t i, int64_t j, double c_before)
{
    const float *a = g->a, *b = g->b, *bias = g->bias;
    double sum = 0;
    for (int64_t p = 0; p < g->k; p++)
        sum += (double)a[g->ta ? p * g->lda + i : i * g->lda + p] *
               (double)b[g->tb ? j * g->ldb + p : p * g->ldb + j];
    return g->alpha * sum + (bias != NULL ? (double)bias[j] : 0.0) +
           (g->beta != 0 ? g->beta * c_before : 0.0);
}

/* A sum of k products of numbers in (-1,1) is of size sqrt(k) / 3, and so is the number of
 * roundings that do not cancel: 4 eps (1 + k / 3) leaves a factor of about four. */
static void compare(const Gemm *g, const float *before)
{
    const double tol = 4 * (double)FLT_EPSILON * (1.0 + (double)g->k / 3) * fabs(g->alpha);
    const float *c = g->c;
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = 0; j < g->n; j++) {
            double want = wanted(g, i, j, (double)before[i * g->ldc + j]);
            double got = (double)c[i * g->ldc + j];
            cr_assert(fabs(want - got) <= tol,
                      "m %ld n %ld k %ld ta %d tb %d: (%ld,%ld) is %g, not %g", (long)g->m,
                      (long)g->n, (long)g->k, g->ta, g->tb, (long)i, (long)j, got, want);
        }
        for (int64_t j = g->n; j < g->ldc; j++)
            cr_assert(isnan(c[i * g->ldc + j]), "row %ld: wrote behind column %ld", (long)i,
                      (long)g->n);
    }
}

typedef struct Form {
    bool ta, tb, bias;
    double alpha, beta;
} Form;

static void check(Dev *d, int64_t m, int64_t n, int64_t k, Form f)
{
    float *a = f.ta ? matrix(k, m, 1) : matrix(m, k, 1),
          *b = f.tb ? matrix(n, k, 2) : matrix(k, n, 2);
    float *c = matrix(m, n, 3), *before = matrix(m, n, 3), *bias = matrix(1, n, 4);
    Gemm g = {.m = m, .n = n, .k = k, .ta = f.ta, .tb = f.tb, .alpha = f.alpha, .beta = f.beta};
    g.a = a;
    g.b = b;
    g.c = c;
    g.bias = f.bias ? bias : NULL;
    g.lda = (f.ta ? m : k) + GAP;
    g.ldb = (f.tb ? k : n) + GAP;
    g.ldc = n + GAP;
    if (f.beta == 0)
        for (int64_t i = 0; i < m * g.ldc; i++)
            c[i] = NAN;
    cr_assert(dev_kernels(d)->gemm(d, &g) == ST_OK, "%s", status_reason());
    compare(&g, before);
    free(a);
    free(b);
    free(c);
    free(before);
    free(bias);
}

static const Form forms[] = {{false, false, false, 1.0, 0.0}, {false, true, true, 0.5, 0.0},
                             {true, false, false, 1.0, 1.0},  {true, true, true, -2.0, 1.0},
                             {false, false, true, 1.0, 1.0},  {false, true, false, 1.0, 1.0}};

static void odd_sizes(Dev *d)
{
    static const int64_t sizes[] = {1, 2, 5, 17, 33, 64, 100};
    for (int x = 0; x < COUNT(sizes) * COUNT(sizes) * COUNT(sizes); x++)
        check(d, sizes[x % 7], sizes[x / 7 % 7], sizes[x / 49], forms[x % COUNT(forms)]);
    for (int f = 0; f < COUNT(forms); f++) {
        check(d, 31, 29, 37, forms[f]);
        check(d, 9, 0, 5, forms[f]);
        check(d, 9, 7, 0, forms[f]);
        check(d, 3, 70, 0, forms[f]);
    }
}

Test(cpu_gemm, all_forms_and_odd_sizes)
{
    each_isa(odd_sizes);
}

/* Sizes at which blocks of k, stretches of blocks, slabs of n and a high A begin and end. */
static void boundaries(Dev *d)
{
    static const int64_t sizes[][3] = {
        {13, 40, 255}, {13, 40, 257}, {40, 13, 2049},  {97, 1025, 33},  {9, 2050, 70},
        {769, 33, 17}, {768, 65, 20}, {1000, 20, 300}, {1, 300, 1030},  {4, 1030, 300},
        {8, 129, 65},  {3, 200, 700}, {7, 15, 513},    {20, 100, 4100}, {2, 511, 100},
        {1, 32, 3000}, {4, 96, 2048}, {8, 16, 700},    {1, 1, 4100},    {2, 64, 1025}};
    for (int x = 0; x < COUNT(sizes); x++) {
        check(d, sizes[x][0], sizes[x][1], sizes[x][2], forms[x % COUNT(forms)]);
        check(d, sizes[x][0], sizes[x][1], sizes[x][2], forms[(x + 1) % COUNT(forms)]);
    }
}

Test(cpu_gemm, block_boundaries)
{
    each_isa(boundaries);
}

/* Operands that are read in place, and rows 4 KiB apart, which are copied first. */
static void layouts(Dev *d)
{
    static const int64_t sizes[][3] = {
        {13, 64, 300}, {23, 128, 270}, {25, 64, 70}, {30, 40, 1024 - GAP}, {1024 - GAP, 20, 300}};
    for (int x = 0; x < COUNT(sizes) * COUNT(forms); x++) {
        const int64_t *size = sizes[x / COUNT(forms)];
        check(d, size[0], size[1], size[2], forms[x % COUNT(forms)]);
    }
}

Test(cpu_gemm, operands_in_place_and_copied)
{
    each_isa(layouts);
}

static void same_bits(Dev *d, int64_t m, int64_t n, int64_t k)
{
    const size_t bytes = (size_t)(m * (n + GAP)) * sizeof(float);
    float *a = matrix(m, k, 1), *b = matrix(k, n, 2), *c[3];
    for (int t = 0; t < 3; t++) {
        c[t] = matrix(m, n, 3);
        omp_set_num_threads(t + 1);
        Gemm g = {.m = m, .n = n, .k = k, .alpha = 1, .beta = 1, .a = a, .b = b, .c = c[t]};
        g.lda = k + GAP;
        g.ldb = g.ldc = n + GAP;
        cr_assert(dev_kernels(d)->gemm(d, &g) == ST_OK);
        cr_assert(memcmp(c[0], c[t], bytes) == 0, "m %ld n %ld k %ld: %d threads", (long)m, (long)n,
                  (long)k, t + 1);
    }
    free(a);
    free(b);
    for (int t = 0; t < 3; t++)
        free(c[t]);
}

static void threads(Dev *d)
{
    same_bits(d, 300, 200, 600);
    same_bits(d, 900, 70, 300);
    same_bits(d, 64, 64, 3000);
    same_bits(d, 1, 700, 900);
}

Test(cpu_gemm, bits_do_not_depend_on_threads)
{
    each_isa(threads);
}

/* Cutting the rows of A changes no bit of C, so segments of a sequence equal the whole. */
static void cut_rows(Dev *d)
{
    enum { M = 200, N = 70, K = 300, CUT = 77 };
    float *a = matrix(M, K, 1), *b = matrix(K, N, 2), *whole = matrix(M, N, 3);
    float *parts = matrix(M, N, 3);
    Gemm g = {.m = M, .n = N, .k = K, .alpha = 1, .beta = 0, .a = a, .b = b, .c = whole};
    g.lda = K + GAP;
    g.ldb = g.ldc = N + GAP;
    cr_assert(dev_kernels(d)->gemm(d, &g) == ST_OK);
    g.m = CUT;
    g.c = parts;
    cr_assert(dev_kernels(d)->gemm(d, &g) == ST_OK);
    g.m = M - CUT;
    g.a = a + CUT * g.lda;
    g.c = parts + CUT * g.ldc;
    cr_assert(dev_kernels(d)->gemm(d, &g) == ST_OK);
    cr_assert(memcmp(whole, parts, M * (N + GAP) * sizeof(float)) == 0);
    free(a);
    free(b);
    free(whole);
    free(parts);
}

Test(cpu_gemm, bits_do_not_depend_on_other_rows)
{
    each_isa(cut_rows);
}

Test(cpu_gemm, unknown_instruction_set_is_refused)
{
    Dev *d = NULL;
    setenv("LONGMIX_ISA", "avx1024", 1);
    cr_assert(dev_open(&d, "cpu", 0, 0) == ST_USAGE);
    cr_assert(d == NULL);
    cr_assert(strstr(status_reason(), "avx1024") != NULL, "%s", status_reason());
    cr_assert(strstr(status_reason(), "base") != NULL, "%s", status_reason());
}
