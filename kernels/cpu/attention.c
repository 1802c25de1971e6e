/* attention.c - which of the implementations of pairwise attention runs. */
#include "kernels/cpu/attention.h"

Status CPU(attn_fwd)(Dev *d, const Attn *a)
{
    CHECK(a->d > 0 && a->dv > 0 && a->q_pos >= 0);
    if (a->batch * a->q_len * a->heads == 0)
        return ST_OK;
    if (a->naive)
        return CPU(attn_fwd_naive)(d, a);
    if (a->q_len == 1)
        return CPU(attn_decode)(d, a);
    return CPU(attn_fwd_tiled)(d, a);
}

Status CPU(attn_bwd)(Dev *d, const Attn *a)
{
    CHECK(a->d > 0 && a->dv > 0 && a->q_pos >= 0);
    if (a->batch * a->q_len * a->heads == 0)
        return ST_OK;
    return a->naive ? CPU(attn_bwd_naive)(d, a) : CPU(attn_bwd_tiled)(d, a);
}
