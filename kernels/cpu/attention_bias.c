/* attention_bias.c - additive biases by distance: rows of scores, and the way back. */
#include "kernels/cpu/attention.h"
#include "kernels/cpu/rows.h"

void CPU(attn_add_bias)(const Attn *a, int64_t i, int64_t k0, int n, float factor, float *p)
{
    const float *bias = (const float *)a->bias + attn_bias_at(a, i, k0);
    for (int j = 0; j < n; j += VW)
        vput(p + j, vget(p + j, n - j) + factor * vget(bias + j, n - j), n - j);
}

void CPU(attn_pull_bias)(const Attn *a, int64_t i, int64_t k0, int n, float factor, const float *ds,
                         float *sums)
{
    float *to = sums + attn_bias_at(a, i, k0);
    for (int j = 0; j < n; j += VW)
        vput(to + j, vget(to + j, n - j) + factor * vget(ds + j, n - j), n - j);
}
