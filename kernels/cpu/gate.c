/* gate.c - activations and gated products in one pass: y = f(a) b, and its gradients. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

enum { BLOCK = 4096 };

/* The loops are compiled once per activation: `act` is a constant wherever these are called. */
#define INLINE static inline __attribute__((always_inline))

INLINE vf sigmoid(vf x)
{
    return 1.0f / (1.0f + vexp(-x));
}

/* GELU's tanh form 0.5 x (1 + tanh z) is x sigmoid(2 z), z = sqrt(2/pi) (x + 0.044715 x^3). */
static const float GELU_1 = 1.5957691216057308f;             /* 2 sqrt(2/pi) */
static const float GELU_3 = 1.5957691216057308f * 0.044715f; /* of x^3 */

INLINE vf act_of(Act act, vf x)
{
    vf zero = {0};
    switch (act) {
    case ACT_RELU:
        return vselect(x <= zero, zero, x); /* a NaN stays one */
    case ACT_RELU2:
        x = vselect(x <= zero, zero, x);
        return x * x;
    case ACT_SILU:
        return x * sigmoid(x);
    case ACT_GELU:
        return x * sigmoid(x * (GELU_1 + GELU_3 * x * x));
    case ACT_SIGMOID:
        return sigmoid(x);
    case ACT_NONE:
        break;
    }
    return x;
}

/* f(x) and f'(x), which share their exponential */
typedef struct Slope {
    vf f, df;
} Slope;

INLINE Slope slope_of(Act act, vf x)
{
    vf zero = {0}, s, r = vselect(x <= zero, zero, x);
    switch (act) {
    case ACT_RELU:
        return (Slope){r, vselect(x <= zero, zero, vset(1.0f))};
    case ACT_RELU2:
        return (Slope){r * r, 2.0f * r};
    case ACT_SILU:
        s = sigmoid(x);
        return (Slope){x * s, s * (1.0f + x * (1.0f - s))};
    case ACT_GELU:
        s = sigmoid(x * (GELU_1 + GELU_3 * x * x));
        return (Slope){x * s, s + x * s * (1.0f - s) * (GELU_1 + 3.0f * GELU_3 * x * x)};
    case ACT_SIGMOID:
        s = sigmoid(x);
        return (Slope){s, s * (1.0f - s)};
    case ACT_NONE:
        break;
    }
    return (Slope){x, vset(1.0f)};
}

INLINE void fwd_run(Act act, int64_t n, const float *a, const float *b, float *y)
{
    for (int64_t i = 0; i < n; i += VW) {
        vf t = act_of(act, vget(a + i, n - i));
        vput(y + i, b != NULL ? t * vget(b + i, n - i) : t, n - i);
    }
}

static void fwd_block(Act act, int64_t n, const float *a, const float *b, float *y)
{
    switch (act) {
    case ACT_NONE:
        fwd_run(ACT_NONE, n, a, b, y);
        break;
    case ACT_RELU:
        fwd_run(ACT_RELU, n, a, b, y);
        break;
    case ACT_RELU2:
        fwd_run(ACT_RELU2, n, a, b, y);
        break;
    case ACT_SILU:
        fwd_run(ACT_SILU, n, a, b, y);
        break;
    case ACT_GELU:
        fwd_run(ACT_GELU, n, a, b, y);
        break;
    case ACT_SIGMOID:
        fwd_run(ACT_SIGMOID, n, a, b, y);
        break;
    }
}

Status CPU(gate_fwd)(Dev *d, const Gate *g)
{
    (void)d;
    const float *b = g->b;
#pragma omp parallel for schedule(static) if (g->n > PARALLEL_FROM)
    for (int64_t i = 0; i < g->n; i += BLOCK)
        fwd_block(g->act, min64(BLOCK, g->n - i), (const float *)g->a + i, b != NULL ? b + i : NULL,
                  (float *)g->y + i);
    return ST_OK;
}

/* Pointers of one block; b, da and db may be NULL; set: overwrite, do not add. */
typedef struct Pull {
    const float *a, *b, *dy;
    float *da, *db;
    bool set_da, set_db;
} Pull;

INLINE void give(float *to, bool set, vf x, int64_t n)
{
    vput(to, set ? x : vget(to, n) + x, n);
}

INLINE void bwd_run(Act act, int64_t n, Pull p)
{
    for (int64_t i = 0; i < n; i += VW) {
        Slope s = slope_of(act, vget(p.a + i, n - i));
        vf dy = vget(p.dy + i, n - i);
        vf up = p.b != NULL ? dy * vget(p.b + i, n - i) : dy;
        if (p.da != NULL)
            give(p.da + i, p.set_da, up * s.df, n - i);
        if (p.db != NULL)
            give(p.db + i, p.set_db, dy * s.f, n - i);
    }
}

static void bwd_block(Act act, int64_t n, Pull p)
{
    switch (act) {
    case ACT_NONE:
        bwd_run(ACT_NONE, n, p);
        break;
    case ACT_RELU:
        bwd_run(ACT_RELU, n, p);
        break;
    case ACT_RELU2:
        bwd_run(ACT_RELU2, n, p);
        break;
    case ACT_SILU:
        bwd_run(ACT_SILU, n, p);
        break;
    case ACT_GELU:
        bwd_run(ACT_GELU, n, p);
        break;
    case ACT_SIGMOID:
        bwd_run(ACT_SIGMOID, n, p);
        break;
    }
}

Status CPU(gate_bwd)(Dev *d, const Gate *g)
{
    (void)d;
    CHECK(g->b != NULL || g->db == NULL);
    Pull all = {g->a, g->b, g->dy, g->da, g->db, g->set_da, g->set_db};
#pragma omp parallel for schedule(static) if (g->n > PARALLEL_FROM)
    for (int64_t i = 0; i < g->n; i += BLOCK) {
        Pull p = {all.a + i,
                  all.b != NULL ? all.b + i : NULL,
                  all.dy + i,
                  all.da != NULL ? all.da + i : NULL,
                  all.db != NULL ? all.db + i : NULL,
                  all.set_da,
                  all.set_db};
        bwd_block(g->act, min64(BLOCK, g->n - i), p);
    }
    return ST_OK;
}
