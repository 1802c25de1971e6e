/* duo_ops.h - families of cases; see duo.h. `small` leaves out the larger cases. */
#ifndef LONGMIX_TESTS_DUO_OPS_H
#define LONGMIX_TESTS_DUO_OPS_H

#include "tests/duo.h"

void family_sums(Duo *u, bool small);
void family_gates(Duo *u, bool small);
void family_norms(Duo *u, bool small);
void family_rope(Duo *u, bool small);
void family_language(Duo *u, bool small);
void family_adamw(Duo *u, bool small);
void family_gemm(Duo *u, bool small);
void family_attention(Duo *u, bool small); /* duo_attention.c */
void family_naive(Duo *u, bool small);
void family_decode(Duo *u, bool small);
void family_chunks(Duo *u, bool small); /* duo_chunks.c */
void family_conv(Duo *u, bool small);   /* duo_layers.c */
void family_sru(Duo *u, bool small);
void family_rel(Duo *u, bool small);
void family_random(Duo *u, bool small);
void family_mult(Duo *u, bool small); /* duo_modules.c */
void family_modconv(Duo *u, bool small);
void family_blocks(Duo *u, bool small); /* duo_sparse.c */
void family_sparse_ff(Duo *u, bool small);
void family_lsh(Duo *u, bool small); /* duo_lsh.c */
void family_lsh_hash(Duo *u, bool small);
void family_lsh_decode(Duo *u, bool small);

#endif
