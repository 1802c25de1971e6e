/* blocks.c - blocks of units of which one is chosen: soft masks and choices. */
#include <math.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/cpu.h"
#include "kernels/rng.h"

/* ---- softmax of blocks ---- */
static void soft_block(const float *z, int n, float *m)
{
    const BlockSoft s = block_soft(z, n);
    for (int i = 0; i < n; i += VW)
        vput(m + i, block_mask(s, vget(z + i, n - i)), n - i);
}

Status CPU(soft_blocks_fwd)(Dev *d, const SoftBlocks *a)
{
    (void)d;
#pragma omp parallel for schedule(static) if (a->n * a->block > PARALLEL_FROM / 8)
    for (int64_t i = 0; i < a->n; i++)
        soft_block((const float *)a->z + i * a->block, a->block, (float *)a->m + i * a->block);
    return ST_OK;
}

static void soft_block_bwd(const float *m, const float *dm, int n, float *dz)
{
    vf sum = vset(0);
    for (int i = 0; i < n; i += VW)
        sum += vget(m + i, n - i) * vget(dm + i, n - i);
    const vf mean = vset(vsum(sum));
    for (int i = 0; i < n; i += VW) {
        vf pull = vget(m + i, n - i) * (vget(dm + i, n - i) - mean);
        vput(dz + i, vget(dz + i, n - i) + pull, n - i);
    }
}

Status CPU(soft_blocks_bwd)(Dev *d, const SoftBlocks *a)
{
    (void)d;
#pragma omp parallel for schedule(static) if (a->n * a->block > PARALLEL_FROM / 8)
    for (int64_t i = 0; i < a->n; i++) {
        const int64_t at = i * a->block;
        soft_block_bwd((const float *)a->m + at, (const float *)a->dm + at, a->block,
                       (float *)a->dz + at);
    }
    return ST_OK;
}

/* ---- choosing ---- */

/* The first of the largest; 0 where nothing is a number. */
static int32_t first_largest(const float *z, int n)
{
    const vf top = vset(block_top(z, n)), none = vset(-1e9f);
    vf first = none; /* minus the place, so that the first is the largest */
    for (int i = 0; i < n; i += VW) {
        const vf place = -__builtin_convertvector(viota() + i, vf);
        const vi here = (vget(z + i, n - i) >= top) & (viota() < (vi){0} + (n - i));
        first = vmax(first, vselect(here, place, none));
    }
    const float found = vmax1(first);
    return found > none[0] ? (int32_t)-found : 0;
}

static double draw(const Pick *a, int64_t i)
{
    double u = a->u != NULL ? (double)((const float *)a->u)[i]
                            : rng_uniform(a->seed, a->stream, a->offset + (uint64_t)i);
    return fmin(fmax(u, 1e-6), 1 - 1e-6);
}

static int32_t noisy(const Pick *a, int64_t at)
{
    const float *z = (const float *)a->z + at;
    double best = -HUGE_VAL;
    int32_t first = 0;
    for (int n = 0; n < a->block; n++) {
        double score = (double)z[n] - a->tau * log(-log(draw(a, at + n)));
        if (score > best) {
            best = score;
            first = n;
        }
    }
    return first;
}

Status CPU(pick)(Dev *d, const Pick *a)
{
    (void)d;
#pragma omp parallel for schedule(static) if (a->n * a->block > PARALLEL_FROM / 8)
    for (int64_t i = 0; i < a->n; i++) {
        const int64_t at = i * a->block;
        a->pick[i] = a->tau > 0 ? noisy(a, at) : first_largest((const float *)a->z + at, a->block);
    }
    return ST_OK;
}
