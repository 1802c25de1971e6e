/* cpu_attention.h - pairwise attention of the cpu backend against plain loops in double. */
#ifndef LONGMIX_TESTS_CPU_ATTENTION_H
#define LONGMIX_TESTS_CPU_ATTENTION_H

#include "tests/cpu_check.h"

/* What is tried; zero is one batch row, one head, square. */
typedef struct AttnCase {
    AttnKind kind;
    bool naive, causal, post_rows, with_lens, biased;
    bool set; /* gradients hold garbage and are overwritten */
    int64_t batch, q_len, k_len, q_pos;
    int heads, d, dv;
    double logit;    /* size of scaled scores; 0: 1 */
    double log_base; /* 0: one scale for all */
} AttnCase;

typedef struct AttnProblem {
    Attn a;
    int64_t q_n, k_n, v_n, o_n; /* elements of the arrays, gaps and all */
    int64_t bias_n;
    float *q, *k, *v, *d_o, *bias, *o, *lse, *dq, *dk, *dv, *d_bias;
    double *want_o, *want_lse, *want_dq, *want_dk, *want_dv, *want_db;
} AttnProblem;

/* Forward, and with bwd all gradients. */
void attention_check(Dev *d, AttnCase c, bool bwd);

/* The same in steps, so that operands can be changed between the first and the second: random
 * operands, from the pool; outputs by plain loops (set: gradients hold garbage); the comparison. */
AttnProblem attention_problem(const AttnCase *c);
void attention_outputs(AttnProblem *x, bool set);
void attention_check_made(Dev *d, AttnProblem *x, double logit, bool bwd, const char *what);

#endif
