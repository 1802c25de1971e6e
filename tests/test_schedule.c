/* test_schedule.c - order, predictions, verdicts and the budget, with made-up times. */
#include "bench/schedule.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_JOBS = 64 };
static const double RATE = 1e9; /* flop/s of the made-up machine */

typedef struct World {
    Job job[MAX_JOBS];
    Plan plan;
} World;

static void world_init(World *w, double budget)
{
    memset(w, 0, sizeof *w);
    w->plan = (Plan){.job = w->job, .rates = {RATE, RATE}, .budget = budget};
}

/* A forward pass of linear ("lin") or quadratic ("quad") work: flops = 1e3 n or n^2. */
static Job *add(World *w, const char *variant, int64_t n)
{
    cr_assert_lt(w->plan.n, MAX_JOBS);
    Job *j = &w->job[w->plan.n++];
    bool quad = strncmp(variant, "quad", 4) == 0;
    j->c = (Case){.level = LEVEL_LAYER, .n = n, .batch = 1, .time_limit = 20, .mem_limit = 1 << 30};
    snprintf(j->c.variant, sizeof j->c.variant, "%s", variant);
    j->flops = quad ? (double)n * (double)n : 1e3 * (double)n;
    j->predicted.counted = 1000 * n;
    return j;
}

static Job *find(World *w, const char *variant, int64_t n)
{
    for (int i = 0; i < w->plan.n; i++)
        if (w->job[i].c.n == n && strcmp(w->job[i].c.variant, variant) == 0)
            return &w->job[i];
    cr_assert(false, "no job %s at %d", variant, (int)n);
    return NULL;
}

static void finish(Job *j, RowStatus status, double seconds)
{
    j->done = true;
    j->status = status;
    j->seconds = seconds;
}

/* Runs the plan: a case of `speed` times the made-up machine takes its cost in time. Returns the
 * time that has passed; ran is filled with the indices of what ran. */
static double simulate(World *w, double speed, int *ran, int *n_ran)
{
    double now = 0;
    *n_ran = 0;
    plan_predict(&w->plan);
    plan_sort(&w->plan);
    for (int i = 0; i < w->plan.n; i++) {
        Job *j = &w->job[i];
        plan_predict(&w->plan);
        Verdict v = plan_verdict(&w->plan, j, now);
        if (!v.run) {
            finish(j, v.status, 0);
            continue;
        }
        double step = j->flops / (RATE * speed);
        now += case_cost(step, 0, j->c.time_limit);
        finish(j, ROW_OK, step);
        ran[(*n_ran)++] = i;
    }
    return now;
}

static void add_curves(World *w)
{
    static const char *const names[] = {"lin", "quad", "quad2"};
    for (int v = 0; v < COUNT(names); v++)
        for (int64_t n = 512; n <= 1 << 17; n *= 2)
            add(w, names[v], n);
}

/* ---- curves ---- */
Test(schedule, curves_differ_in_length_alone)
{
    Case a = {.variant = "x", .backend = "cpu", .n = 512, .batch = 8, .width = 64, .time_limit = 1};
    Case b = a;
    b.n = 1024;
    b.batch = 4; /* constant tokens a step */
    b.time_limit = 2;
    cr_expect(same_curve(&a, &b));
    Case others[] = {b, b, b, b, b, b};
    others[0].pass = PASS_BWD;
    others[1].level = LEVEL_MODEL;
    others[2].impl = IMPL_NAIVE;
    others[3].width = 128;
    others[4].causal = true;
    snprintf(others[5].variant, sizeof others[5].variant, "y");
    for (int i = 0; i < COUNT(others); i++)
        cr_expect_not(same_curve(&a, &others[i]), "%d", i);
}

/* ---- predictions ---- */
Test(schedule, predicts_by_the_rate_of_the_next_smaller_length)
{
    World w;
    world_init(&w, 0);
    finish(add(&w, "quad", 1024), ROW_OK, 1.0);
    finish(add(&w, "quad", 2048), ROW_OK, 3.0);
    finish(add(&w, "quad", 16384), ROW_OK, 1000.0); /* longer: not asked */
    finish(add(&w, "lin", 4096), ROW_OK, 1e-3);     /* another curve */
    Job *j = add(&w, "quad", 8192);
    cr_expect_float_eq(plan_seconds(&w.plan, j), 3.0 * 16, 1e-9);
}

Test(schedule, predicts_by_the_roof_before_anything_is_measured)
{
    World w;
    world_init(&w, 0);
    Job *j = add(&w, "quad", 8192);
    double all = j->flops / RATE;
    cr_expect(plan_seconds(&w.plan, j) > all && plan_seconds(&w.plan, j) < 10 * all);
    j->flops = 0;
    j->bytes = 5e9;
    cr_expect_float_eq(plan_seconds(&w.plan, j), 5.0, 1e-9);
}

Test(schedule, failed_points_predict_nothing)
{
    World w;
    world_init(&w, 0);
    finish(add(&w, "quad", 2048), ROW_OOM, 0);
    Job *j = add(&w, "quad", 4096);
    cr_expect_gt(plan_seconds(&w.plan, j), 0);
}

Test(schedule, costs_grow_with_the_step)
{
    double before = 0;
    for (double step = 1e-6; step < 100; step *= 1.3) {
        double cost = case_cost(step, 0, 20);
        cr_expect_geq(cost, step);
        cr_expect_geq(cost, 0.4 * before, "%g s", step);
        before = cost;
    }
    cr_expect_float_eq(case_cost(15, 0, 20), 15, 0.1);
    cr_expect_geq(case_cost(1e-3, 5e9, 20), 5);
}

Test(schedule, a_slow_machine_is_noticed)
{
    World w;
    world_init(&w, 0);
    Job *j = add(&w, "lin", 4096);
    plan_predict(&w.plan);
    double before = j->cost;
    for (int i = 0; i < 30; i++) {
        plan_learn(&w.plan, j->cost, 3 * before); /* all cases take three times as long */
        plan_predict(&w.plan);
    }
    cr_expect(j->cost > 1.2 * before && j->cost < 3.1 * before, "%g", j->cost / before);
    for (int i = 0; i < 30; i++) {
        plan_learn(&w.plan, 10 * j->cost / before, 30);
        plan_predict(&w.plan);
    }
    cr_expect_float_eq(j->cost, 3 * before, 0.1 * before);
}

/* ---- order ---- */
Test(schedule, cheap_comes_before_dear)
{
    World w;
    world_init(&w, 0);
    add_curves(&w);
    plan_predict(&w.plan);
    plan_sort(&w.plan);
    for (int i = 1; i < w.plan.n; i++)
        cr_expect_geq(w.job[i].cost, 0.5 * w.job[i - 1].cost);
}

Test(schedule, small_comes_before_large_within_a_curve)
{
    World w;
    world_init(&w, 0);
    add_curves(&w);
    find(&w, "quad", 4096)->flops = 1; /* a prediction that is off */
    plan_predict(&w.plan);
    plan_sort(&w.plan);
    for (int i = 0; i < w.plan.n; i++)
        for (int k = i + 1; k < w.plan.n; k++)
            if (same_curve(&w.job[i].c, &w.job[k].c))
                cr_expect_lt(w.job[i].c.n, w.job[k].c.n);
}

/* ---- verdicts ---- */
static Verdict verdict(World *w, const Job *j, double elapsed)
{
    plan_predict(&w->plan);
    return plan_verdict(&w->plan, j, elapsed);
}

Test(schedule, memory_that_is_not_there)
{
    World w;
    world_init(&w, 0);
    Job *j = add(&w, "lin", 512);
    j->predicted.counted = j->c.mem_limit;
    cr_expect(verdict(&w, j, 0).run);
    j->predicted.counted++;
    Verdict v = verdict(&w, j, 0);
    cr_expect_not(v.run);
    cr_expect_eq(v.status, ROW_OOM_PREDICTED);
    cr_expect(strstr(v.reason, "1.00 GiB") != NULL, "%s", v.reason);
}

Test(schedule, time_that_is_not_there)
{
    World w;
    world_init(&w, 0);
    finish(add(&w, "quad", 1024), ROW_OK, 1.0);
    Job *near = add(&w, "quad", 4096), *far = add(&w, "quad", 8192);
    cr_expect(verdict(&w, near, 0).run, "16 s of 20");
    Verdict v = verdict(&w, far, 0);
    cr_expect_eq(v.status, ROW_TIMEOUT_PREDICTED);
    cr_expect(strstr(v.reason, "64 s") != NULL && strstr(v.reason, "20 s") != NULL, "%s", v.reason);
}

Test(schedule, after_a_real_failure_nothing_longer_runs)
{
    static const RowStatus real[] = {ROW_OOM, ROW_TIMEOUT, ROW_CRASH};
    static const RowStatus other[] = {ROW_OK,          ROW_OOM_PREDICTED,  ROW_TIMEOUT_PREDICTED,
                                      ROW_UNSUPPORTED, ROW_SKIPPED_BUDGET, ROW_FAILED_CHECK};
    for (int i = 0; i < COUNT(real) + COUNT(other); i++) {
        World w;
        world_init(&w, 0);
        bool stops = i < COUNT(real);
        finish(add(&w, "lin", 1024), stops ? real[i] : other[i - COUNT(real)], 1e-3);
        Job *shorter = add(&w, "lin", 512), *longer = add(&w, "lin", 2048),
            *else_ = add(&w, "quad", 2048);
        cr_expect(verdict(&w, shorter, 0).run);
        cr_expect(verdict(&w, else_, 0).run);
        Verdict v = verdict(&w, longer, 0);
        cr_expect_eq(v.run, !stops);
        if (stops)
            cr_expect(v.status == ROW_SKIPPED_AFTER && strstr(v.reason, "1024") != NULL, "%s",
                      v.reason);
    }
}

Test(schedule, what_the_dry_run_said_stands)
{
    World w;
    world_init(&w, 0);
    Job *j = add(&w, "lin", 512);
    j->fixed = true;
    j->status = ROW_UNSUPPORTED;
    snprintf(j->reason, sizeof j->reason, "no state");
    Verdict v = verdict(&w, j, 0);
    cr_expect(!v.run && v.status == ROW_UNSUPPORTED && strcmp(v.reason, "no state") == 0);
}

/* ---- the budget ---- */
Test(schedule, a_budget_is_kept_and_used)
{
    for (double speed = 0.05; speed < 3; speed *= 2) {
        World w;
        int ran[MAX_JOBS], n;
        world_init(&w, 30);
        add_curves(&w);
        double took = simulate(&w, speed, ran, &n);
        cr_expect_leq(took, 1.2 * 30, "speed %g: %g s", speed, took);
        cr_expect_gt(n, 6, "speed %g: %d ran", speed, n);
        for (int i = 0; i < w.plan.n; i++)
            cr_expect(w.job[i].done, "every point ends");
    }
}

Test(schedule, no_budget_means_no_end)
{
    World w;
    int ran[MAX_JOBS], n;
    world_init(&w, 0);
    add_curves(&w);
    simulate(&w, 1, ran, &n);
    for (int i = 0; i < w.plan.n; i++)
        cr_expect_neq(w.job[i].status, ROW_SKIPPED_BUDGET);
}

/* With half of the time every variant still has its small lengths. */
Test(schedule, a_short_budget_gives_whole_curves)
{
    World w;
    int ran[MAX_JOBS], n, of[3] = {0};
    world_init(&w, 5);
    add_curves(&w);
    simulate(&w, 1, ran, &n);
    for (int i = 0; i < n; i++) {
        const char *name = w.job[ran[i]].c.variant;
        of[strcmp(name, "lin") == 0 ? 0 : strcmp(name, "quad") == 0 ? 1 : 2]++;
    }
    for (int v = 0; v < 3; v++)
        cr_expect_geq(of[v], 4);
}

Test(schedule, what_must_run_is_reserved_for)
{
    World w;
    int ran[MAX_JOBS], n;
    world_init(&w, 30);
    add_curves(&w);
    Job *million = add(&w, "must", 1 << 20);
    million->must = true;
    million->flops = 0.4 * 12 * RATE; /* 12 s */
    double took = simulate(&w, 0.4, ran, &n);
    cr_expect_eq(find(&w, "must", 1 << 20)->status, ROW_OK);
    cr_expect_leq(took, 1.2 * 30, "%g s", took);
    cr_expect_gt(n, 6);
}

Test(schedule, what_must_run_does_so_even_when_the_budget_is_spent)
{
    World w;
    world_init(&w, 1);
    Job *j = add(&w, "must", 4096);
    cr_expect_not(verdict(&w, j, 50).run);
    j->must = true;
    cr_expect(verdict(&w, j, 50).run);
    j->flops = 10 * j->c.time_limit * RATE;
    cr_expect(verdict(&w, j, 50).run, "nor does a slow machine stop it");
}

Test(schedule, the_time_to_go_counts_what_will_run)
{
    World w;
    world_init(&w, 0);
    double sum = 0;
    add_curves(&w);
    finish(&w.job[0], ROW_OK, 1e-3);
    plan_predict(&w.plan);
    for (int i = 1; i < w.plan.n; i++)
        sum += plan_verdict(&w.plan, &w.job[i], 0).run ? w.job[i].cost : 0;
    cr_expect_float_eq(plan_remaining(&w.plan, 0, 0), sum, 1e-6 * sum);
    w.plan.budget = 10;
    cr_expect_leq(plan_remaining(&w.plan, 0, 4), 6);
}
