/* memory.cc - device memory: one reserved window, NaN at first, red zones, never used twice. */
#include "tests/cuda_emu/emu.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <sys/mman.h>

namespace emu
{
enum : size_t { WINDOW = (size_t)8 << 30, RED_ZONE = 512, PAGE = 4096, CAPACITY = 4ull << 30 };
enum : unsigned char { RED = 0xA5, FRESH = 0xFF };

static char *window;
static size_t used;
static std::map<char *, size_t> live;
static std::set<void *> pinned;
static size_t live_bytes, most_bytes;
static int reach_depth;

static void protect(int how)
{
    if (window != nullptr && config().guard && used > 0)
        mprotect(window, (used + PAGE - 1) / PAGE * PAGE, how);
}

Reach::Reach()
{
    if (reach_depth++ == 0)
        protect(PROT_READ | PROT_WRITE);
}
Reach::~Reach()
{
    if (--reach_depth == 0)
        protect(PROT_NONE);
}

bool is_device(const void *p, size_t size)
{
    return window != nullptr && (char *)p >= window && (char *)p + size <= window + WINDOW;
}

bool inside_one(const void *p, size_t size)
{
    auto it = live.upper_bound((char *)p);
    if (it == live.begin())
        return false;
    --it;
    return (char *)p + size <= it->first + it->second;
}

static bool holds(const char *p, size_t size)
{
    for (size_t i = 0; i < RED_ZONE; i++) {
        bool before = (unsigned char)p[-1 - (long)i] != RED;
        if (before || (unsigned char)p[size + i] != RED) {
            fprintf(stderr,
                    "cuda_emu: device buffer %p (%zu bytes) overrun: byte %ld was written\n",
                    (const void *)p, size, before ? -1 - (long)i : (long)(size + i));
            sticky = cudaErrorIllegalAddress;
            return false;
        }
    }
    return true;
}

bool red_zones_hold()
{
    Reach reach;
    if (EMU_ASAN)
        return true;
    for (const auto &a : live)
        if (!holds(a.first, a.second))
            return false;
    return true;
}

static bool open_window()
{
    if (window == nullptr) {
        void *p = mmap(nullptr, WINDOW, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        window = p != MAP_FAILED ? (char *)p : nullptr;
    }
    return window != nullptr;
}

static cudaError_t take(void **out, size_t size)
{
    const size_t need = (size + 255) / 256 * 256 + 2 * RED_ZONE;
    *out = nullptr;
    if (size > CAPACITY || live_bytes + size > CAPACITY || !open_window() || used + need > WINDOW)
        return cudaErrorMemoryAllocation;
    char *p = window + used + RED_ZONE;
    used += need;
    Reach reach;
    protect(PROT_READ | PROT_WRITE);
    memset(p - RED_ZONE, RED, need);
    memset(p, FRESH, size);
    ASAN_POISON_MEMORY_REGION(p - RED_ZONE, need);
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    live[p] = size;
    live_bytes += size;
    most_bytes = std::max(most_bytes, live_bytes);
    *out = p;
    return cudaSuccess;
}

/* Nobody owns anything: the window may begin anew. */
static void rewind_window()
{
    ASAN_UNPOISON_MEMORY_REGION(window, used);
    madvise(window, (used + PAGE - 1) / PAGE * PAGE, MADV_DONTNEED);
    used = 0;
}

static cudaError_t give_back(char *p)
{
    auto it = live.find(p);
    if (it == live.end())
        return cudaErrorInvalidValue;
    Reach reach;
    if (!EMU_ASAN && !holds(p, it->second))
        return sticky;
    memset(p, FRESH, it->second);
    ASAN_POISON_MEMORY_REGION(p, it->second);
    live_bytes -= it->second;
    live.erase(it);
    if (live.empty())
        rewind_window();
    return cudaSuccess;
}
} // namespace emu

using namespace emu;

cudaError_t cudaMallocAsync(void **p, size_t size, cudaStream_t)
{
    trace('a');
    return sticky != cudaSuccess ? sticky : take(p, size);
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t s)
{
    if (p == nullptr)
        return cudaSuccess;
    if (live.find((char *)p) == live.end())
        return cudaErrorInvalidValue;
    return enqueue(s, [=] { return give_back((char *)p); });
}

cudaError_t cudaMallocHost(void **p, size_t size)
{
    trace('p');
    *p = malloc(size);
    if (*p != nullptr)
        pinned.insert(*p);
    return *p != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *p)
{
    cudaDeviceSynchronize();
    pinned.erase(p);
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    *total = (size_t)config().memory << 30;
    *free = *total - live_bytes;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *a, const void *p)
{
    *a = {};
    a->type = is_device(p, 1)                ? cudaMemoryTypeDevice
              : pinned.count((void *)p) != 0 ? cudaMemoryTypeHost
                                             : cudaMemoryTypeUnregistered;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int)
{
    *pool = nullptr;
    return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr attr, void *)
{
    if (attr == cudaMemPoolAttrUsedMemHigh || attr == cudaMemPoolAttrReservedMemHigh)
        most_bytes = live_bytes;
    return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr attr, void *value)
{
    bool high = attr == cudaMemPoolAttrUsedMemHigh || attr == cudaMemPoolAttrReservedMemHigh;
    *(uint64_t *)value = high ? most_bytes : live_bytes;
    return cudaSuccess;
}
