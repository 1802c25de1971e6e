/* positions.cu - strided copies, and the turning of rotary positions: one thread an element (a
 * pair of elements).
 *
 * No shared memory. Bytes: copy 8 an element (12 with add), rope 8 (12). Computed for 2^24 numbers
 * on an H100 (3.35 TB/s): 0.04 and 0.06 ms. The angle of a pair needs a power and a sine in double,
 * since t may be millions of turns: positions beyond float's 24 bits keep their angle. Angles are
 * in half turns, which need no table of pi's digits (local memory) to be brought into range. Each
 * thread serves all heads of its pair, so that this cost is shared. */
#include "kernels/cuda/divide.cuh"
#include "kernels/cuda/ops.cuh"

#include <math.h>

enum { THREADS = 256 };
#define BY_PI 0.31830988618379067 /* 1 / pi */

__global__ void copy_kernel(Copy a, Divisor by_width, Divisor by_rows)
{
    const float *src = (const float *)a.src;
    float *dst = (float *)a.dst;
    for (int64_t i = first_of(); i < a.batch * a.rows * a.width; i += step_of()) {
        const int64_t row = quotient(i, by_width), b = quotient(row, by_rows);
        const int64_t c = i - row * a.width, r = row - b * a.rows;
        const float x = src[b * a.src_batch + r * a.src_row + c];
        float *y = dst + b * a.dst_batch + r * a.dst_row + c;
        *y = a.add ? *y + x : x;
    }
}

Status cuda_copy(Dev *d, const Copy *a)
{
    return launch(d, "copy", copy_kernel, grid_for(d, a->batch * a->rows * a->width, THREADS),
                  THREADS, 0, *a, divisor(a->width), divisor(a->rows));
}

/* Units of a row: its rot / 2 pairs, then the d - rot columns that stay. */
__global__ void rope_kernel(Rope a)
{
    const int pairs = a.rot / 2, units = pairs + a.d - a.rot;
    for (int64_t n = first_of(); n < a.rows * units; n += step_of()) {
        const int64_t r = n / units;
        const int u = (int)(n % units), stays = u - pairs + a.rot;
        const int first = u >= pairs ? stays : a.half ? u : 2 * u;
        const int second = u >= pairs ? stays : a.half ? u + pairs : 2 * u + 1;
        double sine = 0.0, cosine = 1.0;
        if (u < pairs)
            sincospi((double)(a.pos + r % a.len) * (pow(a.base, -2.0 * u / a.rot) * BY_PI), &sine,
                     &cosine);
        const float s = (float)(a.inverse ? -sine : sine), c = (float)cosine;
        for (int h = 0; h < a.heads; h++) {
            const float *x = (const float *)a.x + (r * a.heads + h) * a.d;
            float *y = (float *)a.y + (r * a.heads + h) * a.d;
            const float x1 = x[first], x2 = x[second];
            const float y1 = x1 * c - x2 * s, y2 = x2 * c + x1 * s;
            const float old1 = a.add ? y[first] : 0.0f, old2 = a.add ? y[second] : 0.0f;
            y[second] = old2 + y2;
            y[first] = old1 + (u >= pairs ? x1 : y1);
        }
    }
}

Status cuda_rope(Dev *d, const Rope *a)
{
    const int units = a->rot / 2 + a->d - a->rot;
    CHECK(a->rot % 2 == 0 && a->rot <= a->d);
    return launch(d, "rope", rope_kernel, grid_for(d, a->rows * units, THREADS), THREADS, 0, *a);
}
