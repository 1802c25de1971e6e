/* test_ref.h - what the tests of the ref backend share. */
#ifndef LONGMIX_TEST_REF_H
#define LONGMIX_TEST_REF_H

#include "kernels/kernels.h"

#include <criterion/criterion.h>
#include <math.h>

static inline Dev *open_ref(void)
{
    Dev *d = NULL;
    cr_assert_eq(dev_open(&d, "ref", 0, 0), ST_OK);
    return d;
}

/* Largest difference; NaN, which passes no bound, if any of the numbers is one. */
static inline double far(const double *got, const double *want, int64_t n)
{
    double worst = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double diff = fabs(got[i] - want[i]);
        worst = diff > worst || isnan(diff) ? diff : worst;
    }
    return worst;
}

static const double EXACT = 1e-15; /* a few roundings of numbers near 1 */

#endif
