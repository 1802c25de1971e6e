/* streams.cc - streams as queues of closures, events, copies, and what the device says of itself.
 *
 * Eager: work runs when it is queued. EMU_LAZY: when something waits for it, so that a missing wait
 * shows. Copies from pageable host memory read it at the call, as CUDA does; those to it wait. */
#include "tests/cuda_emu/emu.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <unistd.h>
#include <vector>

struct CUevent_st {
    uint64_t asked, done;
    cudaStream_t where;
    double at;
};
struct CUstream_st {
    std::deque<std::function<cudaError_t()>> queue;
};

namespace emu
{
static CUstream_st default_stream;
static std::vector<cudaStream_t> streams{&default_stream};

static void run_first(cudaStream_t s)
{
    auto work = std::move(s->queue.front());
    s->queue.pop_front();
    cudaError_t e = sticky == cudaSuccess ? work() : sticky;
    if (e != cudaSuccess)
        sticky = e;
}

static cudaError_t drain(cudaStream_t s)
{
    Reach reach; /* once: to open and close the window of device memory is slow */
    while (!s->queue.empty())
        run_first(s);
    return sticky;
}

/* Of all processes the first that works while the file EMU_FAIL_ONCE is there: the device fails. */
static bool has_to_fail()
{
    const char *path = getenv("EMU_FAIL_ONCE");
    return path != nullptr && unlink(path) == 0;
}

cudaError_t enqueue(cudaStream_t s, std::function<cudaError_t()> work)
{
    if (has_to_fail())
        sticky = cudaErrorIllegalAddress;
    if (sticky != cudaSuccess)
        return sticky;
    s = s != nullptr ? s : &default_stream;
    s->queue.push_back(std::move(work));
    return config().lazy ? cudaSuccess : drain(s);
}

static double seconds()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}
} // namespace emu

using namespace emu;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = new CUstream_st;
    streams.push_back(*s);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    trace('w');
    drain(s != nullptr ? s : &default_stream);
    red_zones_hold();
    return sticky;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    drain(s);
    streams.erase(std::find(streams.begin(), streams.end(), s));
    delete s;
    return sticky;
}

/* Work of different streams in any order. */
cudaError_t cudaDeviceSynchronize()
{
    trace('w');
    for (;;) {
        std::vector<cudaStream_t> busy;
        for (cudaStream_t s : streams)
            if (!s->queue.empty())
                busy.push_back(s);
        if (busy.empty())
            break;
        run_first(busy[random_bits() % busy.size()]);
    }
    red_zones_hold();
    return sticky;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    uint64_t number = e->asked;
    return enqueue(s, [=] {
        while (e->done < number)
            run_first(e->where);
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new CUevent_st{};
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    if (e->done < e->asked)
        drain(e->where);
    delete e;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    trace('e');
    uint64_t number = ++e->asked;
    e->where = s != nullptr ? s : &default_stream;
    return enqueue(s, [=] {
        e->done = number;
        e->at = seconds();
        return cudaSuccess;
    });
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    if (e->done < e->asked)
        trace('v');
    while (e->done < e->asked && sticky == cudaSuccess)
        run_first(e->where);
    return sticky;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    if (start->done < start->asked || end->done < end->asked)
        return cudaErrorNotReady;
    *ms = (float)(1e3 * (end->at - start->at));
    return cudaSuccess;
}

/* ---- copies ---- */
static bool fits(const void *p, size_t size, bool device)
{
    return is_device(p, size) == device && (!device || inside_one(p, size));
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t size, cudaMemcpyKind kind,
                            cudaStream_t s)
{
    if (kind == cudaMemcpyDefault)
        kind = (cudaMemcpyKind)((is_device(dst, 1) ? 1 : 0) + (is_device(src, 1) ? 2 : 0));
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    trace('c');
    cudaPointerAttributes at_dst, at_src;
    if (!fits(dst, size, to_device) || !fits(src, size, from_device))
        return cudaErrorInvalidValue;
    cudaPointerGetAttributes(&at_dst, dst);
    cudaPointerGetAttributes(&at_src, src);
    if (to_device && at_src.type == cudaMemoryTypeUnregistered) {
        std::vector<char> held((const char *)src, (const char *)src + size);
        return enqueue(s, [=] {
            Reach reach;
            memcpy(dst, held.data(), size);
            return cudaSuccess;
        });
    }
    cudaError_t e = enqueue(s, [=] {
        Reach reach;
        memcpy(dst, src, size);
        return cudaSuccess;
    });
    bool waits = from_device && !to_device && at_dst.type == cudaMemoryTypeUnregistered;
    return e == cudaSuccess && waits ? cudaStreamSynchronize(s) : e;
}

cudaError_t cudaMemsetAsync(void *p, int byte, size_t size, cudaStream_t s)
{
    trace('m');
    if (!fits(p, size, true))
        return cudaErrorInvalidValue;
    return enqueue(s, [=] {
        Reach reach;
        memset(p, byte, size);
        return cudaSuccess;
    });
}

/* ---- the device ---- */
cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int *count)
{
    *count = config().devices;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device)
{
    return device < config().devices ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int)
{
    *p = {};
    snprintf(p->name, sizeof p->name, "emulated device");
    p->totalGlobalMem = (size_t)config().memory << 30;
    p->major = 8;
    p->minor = 0;
    p->multiProcessorCount = config().sms;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attr, int)
{
    *value = attr == cudaDevAttrMultiProcessorCount            ? config().sms
             : attr == cudaDevAttrComputeCapabilityMajor       ? 8
             : attr == cudaDevAttrMaxSharedMemoryPerBlockOptin ? 99 << 10
             : attr == cudaDevAttrL2CacheSize                  ? 1 << 20
             : attr == cudaDevAttrClockRate                    ? 1000000
                                                               : 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int)
{
    snprintf(id, (size_t)size, "0000:00:00.0");
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    return sticky;
}

const char *cudaGetErrorString(cudaError_t e)
{
    switch (e) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorIllegalAddress:
        return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    default:
        return "another error";
    }
}
