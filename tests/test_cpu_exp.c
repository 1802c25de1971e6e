/* test_cpu_exp.c - the vector exponentials against the C library's in double. */
#include "kernels/cpu/exp.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>

static void expect_exp(float x)
{
    float two[VW], e[VW];
    vstore(two, vexp2(vset(x)));
    vstore(e, vexp(vset(x)));
    const double want[2] = {exp2((double)x), exp((double)x)};
    for (int i = 0; i < 2; i++) {
        const double got = (double)(i == 0 ? two[VW - 1] : e[0]);
        const bool tiny = want[i]<0x1p-126, huge = want[i]> 0x1.fffffep127;
        if (tiny)
            cr_assert(got >= 0 && got <= 0x1p-126, "%g: %g", (double)x, got);
        else if (huge)
            cr_assert(isinf(got), "%g: %g", (double)x, got);
        else
            cr_assert(fabs(got / want[i] - 1) < 2e-7, "%g: %g, not %g", (double)x, got, want[i]);
    }
}

/* The whole range of both, its ends, and what masks rely on. */
Test(cpu_exp, whole_range_and_ends)
{
    for (float x = -160; x < 160; x += 0.00173f)
        expect_exp(x);
    float two[VW], e[VW];
    vstore(two, vexp2(vset(-INFINITY)));
    vstore(e, vexp(vset(-INFINITY)));
    cr_assert(two[0] == 0 && e[0] == 0);
    vstore(two, vexp2(vset(NAN)));
    vstore(e, vexp(vset(NAN)));
    cr_assert(isnan(two[0]) && isnan(e[0]));
}
