/* rope.c - rotary positions (Su 2021). Angles t * theta reach 10^6, so they are made in double. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#include <math.h>
#include <string.h>

/* Positions of one task: it takes the sines of its first position, then turns by theta at a time,
 * which costs about one double rounding a step. */
enum { POSITIONS = 128, PAIRS_MAX = 512 };

/* The angles of one position, pair by pair, and the turn to the next one. */
typedef struct Wheel {
    int pairs;
    float c[PAIRS_MAX], s[PAIRS_MAX]; /* rounded; s with the sign of the turn */
    double cos[PAIRS_MAX], sin[PAIRS_MAX], step_cos[PAIRS_MAX], step_sin[PAIRS_MAX];
} Wheel;

/* theta_i = base^(-2 i / rot), as powers of one number */
static void wheel_set(Wheel *w, const Rope *a, int64_t t, bool will_step)
{
    double theta = 1.0, ratio = pow(a->base, -2.0 / a->rot);
    w->pairs = a->rot / 2;
    for (int i = 0; i < w->pairs; i++, theta *= ratio) {
        w->cos[i] = cos((double)t * theta);
        w->sin[i] = sin((double)t * theta);
        if (will_step) {
            w->step_cos[i] = cos(theta);
            w->step_sin[i] = sin(theta);
        }
    }
}

static void wheel_step(Wheel *w)
{
    for (int i = 0; i < w->pairs; i++) {
        double c = w->cos[i], s = w->sin[i];
        w->cos[i] = c * w->step_cos[i] - s * w->step_sin[i];
        w->sin[i] = s * w->step_cos[i] + c * w->step_sin[i];
    }
}

static void wheel_round(Wheel *w, bool inverse)
{
    float sign = inverse ? -1.0f : 1.0f;
    for (int i = 0; i < w->pairs; i++) {
        w->c[i] = (float)w->cos[i];
        w->s[i] = sign * (float)w->sin[i];
    }
}

/* One head. `half` and `add` are constants at every call; y may be x, since each pair is read
 * before it is written. */
static inline __attribute__((always_inline)) void turn(const Wheel *w, bool half, bool add,
                                                       const float *x, float *y)
{
    int n = w->pairs, by = half ? 1 : 2, other = half ? n : 1;
#pragma omp simd
    for (int i = 0; i < n; i++) {
        int p = by * i, q = p + other;
        float yp = x[p] * w->c[i] - x[q] * w->s[i];
        float yq = x[q] * w->c[i] + x[p] * w->s[i];
        y[p] = add ? y[p] + yp : yp;
        y[q] = add ? y[q] + yq : yq;
    }
}

static void turn_head(const Wheel *w, const Rope *a, const float *x, float *y)
{
    int64_t rest = a->d - a->rot;
    if (a->half && a->add)
        turn(w, true, true, x, y);
    else if (a->half)
        turn(w, true, false, x, y);
    else if (a->add)
        turn(w, false, true, x, y);
    else
        turn(w, false, false, x, y);
    if (a->add)
        row_add(y + a->rot, x + a->rot, rest);
    else if (x != y)
        memcpy(y + a->rot, x + a->rot, (size_t)rest * sizeof *y);
}

/* Positions [i0, i1) of one sequence, whose rows begin at row0. */
static void turn_rows(const Rope *a, int64_t row0, int64_t i0, int64_t i1)
{
    Wheel w;
    wheel_set(&w, a, a->pos + i0, i1 - i0 > 1);
    for (int64_t i = i0; i < i1; i++) {
        if (i > i0)
            wheel_step(&w);
        wheel_round(&w, a->inverse);
        for (int64_t h = 0; h < a->heads; h++) {
            int64_t at = ((row0 + i) * a->heads + h) * a->d;
            turn_head(&w, a, (const float *)a->x + at, (float *)a->y + at);
        }
    }
}

/* Fails: ST_UNSUPPORTED for more columns than the tables hold. */
Status CPU(rope)(Dev *d, const Rope *a)
{
    (void)d;
    CHECK(a->rot % 2 == 0 && a->rot <= a->d && a->rows % a->len == 0);
    if (a->rot > 2 * PAIRS_MAX)
        return FAIL(ST_UNSUPPORTED, "rope turns %d columns of a head, at most %d", a->rot,
                    2 * PAIRS_MAX);
#pragma omp parallel for collapse(2) schedule(static) if (a->rows * a->heads * a->d > SMALL)
    for (int64_t row0 = 0; row0 < a->rows; row0 += a->len)
        for (int64_t i = 0; i < a->len; i += POSITIONS)
            turn_rows(a, row0, i, min64(i + POSITIONS, a->len));
    return ST_OK;
}
