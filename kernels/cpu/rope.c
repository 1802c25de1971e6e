/* rope.c - rotary positions (Su 2021). Angles t * theta reach 10^6, so they are made in double. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#include <math.h>
#include <string.h>

/* Positions of one task: it takes the sines of its first position, then turns by theta at a time,
 * which costs about one double rounding a step. */
enum { POSITIONS = 256, PAIRS_MAX = 512 };
/* Tables 4 KiB apart would wait for each other's stores. */
enum { TABLE = PAIRS_MAX + 72 };

/* The angles of one position, pair by pair, and the turn to the next one. */
typedef struct Wheel {
    int pairs;
    double cos[TABLE], sin[TABLE], step_cos[TABLE], step_sin[TABLE];
} Wheel;

/* The same rounded, s with the sign of the turn: of pairs (half), or of columns, of which the first
 * of a pair takes -s. */
typedef struct Turn {
    int pairs;
    float c[2 * TABLE], s[2 * TABLE];
} Turn;

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

static void turn_set(Turn *t, const Wheel *w, bool half, bool inverse)
{
    double sign = inverse ? -1.0 : 1.0;
    t->pairs = w->pairs;
    for (int i = 0; i < w->pairs && half; i++) {
        t->c[i] = (float)w->cos[i];
        t->s[i] = (float)(sign * w->sin[i]);
    }
    for (int i = 0; i < w->pairs && !half; i++) {
        t->c[2 * i] = t->c[2 * i + 1] = (float)w->cos[i];
        t->s[2 * i] = (float)(-sign * w->sin[i]);
        t->s[2 * i + 1] = (float)(sign * w->sin[i]);
    }
}

/* Neighbours change places. */
static inline vf swapped(vf x)
{
    typedef uint64_t vpair __attribute__((vector_size(4 * VW)));
    vpair u = (vpair)x;
    return (vf)(u << 32 | u >> 32);
}

static inline void put(float *y, vf x, int n, bool add)
{
    vput(y, add ? vget(y, n) + x : x, n);
}

/* One head; y may be x, since what is turned is read before it is written. */
static void turn_half(const Turn *t, bool add, const float *x, float *y)
{
    int n = t->pairs;
    for (int i = 0; i < n; i += VW) {
        vf c = vget(t->c + i, n - i), s = vget(t->s + i, n - i);
        vf p = vget(x + i, n - i), q = vget(x + n + i, n - i);
        put(y + i, p * c - q * s, n - i, add);
        put(y + n + i, q * c + p * s, n - i, add);
    }
}

static void turn_neighbours(const Turn *t, bool add, const float *x, float *y)
{
    int n = 2 * t->pairs;
    for (int i = 0; i < n; i += VW) {
        vf p = vget(x + i, n - i);
        p = p * vget(t->c + i, n - i) + swapped(p) * vget(t->s + i, n - i);
        put(y + i, p, n - i, add);
    }
}

static void turn_head(const Turn *t, const Rope *a, const float *x, float *y)
{
    int64_t rest = a->d - a->rot;
    if (a->half)
        turn_half(t, a->add, x, y);
    else
        turn_neighbours(t, a->add, x, y);
    if (a->add)
        row_add(y + a->rot, x + a->rot, rest);
    else if (x != y)
        memcpy(y + a->rot, x + a->rot, (size_t)rest * sizeof *y);
}

/* Positions [i0, i1) of one sequence, whose rows begin at row0. A turn is made one position ahead:
 * narrow stores are then long done when wide loads want them. */
static void turn_rows(const Rope *a, int64_t row0, int64_t i0, int64_t i1)
{
    Wheel w;
    Turn t[2];
    wheel_set(&w, a, a->pos + i0, i1 - i0 > 1);
    turn_set(&t[0], &w, a->half, a->inverse);
    for (int64_t i = i0; i < i1; i++) {
        if (i + 1 < i1) {
            wheel_step(&w);
            turn_set(&t[(i + 1 - i0) % 2], &w, a->half, a->inverse);
        }
        for (int64_t h = 0; h < a->heads; h++) {
            int64_t at = ((row0 + i) * a->heads + h) * a->d;
            turn_head(&t[(i - i0) % 2], a, (const float *)a->x + at, (float *)a->y + at);
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
#pragma omp parallel for collapse(2) schedule(static) if (a->rows * a->heads * a->d > PARALLEL_FROM)
    for (int64_t row0 = 0; row0 < a->rows; row0 += a->len)
        for (int64_t i = 0; i < a->len; i += POSITIONS)
            turn_rows(a, row0, i, min64(i + POSITIONS, a->len));
    return ST_OK;
}
