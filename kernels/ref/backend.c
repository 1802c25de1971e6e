/* backend.c - the "ref" device: the host's memory, one double a real, everything done at once. */
#include "kernels/ref/ref.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ALIGN = 64 };

static const Kernels kernels_ref = {
    .isa = "float64",
    .gemm = ref_gemm,
    .attn_fwd = ref_attn_fwd,
    .attn_bwd = ref_attn_bwd,
    .chunks_fwd = ref_chunks_fwd,
    .chunks_bwd = ref_chunks_bwd,
    .lsh_hash = ref_lsh_hash,
    .lsh_fwd = ref_lsh_fwd,
    .lsh_bwd = ref_lsh_bwd,
    .lsh_decode = ref_lsh_decode,
    .sru_fwd = ref_sru_fwd,
    .sru_bwd = ref_sru_bwd,
    .norm_fwd = ref_norm_fwd,
    .norm_bwd = ref_norm_bwd,
    .gate_fwd = ref_gate_fwd,
    .gate_bwd = ref_gate_bwd,
    .affine_fwd = ref_affine_fwd,
    .affine_bwd = ref_affine_bwd,
    .conv_fwd = ref_conv_fwd,
    .conv_bwd = ref_conv_bwd,
    .mult_fwd = ref_mult_fwd,
    .mult_bwd = ref_mult_bwd,
    .modconv_fwd = ref_modconv_fwd,
    .modconv_bwd = ref_modconv_bwd,
    .soft_blocks_fwd = ref_soft_blocks_fwd,
    .soft_blocks_bwd = ref_soft_blocks_bwd,
    .pick = ref_pick,
    .sparse_ff_fwd = ref_sparse_ff_fwd,
    .sparse_ff_bwd = ref_sparse_ff_bwd,
    .rope = ref_rope,
    .rel_fwd = ref_rel_fwd,
    .rel_bwd = ref_rel_bwd,
    .embed_fwd = ref_embed_fwd,
    .embed_bwd = ref_embed_bwd,
    .xent_fwd = ref_xent_fwd,
    .xent_bwd = ref_xent_bwd,
    .copy = ref_copy,
    .add = ref_add,
    .blend = ref_blend,
    .normal = ref_normal,
    .colsum = ref_colsum,
    .fill = ref_fill,
    .sum = ref_sum,
    .sumsq = ref_sumsq,
    .adamw = ref_adamw,
};

static const Kernels *device_open(int index, const char *math, void **ctx, Status *st)
{
    (void)math;
    if (index != 0) {
        *st = FAIL(ST_USAGE, "there is one ref device, number 0, not %d", index);
        return NULL;
    }
    *ctx = NULL;
    return &kernels_ref;
}

static void device_close(void *ctx)
{
    (void)ctx;
}

/* All bits set is a NaN: what was never written cannot pass for a number. */
static void *device_alloc(void *ctx, size_t size)
{
    (void)ctx;
    if (size > SIZE_MAX - ALIGN)
        return NULL;
    size_t whole = (size + ALIGN - 1) / ALIGN * ALIGN;
    void *ptr = aligned_alloc(ALIGN, whole);
    return ptr != NULL ? memset(ptr, 0xFF, whole) : NULL;
}

static void device_free(void *ctx, void *ptr, size_t size)
{
    (void)ctx, (void)size;
    free(ptr);
}

static Status device_copy(void *ctx, void *dst, const void *src, size_t size)
{
    (void)ctx;
    memcpy(dst, src, size);
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

extern const Backend backend_ref;
const Backend backend_ref = {
    .name = "ref",
    .real = sizeof(double),
    .open = device_open,
    .close = device_close,
    .alloc = device_alloc,
    .free = device_free,
    .copy = device_copy,
    .sync = device_sync,
    .now = device_now,
};
