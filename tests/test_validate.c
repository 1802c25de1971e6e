/* test_validate.c - what a journal must hold. */
#include "report/validate.h"

#include "tests/fixtures/place.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

/* What report_validate prints about a journal whose rows are good, or break a rule (ST_USAGE). */
static char *verdict(const Place *p, Status expected)
{
    bool good = false;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    cr_expect_eq(report_validate(p->journal, f, &good), ST_OK, "%s", status_reason());
    fclose(f);
    cr_expect_eq(good, expected == ST_OK, "%s", text);
    return text;
}

static void expect_verdict(const Place *p, Status expected, const char *words)
{
    char *text = verdict(p, expected);
    cr_expect(strstr(text, words) != NULL, "says '%s', not '%s'", text, words);
    free(text);
}

/* A point that is as wrong as `spoil` makes it is found. */
static void expect_broken(const Place *p, RowKind kind, void (*spoil)(Row *r), const char *words)
{
    Row r = sample_row(kind);
    small_journal(p, &r, 1);
    expect_verdict(p, ST_OK, "3 rows of schema 2, 1 runs: good");
    spoil(&r);
    small_journal(p, &r, 1);
    expect_verdict(p, ST_USAGE, words);
}

static void no_reason(Row *r)
{
    r->status = ROW_OOM;
}
static void no_samples(Row *r)
{
    r->timing.n = 0;
}
static void median_outside(Row *r)
{
    r->timing.ci_lo = 2 * r->timing.median;
}
static void unchecked(Row *r)
{
    snprintf(r->c.variant, sizeof r->c.variant, "primer");
}
static void unknown_run(Row *r)
{
    snprintf(r->run, sizeof r->run, "yesterday");
}
static void other_build(Row *r)
{
    snprintf(r->build, sizeof r->build, "0011");
}
static void large_error(Row *r)
{
    r->error = 1;
}
static void bad_hash(Row *r)
{
    r->text_sha256[63] = 'x';
}
static void unordered(Row *r)
{
    r->point[2].step = 1;
}
static void other_fraction(Row *r)
{
    r->roof_fraction *= 1.01;
}
static void no_roof(Row *r)
{
    r->roof = ROOF_NONE;
}
static void other_sum(Row *r)
{
    r->op[1].seconds *= 1.1;
}
static void other_ratio(Row *r)
{
    r->ratio = 2 * r->ratio_hi;
}
static void throttled_late(Row *r)
{
    snprintf(r->timing.throttle, sizeof r->timing.throttle, "heat");
    r->timing.n_throttled = 2;
    r->timing.throttled[0] = 3;
    r->timing.throttled[1] = r->timing.n; /* there is none behind the last */
}
static void throttled_twice(Row *r)
{
    throttled_late(r);
    r->timing.throttled[1] = 3;
}
static void throttled_by_nothing(Row *r)
{
    r->timing.n_throttled = 1;
}
static void other_math(Row *r)
{
    snprintf(r->c.dtype, sizeof r->c.dtype, "bf16");
}
static void no_length(Row *r)
{
    r->c.n = 0;
}

Test(validate, broken_rules_are_found_with_their_line)
{
    Place p = place();
    expect_broken(&p, ROW_CASE, no_reason, ":3: a reason beside status ok, or none");
    expect_broken(&p, ROW_CASE, no_samples, ":3: no samples");
    expect_broken(&p, ROW_CASE, median_outside, ":3: quantiles or interval out of order");
    expect_broken(&p, ROW_CASE, other_fraction, ":3: a roof that does not fit");
    expect_broken(&p, ROW_TRAIN, other_fraction, ":3: a roof that does not fit");
    expect_broken(&p, ROW_CASE, no_roof, ":3: a roof that does not fit");
    expect_broken(&p, ROW_PEER, other_ratio, ":3: no peer, no time of it, or a ratio");
    expect_broken(&p, ROW_OPS, other_sum, ":3: no ops, or their times are not");
    expect_broken(&p, ROW_OPS, unchecked, ":3: no passed check of its variant");
    expect_broken(&p, ROW_CASE, no_length, ":3: a name in the case is empty, or one of");
    expect_broken(&p, ROW_CASE, unchecked, ":3: no passed check of its variant");
    expect_broken(&p, ROW_TRAIN, unchecked, ":3: no passed check of its variant");
    expect_broken(&p, ROW_CASE, other_math, ":3: no passed check of its variant");
    expect_broken(&p, ROW_CASE, throttled_late, ":3: throttled samples that are not there");
    expect_broken(&p, ROW_PEER, throttled_twice, ":3: throttled samples that are not there");
    expect_broken(&p, ROW_CASE, throttled_by_nothing, ":3: throttled samples that are not there");
    expect_broken(&p, ROW_CASE, unknown_run, ":3: no row of kind 'run'");
    expect_broken(&p, ROW_CASE, other_build, ":3: its build is not that of its run");
    expect_broken(&p, ROW_CHECK, large_error, ":3: status ok with an error above");
    expect_broken(&p, ROW_TEXT, bad_hash, ":3: text_bytes is 0, or text_sha256");
    expect_broken(&p, ROW_TRAIN, unordered, ":3: points out of order");
    leave(&p);
}

Test(validate, a_kernel_lies_in_its_interval)
{
    Place p = place();
    Row r = sample_kernel("gau", PASS_FWD, 0.8, 0.7);
    small_journal(&p, &r, 1);
    expect_verdict(&p, ST_OK, "3 rows of schema 2, 1 runs: good");
    r.fraction_hi = 0.79;
    small_journal(&p, &r, 1);
    expect_verdict(&p, ST_USAGE, ":3: a roof that does not fit");
    leave(&p);
}

Test(validate, the_reference_needs_no_check)
{
    Place p = place();
    Row r = sample_row(ROW_CASE);
    snprintf(r.c.backend, sizeof r.c.backend, "ref");
    small_journal(&p, &r, 1);
    expect_verdict(&p, ST_OK, "good");
    leave(&p);
}

Test(validate, order_and_repetition)
{
    Place p = place();
    Row rows[3] = {sample_row(ROW_CASE), sample_row(ROW_CASE), sample_row(ROW_END)};
    small_journal(&p, rows, 2);
    expect_verdict(&p, ST_USAGE, ":4: this point has been measured before");
    rows[0].status = ROW_SKIPPED_BUDGET;
    snprintf(rows[0].reason, sizeof rows[0].reason, "no time");
    small_journal(&p, rows, 3);
    expect_verdict(&p, ST_OK, "5 rows");
    Row late[2] = {sample_row(ROW_END), sample_row(ROW_CASE)};
    small_journal(&p, late, 2);
    expect_verdict(&p, ST_USAGE, ":4: its run has ended before");
    Row again = sample_row(ROW_RUN);
    small_journal(&p, &again, 1);
    expect_verdict(&p, ST_USAGE, ":3: this run id has been used before");

    Journal *j = NULL;
    cr_assert_eq(journal_open(&j, p.journal, true), ST_OK);
    journal_append(j, &rows[2]);
    journal_close(j);
    expect_verdict(&p, ST_USAGE, ":1: no row of kind 'run' before it");
    leave(&p);
}

Test(validate, of_many_errors_the_first_are_shown)
{
    Place p = place();
    Row rows[30];
    for (int i = 0; i < COUNT(rows); i++) {
        rows[i] = sample_row(ROW_CASE);
        rows[i].c.n = 512 + i;
        no_reason(&rows[i]);
    }
    small_journal(&p, rows, COUNT(rows));
    expect_verdict(&p, ST_USAGE, "... and 20 more");
    leave(&p);
}

Test(validate, damage_is_found_and_a_torn_end_is_not_an_error)
{
    Place p = place();
    Row r = sample_row(ROW_CASE);
    small_journal(&p, &r, 1);
    FILE *f = fopen(p.journal, "a");
    fputs("{\"schema\":2,\"ki", f);
    fclose(f);
    expect_verdict(&p, ST_OK, "a torn row at the end is not counted");
    f = fopen(p.journal, "a");
    fputs("\n{\"schema\":7}\n", f);
    fclose(f);
    bool good = true;
    cr_expect_eq(report_validate(p.journal, stderr, &good), ST_USAGE);
    cr_expect_not(good);
    cr_expect(strstr(status_reason(), ":4: ") != NULL, "%s", status_reason());
    small_journal(&p, &r, 1);
    f = fopen(p.journal, "a");
    for (int i = 0; i < 30; i++)
        fputs("{\"schema\":7}\n", f);
    fclose(f);
    cr_expect_eq(report_validate(p.journal, stderr, &good), ST_USAGE);
    cr_expect(strstr(status_reason(), ":4: schema 7; this program reads schema 2") != NULL, "%s",
              status_reason());
    cr_expect_eq(truncate(p.journal, 0), 0);
    expect_verdict(&p, ST_USAGE, "there are no rows");
    leave(&p);
    cr_expect_eq(report_validate("/no/such/file", stderr, &good), ST_IO);
}
