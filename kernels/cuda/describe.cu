/* describe.cu - what the device says of itself, for the machine block of a report: name and driver
 * by the runtime; clocks, throttle reasons and ECC by NVML, which is opened where it is found. */
#include "kernels/cuda/cuda.cuh"

#include <dlfcn.h>
#include <stdio.h>

/* The part of NVML that is used. A handle is a pointer, results are 0 for success. */
typedef int NvmlInit(void);
typedef int NvmlByBus(const char *bus, void **device);
typedef int NvmlClock(void *device, unsigned which, unsigned *mhz);
typedef int NvmlEcc(void *device, unsigned *now, unsigned *pending);
typedef int NvmlThrottle(void *device, unsigned long long *reasons);

enum { CLOCK_SM = 1, CLOCK_MEM = 2 };
static const unsigned long long IDLE = 1; /* not a reason to worry */

struct Nvml {
    void *lib, *device;
};

static bool nvml_open(Nvml *n, int index)
{
    char bus[32];
    n->lib = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (n->lib == NULL)
        return false;
    NvmlInit *init = (NvmlInit *)dlsym(n->lib, "nvmlInit_v2");
    NvmlByBus *by_bus = (NvmlByBus *)dlsym(n->lib, "nvmlDeviceGetHandleByPciBusId_v2");
    return init != NULL && by_bus != NULL && init() == 0 &&
           cudaDeviceGetPCIBusId(bus, (int)sizeof bus, index) == cudaSuccess &&
           by_bus(bus, &n->device) == 0;
}

static unsigned clock_of(const Nvml *n, unsigned which)
{
    unsigned mhz = 0;
    NvmlClock *get = (NvmlClock *)dlsym(n->lib, "nvmlDeviceGetClockInfo");
    return get != NULL && get(n->device, which, &mhz) == 0 ? mhz : 0;
}

static const char *ecc_of(const Nvml *n)
{
    unsigned now = 0, pending = 0;
    NvmlEcc *get = (NvmlEcc *)dlsym(n->lib, "nvmlDeviceGetEccMode");
    if (get == NULL || get(n->device, &now, &pending) != 0)
        return "unknown";
    return now != 0 ? "on" : "off";
}

static unsigned long long throttle_of(const Nvml *n)
{
    unsigned long long reasons = 0;
    NvmlThrottle *get = (NvmlThrottle *)dlsym(n->lib, "nvmlDeviceGetCurrentClocksThrottleReasons");
    return get != NULL && get(n->device, &reasons) == 0 ? reasons & ~IDLE : 0;
}

void cuda_describe(void *ctx, char *text, size_t size)
{
    const Cuda *c = (const Cuda *)ctx;
    cudaDeviceProp p;
    Nvml n = {};
    int driver = 0;
    (void)cudaDriverGetVersion(&driver);
    if (cudaGetDeviceProperties(&p, c->device) != cudaSuccess)
        p.name[0] = '\0';
    int used = snprintf(text, size, "%.60s, %s, %.1f GiB, CUDA driver %d.%d", p.name, c->isa,
                        (double)p.totalGlobalMem / 0x1p30, driver / 1000, driver % 1000 / 10);
    if (used > 0 && (size_t)used < size && nvml_open(&n, c->device))
        snprintf(text + used, size - (size_t)used, ", %u/%u MHz, ECC %s, throttle %llx",
                 clock_of(&n, CLOCK_SM), clock_of(&n, CLOCK_MEM), ecc_of(&n), throttle_of(&n));
}
