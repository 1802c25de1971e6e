/* test_compare.c - what many comparisons mean together, what is told of them, and facts on file. */
#include "report/baseline.h"
#include "report/selftest.h"

#include "report/journal.h"
#include "tests/fixtures/place.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- made-up cells ---- */

/* Pairs whose b is `ratio` times a, with a little spread. */
static Paired pairs_of(double ratio, int n, int family)
{
    Paired p = {.n = n, .inner = 1, .margin = 0.02};
    for (int i = 0; i < n; i++) {
        p.a[i] = 1e-3 * (1 + 0.001 * ((i * 13) % 7));
        p.b[i] = ratio * 1e-3 * (1 + 0.001 * ((i * 5) % 11));
    }
    paired_judge(&p, family);
    return p;
}

static CompareCell cell_of(const char *variant, double ratio, int n)
{
    CompareCell cell = {
        .c = sample_case(variant, 512), .timed = true, .first = pairs_of(ratio, n, 1)};
    for (int side = 0; side < COMPARE_SIDES; side++) {
        facts_number(&cell.facts[side], "flops", 1e9);
        facts_number(&cell.facts[side], "memory", 4096);
        facts_number(&cell.facts[side], "params", 100);
        facts_text(&cell.facts[side], "avx2.result", "b078c3c5442a4328");
    }
    return cell;
}

static Comparison comparison_of(CompareCell *cell, int n)
{
    Comparison c = {.side = {{"base", "1111", "aaaa", "gcc 12", "avx2"},
                             {"head", "2222", "bbbb", "gcc 12", "avx2"}},
                    .date = "2026-01-01T00:00:00Z",
                    .host = "a | host",
                    .cell = cell,
                    .n = n};
    compare_judge(&c);
    return c;
}

static char *told(void (*tell)(FILE *f, const Comparison *c), const Comparison *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    cr_assert_not_null(f);
    tell(f, c);
    fclose(f);
    return text;
}

static void set_fact(CompareCell *cell, int side, const char *name, const char *value)
{
    for (int i = 0; i < cell->facts[side].n; i++)
        if (strcmp(cell->facts[side].fact[i].name, name) == 0)
            snprintf(cell->facts[side].fact[i].value, 72, "%s", value);
}

/* ---- verdicts ---- */
Test(compare, exit_codes)
{
    CompareCell same[] = {cell_of("gau", 1, 60), cell_of("vanilla", 0.9, 60)};
    Comparison c = comparison_of(same, 2);
    Tally t = compare_tally(&c);
    cr_expect_eq(t.exit_code, COMPARE_PASS);
    cr_expect(t.found[FINDING_EQUIVALENT] == 1 && t.found[FINDING_FASTER] == 1);
    same[1] = cell_of("vanilla", 1.05, 60);
    c = comparison_of(same, 2);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_REGRESSED);
    same[1] = cell_of("vanilla", 1.02, 30); /* at the margin */
    c = comparison_of(same, 2);
    cr_expect_eq(same[1].finding, FINDING_INCONCLUSIVE);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_UNCLEAR);
    same[0] = cell_of("gau", 1.05, 60); /* what is known counts more than what is not */
    c = comparison_of(same, 2);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_REGRESSED);
}

/* 24 of 30 above the margin: p = .0014 by itself, times four looks. */
Test(compare, a_difference_must_count_among_all_cells)
{
    enum { CELLS = 20 };
    CompareCell cells[CELLS];
    for (int i = 0; i < CELLS; i++)
        cells[i] = cell_of("gau", 1, 30);
    for (int i = 0; i < 30; i++)
        cells[7].first.b[i] = cells[7].first.a[i] * (i % 5 == 0 ? 1.0 : 1.03);
    paired_judge(&cells[7].first, 1);
    cr_assert_eq(cells[7].first.finding, FINDING_SLOWER);
    Comparison alone = comparison_of(&cells[7], 1);
    cr_expect_eq(cells[7].finding, FINDING_SLOWER);
    cr_expect_eq(compare_tally(&alone).exit_code, COMPARE_REGRESSED);
    Comparison among = comparison_of(cells, CELLS);
    cr_expect_eq(cells[7].finding, FINDING_INCONCLUSIVE);
    cr_expect(strstr(cells[7].note, "not among 20") != NULL, "%s", cells[7].note);
    cr_expect_eq(compare_tally(&among).exit_code, COMPARE_UNCLEAR);
}

Test(compare, both_times_must_agree)
{
    CompareCell cell = cell_of("gau", 1.05, 60);
    Comparison c = comparison_of(&cell, 1);
    cell.again = pairs_of(1.05, 60, 1);
    compare_confirm(&cell);
    cr_expect_eq(cell.finding, FINDING_SLOWER);
    cell.again = pairs_of(1.0, 60, 1);
    compare_confirm(&cell);
    cr_expect_eq(cell.finding, FINDING_INCONCLUSIVE);
    cr_expect(strstr(cell.note, "equivalent when measured again") != NULL, "%s", cell.note);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_UNCLEAR);
    cell = cell_of("gau", 1.02, 30); /* may be slower */
    compare_judge(&c);
    cr_expect(cell.finding == FINDING_INCONCLUSIVE && compare_wants_again(&cell));
    cell.again = pairs_of(1.0, 60, 1);
    compare_confirm(&cell);
    cr_expect_eq(cell.finding, FINDING_EQUIVALENT);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_PASS);
    cell = cell_of("gau", 1.02, 30);
    compare_judge(&c);
    cell.again = pairs_of(1.05, 60, 1);
    compare_confirm(&cell);
    cr_expect_eq(cell.finding, FINDING_INCONCLUSIVE);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_UNCLEAR);
    cell = cell_of("gau", 0.98, 30); /* faster or equal, surely not slower */
    compare_judge(&c);
    cr_expect(cell.finding == FINDING_INCONCLUSIVE && !compare_wants_again(&cell));
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_PASS);
    cell = cell_of("gau", 1.05, 60);
    compare_judge(&c);
    cell.again = pairs_of(0.95, 60, 1);
    compare_confirm(&cell);
    cr_expect_eq(cell.finding, FINDING_INCONCLUSIVE);
}

Test(compare, what_breaks_counts_and_what_is_new_or_gone_is_told)
{
    CompareCell cell = cell_of("gau", 1, 60);
    Comparison c = comparison_of(&cell, 1);
    cell.timed = false;
    static const struct {
        Standing a, b;
        int code;
        const char *word;
    } known[] = {{STANDING_OK, STANDING_BROKEN, 1, "BROKEN"},
                 {STANDING_BROKEN, STANDING_BROKEN, 0, "broken on both"},
                 {STANDING_BROKEN, STANDING_OK, 0, "mended"},
                 {STANDING_ABSENT, STANDING_OK, 0, "new"},
                 {STANDING_OK, STANDING_ABSENT, 0, "gone"},
                 {STANDING_ABSENT, STANDING_BROKEN, 1, "BROKEN"}};
    for (int i = 0; i < COUNT(known); i++) {
        cell.standing[COMPARE_A] = known[i].a;
        cell.standing[COMPARE_B] = known[i].b;
        char *text = told(compare_table, &c);
        cr_expect_eq(compare_tally(&c).exit_code, known[i].code, "%s", known[i].word);
        cr_expect(strstr(text, known[i].word) != NULL, "%s: %s", known[i].word, text);
        free(text);
    }
}

Test(compare, controls_that_fail_break_the_gate)
{
    CompareCell cells[] = {cell_of("gau", 1, 60), cell_of("gau", 1, 60), cell_of("gau", 1.1, 60)};
    cells[1].kind = CELL_SAME;
    cells[2].kind = CELL_PLANTED;
    Comparison c = comparison_of(cells, 3);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_PASS);
    cr_expect_eq(compare_family(&c), 1);
    cells[2].first = pairs_of(1, 60, 1);
    compare_judge(&c);
    cr_expect(compare_tally(&c).gate_broken);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_UNCLEAR);
    cells[2].first = pairs_of(1.1, 60, 1);
    cells[1].first = pairs_of(1.1, 60, 1);
    compare_judge(&c);
    cr_expect(compare_tally(&c).gate_broken);
}

/* ---- facts ---- */
Test(compare, facts_that_grow_count_and_all_changes_are_shown)
{
    CompareCell cell = cell_of("gau", 1, 60);
    Comparison c = comparison_of(&cell, 1);
    set_fact(&cell, COMPARE_B, "memory", "4000");
    set_fact(&cell, COMPARE_B, "avx2.result", "0000c3c5442a4328");
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_PASS);
    cr_expect_eq(compare_tally(&c).changed_facts, 2);
    c.gate = FACTS_ANY;
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_REGRESSED);
    c.gate = FACTS_WORSE;
    set_fact(&cell, COMPARE_B, "memory", "4097");
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_REGRESSED);
    char *text = told(compare_table, &c), *mark = told(compare_markdown, &c);
    cr_expect(strstr(text, "memory 4096 -> 4097 (worse)") != NULL, "%s", text);
    cr_expect(strstr(text, "b078c3c5442a4328 -> 0000c3c5442a4328 (changed)") != NULL, "%s", text);
    cr_expect(strstr(mark, "| memory | 4096 | 4097 | worse, **counts** |") != NULL, "%s", mark);
    free(text);
    free(mark);
    c.gate = FACTS_SHOW;
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_PASS);
    set_fact(&cell, COMPARE_B, "params", "99"); /* neither better nor worse */
    c.gate = FACTS_ANY;
    cr_expect_eq(compare_tally(&c).worse_facts, 3);
}

Test(compare, facts_come_back_from_json)
{
    Facts f = {.n = 0}, back;
    facts_number(&f, "flops", 21202944);
    facts_number(&f, "mean", 0.1);
    facts_number(&f, "huge", 1e300);
    facts_text(&f, "avx2.result",
               "0123456789012345678901234567890123456789012345678901234567890123");
    json_t *json = facts_json(&f);
    cr_assert_eq(facts_parse(json, &back), ST_OK);
    cr_expect_eq(back.n, f.n);
    for (int i = 0; i < f.n; i++)
        cr_expect_eq(fact_change(facts_find(&f, f.fact[i].name), facts_find(&back, f.fact[i].name)),
                     CHANGE_NONE, "%s: %s", f.fact[i].name,
                     facts_find(&back, f.fact[i].name)->value);
    json_object_set_new(json, "list", json_array());
    cr_expect_eq(facts_parse(json, &back), ST_USAGE);
    cr_expect_eq(facts_parse(NULL, &back), ST_USAGE);
    json_decref(json);
}

/* ---- the file ---- */
Test(baseline, comes_back_and_shows_what_changed)
{
    char folder[] = "/tmp/baseline-XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/b.json", folder);
    CompareCell *cells = calloc(8, sizeof *cells);
    cells[0] = cell_of("gau", 1, 30);
    cells[1] = cell_of("vanilla", 1, 30);
    Comparison c = {.gate = FACTS_ANY, .cell = cells, .n = 2};
    cells[0].timed = cells[1].timed = false;
    cr_assert_eq(baseline_write(&c, "gcc 12", path), ST_OK);

    int left_out = -1;
    cr_assert_eq(baseline_read(&c, "gcc 12", path, &left_out), ST_OK, "%s", status_reason());
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_PASS);
    cr_expect_eq(left_out, 0);
    set_fact(&cells[0], COMPARE_B, "flops", "1000000001");
    set_fact(&cells[1], COMPARE_B, "avx2.result", "other");
    cr_assert_eq(baseline_read(&c, "gcc 12", path, &left_out), ST_OK);
    cr_expect_eq(compare_tally(&c).worse_facts, 2);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_REGRESSED);
    char *text = told(compare_changes, &c);
    cr_expect(strstr(text, "flops 1000000000 -> 1000000001") != NULL, "%s", text);
    free(text);
    cr_assert_eq(baseline_read(&c, "clang 14", path, &left_out), ST_OK);
    cr_expect_eq(compare_tally(&c).worse_facts, 1); /* other compilers give other bits */
    cr_expect_eq(left_out, 2);
    compare_free(&c);
    cr_expect_eq(remove(path), 0);
    rmdir(folder);
}

Test(baseline, new_and_gone_cells_do_not_fail)
{
    char path[] = "/tmp/baseline-XXXXXX";
    int fd = mkstemp(path), left_out;
    cr_assert_geq(fd, 0);
    close(fd);
    CompareCell *cells = calloc(8, sizeof *cells);
    cells[0] = cell_of("gau", 1, 30);
    cells[0].timed = false;
    Comparison c = {.gate = FACTS_ANY, .cell = cells, .n = 1};
    cr_assert_eq(baseline_write(&c, "gcc 12", path), ST_OK);
    snprintf(cells[0].c.variant, sizeof cells[0].c.variant, "lsh");
    cr_assert_eq(baseline_read(&c, "gcc 12", path, &left_out), ST_OK);
    cr_expect_eq(c.n, 2);
    Tally t = compare_tally(&c);
    cr_expect(t.exit_code == COMPARE_PASS && t.absent == 2, "%d, %d", t.exit_code, t.absent);
    char *text = told(compare_changes, &c);
    cr_expect(strstr(text, "lsh layer fwd n=512 chunk=256: new") != NULL, "%s", text);
    cr_expect(strstr(text, "gone: B: no such cell: gau layer fwd") != NULL, "%s", text);
    free(text);
    compare_free(&c);
    remove(path);
}

Test(baseline, files_of_others_are_refused)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"baseline\":2,\"platform\":\"\",\"cells\":{}}",
        "{\"baseline\":1,\"platform\":\"\",\"cells\":{\"x\":3}}",
        "{\"baseline\":1,\"platform\":\"\",\"cells\":{\"x\":{\"a\":[]}}}",
        "{\"baseline\":1,\"cells\":{}}"};
    char path[] = "/tmp/baseline-XXXXXX";
    int left_out, fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    for (int i = 0; i < COUNT(bad); i++) {
        Comparison c = {.cell = calloc(1, sizeof *c.cell)};
        FILE *f = fopen(path, "w");
        fputs(bad[i], f);
        fclose(f);
        cr_expect_eq(baseline_read(&c, "gcc", path, &left_out), ST_USAGE, "'%s'", bad[i]);
        compare_free(&c);
    }
    remove(path);
}

/* ---- what is told ---- */
Test(compare, json_holds_every_sample)
{
    char path[] = "/tmp/compare-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    CompareCell cells[] = {cell_of("gau", 1.05, 60), cell_of("vanilla", 1, 30)};
    Comparison c = comparison_of(cells, 2);
    cells[0].again = pairs_of(1.05, 30, 1);
    compare_confirm(&cells[0]);
    cr_assert_eq(compare_json(&c, path), ST_OK, "%s", status_reason());
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(json);
    json_t *cell = json_array_get(json_object_get(json, "cells"), 0);
    json_t *first = json_object_get(cell, "first");
    cr_expect_eq(json_array_size(json_object_get(first, "a")), 60);
    cr_expect_eq(json_array_size(json_object_get(json_object_get(cell, "again"), "b")), 30);
    cr_expect_float_eq(json_number_value(json_object_get(first, "ratio")), cells[0].first.ratio,
                       1e-15);
    cr_expect_str_eq(json_string_value(json_object_get(cell, "finding")), "slower");
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(json, "tally"), "exit_code")),
                 1);
    json_decref(json);
    remove(path);
}

Test(compare, markdown_has_news_first_and_folds_the_rest)
{
    CompareCell cells[] = {cell_of("vanilla", 1, 30), cell_of("gau", 1.05, 60)};
    Comparison c = comparison_of(cells, 2);
    char *text = told(compare_markdown, &c);
    const char *gau = strstr(text, "gau layer"), *fold = strstr(text, "<details>"),
               *vanilla = strstr(text, "vanilla layer");
    cr_expect(gau != NULL && fold != NULL && vanilla != NULL && gau < fold && fold < vanilla, "%s",
              text);
    cr_expect(strstr(text, "REGRESSED") != NULL && strstr(text, "| slower") != NULL, "%s", text);
    free(text);
}

/* ---- journals ---- */
static void write_journal(const char *path, const char *run_id, double ratio, int64_t memory)
{
    Journal *j = NULL;
    Row run = sample_row(ROW_RUN), check = sample_row(ROW_CHECK), row = sample_row(ROW_CASE);
    Paired p = pairs_of(ratio, 60, 1);
    row.timing.n = 60;
    memcpy(row.timing.seconds, p.b, 60 * sizeof *p.b);
    row.timing.median = p.b[0];
    row.memory.counted = memory;
    memcpy(run.run, run_id, strlen(run_id) + 1);
    memcpy(check.run, run_id, strlen(run_id) + 1);
    memcpy(row.run, run_id, strlen(run_id) + 1);
    cr_assert_eq(journal_open(&j, path, true), ST_OK);
    cr_assert_eq(journal_append(j, &run), ST_OK);
    cr_assert_eq(journal_append(j, &check), ST_OK);
    cr_assert_eq(journal_append(j, &row), ST_OK);
    journal_close(j);
}

Test(compare, journals_decide_by_facts_and_by_pairs_of_one_run_alone)
{
    Place p = place();
    char a[64], b[64];
    snprintf(a, sizeof a, "%s/a.jsonl", p.folder);
    snprintf(b, sizeof b, "%s/b.jsonl", p.folder);
    Comparison c = {.n = 0};
    write_journal(a, "one", 1, 4096);
    write_journal(b, "two", 2, 4096);
    cr_assert_eq(compare_journals(a, b, &c), ST_OK, "%s", status_reason());
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_PASS);
    cr_expect(strstr(c.basis, "no pairs") != NULL);
    cr_expect_not(c.cell[0].timed);
    compare_free(&c);
    write_journal(b, "two", 1, 8192);
    cr_assert_eq(compare_journals(a, b, &c), ST_OK);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_REGRESSED);
    compare_free(&c);
    write_journal(b, "one", 2, 4096);
    cr_assert_eq(compare_journals(a, b, &c), ST_OK);
    cr_expect_eq(compare_tally(&c).exit_code, COMPARE_REGRESSED);
    cr_expect_eq(c.cell[0].finding, FINDING_SLOWER);
    cr_expect_eq(c.cell[0].first.n, 30); /* the first look is enough */
    compare_free(&c);
    leave(&p);
}

/* ---- the self-test's file ---- */
Test(selftest, comes_back_and_is_judged_by_its_bars)
{
    char path[] = "/tmp/selftest-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    Selftest s = {.date = "2026-01-01", .host = "a host", .n = 4}, back;
    s.cell[0] =
        (SelftestCell){.n = 400, .count = {[FINDING_SLOWER] = 4, [FINDING_EQUIVALENT] = 396}};
    s.cell[1] = (SelftestCell){
        .n = 400,
        .hog = true,
        .count = {[FINDING_SLOWER] = 3, [FINDING_FASTER] = 2, [FINDING_EQUIVALENT] = 395}};
    s.cell[2] = (SelftestCell){
        .n = 20, .effect = 0.05, .count = {[FINDING_SLOWER] = 18, [FINDING_INCONCLUSIVE] = 2}};
    s.cell[3] = (SelftestCell){.n = 20,
                               .effect = 0.10,
                               .hog = true,
                               .count = {[FINDING_SLOWER] = 18, [FINDING_ENVIRONMENT] = 2}};
    cr_assert_eq(selftest_write(&s, path), ST_OK);
    cr_assert_eq(selftest_read(path, &back), ST_OK, "%s", status_reason());
    cr_expect_eq(back.n, s.n);
    for (int i = 0; i < s.n; i++)
        cr_expect_arr_eq(back.cell[i].count, s.cell[i].count, sizeof s.cell[i].count);
    cr_expect_eq(selftest_bar(&back.cell[0]), BAR_MET);
    cr_expect_eq(selftest_bar(&back.cell[1]), BAR_MISSED);
    cr_expect_eq(selftest_bar(&back.cell[2]), BAR_MET);
    cr_expect_eq(selftest_bar(&back.cell[3]), BAR_MISSED);
    s.cell[0].n = 399;
    cr_expect_eq(selftest_bar(&s.cell[0]), BAR_NOT_TOLD);
    cr_assert_eq(selftest_write(&s, path), ST_OK); /* its counts are 400 */
    cr_expect_eq(selftest_read(path, &back), ST_USAGE);
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    selftest_section(f, &s);
    fclose(f);
    cr_expect(strstr(text, "| 5 % |") != NULL && strstr(text, "**missed**") != NULL, "%s", text);
    free(text);
    remove(path);
}
