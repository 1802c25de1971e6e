/* table.c - the kernels of one instruction set. */
#include "kernels/cpu/cpu.h"

#define ISA_TEXT_(isa) #isa
#define ISA_TEXT(isa)  ISA_TEXT_(isa)

const Kernels CPU(kernels) = {
    .isa = ISA_TEXT(CPU_ISA),
    .overwrites = true,
    .gemm = CPU(gemm),
    .attn_fwd = CPU(attn_fwd),
    .attn_bwd = CPU(attn_bwd),
    .chunks_fwd = CPU(chunks_fwd),
    .chunks_bwd = CPU(chunks_bwd),
    .lsh_hash = CPU(lsh_hash),
    .lsh_fwd = CPU(lsh_fwd),
    .lsh_bwd = CPU(lsh_bwd),
    .lsh_decode = CPU(lsh_decode),
    .norm_fwd = CPU(norm_fwd),
    .norm_bwd = CPU(norm_bwd),
    .gate_fwd = CPU(gate_fwd),
    .gate_bwd = CPU(gate_bwd),
    .affine_fwd = CPU(affine_fwd),
    .affine_bwd = CPU(affine_bwd),
    .conv_fwd = CPU(conv_fwd),
    .conv_bwd = CPU(conv_bwd),
    .rope = CPU(rope),
    .rel_fwd = CPU(rel_fwd),
    .rel_bwd = CPU(rel_bwd),
    .embed_fwd = CPU(embed_fwd),
    .embed_bwd = CPU(embed_bwd),
    .xent_fwd = CPU(xent_fwd),
    .xent_bwd = CPU(xent_bwd),
    .copy = CPU(copy),
    .add = CPU(add),
    .blend = CPU(blend),
    .normal = CPU(normal),
    .colsum = CPU(colsum),
    .fill = CPU(fill),
    .sum = CPU(sum),
    .sumsq = CPU(sumsq),
    .adamw = CPU(adamw),
};
