/* mma_ops.cuh - tensor-core products and asynchronous copies: the one place with instructions by
 * name, and with twins for the emulator. Lanes hold fragments as the PTX manual lays them out
 * (mma.m16n8k16 .bf16 and mma.m16n8k8 .tf32): with g = lane / 4 and t = lane % 4, C has
 * (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1). */
#ifndef LONGMIX_CUDA_MMA_OPS_CUH
#define LONGMIX_CUDA_MMA_OPS_CUH

#include <cuda_runtime.h>
#include <stdint.h>

/* Queues the copy of 4 (16) bytes from global to shared memory; zeros where !valid. */
__device__ __forceinline__ void cp_async4(float *to, const float *from, bool valid)
{
#ifdef __CUDACC__
    const unsigned at = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from),
                 "r"(valid ? 4 : 0)
                 : "memory");
#else
    emu::async_copy(to, from, 4, valid ? 4 : 0);
#endif
}

__device__ __forceinline__ void cp_async16(float *to, const float *from, bool valid)
{
#ifdef __CUDACC__
    const unsigned at = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
#else
    emu::async_copy(to, from, 16, valid ? 16 : 0);
#endif
}

__device__ __forceinline__ void cp_async_commit()
{
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    emu::async_commit();
#endif
}

/* Until at most LEFT groups of this thread are still under way. */
template <int LEFT>
__device__ __forceinline__ void cp_async_wait()
{
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#else
    emu::async_wait(LEFT);
#endif
}

/* Two floats as bf16, the first in the low half, to nearest even. */
__device__ __forceinline__ uint32_t pack_bf16(float low, float high)
{
#ifdef __CUDACC__
    uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
#else
    return emu::pack_bf16(low, high);
#endif
}

__device__ __forceinline__ uint32_t to_tf32(float x)
{
#ifdef __CUDACC__
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
#else
    return emu::to_tf32(x);
#endif
}

/* c += A B, A (16,16), B (16,8) in bf16: a holds (g, 2t..), (g + 8, 2t..), (g, 2t + 8..),
 * (g + 8, 2t + 8..), b (2t.., g), (2t + 8.., g). */
__device__ __forceinline__ void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
#ifdef __CUDACC__
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emu::mma_bf16(c, a, b);
#endif
}

/* c += A B, A (16,8), B (8,8) in tf32: a holds (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4),
 * b (t, g), (t + 4, g). */
__device__ __forceinline__ void mma_tf32(float c[4], const uint32_t a[4], const uint32_t b[2])
{
#ifdef __CUDACC__
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emu::mma_tf32(c, a, b);
#endif
}

#endif
