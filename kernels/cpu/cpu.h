/* cpu.h - what the files of this folder share: the kernels of one instruction set, by name.
 *
 * Every file but host_*.c is compiled once per instruction set; CPU(name) keeps the copies apart.
 * Work is cut by shape, never by the number of threads, and every sum has one fixed order, so all
 * results are the same bits for any number of threads. */
#ifndef LONGMIX_CPU_CPU_H
#define LONGMIX_CPU_CPU_H

#include "kernels/cpu/exp.h"
#include "kernels/cpu/tile.h"
#include "kernels/cpu/vec.h"
#include "kernels/kernels.h"

/* Products tell the device what they did (dev_count_flops), and not what was asked for: hidden
 * pairs of tiles and padding count. Threads add theirs to one sum; these are whole numbers, so
 * exact. */
static inline void tally(double *sum, double flops)
{
#pragma omp atomic
    *sum += flops;
}

/* Less work than this (multiply-adds, or floats moved) is not worth waking other threads. */
enum { PARALLEL_FROM = 1 << 16 };

extern const Kernels CPU(kernels);

Status CPU(gemm)(Dev *d, const Gemm *a);
/* What it does, padding of vectors with it. */
double CPU(gemm_flops)(const Gemm *a);
/* The same with scratch of the caller's, and not counted: CPU(gemm_scratch)(a) floats, 64-byte
 * aligned. */
size_t CPU(gemm_scratch)(const Gemm *a);
void CPU(gemm_in)(const Gemm *a, float *scratch);
/* At most SKINNY rows of A, not transposed: reads B in place, at the speed of memory. */
enum { SKINNY = 8 };
void CPU(gemm_skinny)(const Gemm *a);
double CPU(skinny_flops)(const Gemm *a);
Status CPU(attn_fwd)(Dev *d, const Attn *a);
Status CPU(attn_bwd)(Dev *d, const Attn *a);
Status CPU(chunks_fwd)(Dev *d, const Chunks *a);
Status CPU(chunks_bwd)(Dev *d, const Chunks *a);
Status CPU(lsh_hash)(Dev *d, const LshHash *a);
Status CPU(lsh_fwd)(Dev *d, const Lsh *a);
Status CPU(lsh_bwd)(Dev *d, const Lsh *a);
Status CPU(lsh_decode)(Dev *d, const LshDecode *a);
Status CPU(sru_fwd)(Dev *d, const Sru *a);
Status CPU(sru_bwd)(Dev *d, const Sru *a);
Status CPU(norm_fwd)(Dev *d, const Norm *a);
Status CPU(norm_bwd)(Dev *d, const Norm *a);
Status CPU(gate_fwd)(Dev *d, const Gate *a);
Status CPU(gate_bwd)(Dev *d, const Gate *a);
Status CPU(affine_fwd)(Dev *d, const Affine *a);
Status CPU(affine_bwd)(Dev *d, const Affine *a);
Status CPU(conv_fwd)(Dev *d, const Conv *a);
Status CPU(conv_bwd)(Dev *d, const Conv *a);
Status CPU(mult_fwd)(Dev *d, const Mult *a);
/* At most SKINNY rows: g and e are read once. */
Status CPU(mult_few)(Dev *d, const Mult *a);
Status CPU(mult_bwd)(Dev *d, const Mult *a);
Status CPU(modconv_fwd)(Dev *d, const ModConv *a);
Status CPU(modconv_bwd)(Dev *d, const ModConv *a);
Status CPU(soft_blocks_fwd)(Dev *d, const SoftBlocks *a);
Status CPU(soft_blocks_bwd)(Dev *d, const SoftBlocks *a);
Status CPU(pick)(Dev *d, const Pick *a);
Status CPU(sparse_ff_fwd)(Dev *d, const SparseFf *a);
Status CPU(sparse_ff_bwd)(Dev *d, const SparseFf *a);
Status CPU(rope)(Dev *d, const Rope *a);
Status CPU(rel_fwd)(Dev *d, const Rel *a);
Status CPU(rel_bwd)(Dev *d, const Rel *a);
Status CPU(embed_fwd)(Dev *d, const Embed *a);
Status CPU(embed_bwd)(Dev *d, const Embed *a);
Status CPU(xent_fwd)(Dev *d, const Xent *a);
Status CPU(xent_bwd)(Dev *d, const Xent *a);
Status CPU(copy)(Dev *d, const Copy *a);
Status CPU(add)(Dev *d, int64_t n, const void *a, const void *b, void *y);
Status CPU(blend)(Dev *d, int64_t n, double a, const void *x, double b, const void *z, void *y);
Status CPU(normal)(Dev *d, int64_t n, uint64_t seed, uint32_t stream, uint64_t offset, void *y);
Status CPU(colsum)(Dev *d, int64_t rows, int64_t width, const void *x, void *y);
Status CPU(fill)(Dev *d, int64_t n, double value, void *y);
Status CPU(sum)(Dev *d, int64_t n, double scale, const void *x, void *y);
Status CPU(sumsq)(Dev *d, int64_t n, const void *x, void *y);
Status CPU(adamw)(Dev *d, const AdamW *a);

#endif
