/* about.cu - what the device says of itself, for the machine block of a report: name, memory and
 * cache by the runtime; clocks, why they are lowered and ECC by NVML, which is opened once where it
 * is found. A question to NVML takes the host microseconds and the stream nothing. */
#include "kernels/cuda/cuda.cuh"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* The part of NVML that is used. A handle is a pointer, results are 0 for success. */
typedef int NvmlInit(void);
typedef int NvmlByBus(const char *bus, void **device);
typedef int NvmlClock(void *device, unsigned which, unsigned *mhz);
typedef int NvmlEcc(void *device, unsigned *now, unsigned *pending);
typedef int NvmlReasons(void *device, unsigned long long *reasons);

enum { CLOCK_SM = 1, CLOCK_MEM = 2 };

struct Nvml {
    void *lib, *device;
    NvmlClock *clock;
    NvmlEcc *ecc;
    NvmlReasons *reasons;
};

/* Reasons by NVML's bits; idle (1), clocks that someone set (2, 0x100) and following another device
 * (0x10) are none. */
static const struct {
    unsigned long long bits;
    unsigned strain;
} strains[] = {{0x4, STRAIN_POWER}, {0x20 | 0x40, STRAIN_HEAT}, {0x8 | 0x80, STRAIN_HARDWARE}};
static const unsigned long long QUIET = 0x1 | 0x2 | 0x10 | 0x100;

static bool find_device(Nvml *n, int index)
{
    char bus[32];
    NvmlInit *init = (NvmlInit *)dlsym(n->lib, "nvmlInit_v2");
    NvmlByBus *by_bus = (NvmlByBus *)dlsym(n->lib, "nvmlDeviceGetHandleByPciBusId_v2");
    return init != NULL && by_bus != NULL && init() == 0 &&
           cudaDeviceGetPCIBusId(bus, (int)sizeof bus, index) == cudaSuccess &&
           by_bus(bus, &n->device) == 0;
}

/* The library stays open until the program ends: it does not bear being opened often. */
void about_open(Cuda *c)
{
    Nvml *n = (Nvml *)calloc(1, sizeof *n);
    c->nvml = n;
    if (n == NULL || (n->lib = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) == NULL ||
        !find_device(n, c->device))
        return;
    n->clock = (NvmlClock *)dlsym(n->lib, "nvmlDeviceGetClockInfo");
    n->ecc = (NvmlEcc *)dlsym(n->lib, "nvmlDeviceGetEccMode");
    n->reasons = (NvmlReasons *)dlsym(n->lib, "nvmlDeviceGetCurrentClocksEventReasons");
    if (n->reasons == NULL) /* its name until CUDA 12.2 */
        n->reasons = (NvmlReasons *)dlsym(n->lib, "nvmlDeviceGetCurrentClocksThrottleReasons");
}

void about_close(Cuda *c)
{
    free(c->nvml);
}

static int clock_of(const Nvml *n, unsigned which)
{
    unsigned mhz = 0;
    return n != NULL && n->clock != NULL && n->clock(n->device, which, &mhz) == 0 ? (int)mhz : 0;
}

static const char *ecc_of(const Nvml *n)
{
    unsigned now = 0, pending = 0;
    if (n == NULL || n->ecc == NULL || n->ecc(n->device, &now, &pending) != 0)
        return "";
    return now != 0 ? "on" : "off";
}

unsigned cuda_strain(void *ctx)
{
    const Nvml *n = ((Cuda *)ctx)->nvml;
    unsigned long long reasons = 0;
    unsigned strain = 0;
    if (n == NULL || n->reasons == NULL || n->reasons(n->device, &reasons) != 0)
        return 0;
    reasons &= ~QUIET;
    for (int i = 0; i < COUNT(strains); i++) {
        strain |= (reasons & strains[i].bits) != 0 ? strains[i].strain : 0;
        reasons &= ~strains[i].bits;
    }
    return reasons != 0 ? strain | STRAIN_OTHER : strain;
}

static int64_t pool_high(int device)
{
    cudaMemPool_t pool;
    uint64_t high = 0;
    if (cudaDeviceGetDefaultMemPool(&pool, device) != cudaSuccess ||
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &high) != cudaSuccess)
        return 0;
    return (int64_t)high;
}

void cuda_reset_peak(void *ctx)
{
    cudaMemPool_t pool;
    uint64_t zero = 0;
    if (cudaDeviceGetDefaultMemPool(&pool, ((Cuda *)ctx)->device) == cudaSuccess)
        (void)cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &zero);
}

void cuda_about(void *ctx, DevAbout *out)
{
    const Cuda *c = (const Cuda *)ctx;
    cudaDeviceProp p;
    size_t free_bytes = 0, all = 0;
    int driver = 0, cache = 0;
    (void)cudaDriverGetVersion(&driver);
    if (cudaGetDeviceProperties(&p, c->device) == cudaSuccess)
        snprintf(out->name, sizeof out->name, "%.60s", p.name);
    (void)cudaMemGetInfo(&free_bytes, &all);
    (void)cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, c->device);
    snprintf(out->driver, sizeof out->driver, "%d.%d", driver / 1000, driver % 1000 / 10);
    snprintf(out->ecc, sizeof out->ecc, "%s", ecc_of(c->nvml));
    out->memory = (int64_t)all;
    out->free = (int64_t)free_bytes;
    out->cache = cache;
    out->clock = clock_of(c->nvml, CLOCK_SM);
    out->memory_clock = clock_of(c->nvml, CLOCK_MEM);
    out->pool_peak = pool_high(c->device);
}
