/* xent.c - cross entropy of rows of logits. A row is read from memory once, then from cache. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#include <math.h>

/* softmax(x)[c] = exp(x[c] - max) / sum */
typedef struct Softmax {
    float max, sum;
} Softmax;

static Softmax softmax_of(const float *x, int64_t n)
{
    vf top = vset(x[0]), sum = {0};
    for (int64_t c = 0; c + VW <= n; c += VW)
        top = vmax(top, vload(x + c));
    float max = vmax1(top);
    for (int64_t c = n / VW * VW; c < n; c++)
        max = x[c] > max ? x[c] : max;
    for (int64_t c = 0; c < n; c += VW)
        sum += vkeep(vexp(vget(x + c, n - c) - max), n - c);
    return (Softmax){max, vsum(sum)};
}

Status CPU(xent_fwd)(Dev *d, const Xent *a)
{
    (void)d;
    float *nll = a->nll;
#pragma omp parallel for schedule(static) if (a->rows * a->vocab > PARALLEL_FROM)
    for (int64_t r = 0; r < a->rows; r++) {
        int32_t target = a->target[r];
        CHECK(target < a->vocab);
        nll[r] = 0.0f;
        if (target < 0)
            continue;
        const float *x = (const float *)a->logits + r * a->vocab;
        Softmax s = softmax_of(x, a->vocab);
        nll[r] = logf(s.sum) + (s.max - x[target]);
    }
    return ST_OK;
}

/* dx += weight (softmax(x) - onehot(target)) */
static void row_bwd(const float *x, int64_t n, int32_t target, float weight, float *dx)
{
    Softmax s = softmax_of(x, n);
    float scale = weight / s.sum;
    for (int64_t c = 0; c < n; c += VW) {
        vf p = vexp(vget(x + c, n - c) - s.max);
        vput(dx + c, vget(dx + c, n - c) + scale * p, n - c);
    }
    dx[target] -= weight;
}

Status CPU(xent_bwd)(Dev *d, const Xent *a)
{
    (void)d;
    if (a->dlogits == NULL)
        return ST_OK;
    float weight = (float)(a->weight * (double)*(const float *)a->dloss);
#pragma omp parallel for schedule(static) if (a->rows * a->vocab > PARALLEL_FROM)
    for (int64_t r = 0; r < a->rows; r++) {
        int32_t target = a->target[r];
        CHECK(target < a->vocab);
        int64_t at = r * a->vocab;
        if (target >= 0)
            row_bwd((const float *)a->logits + at, a->vocab, target, weight,
                    (float *)a->dlogits + at);
    }
    return ST_OK;
}
