/* test_fit.c - profiles on devices of several sizes: what they expand to, and that it fits by the
 * word of the dry device. */
#include "bench/fit.h"

#include "bench/case.h"
#include "bench/profile.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t GIB = INT64_C(1) << 30;

/* Devices that there are: memory that a case may take, rate of products. */
static const struct {
    int64_t gib;
    double flops;
    int width; /* of the profile gpu */
} devices[] = {
    {7, 3e13, 64}, {22, 1.5e14, 256}, {43, 1.5e14, 512}, {72, 6e14, 1024}, {170, 2e15, 2048}};

static Sweep fitted(const char *profile, int i)
{
    Sweep s = {.causal = true, .seed = 1, .threads = 1};
    cr_assert_eq(profile_apply(profile, &s), ST_OK, "%s", status_reason());
    snprintf(s.backend, sizeof s.backend, "cuda");
    s.mem_limit = devices[i].gib * GIB;
    fit_sweep(&(FitTo){s.mem_limit, devices[i].flops}, &s);
    return s;
}

static SweepCase *cases_of(const Sweep *s, int *n)
{
    SweepCase *c = NULL;
    cr_assert_eq(sweep_cases(s, &c, n), ST_OK, "%s", status_reason());
    return c;
}

/* ---- sizes ---- */
Test(fit, a_gpu_gets_the_width_that_a_million_tokens_leave)
{
    for (int i = 0; i < COUNT(devices); i++) {
        Sweep s = fitted("gpu", i);
        cr_expect_eq(s.width, devices[i].width, "%d GiB: width %d", (int)devices[i].gib, s.width);
        cr_expect_eq(s.width / s.heads, 64);
        cr_expect_eq(sweep_check(&s), ST_OK, "%s", status_reason());
    }
}

static const Row *predicted(Case c, Row *row)
{
    case_predict(&c, row);
    return row;
}

/* Forward passes over a million tokens fit, whatever the variant, where there is a choice. */
Test(fit, a_million_tokens_fit, .timeout = 120)
{
    static Row row;
    for (int i = 1; i < COUNT(devices); i++) {
        Sweep s = fitted("gpu", i);
        int n = 0, seen = 0;
        SweepCase *c = cases_of(&s, &n);
        for (int k = 0; k < n; k++) {
            if (c[k].c.n != 1 << 20 || c[k].c.level != LEVEL_LAYER || c[k].c.pass != PASS_FWD)
                continue;
            cr_assert_eq(predicted(c[k].c, &row)->status, ROW_OK, "%s", row.reason);
            double each = (double)row.predicted.counted / (double)c[k].c.n / s.width;
            if (i == 1)
                printf("%-16s %.1f bytes a token and column\n", c[k].c.variant, each);
            cr_expect_leq(row.predicted.counted, s.mem_limit, "%s", c[k].c.variant);
            seen++;
        }
        cr_expect_geq(seen, 10);
        free(c);
    }
}

/* ---- tokens ---- */
Test(fit, models_get_the_same_tokens_at_every_length)
{
    for (int i = 0; i < COUNT(devices); i++) {
        Sweep s = fitted("paper", i);
        for (int g = 0; g < 2; g++) {
            const Group *p = &s.group[g];
            int64_t tokens = p->step_tokens;
            cr_expect(tokens >= 8192 && tokens <= 1 << 18 && (tokens & (tokens - 1)) == 0,
                      "%d GiB, group %d: %lld", (int)devices[i].gib, g, (long long)tokens);
            printf("%3d GiB: %7lld tokens a step of %s\n", (int)devices[i].gib, (long long)tokens,
                   g == 0 ? "110m" : "800m");
        }
        int n = 0;
        SweepCase *c = cases_of(&s, &n);
        for (int k = 0; k < n; k++)
            if (c[k].c.level == LEVEL_MODEL && c[k].c.pass == PASS_TRAIN)
                cr_expect_eq(c[k].c.batch * c[k].c.n,
                             s.group[strcmp(c[k].c.size, "800m") == 0].step_tokens);
        free(c);
    }
}

/* By the dry device: what a training step takes where the memory lets the tokens be chosen. */
Test(fit, models_fit_with_their_tokens, .timeout = 240)
{
    static Row row;
    for (int i = 1; i < COUNT(devices); i += 2) {
        Sweep s = fitted("paper", i);
        int n = 0;
        SweepCase *c = cases_of(&s, &n);
        for (int k = 0; k < n; k++) {
            const Case *x = &c[k].c;
            bool least = s.group[strcmp(x->size, "800m") == 0].step_tokens == 8192;
            if (x->level != LEVEL_MODEL || x->pass != PASS_TRAIN || (x->n != 512 && x->n != 8192))
                continue;
            cr_assert_eq(predicted(*x, &row)->status, ROW_OK, "%s", row.reason);
            printf("%3d GiB %-5s %-16s T %5d: %.1f GiB\n", (int)devices[i].gib, x->size, x->variant,
                   (int)x->n, (double)row.predicted.counted / (double)GIB);
            cr_expect(least || row.predicted.counted <= s.mem_limit, "%s %s", x->size, x->variant);
        }
        free(c);
    }
}

Test(fit, the_papers_models_have_their_sizes)
{
    static Row row;
    Sweep s = fitted("paper", 3);
    int n = 0, seen = 0;
    SweepCase *c = cases_of(&s, &n);
    for (int k = 0; k < n; k++) {
        const Case *x = &c[k].c;
        bool big = strcmp(x->size, "800m") == 0;
        if (x->level != LEVEL_MODEL || x->pass != PASS_TRAIN || x->n != 512)
            continue;
        predicted(*x, &row);
        double embedding = 2.0 * x->vocab * x->width, all = (double)row.params + embedding;
        printf("%-16s %-5s %.0fM parameters, %.0fM with embedding and head\n", x->variant, x->size,
               1e-6 * (double)row.params, 1e-6 * all);
        if (!big)
            cr_expect(row.params > 75000000 && row.params < 115000000, "%s: %lld", x->variant,
                      (long long)row.params);
        if (strcmp(x->variant, "vanilla") == 0)
            cr_expect(big ? row.params > 250000000 : row.params < 90000000);
        seen++;
    }
    cr_expect_geq(seen, 12);
    free(c);
}

/* ---- limits ---- */
Test(fit, limits_follow_the_rate)
{
    static const struct {
        double flops, times;
    } known[] = {{1e14, 1}, {5e13, 2}, {4e14, 0.25}, {1e16, 0.25}, {1e12, 16}, {0, 1}};
    for (int i = 0; i < COUNT(known); i++) {
        Sweep plain = {.causal = true}, s = {.causal = true};
        cr_assert(profile_apply("paper", &plain) == ST_OK && profile_apply("paper", &s) == ST_OK);
        fit_sweep(&(FitTo){72 * GIB, known[i].flops}, &s);
        cr_expect_float_eq(s.time_limit, known[i].times * plain.time_limit, 1e-9);
        cr_expect_eq(s.width, plain.width, "the papers' own");
    }
}

Test(fit, other_profiles_stay_as_they_are)
{
    Sweep plain = {.causal = true}, s = {.causal = true};
    cr_assert(profile_apply("quick", &plain) == ST_OK && profile_apply("quick", &s) == ST_OK);
    fit_sweep(&(FitTo){72 * GIB, 1e15}, &s);
    cr_expect_eq(memcmp(&plain, &s, sizeof s), 0);
    cr_expect_str_eq(profile_on_gpu("quick"), "gpu");
    cr_expect_null(profile_on_gpu("full"));
    cr_expect_null(profile_on_gpu("none"));
}
