/* backend.cu - the "cuda" device: a stream, the driver's stream-ordered pool, copies, marks,
 * errors.
 *
 * The pool keeps what is freed (no release threshold), and device.c keeps blocks of its own, so a
 * step allocates nothing after the first. Environment: LONGMIX_CUDA_MATH=bf16|tf32|f32 (how
 * products are computed where nobody says it, bf16 by default), LONGMIX_CUDA_WAIT=1,
 * LONGMIX_CUDA_POISON=1. */
#include "kernels/build_id.h"
#include "kernels/cuda/cuda.cuh"
#include "kernels/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- errors ---- */
Status cuda_check(Cuda *c, cudaError_t e, const char *what)
{
    (void)c;
    if (e == cudaSuccess)
        return ST_OK;
    (void)cudaGetLastError(); /* what can be cleared is */
    return FAIL(e == cudaErrorMemoryAllocation ? ST_OOM : ST_DEVICE, "cuda: %s: %s", what,
                cudaGetErrorString(e));
}

Status cuda_wait(Cuda *c)
{
    char ops[256] = "";
    size_t used = 0;
    cudaError_t e = cudaStreamSynchronize(c->stream);
    if (e == cudaSuccess) {
        c->launches = 0;
        return ST_OK;
    }
    const int known = (int)least(c->launches, COUNT(c->recent));
    for (int i = known; i > 0 && used < sizeof ops; i--)
        used += (size_t)snprintf(ops + used, sizeof ops - used, " %s",
                                 c->recent[(c->launches - i) % COUNT(c->recent)]);
    return FAIL(ST_DEVICE, "cuda: %s, in one of the last ops:%s%s", cudaGetErrorString(e), ops,
                c->wait_each ? "" : " (LONGMIX_CUDA_WAIT=1 tells which)");
}

Status cuda_launched(Cuda *c, cudaError_t e, const char *op)
{
    if (e != cudaSuccess)
        return cuda_check(c, e, op);
    c->recent[c->launches++ % COUNT(c->recent)] = op;
    return c->wait_each ? cuda_check(c, cudaStreamSynchronize(c->stream), op) : ST_OK;
}

Status cuda_work_behind(Dev *d, size_t skip, size_t size, void **out)
{
    Cuda *c = cuda_of(d);
    TRY(dev_scratch(d, skip + size, out));
    *out = (char *)*out + skip;
    if (!c->poison)
        return ST_OK;
    return cuda_check(c, cudaMemsetAsync(*out, 0xff, size, c->stream), "poison");
}

Status cuda_work(Dev *d, size_t size, void **out)
{
    return cuda_work_behind(d, 0, size, out);
}

/* ---- opening ---- */
static const char *const math_names[] = {"f32", "tf32", "bf16"};
static const char *const math_long[] = {"float32", "tf32", "bf16"};

/* name: NULL where nobody says it. */
static Status pick_math(Cuda *c, const char *name)
{
    const char *env = getenv("LONGMIX_CUDA_MATH");
    const bool asked = name != NULL;
    if (!asked)
        name = env != NULL && env[0] != '\0' ? env : math_names[MATH_BF16];
    for (int i = 0; i < COUNT(math_names); i++)
        if (strcmp(name, math_names[i]) == 0 || strcmp(name, math_long[i]) == 0) {
            c->math = (Math)i;
            snprintf(c->isa, sizeof c->isa, "sm_%d %s", c->cc, math_long[i]);
            return ST_OK;
        }
    return FAIL(ST_USAGE, "%s%s: a GPU computes products in bf16, tf32 or f32",
                asked ? "" : "LONGMIX_CUDA_MATH=", name);
}

static const char *device_math(void *ctx)
{
    return math_names[((Cuda *)ctx)->math];
}

static Status find_device(int index)
{
    int driver = 0, runtime = 0, count = 0;
    (void)cudaRuntimeGetVersion(&runtime);
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return FAIL(ST_DEVICE, "backend 'cuda' is not available (there are ref, dry, cpu): "
                               "liblongmix_cuda.so finds no NVIDIA driver");
    cudaError_t e = cudaGetDeviceCount(&count);
    (void)cudaGetLastError();
    if (e != cudaSuccess || count == 0)
        return FAIL(ST_DEVICE,
                    "backend 'cuda' is not available (there are ref, dry, cpu): %s (driver %d.%d, "
                    "liblongmix_cuda.so is for %d.%d)",
                    e != cudaSuccess ? cudaGetErrorString(e) : "no device", driver / 1000,
                    driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (index < 0 || index >= count)
        return FAIL(ST_USAGE, "there is no CUDA device %d: there are 0 to %d", index, count - 1);
    return ST_OK;
}

static Status ask_device(Cuda *c)
{
    const struct {
        cudaDeviceAttr what;
        int *to;
        const char *name;
    } asked[] = {{cudaDevAttrMultiProcessorCount, &c->sms, "the number of multiprocessors"},
                 {cudaDevAttrComputeCapabilityMajor, &c->cc, "the architecture"}};
    int minor = 0;
    TRY(cuda_check(c, cudaSetDevice(c->device), "choosing the device"));
    for (int i = 0; i < COUNT(asked); i++)
        TRY(cuda_check(c, cudaDeviceGetAttribute(asked[i].to, asked[i].what, c->device),
                       asked[i].name));
    TRY(cuda_check(c, cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, c->device),
                   "the architecture"));
    c->cc = 10 * c->cc + minor;
    if (c->cc < 80)
        return FAIL(ST_DEVICE, "backend 'cuda' needs sm_80 or later, device %d is sm_%d", c->device,
                    c->cc);
    return ST_OK;
}

static Status keep_freed_memory(Cuda *c)
{
    cudaMemPool_t pool;
    uint64_t all = UINT64_MAX;
    TRY(cuda_check(c, cudaDeviceGetDefaultMemPool(&pool, c->device), "the memory pool"));
    return cuda_check(c, cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all),
                      "the memory pool");
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && strcmp(value, "1") == 0;
}

static Status set_up(Cuda *c, const char *math)
{
    TRY(ask_device(c));
    TRY(pick_math(c, math));
    TRY(keep_freed_memory(c));
    TRY(cuda_check(c, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "a stream"));
    TRY(gemm_open(c));
    TRY(staging_open(c));
    about_open(c);
    c->wait_each = is_set("LONGMIX_CUDA_WAIT");
    c->poison = is_set("LONGMIX_CUDA_POISON");
    c->kernels = cuda_table;
    c->kernels.isa = c->isa;
    return ST_OK;
}

static void device_close(void *ctx)
{
    Cuda *c = (Cuda *)ctx;
    if (c->stream != NULL)
        (void)cudaStreamSynchronize(c->stream);
    staging_close(c);
    gemm_close(c);
    about_close(c);
    if (c->stream != NULL)
        (void)cudaStreamDestroy(c->stream);
    free(c);
}

static const Kernels *device_open(int index, const char *math, void **ctx, Status *st)
{
    *ctx = NULL;
    *st = find_device(index);
    if (*st != ST_OK)
        return NULL;
    Cuda *c = (Cuda *)calloc(1, sizeof *c);
    if (c == NULL) {
        *st = FAIL(ST_OOM, "no memory for a device");
        return NULL;
    }
    c->device = index;
    *st = set_up(c, math);
    if (*st != ST_OK) {
        device_close(c);
        return NULL;
    }
    *ctx = c;
    return &c->kernels;
}

/* ---- memory, waiting, time ---- */
static void *device_alloc(void *ctx, size_t size)
{
    void *p = NULL;
    if (cudaMallocAsync(&p, size, ((Cuda *)ctx)->stream) == cudaSuccess)
        return p;
    (void)cudaGetLastError();
    return NULL;
}

static void device_free(void *ctx, void *ptr, size_t size)
{
    (void)size;
    (void)cudaFreeAsync(ptr, ((Cuda *)ctx)->stream);
}

static Status device_copy(void *ctx, void *dst, const void *src, size_t size)
{
    return size > 0 ? staging_copy((Cuda *)ctx, dst, src, size) : ST_OK;
}

static Status device_sync(void *ctx)
{
    return cuda_wait((Cuda *)ctx);
}

static double device_now(void *ctx)
{
    struct timespec t;
    (void)cudaStreamSynchronize(((Cuda *)ctx)->stream);
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *mark_new(void *ctx)
{
    cudaEvent_t e = NULL;
    (void)ctx;
    return cudaEventCreateWithFlags(&e, cudaEventDefault) == cudaSuccess ? e : NULL;
}

static void mark_free(void *ctx, void *mark)
{
    (void)ctx;
    (void)cudaEventDestroy((cudaEvent_t)mark);
}

static Status mark_now(void *ctx, void *mark)
{
    Cuda *c = (Cuda *)ctx;
    return cuda_check(c, cudaEventRecord((cudaEvent_t)mark, c->stream), "a time mark");
}

static Status between(void *ctx, void *from, void *to, double *seconds)
{
    Cuda *c = (Cuda *)ctx;
    float ms = 0;
    if (cudaEventSynchronize((cudaEvent_t)to) != cudaSuccess)
        return cuda_wait(c);
    TRY(cuda_check(c, cudaEventElapsedTime(&ms, (cudaEvent_t)from, (cudaEvent_t)to),
                   "the time between two marks"));
    *seconds = 1e-3 * (double)ms;
    return ST_OK;
}

static const Backend backend = {
    .name = LONGMIX_CUDA_NAME,
    .real = sizeof(float),
    .dry = false,
    .open = device_open,
    .close = device_close,
    .alloc = device_alloc,
    .free = device_free,
    .copy = device_copy,
    .sync = device_sync,
    .now = device_now,
    .mark_new = mark_new,
    .mark_free = mark_free,
    .mark = mark_now,
    .between = between,
    .math = device_math,
    .about = cuda_about,
    .reset_peak = cuda_reset_peak,
    .strain = cuda_strain,
};

extern "C" __attribute__((visibility("default"))) const Plugin longmix_plugin;
const Plugin longmix_plugin = {longmix_build_id, &backend};
