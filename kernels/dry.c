/* dry.c - the "dry" device: every call is accepted, nothing is stored or computed.
 *
 * What runs on it asks for the same memory and the same work as on a real device, which is how a
 * case is predicted before it runs. Device addresses are invented, far beyond any that a process
 * can own, so that a copy knows its direction. Values read back are zeros. */
#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ALIGN = 64 };

/* Hosts use less than 57 bits of an address. */
static const uintptr_t FIRST_ADDRESS = (uintptr_t)1 << 60;

static Status gemm(Dev *d, const Gemm *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status attn(Dev *d, const Attn *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status chunks(Dev *d, const Chunks *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status lsh_hash(Dev *d, const LshHash *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status lsh(Dev *d, const Lsh *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status lsh_decode(Dev *d, const LshDecode *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status sru(Dev *d, const Sru *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status norm(Dev *d, const Norm *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status gate(Dev *d, const Gate *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status affine(Dev *d, const Affine *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status conv(Dev *d, const Conv *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status mult(Dev *d, const Mult *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status modconv(Dev *d, const ModConv *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status soft_blocks(Dev *d, const SoftBlocks *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status pick(Dev *d, const Pick *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status sparse_ff(Dev *d, const SparseFf *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status rope(Dev *d, const Rope *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status rel(Dev *d, const Rel *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status embed(Dev *d, const Embed *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status xent(Dev *d, const Xent *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status copy(Dev *d, const Copy *a)
{
    (void)d, (void)a;
    return ST_OK;
}
static Status add(Dev *d, int64_t n, const void *a, const void *b, void *y)
{
    (void)d, (void)n, (void)a, (void)b, (void)y;
    return ST_OK;
}
static Status blend(Dev *d, int64_t n, double a, const void *x, double b, const void *z, void *y)
{
    (void)d, (void)n, (void)a, (void)x, (void)b, (void)z, (void)y;
    return ST_OK;
}
static Status normal(Dev *d, int64_t n, uint64_t seed, uint32_t stream, uint64_t offset, void *y)
{
    (void)d, (void)n, (void)seed, (void)stream, (void)offset, (void)y;
    return ST_OK;
}
static Status colsum(Dev *d, int64_t rows, int64_t width, const void *x, void *y)
{
    (void)d, (void)rows, (void)width, (void)x, (void)y;
    return ST_OK;
}
static Status fill(Dev *d, int64_t n, double value, void *y)
{
    (void)d, (void)n, (void)value, (void)y;
    return ST_OK;
}
static Status sum(Dev *d, int64_t n, double scale, const void *x, void *y)
{
    (void)d, (void)n, (void)scale, (void)x, (void)y;
    return ST_OK;
}
static Status sumsq(Dev *d, int64_t n, const void *x, void *y)
{
    (void)d, (void)n, (void)x, (void)y;
    return ST_OK;
}
static Status adamw(Dev *d, const AdamW *a)
{
    (void)d, (void)a;
    return ST_OK;
}

static const Kernels kernels_dry = {
    .isa = "none",
    .gemm = gemm,
    .attn_fwd = attn,
    .attn_bwd = attn,
    .chunks_fwd = chunks,
    .chunks_bwd = chunks,
    .lsh_hash = lsh_hash,
    .lsh_fwd = lsh,
    .lsh_bwd = lsh,
    .lsh_decode = lsh_decode,
    .sru_fwd = sru,
    .sru_bwd = sru,
    .norm_fwd = norm,
    .norm_bwd = norm,
    .gate_fwd = gate,
    .gate_bwd = gate,
    .affine_fwd = affine,
    .affine_bwd = affine,
    .conv_fwd = conv,
    .conv_bwd = conv,
    .mult_fwd = mult,
    .mult_bwd = mult,
    .modconv_fwd = modconv,
    .modconv_bwd = modconv,
    .soft_blocks_fwd = soft_blocks,
    .soft_blocks_bwd = soft_blocks,
    .pick = pick,
    .sparse_ff_fwd = sparse_ff,
    .sparse_ff_bwd = sparse_ff,
    .rope = rope,
    .rel_fwd = rel,
    .rel_bwd = rel,
    .embed_fwd = embed,
    .embed_bwd = embed,
    .xent_fwd = xent,
    .xent_bwd = xent,
    .copy = copy,
    .add = add,
    .blend = blend,
    .normal = normal,
    .colsum = colsum,
    .fill = fill,
    .sum = sum,
    .sumsq = sumsq,
    .adamw = adamw,
};

/* The context is the next address that nobody has. */
static const Kernels *device_open(int index, const char *math, void **ctx, Status *st)
{
    uintptr_t *next = index == 0 ? malloc(sizeof *next) : NULL;
    (void)math;
    if (next == NULL) {
        *st = index == 0 ? FAIL(ST_OOM, "no memory for a device")
                         : FAIL(ST_USAGE, "there is one dry device, number 0, not %d", index);
        return NULL;
    }
    *next = FIRST_ADDRESS;
    *ctx = next;
    return &kernels_dry;
}

static void device_close(void *ctx)
{
    free(ctx);
}

/* Addresses are never given twice; a size that has no room left above the last one is refused. */
static void *device_alloc(void *ctx, size_t size)
{
    uintptr_t *next = ctx, at = *next;
    if (size > UINTPTR_MAX - ALIGN - at)
        return NULL;
    *next = at + (size / ALIGN + 1) * ALIGN;
    return (void *)at;
}

static void device_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx, (void)ptr, (void)size;
}

static Status device_copy(void *ctx, void *dst, const void *src, size_t size)
{
    (void)ctx, (void)src;
    if ((uintptr_t)dst < FIRST_ADDRESS)
        memset(dst, 0, size);
    return ST_OK;
}

static Status device_sync(void *ctx)
{
    (void)ctx;
    return ST_OK;
}

static double device_now(void *ctx)
{
    struct timespec t;
    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

extern const Backend backend_dry;
const Backend backend_dry = {
    .name = "dry",
    .real = sizeof(float),
    .dry = true,
    .open = device_open,
    .close = device_close,
    .alloc = device_alloc,
    .free = device_free,
    .copy = device_copy,
    .sync = device_sync,
    .now = device_now,
};
