/* relative.h - additive relative biases b_ij of the GAU family, a function of j - i.
 *
 *   tables   b_ij = w[j - i + n_max - 1], w (2 n_max - 1)       (Hua 2022, appendix, n_max <= 512)
 *   vectors  b_ij = <turn_i(a), turn_j(c)>, a and c (S)         (the same for longer sequences)
 *   T5       b_ij = scale w[bucket(i - j)], w (32)              (Raffel 2020; lucidrains)
 * n_max is the training length, or the chunk. */
#ifndef LONGMIX_RELATIVE_H
#define LONGMIX_RELATIVE_H

#include "variants/template/mixer.h"

/* Values of the option rel_bias. REL_PAPER is one of the next two, by n_max. */
enum { REL_NONE, REL_PAPER, REL_TABLE, REL_VECTORS, REL_T5 };

/* What is biased: `kind` is the option's value, `width` S, `scale` that of T5's table. */
typedef struct Relative {
    int kind, width;
    int64_t n_max;
    bool causal, half;
    double scale;
} Relative;

/* Parameters, of which those of other kinds are absent; in a row from w[0] of the functions below.
 */
enum { REL_SLOTS = 4 };
void relative_params(Slot s[REL_SLOTS], const Relative *r);

#define REL_HELP                                                                                   \
    "; rel_w: bias of each distance, from 1 - n_max on; rel_a: turned by the query's position, "   \
    "times rel_c; rel_c: turned by the key's; rel_t5: bias of a bucket of distances"

/* Says why `len` positions have no table. */
Status relative_accepts(const Relative *r, int64_t len);

/* Biases for queries and keys among `len` positions, that of distance 0 at *zero; NULL: none. */
Tensor *relative_table(Tape *t, Tensor *const w[], const Relative *r, int64_t len, int64_t *zero);

/* The definition: b_ij from the weights on the host. */
double relative_bias(const double *const w[], const Relative *r, int64_t i, int64_t j);

#endif
