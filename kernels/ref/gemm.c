/* gemm.c - C = alpha op(A) op(B) + beta C + bias, one dot product an element. */
#include "kernels/ref/ref.h"

/* op(A)[i,p] is a[i * row + p * col], whichever way the matrix is stored. */
typedef struct View {
    const double *x;
    int64_t row, col;
} View;

static View view_of(const void *x, bool transposed, int64_t ld)
{
    return transposed ? (View){x, 1, ld} : (View){x, ld, 1};
}

static double element(View a, View b, int64_t i, int64_t j, int64_t k)
{
    double sum = 0.0;
    for (int64_t p = 0; p < k; p++)
        sum += a.x[i * a.row + p * a.col] * b.x[p * b.row + j * b.col];
    return sum;
}

static void row(const Gemm *g, int64_t i)
{
    View a = view_of(g->a, g->ta, g->lda), b = view_of(g->b, g->tb, g->ldb);
    const double *bias = g->bias;
    double *c = (double *)g->c + i * g->ldc;
    for (int64_t j = 0; j < g->n; j++) {
        double kept = g->beta == 0.0 ? 0.0 : g->beta * c[j]; /* C may hold garbage, NaN too */
        c[j] = g->alpha * element(a, b, i, j, g->k) + kept + (bias != NULL ? bias[j] : 0.0);
    }
}

Status ref_gemm(Dev *d, const Gemm *a)
{
    double flops = 2.0 * (double)a->m * (double)a->n * (double)a->k;
#pragma omp parallel for if (flops > REF_PARALLEL_WORK)
    for (int64_t i = 0; i < a->m; i++)
        row(a, i);
    dev_count_flops(d, flops);
    return ST_OK;
}
