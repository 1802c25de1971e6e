/* sru.c - the simple recurrent unit: lanes are columns, positions go one by one (kernels/ref/sru.c
 * has the formulas). */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

static const float ROOT3 = 1.73205081f;

static vf sigmoid(vf x)
{
    return 1.0f / (1.0f + vexp(-x));
}

/* VW columns of one sequence, from column i on; n of them are there. */
static void columns_fwd(const Sru *a, int64_t b, int64_t i, int64_t n)
{
    const int64_t w = a->width;
    float *state = a->state != NULL ? (float *)a->state + b * w + i : NULL;
    vf c = state != NULL ? vget(state, n) : vset(0);
    for (int64_t t = b * a->len; t < (b + 1) * a->len; t++) {
        const float *g = (const float *)a->g + t * 3 * w + i;
        const vf r = sigmoid(vget(g, n)), f = sigmoid(vget(g + w, n)), y = vget(g + 2 * w, n);
        const vf x = vget((const float *)a->x + t * w + i, n);
        c = y + f * (c - y);
        vput((float *)a->h + t * w + i, r * c + (1.0f - r) * (ROOT3 * x), n);
        if (a->c != NULL)
            vput((float *)a->c + t * w + i, c, n);
    }
    if (state != NULL)
        vput(state, c, n);
}

static void add(float *p, vf x, int64_t n)
{
    vput(p, vget(p, n) + x, n);
}

static void columns_bwd(const Sru *a, int64_t b, int64_t i, int64_t n)
{
    const int64_t w = a->width;
    vf dc = vset(0);
    for (int64_t t = (b + 1) * a->len - 1; t >= b * a->len; t--) {
        const float *g = (const float *)a->g + t * 3 * w + i;
        const float *at = (const float *)a->c + t * w + i;
        const vf r = sigmoid(vget(g, n)), f = sigmoid(vget(g + w, n)), y = vget(g + 2 * w, n);
        const vf x = vget((const float *)a->x + t * w + i, n);
        const vf dh = vget((const float *)a->dh + t * w + i, n), c = vget(at, n);
        const vf before = t > b * a->len ? vget(at - w, n) : vset(0);
        dc += r * dh;
        if (a->dg != NULL) {
            float *dg = (float *)a->dg + t * 3 * w + i;
            add(dg, dh * (c - ROOT3 * x) * r * (1.0f - r), n);
            add(dg + w, dc * (before - y) * f * (1.0f - f), n);
            add(dg + 2 * w, dc * (1.0f - f), n);
        }
        if (a->dx != NULL)
            add((float *)a->dx + t * w + i, dh * (1.0f - r) * ROOT3, n);
        dc *= f;
    }
}

static void all_columns(const Sru *a, void (*run)(const Sru *, int64_t, int64_t, int64_t))
{
    const int64_t groups = (a->width + VW - 1) / VW;
#pragma omp parallel for schedule(static) if (a->batch * a->len * a->width > PARALLEL_FROM / 8)
    for (int64_t n = 0; n < a->batch * groups; n++)
        run(a, n / groups, n % groups * VW, a->width - n % groups * VW);
}

Status CPU(sru_fwd)(Dev *d, const Sru *a)
{
    all_columns(a, columns_fwd);
    dev_count_flops(d, 8.0 * (double)(a->batch * a->len) * (double)a->width);
    return ST_OK;
}

Status CPU(sru_bwd)(Dev *d, const Sru *a)
{
    (void)d;
    all_columns(a, columns_bwd);
    return ST_OK;
}
