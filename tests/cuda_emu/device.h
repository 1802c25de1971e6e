/* device.h - what kernels see of the emulated device: thread coordinates, barriers, shuffles.
 *
 * One fiber per CUDA thread, one block at a time. Shared memory is always dynamic: __shared__ is
 * not defined, so that every block can be given fresh memory. */
#ifndef LONGMIX_EMU_DEVICE_H
#define LONGMIX_EMU_DEVICE_H

#include "tests/cuda_emu/api.h"

#include <cmath>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

extern uint3 threadIdx, blockIdx; /* set at every switch to another thread */
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

struct float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float2 make_float2(float x, float y)
{
    return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

namespace emu
{
/* Shared by every place that can be named in a report. */
#define EMU_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* A lane deposits a pointer; the last of the mask to arrive lets `finish` work on all of them. */
using Finish = void (*)(void **deposit, unsigned mask, void *arg);
enum Collective { SYNC = 1, SHUFFLE, VOTE, MMA_BF16, MMA_TF32 };

void *dyn_shared();
int lane();
void barrier(const char *file, int line);
void collective(unsigned mask, int op, void *deposit, Finish finish, void *arg, const char *file,
                int line);
void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Asynchronous copies are performed when they are waited for, not before. */
void async_copy(void *shared, const void *global, int bytes, int valid);
void async_commit();
void async_wait(int groups_left);

/* Tensor cores (mma.cc): fragments as the PTX manual lays them out, one whole warp at a time. */
uint32_t pack_bf16(float low, float high);
uint32_t to_tf32(float x);
#define EMU_MMA_ARGS                                                                               \
    float c[4], const uint32_t a[4], const uint32_t b[2], const char *file = __builtin_FILE(),     \
                                                                     int line = __builtin_LINE()
void mma_bf16(EMU_MMA_ARGS);
void mma_tf32(EMU_MMA_ARGS);

template <class T>
struct Shuffle {
    T value, out;
    int from;
};

template <class T>
__attribute__((no_sanitize("thread"))) void shuffle(void **deposit, unsigned mask, void *)
{
    for (int i = 0; i < 32; i++) {
        if (!(mask >> i & 1))
            continue;
        auto *to = (Shuffle<T> *)deposit[i];
        auto *from = (Shuffle<T> *)deposit[to->from];
        if (from == nullptr) {
            fault("a shuffle reads lane %d, which mask %08x does not name", to->from, mask);
            return;
        }
        to->out = from->value;
    }
}
} // namespace emu

inline void __syncthreads(EMU_AT)
{
    emu::barrier(file, line);
}

inline void __syncwarp(unsigned mask = ~0u, EMU_AT)
{
    emu::collective(
        mask, emu::SYNC, nullptr, [](void **, unsigned, void *) {}, nullptr, file, line);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, EMU_AT)
{
    int base = emu::lane() & ~(width - 1);
    emu::Shuffle<T> d = {value, value, base + (from & (width - 1))};
    emu::collective(mask, emu::SHUFFLE, &d, emu::shuffle<T>, nullptr, file, line);
    return *(volatile T *)&d.out;
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32, EMU_AT)
{
    return __shfl_sync(mask, value, (emu::lane() ^ with) & (width - 1), width, file, line);
}

namespace emu
{
struct Vote {
    unsigned in, out;
};
__attribute__((no_sanitize("thread"))) inline void ballot(void **deposit, unsigned mask, void *)
{
    unsigned bits = 0;
    for (int i = 0; i < 32; i++)
        if ((mask >> i & 1) && ((Vote *)deposit[i])->in != 0)
            bits |= 1u << i;
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1)
            ((Vote *)deposit[i])->out = bits;
}
} // namespace emu

inline unsigned __ballot_sync(unsigned mask, int predicate, EMU_AT)
{
    emu::Vote v = {predicate != 0, 0};
    emu::collective(mask, emu::VOTE, &v, emu::ballot, nullptr, file, line);
    return *(volatile unsigned *)&v.out;
}
inline int __ffs(int v)
{
    return __builtin_ffs(v);
}
inline int __popc(unsigned v)
{
    return __builtin_popcount(v);
}
inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}
inline uint64_t __umul64hi(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}
inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}
inline void sincospi(double x, double *sine, double *cosine)
{
    *sine = sin(M_PI * x);
    *cosine = cos(M_PI * x);
}

#endif
