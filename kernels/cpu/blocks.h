/* blocks.h - the softmax of one block of units. */
#ifndef LONGMIX_CPU_BLOCKS_H
#define LONGMIX_CPU_BLOCKS_H

#include "kernels/cpu/exp.h"
#include "kernels/cpu/rows.h"

static inline float block_top(const float *z, int n)
{
    vf top = vset(-__builtin_inff());
    for (int i = 0; i < n; i += VW) {
        vf x = vget(z + i, n - i);
        for (int j = n - i; j < VW; j++)
            x[j] = z[0];
        top = vmax(x, top);
    }
    return vmax1(top);
}

/* softmax_i = exp(z_i - top) scale */
typedef struct BlockSoft {
    float top, scale;
} BlockSoft;

static inline BlockSoft block_soft(const float *z, int n)
{
    BlockSoft s = {block_top(z, n), 0};
    vf sum = vset(0);
    for (int i = 0; i < n; i += VW)
        sum += vkeep(vexp(vget(z + i, n - i) - s.top), n - i);
    s.scale = 1.0f / vsum(sum);
    return s;
}
static inline vf block_mask(BlockSoft s, vf z)
{
    return vexp(z - s.top) * s.scale;
}

#endif
