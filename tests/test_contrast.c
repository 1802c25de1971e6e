/* test_contrast.c - is a model called better only where it is? */
#include "kernels/rng.h"
#include "report/contrast.h"

#include <criterion/criterion.h>
#include <math.h>

/* d = 1 2 3 4: mean 2.5, sd^2 = 5/3, standard error 0.645497, lag 1: 0.25. */
Test(contrast, known_values)
{
    static const double a[] = {0, 0, 0, 0}, b[] = {1, 2, 3, 4};
    Contrast c = contrast_of(a, b, 4);
    cr_expect_eq(c.n, 4);
    cr_expect_float_eq(c.mean, 2.5, 1e-12);
    cr_expect_float_eq(c.lag1, 0.25, 1e-12);
    double half = 2.5758293 * sqrt(5 / 3.0 / 4) * sqrt(1.25 / 0.75);
    cr_expect_float_eq(c.hi - c.mean, half, 1e-6);
    cr_expect_float_eq(c.mean - c.lo, half, 1e-6);
}

Test(contrast, neighbours_that_differ_narrow_nothing)
{
    static const double a[] = {0, 0, 0, 0}, b[] = {1, -1, 1, -1};
    Contrast c = contrast_of(a, b, 4);
    cr_expect_lt(c.lag1, -0.7);
    cr_expect_float_eq(c.hi, 2.5758293 * sqrt(4 / 3.0 / 4), 1e-6);
}

Test(contrast, equal_models_differ_by_nothing)
{
    static const double a[] = {2, 3, 4};
    Contrast c = contrast_of(a, a, 3);
    cr_expect(c.mean == 0 && c.lo == 0 && c.hi == 0);
}

static double normal(uint64_t *at)
{
    double u = rng_uniform(7, 1, (*at)++), v = rng_uniform(7, 1, (*at)++);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* How often, of 2000 times, the interval of 200 windows misses a difference of 0.1; neighbours
 * are alike by r. */
static int misses(double r, uint64_t at)
{
    enum { N = 200, TIMES = 2000 };
    int missed = 0;
    for (int i = 0; i < TIMES; i++) {
        double a[N], b[N], e = normal(&at);
        for (int k = 0; k < N; k++) {
            a[k] = 2 + 0.5 * normal(&at);
            b[k] = a[k] + 0.1 + 0.03 * e;
            e = r * e + sqrt(1 - r * r) * normal(&at);
        }
        Contrast c = contrast_of(a, b, N);
        missed += c.lo > 0.1 || c.hi < 0.1;
    }
    return missed;
}

Test(contrast, intervals_cover)
{
    int alone = misses(0, 0), alike = misses(0.4, (uint64_t)1 << 40);
    cr_expect(alone >= 5 && alone <= 40, "%d of 2000 miss, 20 expected", alone);
    cr_expect(alike >= 5 && alike <= 50, "%d of 2000 miss, 20 expected", alike);
}

Test(contrast, claims)
{
    const Contrast below = {.mean = -1, .lo = -2, .hi = -0.1},
                   above = {.mean = 1, .lo = 0.1, .hi = 2},
                   around = {.mean = -1, .lo = -3, .hi = 0};
    cr_expect_eq(contrast_claim((Contrast[]){below, below, below}, 3), CLAIM_BETTER);
    cr_expect_eq(contrast_claim((Contrast[]){above, above, above}, 3), CLAIM_WORSE);
    cr_expect_eq(contrast_claim((Contrast[]){below, below, around}, 3), CLAIM_NONE);
    cr_expect_eq(contrast_claim((Contrast[]){below, above, below}, 3), CLAIM_NONE);
    cr_expect_eq(contrast_claim((Contrast[]){below, below}, 2), CLAIM_FEW_SEEDS);
}
