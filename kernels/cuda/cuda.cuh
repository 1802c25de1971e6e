/* cuda.cuh - what the files of this folder share: the open device, launches, errors, index helpers.
 *
 * One stream; nothing here waits for the device but copies to the host, marks and dev_sync. Every
 * sum has one fixed order (no atomics), so results are the same bits from run to run. Shared memory
 * is always dynamic. Indices that count elements are 64 bits wide. */
#ifndef LONGMIX_CUDA_CUDA_CUH
#define LONGMIX_CUDA_CUDA_CUH

#include "kernels/kernels.h"

#include <cuda_runtime.h>

/* How products are computed; storage and sums are float32 always. */
enum Math { MATH_F32, MATH_TF32, MATH_BF16 };

struct GemmCache; /* gemm.cu */
struct Staging;   /* staging.cu */
struct Nvml;      /* about.cu */

struct Cuda {
    int device, sms, cc; /* cc: 90 for sm_90 */
    Math math;
    cudaStream_t stream;
    GemmCache *gemm;
    Staging *staging;
    Nvml *nvml;
    Kernels kernels; /* this device's table: isa names its architecture and math */
    char isa[32];
    bool
        wait_each; /* LONGMIX_CUDA_WAIT=1: wait after every launch, so that an error finds its op */
    bool poison;   /* LONGMIX_CUDA_POISON=1: workspaces begin as NaN */
    const char *recent[8]; /* names of the last launches, a ring */
    int64_t launches;      /* since the last wait */
};

static inline Cuda *cuda_of(Dev *d)
{
    return (Cuda *)dev_context(d);
}

/* ST_OK, or ST_DEVICE (ST_OOM) with the driver's words and what it was about. */
Status cuda_check(Cuda *c, cudaError_t e, const char *what);
Status cuda_launched(Cuda *c, cudaError_t e, const char *op);
/* Waits for all that is queued; a failure names the ops it may have been in. */
Status cuda_wait(Cuda *c);
/* dev_scratch of this backend. */
Status cuda_work(Dev *d, size_t size, void **out);
/* Likewise, but `skip` bytes into the scratch, which others may use meanwhile. */
Status cuda_work_behind(Dev *d, size_t skip, size_t size, void **out);

Status gemm_open(Cuda *c);
void gemm_close(Cuda *c);
Status staging_open(Cuda *c);
void staging_close(Cuda *c);
Status staging_copy(Cuda *c, void *dst, const void *src, size_t size);
void about_open(Cuda *c);
void about_close(Cuda *c);
void cuda_about(void *ctx, DevAbout *out);
void cuda_reset_peak(void *ctx);
unsigned cuda_strain(void *ctx);
extern const Kernels cuda_table; /* table.cu */

/* ---- launches ---- */
template <class... P, class... A>
Status launch(Dev *d, const char *op, void (*kernel)(P...), dim3 grid, int threads, size_t shared,
              A... args)
{
    Cuda *c = cuda_of(d);
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3((unsigned)threads);
    config.dynamicSmemBytes = shared;
    config.stream = c->stream;
    if (shared > (48 << 10))
        TRY(cuda_check(
            c,
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared),
            op));
    return cuda_launched(c, cudaLaunchKernelEx(&config, kernel, args...), op);
}

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Blocks for n independent elements: enough to fill the device, no more than there are. */
static inline dim3 grid_for(Dev *d, int64_t n, int threads)
{
    int64_t most = (int64_t)cuda_of(d)->sms * (2048 / threads) * 2;
    return dim3((unsigned)max64(1, least(ceil_div(n, threads), most)));
}

/* ---- in kernels ---- */
template <class T>
__device__ __forceinline__ T *dyn_smem()
{
#ifdef __CUDACC__
    extern __shared__ __align__(128) unsigned char dyn_smem_raw[];
    return reinterpret_cast<T *>(dyn_smem_raw);
#else
    return static_cast<T *>(emu::dyn_shared());
#endif
}

/* for (int64_t i = first_of(); i < n; i += step_of()): each element once, neighbours side by side.
 */
__device__ __forceinline__ int64_t first_of()
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t step_of()
{
    return (int64_t)gridDim.x * blockDim.x;
}

struct Sum {
    template <class T>
    __device__ T operator()(T a, T b) const
    {
        return a + b;
    }
};
struct Max {
    __device__ float operator()(float a, float b) const
    {
        return a > b || a != a ? a : b; /* keeps a NaN */
    }
};

/* Over the block, in one fixed order; all threads get the result. warps: room for MAX_WARPS T. */
enum { MAX_WARPS = 32 };
template <class T, class Op>
__device__ T block_reduce(T x, Op op, T *warps)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n = blockDim.x / 32;
    for (int with = 16; with > 0; with /= 2)
        x = op(x, __shfl_xor_sync(0xffffffffu, x, with));
    if (n == 1)
        return x;
    __syncthreads(); /* the last reduction may still be read */
    if (lane == 0)
        warps[warp] = x;
    __syncthreads();
    T all = warps[0];
    for (int w = 1; w < n; w++)
        all = op(all, warps[w]);
    return all;
}

/* Threads of a block that works on one row of this width: whole warps. */
static inline int threads_for_row(int64_t width)
{
    return (int)(least(512, ceil_div(width, 4 * 32) * 32));
}

#endif
