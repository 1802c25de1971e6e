/* exp.h - vector exponentials: 2^x and e^x over the whole range, relative error below 2e-7.
 *
 * 2^x = 2^n 2^r with n = round(x) and |r| <= 1/2; 2^r by a polynomial of least maximal error whose
 * constant term is exactly 1. Clamping x to [-127, 128] therefore gives exactly 0 and +inf at both
 * ends; -inf gives 0, not-a-number stays. Results below 2^-126 are 0 or another denormal. */
#ifndef LONGMIX_CPU_EXP_H
#define LONGMIX_CPU_EXP_H

#include "kernels/cpu/vec.h"

/* 2^r for |r| <= 1/2 (error 2e-9 before rounding), then n added to the exponent. */
static inline vf vexp2_split(vf r, vi n)
{
    vf p = vset(1.5353362e-4f);
    p = p * r + 1.33988739e-3f;
    p = p * r + 9.61843692e-3f;
    p = p * r + 5.55033237e-2f;
    p = p * r + 2.40226477e-1f;
    p = p * r + 6.93147182e-1f;
    p = p * r + 1.0f;
    return (vf)((vi)p + (n << 23));
}

static inline vf vexp2(vf x)
{
    const vf magic = vset(12582912.0f); /* 1.5 * 2^23: adding it rounds to whole numbers */
    x = vmin(vset(128.0f), vmax(vset(-127.0f), x));
    vf t = x + magic;
    return vexp2_split(x - (t - magic), (vi)t);
}

/* e^x of x <= 0 for weights whose largest is 1: two thirds of the work. Relative error below 2e-7;
 * below e^-87 it is 0 or a denormal. Here r = log2(e) x - n, and 2^r has one term less. */
static inline vf vexp_below(vf x)
{
    const vf magic = vset(12582912.0f), log2e = vset(1.44269504f);
    x = vmax(vset(-88.0296f), x);
    vf t = x * log2e + magic, r = x * log2e - (t - magic);
    vf p = vset(1.32647245e-3f);
    p = p * r + 9.67151819e-3f;
    p = p * r + 5.55073381e-2f;
    p = p * r + 2.40222420e-1f;
    p = p * r + 6.93146978e-1f;
    p = p * r + 1.0f;
    return (vf)((vi)p + ((vi)t << 23));
}

/* e^x: ln 2 in two parts keeps the reduced argument exact. */
static inline vf vexp(vf x)
{
    const vf magic = vset(12582912.0f), log2e = vset(1.44269504f);
    vf y = vmin(vset(88.8f), vmax(vset(-87.4f), x));
    vf t = y * log2e + magic, n = t - magic;
    vf r = y - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf e = vexp2_split(r * log2e, (vi)t);
    e = vselect(x < vset(-87.33654f), vset(0.0f), e);
    return vselect(x > vset(88.72283f), vset(__builtin_inff()), e);
}

#endif
