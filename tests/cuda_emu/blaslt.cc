/* blaslt.cc - cuBLASLt by plain loops: column-major, operands rounded as the compute type may round
 * them, arguments checked as strictly as the documentation allows the library to. */
#include "cublasLt.h"

#include "tests/cuda_emu/emu.h"
#include "tests/cuda_emu/round.h"

#include <cstdio>

struct EmuMatmulDesc {
    cublasComputeType_t compute;
    cublasOperation_t op[2];
    cublasLtEpilogue_t epilogue;
    const float *bias;
};
struct EmuLayout {
    uint64_t rows, cols;
    int64_t ld, stride;
    int32_t batch;
};
struct EmuPreference {
    uint64_t workspace;
    uint32_t align[4];
};

namespace
{
enum : uint64_t { WORKSPACE = 4096 };

cublasStatus_t refuse(const char *why)
{
    fprintf(stderr, "cuda_emu: cuBLASLt: %s\n", why);
    return CUBLAS_STATUS_INVALID_VALUE;
}

/* One product, when its turn comes. */
struct Product {
    EmuMatmulDesc d;
    EmuLayout la, lb, lc;
    float alpha, beta;
    const float *a, *b, *c;
    float *out;
    char *workspace;
};

float rounded(const Product &p, float x)
{
    return p.d.compute == CUBLAS_COMPUTE_32F_FAST_16BF   ? emu::round_bf16(x)
           : p.d.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? emu::round_tf32(x)
                                                         : x;
}

/* op(X)[i,j] of a column-major matrix. */
float at(const Product &p, const float *x, const EmuLayout &l, cublasOperation_t op, int64_t i,
         int64_t j)
{
    return rounded(p, op == CUBLAS_OP_N ? x[i + j * l.ld] : x[j + i * l.ld]);
}

void one_matrix(const Product &p, int64_t n)
{
    const float *a = p.a + n * p.la.stride, *b = p.b + n * p.lb.stride, *c = p.c + n * p.lc.stride;
    float *out = p.out + n * p.lc.stride;
    const int64_t inner = (int64_t)(p.d.op[0] == CUBLAS_OP_N ? p.la.cols : p.la.rows);
    for (int64_t j = 0; j < (int64_t)p.lc.cols; j++)
        for (int64_t i = 0; i < (int64_t)p.lc.rows; i++) {
            float sum = 0;
            for (int64_t k = 0; k < inner; k++)
                sum += at(p, a, p.la, p.d.op[0], i, k) * at(p, b, p.lb, p.d.op[1], k, j);
            float y = p.alpha * sum + (p.beta != 0 ? p.beta * c[i + j * p.lc.ld] : 0);
            if (p.d.epilogue == CUBLASLT_EPILOGUE_BIAS)
                y += p.d.bias[i];
            out[i + j * p.lc.ld] = y;
        }
}

cudaError_t run(const Product &p)
{
    emu::Reach reach;
    memset(p.workspace, 0xff, WORKSPACE); /* nobody may count on what is left there */
    for (int64_t n = 0; n < p.lc.batch; n++)
        one_matrix(p, n);
    return cudaSuccess;
}

uint64_t rows_of(const EmuLayout &l, cublasOperation_t op)
{
    return op == CUBLAS_OP_N ? l.rows : l.cols;
}
uint64_t cols_of(const EmuLayout &l, cublasOperation_t op)
{
    return op == CUBLAS_OP_N ? l.cols : l.rows;
}

/* From the first to the last element of all matrices of a layout. */
size_t extent(const EmuLayout &l)
{
    return sizeof(float) *
           (size_t)((l.batch - 1) * l.stride + (int64_t)(l.cols - 1) * l.ld + (int64_t)l.rows);
}

const char *wrong(const Product &p)
{
    const EmuLayout *all[] = {&p.la, &p.lb, &p.lc};
    const void *ptr[] = {p.a, p.b, p.out};
    for (int i = 0; i < 3; i++) {
        if (all[i]->rows == 0 || all[i]->cols == 0 || all[i]->ld < (int64_t)all[i]->rows)
            return "an empty matrix, or a leading dimension below the number of rows";
        if (all[i]->batch != p.lc.batch)
            return "batch counts differ";
        if (!emu::inside_one(ptr[i], extent(*all[i])))
            return "a matrix reaches out of its allocation";
    }
    if (rows_of(p.la, p.d.op[0]) != p.lc.rows || cols_of(p.lb, p.d.op[1]) != p.lc.cols ||
        cols_of(p.la, p.d.op[0]) != rows_of(p.lb, p.d.op[1]))
        return "shapes do not fit together";
    if (p.d.epilogue == CUBLASLT_EPILOGUE_BIAS &&
        !emu::inside_one(p.d.bias, p.lc.rows * sizeof(float)))
        return "the bias is not on the device";
    return p.c != p.out ? "C and D differ, which this backend never asks for" : nullptr;
}

uint64_t signature(const EmuMatmulDesc &d, const EmuLayout &a, const EmuLayout &b,
                   const EmuLayout &c)
{
    const uint64_t parts[] = {(uint64_t)d.compute,
                              d.op[0],
                              d.op[1],
                              d.epilogue,
                              a.rows,
                              a.cols,
                              (uint64_t)a.ld,
                              b.rows,
                              b.cols,
                              (uint64_t)b.ld,
                              c.rows,
                              c.cols,
                              (uint64_t)c.ld,
                              (uint64_t)c.batch,
                              (uint64_t)c.stride,
                              (uint64_t)a.stride,
                              (uint64_t)b.stride};
    uint64_t h = 1469598103934665603ull;
    for (uint64_t x : parts)
        h = (h ^ x) * 1099511628211ull;
    return h;
}
} // namespace

const char *cublasLtGetStatusString(cublasStatus_t st)
{
    return st == CUBLAS_STATUS_SUCCESS ? "success" : "the call was refused";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    *h = (cublasLtHandle_t)h;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute,
                                        cudaDataType)
{
    *d = new EmuMatmulDesc{compute, {CUBLAS_OP_N, CUBLAS_OP_N}, CUBLASLT_EPILOGUE_DEFAULT, nullptr};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    delete d;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t attr, const void *buf,
                                              size_t size)
{
    if (size != (attr == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? 8u : 4u))
        return refuse("an attribute of another size");
    if (attr == CUBLASLT_MATMUL_DESC_BIAS_POINTER)
        d->bias = *(const float *const *)buf;
    else if (attr == CUBLASLT_MATMUL_DESC_EPILOGUE)
        d->epilogue = *(const cublasLtEpilogue_t *)buf;
    else
        d->op[attr == CUBLASLT_MATMUL_DESC_TRANSB] = *(const cublasOperation_t *)buf;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType, uint64_t rows,
                                          uint64_t cols, int64_t ld)
{
    *l = new EmuLayout{rows, cols, ld, 0, 1};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    delete l;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
                                                cublasLtMatrixLayoutAttribute_t attr,
                                                const void *buf, size_t size)
{
    if (size != (attr == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT ? 4u : 8u))
        return refuse("an attribute of another size");
    if (attr == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
        l->batch = *(const int32_t *)buf;
    else
        l->stride = *(const int64_t *)buf;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    *p = new EmuPreference{0, {256, 256, 256, 256}};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    delete p;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attr,
                                                    const void *buf, size_t size)
{
    if (size != (attr == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? 8u : 4u))
        return refuse("an attribute of another size");
    if (attr == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        p->workspace = *(const uint64_t *)buf;
    else
        p->align[attr - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES] = *(const uint32_t *)buf;
    return CUBLAS_STATUS_SUCCESS;
}

/* An algorithm remembers what it was chosen for. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t out,
                                              cublasLtMatmulPreference_t p, int most,
                                              cublasLtMatmulHeuristicResult_t *results, int *found)
{
    emu::trace('h');
    *found = 0;
    if (most < 1 || out->ld != c->ld || p->workspace < WORKSPACE)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *results = {};
    results->algo.data[0] = signature(*d, *a, *b, *c);
    for (int i = 0; i < 3; i++)
        results->algo.data[1 + i] = p->align[i];
    results->workspaceSize = WORKSPACE;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *c,
                              cublasLtMatrixLayout_t lc, void *out, cublasLtMatrixLayout_t,
                              const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_size, cudaStream_t s)
{
    Product p = {*d,
                 *la,
                 *lb,
                 *lc,
                 *(const float *)alpha,
                 *(const float *)beta,
                 (const float *)a,
                 (const float *)b,
                 (const float *)c,
                 (float *)out,
                 (char *)workspace};
    const char *why = wrong(p);
    emu::trace('g');
    if (why != nullptr)
        return refuse(why);
    if (algo->data[0] != signature(p.d, p.la, p.lb, p.lc))
        return refuse("the algorithm was chosen for another product");
    const void *ptr[] = {a, b, out};
    for (int i = 0; i < 3; i++)
        if ((uintptr_t)ptr[i] % algo->data[1 + i] != 0)
            return refuse("a matrix is less aligned than the algorithm was promised");
    if (workspace_size < WORKSPACE || !emu::inside_one(workspace, workspace_size))
        return refuse("the workspace is too small");
    return emu::enqueue(s, [=] { return run(p); }) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                  : CUBLAS_STATUS_INVALID_VALUE;
}
