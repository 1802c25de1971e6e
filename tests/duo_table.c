/* duo_table.c - the families of cases, and how far each may be off: as a share of the largest
 * number expected, for products in float32, tf32 and bf16 (10 and 7 explicit bits of mantissa). */
#include "tests/duo_ops.h"

const Family duo_families[] = {
    {"sums", {1e-6, 1e-6, 1e-6}, family_sums},
    {"gates", {2e-6, 2e-6, 2e-6}, family_gates},
    {"norms", {1e-5, 1e-5, 1e-5}, family_norms},
    {"rope", {1e-6, 1e-6, 1e-6}, family_rope},
    {"language", {2e-6, 2e-6, 2e-6}, family_language},
    {"adamw", {1e-6, 1e-6, 1e-6}, family_adamw},
    {"gemm", {2e-6, 2e-3, 2e-2}, family_gemm},
    {"attention", {2e-5, 2e-2, 1e-1}, family_attention},
    {"naive", {2e-5, 2e-2, 1e-1}, family_naive},
    {"decode", {2e-5, 2e-2, 1e-1}, family_decode},
    {"chunks", {2e-5, 2e-2, 1e-1}, family_chunks},
    {"conv", {2e-6, 2e-6, 2e-6}, family_conv},
    {"sru", {5e-6, 5e-6, 5e-6}, family_sru},
    {"rel", {1e-6, 1e-6, 1e-6}, family_rel},
    {"random", {1e-7, 1e-7, 1e-7}, family_random},
    {"mult", {2e-6, 4e-3, 4e-2}, family_mult},
    {"modconv", {2e-6, 4e-3, 4e-2}, family_modconv},
    {"blocks", {2e-6, 2e-6, 2e-6}, family_blocks},
    {"sparse_ff", {1e-5, 1e-5, 1e-5}, family_sparse_ff},
    {"lsh", {5e-5, 2e-2, 1e-1}, family_lsh},
    {"lsh_hash", {0, 0, 0}, family_lsh_hash},
    {"lsh_decode", {2e-5, 2e-5, 2e-5}, family_lsh_decode},
};
const int n_duo_families = COUNT(duo_families);
