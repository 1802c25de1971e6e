/* kernel_products.c - the three products of a linear layer, by the backend's own kernel and by
 * OpenBLAS on fixed tiles, and a matrix times one vector. */
#include "bench/kernel.h"

#include <cblas.h>
#include <omp.h>
#include <string.h>

/* y (n,width) = x (n,k) w (k,width);  dw = x' dy;  dx = dy w'. */
enum { A, B, C, N_OPERANDS };
enum { FORM_Y, FORM_DW, FORM_DX };

static Gemm gemm_of(const KernelShape *s, void *const p[])
{
    int64_t n = s->rows, w = s->width, k = s->opt[OPT_K];
    const Gemm form[] = {
        [FORM_Y] = {.m = n, .n = w, .k = k, .lda = k, .ldb = w, .ldc = w},
        [FORM_DW] = {.m = k, .n = w, .k = n, .ta = true, .beta = 1, .lda = k, .ldb = w, .ldc = w},
        [FORM_DX] = {.m = n, .n = k, .k = w, .tb = true, .beta = 1, .lda = w, .ldb = w, .ldc = k}};
    Gemm g = form[s->opt[OPT_FORM]];
    g.alpha = 1;
    if (p == NULL)
        return g;
    g.a = p[A];
    g.b = p[B];
    g.c = p[C];
    return g;
}

static void plan(const KernelShape *s, KernelPlan *p)
{
    Gemm g = gemm_of(s, NULL);
    p->n = N_OPERANDS;
    p->operand[A] = (Operand){.n = g.m * g.k, .role = ROLE_INPUT};
    p->operand[B] = (Operand){.n = g.k * g.n, .role = ROLE_INPUT};
    p->operand[C] = (Operand){.n = g.m * g.n, .role = g.beta > 0 ? ROLE_SUM : ROLE_OUTPUT};
    p->flops = 2 * (double)g.m * (double)g.n * (double)g.k;
}

static Status run_own(Dev *d, const KernelShape *s, void *const p[])
{
    Gemm g = gemm_of(s, p);
    return dev_kernels(d)->gemm(d, &g);
}

const Kernel kernel_gemm = {
    .name = "gemm",
    .help = "a linear layer's product: n rows, width and k columns; form 0 y, 1 dw, 2 dx",
    .plan = plan,
    .run = run_own,
};

/* ---- OpenBLAS, with tiles cut by shape alone: the same bits for any number of threads ---- */
static void tile(const Gemm *g, int64_t row, int64_t col, int64_t size)
{
    int m = (int)min64(size, g->m - row), n = (int)min64(size, g->n - col);
    const float *a = g->a, *b = g->b;
    float *c = g->c;
    cblas_sgemm(CblasRowMajor, g->ta ? CblasTrans : CblasNoTrans, g->tb ? CblasTrans : CblasNoTrans,
                m, n, (int)g->k, 1.0f, a + (g->ta ? row : row * g->lda), (int)g->lda,
                b + (g->tb ? col * g->ldb : col), (int)g->ldb, (float)g->beta,
                c + row * g->ldc + col, (int)g->ldc);
}

static Status run_blas(Dev *d, const KernelShape *s, void *const p[])
{
    enum { TILE = 256 };
    Gemm g = gemm_of(s, p);
    if (strcmp(dev_name(d), "cpu") != 0)
        return dev_kernels(d)->gemm(d, &g); /* ref and dry: what it is held against */
    int64_t across = ceil_div(g.n, TILE), all = across * ceil_div(g.m, TILE);
    int threads = omp_get_max_threads();
    openblas_set_num_threads(1); /* it may change OpenMP's number as well */
    omp_set_num_threads(threads);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < all; i++)
        tile(&g, i / across * TILE, i % across * TILE, TILE);
    return ST_OK;
}

const Kernel kernel_gemm_blas = {
    .name = "gemm_blas",
    .help = "the same by OpenBLAS on tiles of 256 x 256, for comparison",
    .plan = plan,
    .run = run_blas,
};

/* ---- one row ---- */
const Kernel kernel_matvec = {
    .name = "matvec",
    .help = "one row (or n) times a matrix k x width that is in no cache: decode",
    .plan = plan,
    .run = run_own,
    .cold = true,
};
