/* adamw.c - AdamW (Loshchilov 2019) in one pass over weight, moments and gradient. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#include <math.h>
#if defined __SSE2__
#include <immintrin.h>
#endif

enum { BLOCK = 4096 };

/* C's sqrtf may set errno, which keeps compilers from using the vector instruction. */
static inline vf vsqrt(vf x)
{
#if defined __AVX512F__
    return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined __AVX__
    return (vf)_mm256_sqrt_ps((__m256)x);
#elif defined __SSE2__
    return (vf)_mm_sqrt_ps((__m128)x);
#else
    for (int i = 0; i < VW; i++)
        x[i] = sqrtf(x[i]);
    return x;
#endif
}

/* w -= rate m / (sqrt(v) root + eps) + shrink w, where rate and root hold the bias corrections:
 * lr m / (1 - beta1^t) and sqrt(v / (1 - beta2^t)). */
typedef struct Factors {
    float beta1, beta2, take1, take2, rate, root, eps, shrink, grad;
} Factors;

static Factors factors_of(const AdamW *a, double scale)
{
    double t = (double)a->step;
    return (Factors){.beta1 = (float)a->beta1,
                     .beta2 = (float)a->beta2,
                     .take1 = (float)(1.0 - a->beta1),
                     .take2 = (float)(1.0 - a->beta2),
                     .rate = (float)(a->lr / (1.0 - pow(a->beta1, t))),
                     .root = (float)(1.0 / sqrt(1.0 - pow(a->beta2, t))),
                     .eps = (float)a->eps,
                     .shrink = (float)(a->lr * a->decay),
                     .grad = (float)scale};
}

static void step_block(const Factors *f, int64_t n, float *w, float *m, float *v, const float *g)
{
    for (int64_t i = 0; i < n; i += VW) {
        vf grad = vget(g + i, n - i) * f->grad;
        vf first = f->beta1 * vget(m + i, n - i) + f->take1 * grad;
        vf second = f->beta2 * vget(v + i, n - i) + f->take2 * grad * grad;
        vf old = vget(w + i, n - i);
        vf step = f->rate * first / (vsqrt(second) * f->root + f->eps) + f->shrink * old;
        vput(m + i, first, n - i);
        vput(v + i, second, n - i);
        vput(w + i, old - step, n - i);
    }
}

Status CPU(adamw)(Dev *d, const AdamW *a)
{
    (void)d;
    CHECK(a->step >= 1);
    double scale =
        a->norm2 != NULL ? adamw_scale(a, (double)*(const float *)a->norm2) : a->grad_scale;
    if (!isfinite(scale))
        return ST_OK;
    Factors f = factors_of(a, scale);
#pragma omp parallel for schedule(static) if (a->n > PARALLEL_FROM)
    for (int64_t i = 0; i < a->n; i += BLOCK)
        step_block(&f, min64(BLOCK, a->n - i), (float *)a->w + i, (float *)a->m + i,
                   (float *)a->v + i, (const float *)a->grad + i);
    return ST_OK;
}
