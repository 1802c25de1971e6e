/* test_sweep.c - numbers, lengths and names of the command line; groups of axes as cases; profiles.
 */
#include "bench/profile.h"
#include "bench/sweep.h"
#include "variants/template/mixer.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */
Test(parse, sizes)
{
    static const struct {
        const char *text;
        int64_t value; /* -1: refused */
    } cases[] = {{"1", 1},
                 {"0", -1},
                 {"64", 64},
                 {"007", 7},
                 {"1k", 1024},
                 {"16K", 16384},
                 {"3M", 3 << 20},
                 {"2G", INT64_C(2) << 30},
                 {"1T", INT64_C(1) << 40},
                 {"2T", -1},
                 {"", -1},
                 {" 1", -1},
                 {"1 ", -1},
                 {"+1", -1},
                 {"-1", -1},
                 {"k", -1},
                 {"1kk", -1},
                 {"1.5k", -1},
                 {"0x10", -1},
                 {"1e3", -1},
                 {"1,2", -1},
                 {"one", -1},
                 {"9223372036854775807", -1},
                 {"9223372036854775808", -1},
                 {"9007199254740993k", -1},
                 {"99999999999999999999999", -1}};
    for (int i = 0; i < COUNT(cases); i++) {
        int64_t value = 0;
        Status st = parse_size(cases[i].text, "--x", 1, INT64_C(1) << 40, &value);
        cr_expect_eq(st, cases[i].value < 0 ? ST_USAGE : ST_OK, "'%s'", cases[i].text);
        if (st == ST_OK)
            cr_expect_eq(value, cases[i].value, "'%s' is %" PRId64, cases[i].text, value);
        else
            cr_expect(strstr(status_reason(), "--x") != NULL &&
                          strstr(status_reason(), cases[i].text) != NULL,
                      "'%s'", status_reason());
    }
}

Test(parse, seconds)
{
    static const struct {
        const char *text;
        double value; /* < 0: refused */
    } cases[] = {{"1", 1},    {"0.5", 0.5}, {".5", 0.5}, {"90s", 90}, {"2m", 120},  {"1.5h", 5400},
                 {"0", -1},   {"0.0", -1},  {"", -1},    {"s", -1},   {"-1", -1},   {"nan", -1},
                 {"inf", -1}, {"1x", -1},   {"1ss", -1}, {"1 s", -1}, {"1e999", -1}};
    for (int i = 0; i < COUNT(cases); i++) {
        double value = 0;
        Status st = parse_seconds(cases[i].text, "--x", 1e-3, &value);
        cr_expect_eq(st, cases[i].value < 0 ? ST_USAGE : ST_OK, "'%s'", cases[i].text);
        if (st == ST_OK)
            cr_expect_eq(value, cases[i].value, "'%s' is %g", cases[i].text, value);
    }
}

Test(parse, seeds_have_64_bits)
{
    uint64_t value = 0;
    cr_expect_eq(parse_u64("18446744073709551615", "--seed", &value), ST_OK);
    cr_expect_eq(value, UINT64_MAX);
    cr_expect_eq(parse_u64("18446744073709551616", "--seed", &value), ST_USAGE);
    cr_expect_eq(parse_u64("-1", "--seed", &value), ST_USAGE);
    cr_expect_eq(parse_u64("1k", "--seed", &value), ST_USAGE);
}

/* ---- lengths ---- */

/* "512 1024" for a list; "!" and the words that the refusal must hold. */
static void expect_lengths(const char *text, const char *want)
{
    Lengths l;
    char got[1024] = "";
    Status st = parse_lengths(text, "--n", &l);
    if (want[0] == '!') {
        cr_expect_eq(st, ST_USAGE, "'%s' is taken", text);
        cr_expect(strstr(status_reason(), want + 1) != NULL, "'%s': '%s' lacks '%s'", text,
                  status_reason(), want + 1);
        return;
    }
    cr_assert_eq(st, ST_OK, "'%s': %s", text, status_reason());
    for (int i = 0; i < l.n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%" PRId64, i > 0 ? " " : "",
                 l.v[i]);
    cr_expect_str_eq(got, want, "'%s'", text);
}

Test(parse, lengths)
{
    static const char *const cases[][2] = {
        {"512", "512"},
        {"1", "1"},
        {"4k", "4096"},
        {"2147483647", "2147483647"},
        {"512..4096", "512 1024 2048 4096"},
        {"512..4k", "512 1024 2048 4096"},
        {"512..5000", "512 1024 2048 4096"},
        {"500..4000", "500 1000 2000 4000"},
        {"1..8", "1 2 4 8"},
        {"7..7", "7"},
        {"256k..1M", "262144 524288 1048576"},
        {"1G..2147483647", "1073741824"},
        {"512-4096*2", "512 1024 2048 4096"},
        {"512-32k*4", "512 2048 8192 32768"},
        {"10-1000*10", "10 100 1000"},
        {"3-3*2", "3"},
        {"1-2147483647*2147483647", "1 2147483647"},
        {"512,1k,2k", "512 1024 2048"},
        {"2k,512,1k", "512 1024 2048"},
        {"1k,1024,1k", "1024"},
        {"512..2k,100", "100 512 1024 2048"},
        {"1k..4k,2k..8k", "1024 2048 4096 8192"},
        {"", "!empty"},
        {",", "!empty"},
        {"512,", "!empty"},
        {",512", "!empty"},
        {"512,,1k", "!empty"},
        {"0", "!1 to 2147483647"},
        {"0..512", "!1 to 2147483647"},
        {"2G", "!1 to 2147483647"},
        {"2147483648", "!2147483647"},
        {"512..4G", "!2147483647"},
        {"-5", "!-5"},
        {"+5", "!+5"},
        {"a", "!'a'"},
        {"512..", "!512.."},
        {"..512", "!..512"},
        {"512...1k", "!512...1k"},
        {"512..1k..2k", "!512..1k..2k"},
        {"512-1k", "!512-1k"},
        {"512-1k*", "!512-1k*"},
        {"512-1k*1", "!factor"},
        {"512-1k*0", "!factor"},
        {"512-1k*2x", "!512-1k*2x"},
        {"512-1k+2", "!512-1k+2"},
        {"1k..512", "!ends before"},
        {"1k-512*2", "!ends before"},
        {"512 1k", "!512 1k"},
        {"1.5k", "!1.5k"},
        {"512x", "!512x"},
        {"99999999999999999999", "!99999999999999999999"},
    };
    for (int i = 0; i < COUNT(cases); i++)
        expect_lengths(cases[i][0], cases[i][1]);
}

Test(parse, too_many_lengths)
{
    char text[1024] = "1";
    Lengths l;
    for (int i = 2; i <= MAX_LENGTHS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",%d", i);
    cr_expect_eq(parse_lengths(text, "--n", &l), ST_OK);
    cr_expect_eq(l.n, MAX_LENGTHS);
    snprintf(text + strlen(text), sizeof text - strlen(text), ",%d", MAX_LENGTHS + 1);
    cr_expect_eq(parse_lengths(text, "--n", &l), ST_USAGE);
}

/* ---- names ---- */
Test(parse, names)
{
    uint64_t mask = 0;
    cr_expect_eq(parse_names("fwd", "pass", pass_names, &mask), ST_OK);
    cr_expect_eq(mask, 1u << PASS_FWD);
    cr_expect_eq(parse_names("decode,fwd,fwd", "pass", pass_names, &mask), ST_OK);
    cr_expect_eq(mask, 1u << PASS_FWD | 1u << PASS_DECODE);
    cr_expect_eq(parse_names("all", "pass", pass_names, &mask), ST_OK);
    cr_expect_eq(mask, (1u << PASSES) - 1);
    static const char *const bad[] = {"", ",", "fwd,", "FWD", "forward pass", "fwd bwd", "al"};
    for (int i = 0; i < COUNT(bad); i++)
        cr_expect_eq(parse_names(bad[i], "pass", pass_names, &mask), ST_USAGE, "'%s'", bad[i]);
}

Test(parse, unknown_names_say_what_is_near_and_what_is_allowed)
{
    uint64_t mask = 0;
    cr_expect_eq(parse_names("decod", "pass", pass_names, &mask), ST_USAGE);
    cr_expect(strstr(status_reason(), "did you mean 'decode'") != NULL, "%s", status_reason());
    cr_expect(strstr(status_reason(), "fwd, bwd, train, prefill, decode") != NULL);
    cr_expect_eq(parse_names("xyzzy", "pass", pass_names, &mask), ST_USAGE);
    cr_expect(strstr(status_reason(), "did you mean") == NULL, "%s", status_reason());
    VariantNames v = variant_names();
    cr_expect_str_eq(nearest_name("flash_liner", v.name), "flash_linear");
    cr_expect_str_eq(nearest_name("vanila", v.name), "vanilla");
}

/* ---- sweeps ---- */
static Sweep sweep_with(const char *variants, const char *levels, const char *passes,
                        const char *impls, const char *n)
{
    VariantNames names = variant_names();
    Sweep s = {.backend = "cpu",
               .n_groups = 1,
               .width = 64,
               .heads = 2,
               .layers = 3,
               .batch = 2,
               .segment = 2048,
               .threads = 1,
               .causal = true,
               .seed = 5,
               .time_limit = 7,
               .mem_limit = 1 << 30};
    Group *g = &s.group[0];
    g->asked = true;
    cr_assert_eq(parse_names(variants, "variant", names.name, &g->variants), ST_OK);
    cr_assert_eq(parse_names(levels, "level", level_names, &g->levels), ST_OK);
    cr_assert_eq(parse_names(passes, "pass", pass_names, &g->passes), ST_OK);
    cr_assert_eq(parse_names(impls, "impl", impl_names, &g->impls), ST_OK);
    cr_assert_eq(parse_lengths(n, "--n", &g->n), ST_OK);
    return s;
}

static int count_cases(const Sweep *s)
{
    SweepCase *cases = NULL;
    int n = 0;
    cr_assert_eq(sweep_cases(s, &cases, &n), ST_OK);
    free(cases);
    return n;
}

Test(sweep, is_the_product_of_its_axes)
{
    Sweep s = sweep_with("vanilla,gau", "mix,layer", "fwd,bwd,train", "tiled,naive", "512..4k");
    cr_expect_eq(count_cases(&s), 2 * 2 * 3 * 2 * 4);
}

Test(sweep, holds_each_point_once)
{
    Sweep s = sweep_with("vanilla", "layer", "fwd", "tiled", "512..4k");
    s.group[s.n_groups++] = s.group[0];
    cr_expect_eq(count_cases(&s), 4);
}

Test(sweep, fills_the_case)
{
    Sweep s = sweep_with("flash_linear", "model", "prefill", "tiled", "1k,4k");
    SweepCase *cases = NULL;
    int n = 0;
    cr_assert_eq(sweep_cases(&s, &cases, &n), ST_OK);
    cr_assert_eq(n, 2);
    const Case *c = &cases[1].c;
    cr_expect_str_eq(c->variant, "flash_linear");
    cr_expect_str_eq(c->backend, "cpu");
    cr_expect_str_eq(c->dtype, "f32");
    cr_expect(c->level == LEVEL_MODEL && c->pass == PASS_PREFILL && c->impl == IMPL_TILED);
    cr_expect(c->n == 4096 && c->batch == 2 && c->width == 64 && c->heads == 2 && c->layers == 3);
    cr_expect(c->segment == 2048 && c->threads == 1 && c->causal && !c->hot && c->seed == 5);
    cr_expect(c->time_limit == 7 && c->mem_limit == 1 << 30);
    cr_expect_eq(cases[0].c.segment, 1024, "a segment is no longer than the context");
    free(cases);
}

Test(sweep, constant_tokens_a_step)
{
    Sweep s = sweep_with("vanilla", "layer", "fwd", "tiled", "512..8k");
    SweepCase *cases = NULL;
    int n = 0;
    static const int64_t want[] = {8, 4, 2, 1, 1};
    s.step_tokens = 4096;
    cr_assert_eq(sweep_cases(&s, &cases, &n), ST_OK);
    cr_assert_eq(n, COUNT(want));
    for (int i = 0; i < n; i++)
        cr_expect_eq(cases[i].c.batch, want[i]);
    free(cases);
}

/* A profile asks only for what there is; a user is told what there is not. */
Test(sweep, naive_rows_of_profiles_exist)
{
    Sweep s = sweep_with("vanilla,flash_linear", "layer", "fwd", "tiled,naive", "512");
    cr_expect_eq(count_cases(&s), 4);
    s.group[0].asked = false;
    cr_expect_eq(count_cases(&s), 3);
}

Test(sweep, options_go_to_the_variants_that_know_them)
{
    Sweep s = sweep_with("vanilla,flash_linear", "layer", "fwd", "tiled", "512");
    SweepCase *cases = NULL;
    int n = 0;
    snprintf(s.set, sizeof s.set, "c=64 rope_base=500");
    cr_assert_eq(sweep_check(&s), ST_OK, "%s", status_reason());
    cr_assert_eq(sweep_cases(&s, &cases, &n), ST_OK);
    cr_assert_eq(n, 2);
    for (int i = 0; i < n; i++)
        cr_expect_str_eq(cases[i].c.set,
                         strcmp(cases[i].c.variant, "vanilla") == 0 ? "rope_base=500" : "c=64");
    free(cases);
}

Test(sweep, checks_what_parts_say_together)
{
    static const char *const bad[] = {"chunk=64", "c=0", "c=x", "c=1.5", "c", "c=64 nope=1"};
    Sweep s = sweep_with("flash_linear", "layer", "fwd", "tiled", "512");
    cr_expect_eq(sweep_check(&s), ST_OK);
    s.heads = 3;
    cr_expect_eq(sweep_check(&s), ST_USAGE);
    cr_expect(strstr(status_reason(), "3") != NULL && strstr(status_reason(), "64") != NULL);
    s.heads = 2;
    for (int i = 0; i < COUNT(bad); i++) {
        snprintf(s.set, sizeof s.set, "%s", bad[i]);
        cr_expect_eq(sweep_check(&s), ST_USAGE, "'%s'", bad[i]);
    }
}

/* ---- profiles ---- */
Test(profile, all_of_them_hold)
{
    for (int i = 0; profile_table[i].name != NULL; i++) {
        Sweep s = {.backend = "cpu", .causal = true, .threads = 1};
        cr_assert_eq(profile_apply(profile_table[i].name, &s), ST_OK, "%s", status_reason());
        cr_expect_eq(sweep_check(&s), ST_OK, "%s: %s", profile_table[i].name, status_reason());
        cr_expect_gt(count_cases(&s), 10);
    }
    Sweep s;
    cr_expect_eq(profile_apply("quik", &s), ST_USAGE);
    cr_expect(strstr(status_reason(), "'quick'") != NULL);
}

Test(profile, quick_has_the_million_and_it_must_run)
{
    Sweep s = {.backend = "cpu", .causal = true, .threads = 1};
    SweepCase *cases = NULL;
    int n = 0, found = 0;
    cr_assert_eq(profile_apply("quick", &s), ST_OK);
    cr_assert_eq(sweep_cases(&s, &cases, &n), ST_OK);
    for (int i = 0; i < n; i++)
        found += cases[i].must && cases[i].c.n == 1 << 20 && cases[i].c.pass == PASS_PREFILL &&
                 strcmp(cases[i].c.variant, "flash_linear") == 0;
    cr_expect_eq(found, 1);
    free(cases);
    cr_assert_eq(sweep_trainings(&s, &cases, &n), ST_OK);
    cr_expect_eq(n, 4, "%d trainings", n);
    free(cases);
}

Test(profile, quick_watches_every_variant_once_and_decodes_by_size)
{
    Sweep s = {.backend = "cpu", .causal = true, .threads = 1};
    SweepCase *cases = NULL;
    int n = 0, watched = 0, variants = 0, sized = 0;
    cr_assert_eq(profile_apply("quick", &s), ST_OK);
    cr_assert_eq(sweep_cases(&s, &cases, &n), ST_OK);
    for (int i = 0; i < n; i++) {
        const Case *c = &cases[i].c;
        watched += cases[i].watch;
        sized += c->size[0] != '\0';
        cr_expect(!cases[i].watch || (c->n == 4096 && c->pass == PASS_FWD));
        cr_expect(c->size[0] == '\0' || (c->evict && c->width >= 512 && c->width <= 2048));
    }
    while (variant_table[variants] != NULL)
        variants++;
    cr_expect_eq(watched, variants);
    cr_expect_eq(sized, 4 * 3);
    free(cases);
}
