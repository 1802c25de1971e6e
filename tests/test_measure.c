/* test_measure.c - when measuring stops, on a clock that only moves when a step runs. */
#include "bench/measure.h"
#include "kernels/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* Step number i takes time(i) seconds; looking at the clock costs nothing. */
typedef struct Fake {
    double now, untimed; /* untimed: work around each step that is not measured */
    double (*time)(const struct Fake *f, uint64_t i);
    double base, spread;
    uint64_t steps;
    int calls, fail_at; /* of run; fail_at 0: never */
} Fake;

static double fake_now(void *ctx)
{
    const Fake *f = ctx;
    return f->now;
}

static Status fake_run(void *ctx, int steps, double *seconds)
{
    Fake *f = ctx;
    *seconds = 0;
    if (++f->calls == f->fail_at)
        return FAIL(ST_OOM, "no room in call %d", f->calls);
    for (int i = 0; i < steps; i++) {
        double t = f->time(f, f->steps++);
        *seconds += t;
        f->now += t + f->untimed;
    }
    return ST_OK;
}

static double uniform(uint64_t i)
{
    return rng_uniform(7, 0, i);
}

static double constant(const Fake *f, uint64_t i)
{
    (void)i;
    return f->base;
}
static double gaussian(const Fake *f, uint64_t i)
{
    double r = sqrt(-2 * log(uniform(2 * i))) * cos(6.283185307179586 * uniform(2 * i + 1));
    return f->base * (1 + f->spread * r);
}
static double bimodal(const Fake *f, uint64_t i)
{
    return uniform(i) < 0.5 ? f->base : f->base * (1 + f->spread);
}
static double drifting(const Fake *f, uint64_t i)
{
    return f->base * (1 + f->spread * (double)i);
}
/* A Pareto tail: no mean to speak of, but a median. */
static double heavy(const Fake *f, uint64_t i)
{
    return f->base * (1 + f->spread * (1 / sqrt(uniform(i)) - 1));
}
/* The first steps are slow, as they are while memory is new. */
static double settling(const Fake *f, uint64_t i)
{
    return f->base * (1 + 3 * exp(-(double)i / f->spread));
}

static Timing run_fake(Fake *f, double deadline, double share)
{
    Timing t;
    Meter m = {f, fake_run, fake_now, 1, NULL};
    double first = f->time(f, f->steps++);
    f->now += first;
    cr_assert_eq(measure(&m, first, deadline, share, &t), ST_OK);
    cr_assert_gt(t.n, 0);
    cr_assert(t.min <= t.p20 && t.p20 <= t.median && t.median <= t.p80);
    cr_assert(t.ci_lo <= t.median && t.median <= t.ci_hi);
    return t;
}

Test(measure, a_constant_step_stops_at_the_first_interval)
{
    Fake f = {.time = constant, .base = 3e-3};
    Timing t = run_fake(&f, 100, 100);
    cr_expect_eq(t.n, 8, "%d", t.n);
    cr_expect_eq(t.inner, 1);
    cr_expect(t.quiet);
    cr_expect_str_eq(t.stop_reason, "interval");
    cr_expect_float_eq(t.median, 3e-3, 1e-12);
}

Test(measure, short_steps_are_repeated_for_two_milliseconds)
{
    Fake f = {.time = constant, .base = 1.3e-6};
    Timing t = run_fake(&f, 100, 100);
    cr_expect_geq(t.inner * 1.3e-6, 2e-3);
    cr_expect_leq(t.inner * 1.3e-6, 3e-3);
    cr_expect_float_eq(t.median, 1.3e-6, 1e-12);
}

/* Every fourth step is five times as long, as where chunks are closed. */
static double closing(const Fake *f, uint64_t i)
{
    return f->base * (i % 4 == 3 ? 5 : 1);
}

Test(measure, steps_that_only_together_are_alike_stay_together)
{
    Fake f = {.time = closing, .base = 1e-3};
    Timing t;
    Meter m = {&f, fake_run, fake_now, 4, NULL};
    cr_assert_eq(measure(&m, f.base, 100, 100, &t), ST_OK);
    cr_expect_eq(t.inner % 4, 0, "%d", t.inner);
    cr_expect_float_eq(t.median, 2e-3, 1e-9);
    Fake slow = {.time = constant, .base = 0.1};
    m = (Meter){&slow, fake_run, fake_now, 256, NULL};
    cr_assert_eq(measure(&m, slow.base, 100, 2, &t), ST_OK);
    cr_expect_eq(t.inner, 1, "%d", t.inner);
}

Test(measure, a_step_of_no_time_ends)
{
    Fake f = {.time = constant, .base = 0, .untimed = 1e-9};
    Timing t = run_fake(&f, 100, 1);
    cr_expect_eq(t.inner, 1 << 20);
}

Test(measure, gaussian_noise_is_averaged_out)
{
    Fake f = {.time = gaussian, .base = 5e-3, .spread = 0.03};
    Timing t = run_fake(&f, 100, 100);
    cr_expect_str_eq(t.stop_reason, "interval");
    cr_expect_lt(t.ci_hi - t.ci_lo, 0.05 * t.median);
    cr_expect(t.n >= 8 && t.n <= 60, "%d samples", t.n);
    cr_expect_float_eq(t.median, 5e-3, 0.03 * 5e-3);
}

Test(measure, wide_noise_goes_on_to_the_cap_and_says_so)
{
    Fake f = {.time = gaussian, .base = 5e-3, .spread = 0.25};
    Timing t = run_fake(&f, 100, 100);
    cr_expect_eq(t.n, 100);
    cr_expect_str_eq(t.stop_reason, "samples");
    cr_expect_not(t.quiet);
}

Test(measure, two_modes_are_not_called_quiet)
{
    Fake f = {.time = bimodal, .base = 5e-3, .spread = 0.5};
    Timing t = run_fake(&f, 100, 100);
    cr_expect_str_eq(t.stop_reason, "samples");
    cr_expect_not(t.quiet);
    cr_expect_float_eq(t.p20, 5e-3, 1e-9);
    cr_expect_float_eq(t.p80, 7.5e-3, 1e-9);
}

Test(measure, drift_keeps_the_interval_wide)
{
    Fake f = {.time = drifting, .base = 5e-3, .spread = 0.02};
    Timing t = run_fake(&f, 100, 100);
    cr_expect_str_eq(t.stop_reason, "samples");
    cr_expect_not(t.quiet);
}

Test(measure, a_heavy_tail_does_not_move_the_median)
{
    Fake f = {.time = heavy, .base = 5e-3, .spread = 0.02};
    Timing t = run_fake(&f, 100, 100);
    cr_expect_str_eq(t.stop_reason, "interval");
    cr_expect_float_eq(t.median, 5e-3 * (1 + 0.02 * (sqrt(2) - 1)), 0.02 * 5e-3);
}

Test(measure, warming_up_ends_when_stable)
{
    Fake f = {.time = settling, .base = 4e-3, .spread = 6};
    Timing t = run_fake(&f, 100, 100);
    cr_expect_float_eq(t.median, 4e-3, 0.1 * 4e-3);
    cr_expect_geq(f.calls, 8 + 6);
}

Test(measure, warming_up_ends_after_a_second)
{
    Fake f = {.time = drifting, .base = 20e-3, .spread = 0.05};
    Timing t = run_fake(&f, 100, 100);
    double before = f.base * (1 + f.spread); /* mean of the first two steps, at most */
    cr_expect_gt(t.min, before);
    cr_expect_eq(t.n, 100);
}

Test(measure, steps_above_half_a_second_warm_up_once)
{
    Fake f = {.time = constant, .base = 0.7};
    Timing t = run_fake(&f, 100, 100);
    cr_expect_eq(f.calls, 8);
    cr_expect_eq(t.n, 8);
}

Test(measure, steps_above_a_second_have_three_samples)
{
    Fake f = {.time = constant, .base = 2.5};
    Timing t = run_fake(&f, 100, 1);
    cr_expect_eq(t.n, 3);
    cr_expect_str_eq(t.stop_reason, "samples");
}

Test(measure, steps_above_ten_seconds_count_at_once)
{
    Fake f = {.time = constant, .base = 10.5};
    Timing t = run_fake(&f, 1000, 1000);
    cr_expect_eq(f.calls, 0);
    cr_expect_eq(t.n, 1);
    cr_expect_float_eq(t.median, 10.5, 1e-12);
    cr_expect_str_eq(t.stop_reason, "single");
}

Test(measure, no_sample_begins_that_would_pass_the_deadline)
{
    Fake f = {.time = constant, .base = 3};
    Timing t = run_fake(&f, 10, 100);
    cr_expect_eq(t.n, 2);
    cr_expect_str_eq(t.stop_reason, "time");
    cr_expect_leq(f.now, 10);
}

Test(measure, one_sample_there_always_is)
{
    Fake f = {.time = constant, .base = 8};
    Timing t = run_fake(&f, 10, 100);
    cr_expect_eq(t.n, 1);
    cr_expect_float_eq(t.median, 8, 1e-12);
    cr_expect_str_eq(t.stop_reason, "time");
    Fake late = {.time = constant, .base = 3e-3, .now = 50};
    t = run_fake(&late, 10, 100);
    cr_expect_eq(t.n, 1);
}

Test(measure, the_share_of_time_is_kept)
{
    Fake f = {.time = gaussian, .base = 0.1, .spread = 0.3};
    Timing t = run_fake(&f, 100, 2);
    cr_expect_str_eq(t.stop_reason, "time");
    cr_expect(t.n >= 10 && t.n <= 30, "%d samples", t.n);
}

Test(measure, time_that_is_not_measured_counts_for_the_deadline)
{
    Fake f = {.time = gaussian, .base = 3e-3, .spread = 0.3, .untimed = 0.2};
    run_fake(&f, 5, 100);
    cr_expect_leq(f.now, 6);
}

Test(measure, failures_are_passed_on)
{
    for (int at = 1; at <= 12; at += 11) { /* while warming up, and in a sample */
        Fake f = {.time = gaussian, .base = 3e-3, .spread = 0.3, .fail_at = at};
        Timing t;
        Meter m = {&f, fake_run, fake_now, 1, NULL};
        cr_expect_eq(measure(&m, 3e-3, 100, 100, &t), ST_OOM);
    }
}
