/* test_paired.c - is a difference found, and none where there is none? Known values, then thousands
 * of comparisons on a clock that only moves when a sample runs. */
#include "bench/duel.h"
#include "kernels/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- known values ---- */
Test(paired, sign_tests)
{
    cr_expect_float_eq(paired_sign_test(10, 10, 0), 2 / 1024.0, 1e-12);
    cr_expect_float_eq(paired_sign_test(10, 1, 9), 22 / 1024.0, 1e-12);
    cr_expect_float_eq(paired_sign_test(10, 5, 5), 1, 1e-12);
    cr_expect_float_eq(paired_sign_test(10, 0, 0), 1, 1e-12);
    cr_expect_float_eq(paired_sign_test(240, 144, 96), 0.0023, 1e-4);
}

Test(paired, clopper_pearson_intervals)
{
    static const struct {
        int k, n;
        double lo, hi;
    } known[] = {{0, 400, 0, 0.009180},
                 {1, 400, 0.0000633, 0.013850},
                 {5, 10, 0.187086, 0.812914},
                 {400, 400, 0.990820, 1},
                 {95, 100, 0.887165, 0.983568}};
    for (int i = 0; i < COUNT(known); i++) {
        Rate r = paired_rate(known[i].k, known[i].n, 0.95);
        cr_expect_float_eq(r.lo, known[i].lo, 2e-6, "%d of %d: %g", known[i].k, known[i].n, r.lo);
        cr_expect_float_eq(r.hi, known[i].hi, 2e-6, "%d of %d: %g", known[i].k, known[i].n, r.hi);
    }
    cr_expect(paired_rate(0, 0, 0.95).lo == 0 && paired_rate(0, 0, 0.95).hi == 1);
}

Test(paired, holm_steps_down)
{
    const double p[] = {0.04, 0.001, 0.0034, 0.0026};
    bool r[COUNT(p)];
    paired_holm(p, COUNT(p), 0.01, r);
    cr_expect(!r[0] && r[1] && r[2] && r[3]); /* .001 <= .01/4, .0026 <= .01/3, .0034 <= .01/2 */
    const double q[] = {0.001, 0.0034, 0.0034, 0.0001};
    paired_holm(q, COUNT(q), 0.01, r);
    cr_expect(r[0] && r[1] && r[2] && r[3]); /* .0034 <= .01/2, and then .01/1 */
    const double s[] = {0.0026, 0.0026, 0.0026, 0.0026};
    paired_holm(s, COUNT(s), 0.01, r);
    cr_expect(!r[0] && !r[1] && !r[2] && !r[3]);
}

Test(paired, lag1_of_known_series)
{
    double up[100], turn[100], flat[4] = {1, 1, 1, 1};
    for (int i = 0; i < 100; i++) {
        up[i] = i;
        turn[i] = i % 2;
    }
    cr_expect_float_eq(paired_lag1(up, 100), 0.97, 0.01);
    cr_expect_float_eq(paired_lag1(turn, 100), -0.99, 1e-9);
    cr_expect(paired_lag1(flat, 4) == 0 && paired_lag1(up, 2) == 0);
}

/* 30 pairs: the interval at .0025 has ranks 7 and 24. */
Test(paired, the_interval_and_the_verdict_have_the_ranks_of_the_design)
{
    Paired p = {.n = 30, .margin = 0.02};
    for (int i = 0; i < p.n; i++) {
        p.a[i] = 1e-3;
        p.b[i] = 1e-3 * (1 + 0.001 * ((i * 7) % 30)); /* 0 to 2.9 %, shuffled */
    }
    paired_judge(&p, 1);
    cr_expect_float_eq(p.lo, 1.006, 1e-9);
    cr_expect_float_eq(p.hi, 1.023, 1e-9);
    cr_expect_float_eq(p.ratio, 1.0145, 1e-5);
    cr_expect_eq(p.finding, FINDING_INCONCLUSIVE);
    for (int i = 0; i < p.n; i++)
        p.b[i] *= 1.0145; /* its rank 7 is above the margin now */
    cr_expect(paired_judge(&p, 1));
    cr_expect_eq(p.finding, FINDING_SLOWER);
    cr_expect_leq(p.p_slower, PAIRED_ALPHA);
    cr_expect_not(paired_judge(&p, 50)); /* but not yet among fifty */
    cr_expect_eq(p.finding, FINDING_SLOWER);
    for (int i = 0; i < p.n; i++) {
        double a = p.a[i];
        p.a[i] = p.b[i];
        p.b[i] = a;
    }
    cr_expect(paired_judge(&p, 1));
    cr_expect_eq(p.finding, FINDING_FASTER);
}

Test(paired, a_restless_machine_is_no_verdict)
{
    Paired p = {.n = 60, .margin = 0.02, .n_windows = 6};
    for (int i = 0; i < p.n; i++) {
        p.a[i] = 1e-3;
        p.b[i] = 1.1e-3;
    }
    for (int i = 0; i < p.n_windows; i++)
        p.window[i].sentinel = 1e-4;
    cr_expect(paired_judge(&p, 1));
    cr_expect_eq(p.finding, FINDING_SLOWER);
    p.window[1].sentinel = 1.2e-4; /* one of six */
    cr_expect(paired_judge(&p, 1));
    p.window[2].stolen = 0.2; /* two of six: a third */
    cr_expect_not(paired_judge(&p, 1));
    cr_expect_eq(p.finding, FINDING_ENVIRONMENT);
    cr_expect_eq(p.n_marked, 2);
    p.window[2].stolen = 0;
    p.window[4].switches = 1000;
    paired_judge(&p, 1);
    cr_expect_eq(p.finding, FINDING_ENVIRONMENT);
}

/* ---- a machine made up ---- */
typedef double NoiseFn(uint64_t seed, uint64_t i, double now);

typedef struct Fake {
    uint64_t seed, samples;
    double now, base, effect, sway, quantum; /* seconds, seconds, fractions, seconds */
    NoiseFn *noise;
    int moves, rests, calls, fail_at;
    double b_first_sum; /* of pairs in which B came first */
    int order[2 * PAIRED_MAX];
    int n_order;
} Fake;

static double uniform(uint64_t seed, uint64_t i)
{
    return rng_uniform(seed, 1, i);
}

static double gaussian(uint64_t seed, uint64_t i, double now)
{
    (void)now;
    return 1 + 0.03 * sqrt(-2 * log(uniform(seed, 2 * i))) *
                   cos(6.283185307179586 * uniform(seed, 2 * i + 1));
}
static double bimodal(uint64_t seed, uint64_t i, double now)
{
    (void)now;
    return (uniform(seed, 2 * i) < 0.3 ? 1.25 : 1) * (1 + 0.01 * uniform(seed, 2 * i + 1));
}
/* As a processor that heats up, and a neighbour that comes and goes. */
static double drifting(uint64_t seed, uint64_t i, double now)
{
    return (1 + 0.4 * now) * (1 + 0.3 * sin(9 * now)) * gaussian(seed, i, now);
}
/* A Pareto tail of index 1: no mean at all. */
static double heavy(uint64_t seed, uint64_t i, double now)
{
    (void)now;
    return 1 + 0.02 * (1 / uniform(seed, i) - 1);
}
/* Bursts of another program on the same core: they take half of the time. */
static double hogged(uint64_t seed, uint64_t i, double now)
{
    bool busy = uniform(seed + 99, (uint64_t)(now / 0.2)) < 0.5;
    return (busy && uniform(seed, 2 * i) < 0.6 ? 2 : 1) * (1 + 0.02 * uniform(seed, 2 * i + 1));
}
/* So wide that nothing can be said. */
static double wild(uint64_t seed, uint64_t i, double now)
{
    (void)now;
    return 1 + uniform(seed, i);
}
static double silent(uint64_t seed, uint64_t i, double now)
{
    (void)seed, (void)i, (void)now;
    return 1;
}

static Status fake_sample(void *ctx, int side, int steps, double *seconds)
{
    Fake *f = ctx;
    if (++f->calls == f->fail_at)
        return FAIL(ST_OOM, "no room in call %d", f->calls);
    double t = f->base * steps * (side == SIDE_B ? 1 + f->effect + f->sway * sin(20 * f->now) : 1) *
               f->noise(f->seed, f->samples++, f->now);
    f->now += t;
    if (f->quantum > 0) /* a clock that ticks */
        t = f->quantum * floor(t / f->quantum + uniform(f->seed + 7, f->samples));
    if (f->n_order < COUNT(f->order))
        f->order[f->n_order++] = side;
    *seconds = t;
    return ST_OK;
}
static double fake_now(void *ctx)
{
    return ((const Fake *)ctx)->now;
}
static void fake_rest(void *ctx, double seconds)
{
    ((Fake *)ctx)->now += seconds;
    ((Fake *)ctx)->rests++;
}
static Status fake_move(void *ctx, int look)
{
    (void)look;
    ((Fake *)ctx)->moves++;
    return ST_OK;
}

static Paired play(Fake *f, DuelSpec spec)
{
    Paired p;
    Arena a = {f, fake_sample, fake_move, NULL, fake_now, fake_rest};
    cr_assert_eq(duel(&a, &spec, &p), ST_OK, "%s", status_reason());
    return p;
}

static DuelSpec usual(uint64_t seed)
{
    return (DuelSpec){.sample = 2e-3, .time_limit = 1e3, .family = 1, .seed = seed};
}

/* How many of `games` comparisons ended in a finding. */
static int count(Finding finding, int games, Fake like)
{
    int n = 0;
    for (int i = 0; i < games; i++) {
        Fake f = like;
        f.seed = 1000 + (uint64_t)i;
        n += play(&f, usual(77 + (uint64_t)i)).finding == finding;
    }
    return n;
}

static const struct {
    const char *name;
    NoiseFn *noise;
    double quantum;
} machines[] = {{"gaussian", gaussian, 0}, {"bimodal", bimodal, 0},
                {"drifting", drifting, 0}, {"heavy tails", heavy, 0},
                {"hogged", hogged, 0},     {"ticking clock", gaussian, 1e-4}};
enum { GAMES = 400 };

Test(paired, equal_sides_give_less_than_one_false_alarm_in_a_hundred)
{
    for (int i = 0; i < COUNT(machines); i++) {
        Fake f = {.base = 1.8e-3, .noise = machines[i].noise, .quantum = machines[i].quantum};
        int slower = count(FINDING_SLOWER, GAMES, f), faster = count(FINDING_FASTER, GAMES, f);
        cr_expect_leq(slower + faster, GAMES / 100, "%s: %d slower, %d faster of %d",
                      machines[i].name, slower, faster, GAMES);
    }
}

/* The worst case of "not slower": the true difference is the margin itself. */
Test(paired, a_difference_at_the_margin_is_called_slower_less_than_once_in_a_hundred)
{
    for (int i = 0; i < COUNT(machines); i++) {
        Fake f = {.base = 1.8e-3,
                  .effect = 0.02,
                  .noise = machines[i].noise,
                  .quantum = machines[i].quantum / 100}; /* coarser ones move the median itself */
        int slower = count(FINDING_SLOWER, 3 * GAMES, f);
        cr_expect_leq(slower, 3 * GAMES / 100, "%s: %d of %d", machines[i].name, slower, 3 * GAMES);
    }
}

Test(paired, ten_percent_is_found)
{
    for (int i = 0; i < COUNT(machines); i++) {
        Fake f = {.base = 1.8e-3,
                  .effect = 0.10,
                  .noise = machines[i].noise,
                  .quantum = machines[i].quantum};
        int slower = count(FINDING_SLOWER, GAMES / 4, f);
        cr_expect_geq(slower, 95 * GAMES / 400, "%s: %d of %d", machines[i].name, slower,
                      GAMES / 4);
    }
}

Test(paired, five_percent_is_found_where_noise_is_moderate)
{
    Fake f = {.base = 1.8e-3, .effect = 0.05, .noise = gaussian};
    cr_expect_geq(count(FINDING_SLOWER, GAMES, f), 9 * GAMES / 10);
    f.effect = -0.05;
    cr_expect_geq(count(FINDING_FASTER, GAMES, f), 9 * GAMES / 10);
    f.effect = 0.05;
    f.noise = drifting;
    cr_expect_geq(count(FINDING_SLOWER, GAMES, f), 9 * GAMES / 10);
}

Test(paired, equal_sides_on_a_calm_machine_are_equivalent_at_the_first_look)
{
    Fake f = {.base = 1.8e-3, .noise = silent};
    Paired p = play(&f, usual(1));
    cr_expect_eq(p.finding, FINDING_EQUIVALENT);
    cr_expect_eq(p.n, 30);
    cr_expect_str_eq(p.stop_reason, "decided");
    cr_expect_eq(f.moves, 0);
    f.effect = 0.019; /* within the margin, and known well */
    cr_expect_eq(play(&f, usual(1)).finding, FINDING_EQUIVALENT);
}

/* ---- the design ---- */
Test(duel, orders_are_random_and_balanced_in_blocks_of_four)
{
    int b_first = 0, changes = 0;
    Fake f = {.base = 5e-3, .noise = wild, .effect = 0.02};
    Paired p = play(&f, usual(3));
    cr_assert_eq(p.n, PAIRED_MAX);
    int last = 0, from = 2 + 2 * 2 * 5; /* two first steps, two medians of five */
    f = (Fake){.base = 5e-3, .noise = silent};
    play(&f, usual(3));
    cr_assert_eq(f.n_order, from + 60);
    for (int i = from; i + 3 < f.n_order; i += 4) {
        const int *o = &f.order[i];
        cr_expect(o[0] == o[3] && o[1] == o[2] && o[0] != o[1], "block %d: %d%d%d%d", i, o[0], o[1],
                  o[2], o[3]);
        b_first += o[0] == SIDE_B;
        changes += i > from && o[0] != last;
        last = o[0];
    }
    cr_expect(b_first > 2 && b_first < 13 && changes > 2, "%d, %d", b_first, changes);
}

Test(duel, samples_last_two_milliseconds_and_short_steps_have_a_wider_margin)
{
    Fake f = {.base = 7e-6, .noise = silent};
    Paired p = play(&f, usual(1));
    cr_expect_geq(p.inner * 7e-6, 2e-3);
    cr_expect_leq(p.inner * 7e-6, 2.1e-3);
    cr_expect_float_eq(p.margin, 0.05, 1e-12);
    cr_expect_float_eq(p.a[0], 7e-6, 1e-12);
    f = (Fake){.base = 3e-3, .noise = silent};
    p = play(&f, usual(1));
    cr_expect_eq(p.inner, 1);
    cr_expect_float_eq(p.margin, 0.02, 1e-12);
}

Test(duel, buffers_move_between_looks)
{
    Fake f = {.base = 3e-3, .noise = wild, .effect = 0.02};
    Paired p = play(&f, usual(5));
    cr_expect_eq(p.n, PAIRED_MAX);
    cr_expect_eq(f.moves, PAIRED_LOOKS - 1);
    cr_expect_str_eq(p.stop_reason, "pairs");
}

Test(duel, time_ends_it)
{
    DuelSpec s = usual(1);
    s.time_limit = 1;
    Fake f = {.base = 10e-3, .noise = wild, .effect = 0.02};
    Paired p = play(&f, s);
    cr_expect(p.n > 10 && p.n < 60, "%d pairs", p.n);
    cr_expect_str_eq(p.stop_reason, "time");
    cr_expect_lt(f.now, 1.1);
    Fake slow = {.base = 30, .noise = silent};
    p = play(&slow, s);
    cr_expect_eq(p.n, 1);
    cr_expect_eq(p.finding, FINDING_INCONCLUSIVE);
}

Test(duel, pairs_that_stick_together_are_spaced_out)
{
    Fake f = {.base = 3e-3, .noise = silent};
    play(&f, usual(1));
    cr_expect_eq(f.rests, 0);
    f = (Fake){.base = 3e-3, .noise = silent, .effect = 0.02, .sway = 0.1};
    cr_expect_gt(play(&f, usual(1)).lag1, 0.3);
    cr_expect_gt(f.rests, 0);
}

Test(duel, failures_and_clocks_that_stand_still_are_passed_on)
{
    Paired p;
    DuelSpec s = usual(1);
    for (int at = 1; at <= 81; at += 20) {
        Fake f = {.base = 3e-3, .noise = silent, .fail_at = at};
        Arena a = {&f, fake_sample, fake_move, NULL, fake_now, fake_rest};
        cr_expect_eq(duel(&a, &s, &p), ST_OOM);
    }
    Fake f = {.base = 0, .noise = silent};
    Arena a = {&f, fake_sample, fake_move, NULL, fake_now, fake_rest};
    cr_expect_eq(duel(&a, &s, &p), ST_DEVICE);
}
