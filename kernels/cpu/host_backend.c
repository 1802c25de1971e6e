/* host_backend.c - the "cpu" device: float32 in host memory, kernels of the best instruction set.
 *
 * LONGMIX_ISA names one instead. Denormals count as zero on every thread of the pool (threads made
 * later inherit it): they carry nothing here and cost a hundred times as much. */
#define _GNU_SOURCE /* madvise */
#include "kernels/kernels.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <xmmintrin.h>

extern const Kernels kernels_base, kernels_avx2, kernels_avx512;

static bool has_base(void)
{
    return true;
}
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}
static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

/* Best first. */
static const struct Isa {
    const Kernels *kernels;
    bool (*here)(void);
} isas[] = {{&kernels_avx512, has_avx512}, {&kernels_avx2, has_avx2}, {&kernels_base, has_base}};

/* The named instruction set, or without a name the best one. */
static Status pick(const char *name, const Kernels **out)
{
    char here[64] = "";
    int used = 0;
    *out = NULL;
    for (int i = COUNT(isas) - 1; i >= 0; i--) {
        const char *isa = isas[i].kernels->isa;
        if (!isas[i].here())
            continue;
        used +=
            snprintf(here + used, sizeof here - (size_t)used, "%s%s", used > 0 ? ", " : "", isa);
        if (name == NULL || strcmp(name, isa) == 0)
            *out = isas[i].kernels;
    }
    if (*out == NULL)
        return FAIL(ST_USAGE, "LONGMIX_ISA=%s: this processor has %s", name, here);
    return ST_OK;
}

static void flush_denormals(void)
{
    enum { FTZ = 1 << 15, DAZ = 1 << 6 };
#pragma omp parallel
    _mm_setcsr(_mm_getcsr() | FTZ | DAZ);
}

static const Kernels *backend_open(int index, const char *math, void **ctx, Status *st)
{
    const Kernels *k;
    (void)math;
    *ctx = NULL;
    const char *name = getenv("LONGMIX_ISA");
    *st = index == 0 ? pick(name != NULL && name[0] != '\0' ? name : NULL, &k)
                     : FAIL(ST_USAGE, "there is one cpu device, number 0, not %d", index);
    if (*st != ST_OK)
        return NULL;
    flush_denormals();
    return k;
}

static void backend_close(void *ctx)
{
    (void)ctx;
}

/* Whole pages of 2 MiB for large blocks: rows of a matrix are many small pages apart. */
static void *backend_alloc(void *ctx, size_t size)
{
    (void)ctx;
    const size_t huge = (size_t)2 << 20, unit = size >= 2 * huge ? huge : 64;
    if (size > SIZE_MAX - unit)
        return NULL;
    void *p = aligned_alloc(unit, (size + unit - 1) / unit * unit);
    if (p != NULL && unit == huge)
        (void)madvise(p, size, MADV_HUGEPAGE); /* a wish: the kernel may have none */
    return p;
}

static void backend_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx, (void)size;
    free(ptr);
}

static Status backend_copy(void *ctx, void *dst, const void *src, size_t size)
{
    (void)ctx;
    if (size > 0)
        memcpy(dst, src, size);
    return ST_OK;
}

static Status backend_sync(void *ctx)
{
    (void)ctx;
    return ST_OK;
}

static double backend_now(void *ctx)
{
    (void)ctx;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const Backend backend_cpu = {
    .name = "cpu",
    .real = sizeof(float),
    .dry = false,
    .open = backend_open,
    .close = backend_close,
    .alloc = backend_alloc,
    .free = backend_free,
    .copy = backend_copy,
    .sync = backend_sync,
    .now = backend_now,
};
