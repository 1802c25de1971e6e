/* test_stats.c - statistics against known values; numbers as text. */
#include "report/stats.h"

#include "report/format.h"
#include "tests/fixtures/sweep.h"

#include <criterion/criterion.h>

Test(stats, sign_interval_has_the_ranks_of_the_design)
{
    static const struct {
        int n;
        double alpha;
        int lo, hi;
    } known[] = {
        {30, .01, 8, 23},   {60, .01, 20, 41},   {120, .01, 46, 75},   {240, .01, 100, 141},
        {30, .0025, 7, 24}, {60, .0025, 18, 43}, {120, .0025, 44, 77}, {240, .0025, 97, 144},
        {8, .01, 1, 8},     {9, .01, 1, 9},      {12, .01, 2, 11},     {256, .01, 107, 150},
    };
    for (int i = 0; i < COUNT(known); i++) {
        Ranks r = stats_sign_ranks(known[i].n, known[i].alpha);
        cr_expect(r.lo == known[i].lo && r.hi == known[i].hi && r.exact, "n = %d: %d to %d",
                  known[i].n, r.lo, r.hi);
    }
    for (int n = 1; n < 8; n++) {
        Ranks r = stats_sign_ranks(n, .01);
        cr_expect(r.lo == 1 && r.hi == n && !r.exact, "n = %d", n);
    }
    cr_expect(stats_sign_ranks(1000, .01).exact);
}

Test(stats, timing_is_summarised_without_order)
{
    Timing t = {.n = 30};
    for (int i = 0; i < t.n; i++)
        t.seconds[i] = 1 + (i * 7) % 30; /* 1 to 30, shuffled */
    timing_summarise(&t);
    cr_expect_float_eq(t.median, 15.5, 1e-12);
    cr_expect_float_eq(t.p20, 6.8, 1e-12);
    cr_expect_float_eq(t.p80, 24.2, 1e-12);
    cr_expect(t.min == 1 && t.ci_lo == 8 && t.ci_hi == 23);
    t = (Timing){.n = 1, .seconds = {2.5}};
    timing_summarise(&t);
    cr_expect(t.median == 2.5 && t.p20 == 2.5 && t.ci_lo == 2.5 && t.ci_hi == 2.5);
}

enum { LENGTHS = 12 };

/* T, and times that go as factor * T^power with some noise, for 512 to 1M. */
static Curve made_curve(double *x, double *y, double factor, double power)
{
    for (int i = 0; i < LENGTHS; i++) {
        x[i] = 512 * pow(2, i);
        y[i] = factor * pow(x[i], power) * (1 + 0.005 * wobble(i * 1.7 + power));
    }
    return (Curve){LENGTHS, x, y};
}

Test(stats, exponents_are_recovered_within_3_percent)
{
    double x[LENGTHS], y[LENGTHS];
    for (int power = 1; power <= 2; power++) {
        made_curve(x, y, 3e-6, power);
        Fit fit = stats_exponent(x + LENGTHS - 4, y + LENGTHS - 4, 4);
        cr_expect_float_eq(fit.slope, power, 0.03 * power);
        cr_expect(fit.error > 0 && fit.error < 0.03);
    }
    cr_expect(isnan(stats_exponent(x, y, 2).error));
}

Test(stats, crossover_is_recovered_within_3_percent)
{
    double x[LENGTHS], linear[LENGTHS], square[LENGTHS];
    for (double at = 700; at < 600000; at *= 1.7) {
        Curve line = made_curve(x, linear, 1e-6 * at, 1);
        Curve parabola = made_curve(x, square, 1e-6, 2);
        Cross c = curve_cross(line, parabola);
        cr_expect(c.kind == CROSS_DOWN && c.n == 1 && c.last == c.at);
        cr_expect_float_eq(c.at, at, 0.03 * at, "%g instead of %g", c.at, at);
        c = curve_cross(parabola, line);
        cr_expect_eq(c.kind, CROSS_UP);
        cr_expect_float_eq(c.at, at, 0.03 * at);
    }
}

Test(stats, curves_that_do_not_cross_say_how)
{
    double x[LENGTHS], low[LENGTHS], high[LENGTHS];
    Curve a = made_curve(x, low, 1e-6, 1), b = made_curve(x, high, 2e-6, 1);
    cr_expect_eq(curve_cross(a, b).kind, CROSS_BELOW);
    cr_expect_eq(curve_cross(b, a).kind, CROSS_ABOVE);
    Curve first = {4, x, low}, last = {LENGTHS - 4, x + 4, high + 4};
    cr_expect_eq(curve_cross(first, last).kind, CROSS_NONE);
    cr_expect_eq(curve_cross(first, (Curve){0, x, high}).kind, CROSS_NONE);
    cr_expect(curve_cross(first, b).to == x[3], "as far as both go");
    double zigzag[4] = {0.9 * low[0], 1.1 * low[1], 0.9 * low[2], 1.1 * low[3]};
    Cross c = curve_cross((Curve){4, x, zigzag}, a);
    cr_expect(c.kind == CROSS_UP && c.n == 3 && c.at < x[1] && c.last > x[2]);
    cr_expect(isnan(curve_at(first, x[3] + 1)) && curve_at(first, x[2]) == low[2]);
}

Test(format, numbers_are_short)
{
    cr_expect_str_eq(text_length(512).s, "512");
    cr_expect_str_eq(text_length(65536).s, "64k");
    cr_expect_str_eq(text_length(1048576).s, "1M");
    cr_expect_str_eq(text_length(3174.4).s, "3.1k");
    cr_expect_str_eq(text_bytes(4096).s, "4 KiB");
    cr_expect_str_eq(text_bytes(1.5 * (1 << 30)).s, "1.5 GiB");
    cr_expect_str_eq(text_digits(0.012345).s, "0.0123");
    cr_expect_str_eq(text_digits(123456).s, "123456");
    cr_expect_str_eq(text_digits((double)NAN).s, "-");
    cr_expect_str_eq(text_count(196608).s, "197k");
    cr_expect_str_eq(text_count(812).s, "812");
    cr_expect_str_eq(text_rate(9.83e10).s, "98.3 GFLOP/s");
    cr_expect_str_eq(text_seconds(0.0123).s, "12.3 ms");
    cr_expect_str_eq(text_percent(0.414).s, "41 %");
}
