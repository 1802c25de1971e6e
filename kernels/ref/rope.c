/* rope.c - rotary positions: pair (x1, x2) becomes (x1 cos - x2 sin, x2 cos + x1 sin). */
#include "kernels/ref/ref.h"

static void put(const Rope *a, double *y, double value)
{
    *y = a->add ? *y + value : value;
}

/* One head of the position t: columns x[0..d), of which the first `rot` turn. y may be x. */
static void turn(const Rope *a, double t, const double *x, double *y)
{
    for (int i = 0; i < a->rot / 2; i++) {
        const int first = a->half ? i : 2 * i, second = a->half ? i + a->rot / 2 : 2 * i + 1;
        const double angle = t * pow(a->base, -2.0 * i / a->rot);
        const double c = cos(angle), s = a->inverse ? -sin(angle) : sin(angle);
        const double x1 = x[first], x2 = x[second];
        put(a, &y[first], x1 * c - x2 * s);
        put(a, &y[second], x2 * c + x1 * s);
    }
    for (int i = a->rot; i < a->d; i++)
        put(a, &y[i], x[i]);
}

Status ref_rope(Dev *d, const Rope *a)
{
    (void)d;
    CHECK(a->rot % 2 == 0 && a->rot <= a->d);
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t h = 0; h < a->heads; h++) {
            const int64_t at = (r * a->heads + h) * a->d;
            turn(a, (double)(a->pos + r % a->len), (const double *)a->x + at, (double *)a->y + at);
        }
    return ST_OK;
}
