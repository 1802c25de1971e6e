/* faults.cu - mistakes planted on purpose: the emulator must see every one of them.
 * Usage: faults NAME [fixed]
 *
 * Exit status: 0 nobody noticed, 1 the result is wrong, 2 the emulated device reported an error;
 * a sanitizer has an exit status of its own. "fixed" runs the same kernel without the mistake. */
#include <cublasLt.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/mma_ops.cuh"

enum { N = 128 };

static cudaStream_t stream, other;
static bool good; /* without the mistake */

static float *device(size_t n)
{
    void *p = NULL;
    if (cudaMallocAsync(&p, n * sizeof(float), stream) != cudaSuccess)
        exit(2);
    return (float *)p;
}

template <class... P, class... A>
static void run(void (*kernel)(P...), int blocks, int threads, size_t shared, A... args)
{
    cudaLaunchConfig_t c = {};
    c.gridDim = dim3((unsigned)blocks);
    c.blockDim = dim3((unsigned)threads);
    c.dynamicSmemBytes = shared;
    c.stream = stream;
    if (cudaLaunchKernelEx(&c, kernel, args...) != cudaSuccess)
        exit(2);
}

/* Copies n numbers back and compares them with value(i). */
template <class F>
static int expect(const float *y, int n, F value)
{
    float host[4 * N];
    if (cudaMemcpyAsync(host, y, (size_t)n * sizeof(float), cudaMemcpyDeviceToHost, stream) !=
            cudaSuccess ||
        cudaStreamSynchronize(stream) != cudaSuccess)
        return 2;
    for (int i = 0; i < n; i++)
        if (host[i] != value(i))
            return 1;
    return 0;
}

/* ---- races ---- */
__global__ void reverse(float *y, int n, bool fixed)
{
    float *s = dyn_smem<float>();
    s[threadIdx.x] = (float)threadIdx.x;
    if (fixed)
        __syncthreads();
    y[threadIdx.x] = s[n - 1 - threadIdx.x];
}
static int read_before_barrier(void)
{
    float *y = device(N);
    run(reverse, 1, N, N * sizeof(float), y, (int)N, good);
    return expect(y, N, [](int i) { return (float)(N - 1 - i); });
}

__global__ void twice(float *y, int n, bool fixed)
{
    float *s = dyn_smem<float>(), sum = 0;
    for (int round = 0; round < 2; round++) {
        s[threadIdx.x] = (float)round;
        __syncthreads();
        sum += s[(threadIdx.x + 40) % n];
        if (fixed)
            __syncthreads();
    }
    y[threadIdx.x] = sum;
}
static int write_before_barrier(void)
{
    float *y = device(N);
    run(twice, 1, N, N * sizeof(float), y, (int)N, good);
    return expect(y, N, [](int) { return 1.0f; });
}

__global__ void across_lanes(float *y, bool fixed)
{
    float *s = dyn_smem<float>();
    s[threadIdx.x] = (float)threadIdx.x;
    if (fixed)
        __syncwarp();
    y[threadIdx.x] = s[threadIdx.x ^ 1];
}
static int missing_warp_fence(void)
{
    float *y = device(N);
    run(across_lanes, 1, 32, N * sizeof(float), y, good);
    return expect(y, 32, [](int i) { return (float)(i ^ 1); });
}

__global__ void count_blocks(float *y, bool fixed)
{
    float *mine = y + (fixed ? blockIdx.x : 0);
    if (threadIdx.x == 0)
        *mine = *mine + 1.0f;
}
static int two_blocks_one_place(void)
{
    float *y = device(2);
    (void)cudaMemsetAsync(y, 0, 2 * sizeof(float), stream);
    run(count_blocks, 2, 32, 0, y, good);
    return expect(y, 1, [](int) { return good ? 1.0f : 2.0f; });
}

/* ---- out of bounds ---- */
__global__ void write_row(float *y, int n)
{
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        y[i] = 1.0f;
}
static int device_overrun(void)
{
    float *y = device(N);
    run(write_row, 1, 32, 0, y, good ? N : N + 1);
    return expect(y, N, [](int) { return 1.0f; });
}

__global__ void fill_shared(float *y, int n)
{
    float *s = dyn_smem<float>();
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        s[i] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];
}
static int shared_overrun(void)
{
    float *y = device(N);
    run(fill_shared, 1, 32, 64 * sizeof(float), y, good ? 64 : 65);
    return expect(y, 32, [](int) { return 1.0f; });
}

static int use_after_free(void)
{
    float *y = device(N), *keep = device(N);
    if (!good)
        (void)cudaFreeAsync(y, stream);
    run(write_row, 1, 32, 0, y, (int)N);
    run(write_row, 1, 32, 0, keep, (int)N);
    return expect(good ? y : keep, N, [](int) { return 1.0f; });
}

/* ---- waits ---- */
__global__ void through_shared(const float *x, float *y, bool fixed)
{
    float *s = dyn_smem<float>();
    cp_async4(s + threadIdx.x, x + threadIdx.x, true);
    cp_async_commit();
    if (fixed)
        cp_async_wait<0>();
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x ^ 1];
    if (!fixed)
        cp_async_wait<0>();
}
static int missing_copy_wait(void)
{
    float *x = device(N), *y = device(N);
    (void)cudaMemsetAsync(x, 0, N * sizeof(float), stream);
    run(through_shared, 1, 64, N * sizeof(float), (const float *)x, y, good);
    return expect(y, 64, [](int) { return 0.0f; });
}

static int missing_stream_wait(void)
{
    float *x = device(N), host[N];
    cudaEvent_t e;
    for (int i = 0; i < N; i++)
        host[i] = -1.0f;
    (void)cudaEventCreateWithFlags(&e, cudaEventDisableTiming);
    run(write_row, 1, 32, 0, x, (int)N);
    (void)cudaEventRecord(e, stream);
    if (good)
        (void)cudaStreamWaitEvent(other, e);
    (void)cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, other);
    (void)cudaStreamSynchronize(other);
    return host[3] == 1.0f ? 0 : 1;
}

static int host_touches_device(void)
{
    float *x = device(N), host = 0;
    run(write_row, 1, 32, 0, x, (int)N);
    (void)cudaMemcpyAsync(&host, x, sizeof host, cudaMemcpyDeviceToHost, stream);
    (void)cudaStreamSynchronize(stream);
    return good ? host != 1.0f : *(volatile float *)x != 1.0f;
}

/* ---- barriers and collectives ---- */
__global__ void two_barriers(float *y, bool fixed)
{
    if (!fixed && threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 1.0f;
}
static int divergent_barrier(void)
{
    float *y = device(N);
    run(two_barriers, 1, 64, 0, y, good);
    return expect(y, 64, [](int) { return 1.0f; });
}

__global__ void half_shuffle(float *y, bool fixed)
{
    float x = 1.0f;
    if (fixed || threadIdx.x < 16)
        x = __shfl_xor_sync(0xffffffffu, x, 1);
    y[threadIdx.x] = x;
}
static int shuffle_in_half_a_warp(void)
{
    float *y = device(N);
    run(half_shuffle, 1, 32, 0, y, good);
    return expect(y, 32, [](int) { return 1.0f; });
}

/* ---- results ---- */
/* y = 1 everywhere plus a bias that the epilogue forgets. */
static int wrong_epilogue(void)
{
    enum { M = 4 };
    float *a = device(M), *b = device(M), *c = device(M * M), *bias = device(M), *w = device(4096);
    const float one = 1.0f, zero = 0.0f;
    const cublasLtEpilogue_t epilogue = good ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    const uint64_t most = 16384;
    float *x[] = {a, b, bias};
    cublasLtHandle_t h;
    cublasLtMatmulDesc_t d;
    cublasLtMatrixLayout_t la, lb, lc;
    cublasLtMatmulPreference_t p;
    cublasLtMatmulHeuristicResult_t best;
    int found;
    for (float *array : x)
        run(write_row, 1, 32, 0, array, (int)M);
    (void)cublasLtCreate(&h);
    (void)cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    (void)cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, 4);
    (void)cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, 8);
    (void)cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, M, 1, M);
    (void)cublasLtMatrixLayoutCreate(&lb, CUDA_R_32F, 1, M, 1);
    (void)cublasLtMatrixLayoutCreate(&lc, CUDA_R_32F, M, M, M);
    (void)cublasLtMatmulPreferenceCreate(&p);
    (void)cublasLtMatmulPreferenceSetAttribute(p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most,
                                               8);
    if (cublasLtMatmulAlgoGetHeuristic(h, d, la, lb, lc, lc, p, 1, &best, &found) !=
            CUBLAS_STATUS_SUCCESS ||
        cublasLtMatmul(h, d, &one, a, la, b, lb, &zero, c, lc, c, lc, &best.algo, w, 16384,
                       stream) != CUBLAS_STATUS_SUCCESS)
        return 2;
    return expect(c, M * M, [](int) { return 2.0f; });
}

__global__ void add_parts(float *parts, float *y, bool fixed)
{
    if (fixed || threadIdx.x < 31) /* one part is left as the last user left it */
        parts[threadIdx.x] = 1.0f;
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < 32; i++)
        sum += parts[i];
    y[threadIdx.x] = sum;
}
static int stale_workspace(void)
{
    float *parts = device(N), *y = device(N);
    run(add_parts, 1, 32, 0, parts, y, true);
    (void)cudaMemsetAsync(parts, 0xff, N * sizeof(float), stream); /* as cuda_work poisons it */
    run(add_parts, 1, 32, 0, parts, y, good);
    return expect(y, 32, [](int) { return 32.0f; });
}

static const struct {
    const char *name;
    int (*run)(void);
} faults[] = {{"read_before_barrier", read_before_barrier},
              {"write_before_barrier", write_before_barrier},
              {"missing_warp_fence", missing_warp_fence},
              {"two_blocks_one_place", two_blocks_one_place},
              {"device_overrun", device_overrun},
              {"shared_overrun", shared_overrun},
              {"use_after_free", use_after_free},
              {"missing_copy_wait", missing_copy_wait},
              {"missing_stream_wait", missing_stream_wait},
              {"host_touches_device", host_touches_device},
              {"divergent_barrier", divergent_barrier},
              {"shuffle_in_half_a_warp", shuffle_in_half_a_warp},
              {"wrong_epilogue", wrong_epilogue},
              {"stale_workspace", stale_workspace}};

int main(int argc, char **argv)
{
    (void)cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    (void)cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
    good = argc > 2 && strcmp(argv[2], "fixed") == 0;
    for (int i = 0; argc > 1 && i < COUNT(faults); i++)
        if (strcmp(argv[1], faults[i].name) == 0)
            return faults[i].run();
    for (int i = 0; argc == 1 && i < COUNT(faults); i++)
        puts(faults[i].name);
    return argc == 1 ? 0 : 3;
}
