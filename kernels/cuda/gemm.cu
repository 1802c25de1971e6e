/* gemm.cu - matrix products by cuBLASLt, with the bias as its epilogue.
 *
 * Row-major C = op(A) op(B) is the library's column-major C' = op(B)' op(A)': the operands change
 * places, nothing is moved, and the bias runs along C's columns, which are the library's rows.
 * Work: 2 m n k FLOPs; bytes: 4 (m k + k n + m n), once each were caches perfect. Roofline on an
 * H100 (computed: 989 TFLOP/s bf16, 494 tf32, 67 float32; 3.35 TB/s): m = n = k = 4096 takes 0.14
 * ms in bf16 (0.28 in tf32, 2.1 in float32) against 0.06 ms of traffic: bound by compute.
 *
 * What the heuristic chooses for a shape is kept in a table, so that every call of a shape runs the
 * same algorithm (same bits) and asks nothing. The library's workspace is dev_scratch: counted. */
#include "kernels/cuda/gemm.cuh"

#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1024 };
static const uint64_t MOST_WORKSPACE = (uint64_t)32 << 20;

struct GemmKey {
    int64_t m, n, k, lda, ldb, ldc, batch, stride_a, stride_b, stride_c;
    int32_t ta, tb, bias, beta, align[3], used;
};
struct GemmSlot {
    GemmKey key;
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
};
struct GemmCache {
    cublasLtHandle_t lt;
    cublasLtMatmulPreference_t want;
    GemmSlot
        slots[SLOTS]; /* hashed, with open addressing; the first is given up when all are full */
};

static Status lt_check(cublasStatus_t st, const char *what)
{
    if (st == CUBLAS_STATUS_SUCCESS)
        return ST_OK;
    return FAIL(ST_DEVICE, "cuBLASLt: %s: %s", what, cublasLtGetStatusString(st));
}

Status gemm_open(Cuda *c)
{
    GemmCache *g = (GemmCache *)calloc(1, sizeof *g);
    c->gemm = g;
    if (g == NULL)
        return FAIL(ST_OOM, "no memory for the table of products");
    TRY(lt_check(cublasLtCreate(&g->lt), "opening"));
    TRY(lt_check(cublasLtMatmulPreferenceCreate(&g->want), "opening"));
    return lt_check(cublasLtMatmulPreferenceSetAttribute(g->want,
                                                         CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                         &MOST_WORKSPACE, sizeof MOST_WORKSPACE),
                    "opening");
}

void gemm_close(Cuda *c)
{
    if (c->gemm != NULL && c->gemm->want != NULL)
        (void)cublasLtMatmulPreferenceDestroy(c->gemm->want);
    if (c->gemm != NULL && c->gemm->lt != NULL)
        (void)cublasLtDestroy(c->gemm->lt);
    free(c->gemm);
}

/* ---- a product in the library's terms: A and B have changed places ---- */
struct Product {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c;
};

static void product_free(Product *p)
{
    if (p->desc != NULL)
        (void)cublasLtMatmulDescDestroy(p->desc);
    cublasLtMatrixLayout_t layouts[] = {p->a, p->b, p->c};
    for (int i = 0; i < COUNT(layouts); i++)
        if (layouts[i] != NULL)
            (void)cublasLtMatrixLayoutDestroy(layouts[i]);
}

static cublasComputeType_t compute_type(Math math)
{
    return math == MATH_BF16   ? CUBLAS_COMPUTE_32F_FAST_16BF
           : math == MATH_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                               : CUBLAS_COMPUTE_32F;
}

/* A matrix of rows x cols as it is stored, row-major. */
static Status layout(cublasLtMatrixLayout_t *l, int64_t rows, int64_t cols, int64_t ld,
                     const GemmBatch *many, int64_t stride)
{
    const int32_t count = (int32_t)many->count;
    TRY(lt_check(cublasLtMatrixLayoutCreate(l, CUDA_R_32F, (uint64_t)cols, (uint64_t)rows, ld),
                 "a layout"));
    if (count == 1)
        return ST_OK;
    TRY(lt_check(cublasLtMatrixLayoutSetAttribute(*l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                  sizeof count),
                 "a layout"));
    return lt_check(cublasLtMatrixLayoutSetAttribute(
                        *l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride),
                    "a layout");
}

static Status set(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t attr, const void *value,
                  size_t size)
{
    return lt_check(cublasLtMatmulDescSetAttribute(d, attr, value, size), "a product's attribute");
}

static Status product_set_up(Product *p, const Cuda *c, const Gemm *g, const GemmBatch *many)
{
    const cublasOperation_t first = g->tb ? CUBLAS_OP_T : CUBLAS_OP_N,
                            second = g->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    TRY(lt_check(cublasLtMatmulDescCreate(&p->desc, compute_type(c->math), CUDA_R_32F),
                 "a product"));
    TRY(set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first));
    TRY(set(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second));
    if (g->bias != NULL) {
        TRY(set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
        TRY(set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &g->bias, sizeof g->bias));
    }
    TRY(layout(&p->a, g->tb ? g->n : g->k, g->tb ? g->k : g->n, g->ldb, many, many->b));
    TRY(layout(&p->b, g->ta ? g->k : g->m, g->ta ? g->m : g->k, g->lda, many, many->a));
    return layout(&p->c, g->m, g->n, g->ldc, many, many->c);
}

/* ---- which algorithm ---- */
/* The largest power of two up to 256 that divides the address. */
static int32_t alignment(const void *p)
{
    uintptr_t low = (uintptr_t)p & (~(uintptr_t)p + 1);
    return (int32_t)(low < 256 ? low : 256);
}

static GemmKey key_of(const Gemm *g, const GemmBatch *many)
{
    GemmKey k;
    memset(&k, 0, sizeof k); /* keys are compared byte by byte */
    k.m = g->m, k.n = g->n, k.k = g->k;
    k.lda = g->lda, k.ldb = g->ldb, k.ldc = g->ldc;
    k.batch = many->count, k.stride_a = many->a, k.stride_b = many->b, k.stride_c = many->c;
    k.ta = g->ta, k.tb = g->tb, k.bias = g->bias != NULL, k.beta = g->beta != 0.0;
    k.align[0] = alignment(g->b), k.align[1] = alignment(g->a), k.align[2] = alignment(g->c);
    k.used = 1;
    return k;
}

static GemmSlot *slot_of(GemmCache *cache, const GemmKey *key)
{
    uint64_t h = 1469598103934665603u;
    const unsigned char *bytes = (const unsigned char *)key;
    for (size_t i = 0; i < sizeof *key; i++)
        h = (h ^ bytes[i]) * 1099511628211u;
    for (int i = 0; i < SLOTS; i++) {
        GemmSlot *s = &cache->slots[(h + (uint64_t)i) % SLOTS];
        if (!s->key.used || memcmp(&s->key, key, sizeof *key) == 0)
            return s;
    }
    GemmSlot *first = &cache->slots[h % SLOTS];
    first->key.used = 0;
    return first;
}

static Status choose(GemmCache *cache, const Product *p, const GemmKey *key, GemmSlot *slot)
{
    static const cublasLtMatmulPreferenceAttributes_t attrs[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    cublasLtMatmulHeuristicResult_t best;
    int found = 0;
    for (int i = 0; i < COUNT(attrs); i++) {
        const uint32_t align = (uint32_t)key->align[i < 3 ? i : 2];
        TRY(lt_check(
            cublasLtMatmulPreferenceSetAttribute(cache->want, attrs[i], &align, sizeof align),
            "an alignment"));
    }
    cublasStatus_t st = cublasLtMatmulAlgoGetHeuristic(cache->lt, p->desc, p->a, p->b, p->c, p->c,
                                                       cache->want, 1, &best, &found);
    if (st != CUBLAS_STATUS_SUCCESS || found == 0)
        return FAIL(ST_DEVICE, "cuBLASLt has no algorithm for a product of %lld x %lld x %lld: %s",
                    (long long)key->m, (long long)key->n, (long long)key->k,
                    cublasLtGetStatusString(st));
    slot->algo = best.algo;
    slot->workspace = best.workspaceSize;
    slot->key = *key;
    return ST_OK;
}

static Status run(Dev *d, const Gemm *g, const GemmBatch *many, const Product *p)
{
    Cuda *c = cuda_of(d);
    const GemmKey key = key_of(g, many);
    GemmSlot *slot = slot_of(c->gemm, &key);
    const float alpha = (float)g->alpha, beta = (float)g->beta;
    void *workspace = NULL;
    if (!slot->key.used)
        TRY(choose(c->gemm, p, &key, slot));
    if (slot->workspace > 0)
        TRY(cuda_work(d, slot->workspace, &workspace));
    TRY(lt_check(cublasLtMatmul(c->gemm->lt, p->desc, &alpha, g->b, p->a, g->a, p->b, &beta, g->c,
                                p->c, g->c, p->c, &slot->algo, workspace, slot->workspace,
                                c->stream),
                 "gemm"));
    return cuda_launched(c, cudaSuccess, "gemm");
}

Status gemm_work(Dev *d, size_t size, void **out)
{
    return cuda_work_behind(d, MOST_WORKSPACE, size, out);
}

Status cuda_gemm_batch(Dev *d, const Gemm *g, const GemmBatch *many)
{
    Product p = {};
    Status st = product_set_up(&p, cuda_of(d), g, many);
    if (st == ST_OK)
        st = run(d, g, many, &p);
    product_free(&p);
    return st;
}

Status cuda_gemm(Dev *d, const Gemm *g)
{
    const GemmBatch one = {1, 0, 0, 0};
    return cuda_gemm_batch(d, g, &one);
}
