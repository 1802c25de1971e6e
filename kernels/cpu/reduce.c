/* reduce.c - sums over all elements (in double) and over columns, by fixed slabs in order. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#include <string.h>

/* Elements of one row of the slabs below. */
enum { RUN = 1024 };

/* Half a vector of floats fills one of doubles. */
enum { HALF = VW / 2 };
typedef double vd __attribute__((vector_size(4 * VW)));
typedef float vh __attribute__((vector_size(2 * VW), aligned(4), may_alias));

static inline vd widen(const float *x)
{
    return __builtin_convertvector(*(const vh *)x, vd);
}

/* Sum of x (or of its squares) over n elements. */
static inline double run_sum(const float *x, int64_t n, bool squares)
{
    vd part[4] = {{0}}; /* so many, that no addition waits for the one before */
    double sum = 0.0;
    int64_t i = 0;
    for (; i + 4 * HALF <= n; i += 4 * HALF)
        for (int p = 0; p < 4; p++) {
            vd t = widen(x + i + p * HALF);
            part[p] += squares ? t * t : t;
        }
    for (; i < n; i++)
        sum += squares ? (double)x[i] * (double)x[i] : (double)x[i];
    part[0] += part[1] + part[2] + part[3];
    for (int lane = 0; lane < HALF; lane++)
        sum += part[0][lane];
    return sum;
}

static double total(int64_t n, const float *x, bool squares)
{
    double part[SLABS_MAX], sum = 0.0;
    Slabs slabs = slabs_of(ceil_div(n, RUN));
#pragma omp parallel for schedule(static) if (n > PARALLEL_FROM)
    for (int i = 0; i < slabs.n; i++) {
        int64_t at = slab_begin(&slabs, i) * RUN;
        part[i] = run_sum(x + at, min64(n, slab_end(&slabs, i) * RUN) - at, squares);
    }
    for (int i = 0; i < slabs.n; i++)
        sum += part[i];
    return sum;
}

Status CPU(sum)(Dev *d, int64_t n, double scale, const void *x, void *y)
{
    (void)d;
    *(float *)y = (float)(scale * total(n, x, false));
    return ST_OK;
}

Status CPU(sumsq)(Dev *d, int64_t n, const void *x, void *y)
{
    (void)d;
    *(float *)y += (float)total(n, x, true);
    return ST_OK;
}

Status CPU(colsum)(Dev *d, int64_t rows, int64_t width, const void *x, void *y)
{
    void *scratch;
    Slabs slabs = slabs_of(rows);
    size_t bytes = (size_t)slabs.n * (size_t)width * sizeof(float);
    TRY(dev_scratch(d, bytes, &scratch));
    float *part = scratch;
#pragma omp parallel for schedule(static) if (rows * width > PARALLEL_FROM)
    for (int i = 0; i < slabs.n; i++) {
        float *sums = part + i * width;
        memset(sums, 0, (size_t)width * sizeof *sums);
        for (int64_t r = slab_begin(&slabs, i); r < slab_end(&slabs, i); r++)
            row_add(sums, (const float *)x + r * width, width);
    }
    slabs_fold(part, slabs.n, width, width, y);
    return ST_OK;
}
