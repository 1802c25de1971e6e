/* test_report.c - which rows a report is made from, and RESULTS.md with its plots. */
#include "report/results.h"

#include "report/files.h"
#include "report/format.h"
#include "report/plots.h"
#include "report/series.h"
#include "report/validate.h"
#include "tests/fixtures/place.h"
#include "tests/fixtures/sweep.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VARIANTS = 5, LONGEST = 1 << 20 };

static char *text_of(const char *path)
{
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    char *text = calloc(1, 1 << 20);
    cr_assert(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

static bool has_gnuplot(void)
{
    return system("gnuplot -V > /dev/null 2>&1") == 0;
}

Test(files, paths_between_folders)
{
    Place p = place();
    char way[256], deep[96];
    cr_assert_eq(folder_make(p.plots), ST_OK, "%s", status_reason());
    cr_expect_eq(path_between(p.folder, p.plots, way, sizeof way), ST_OK);
    cr_expect_str_eq(way, "data/plots");
    cr_expect_eq(path_between(p.plots, p.folder, way, sizeof way), ST_OK);
    cr_expect_str_eq(way, "../..");
    snprintf(deep, sizeof deep, "%s/data/other", p.folder);
    cr_assert_eq(folder_make(deep), ST_OK);
    cr_expect_eq(path_between(deep, p.plots, way, sizeof way), ST_OK);
    cr_expect_str_eq(way, "../plots");
    cr_expect_eq(path_between(deep, deep, way, sizeof way), ST_OK);
    cr_expect_str_eq(way, ".");
    cr_expect_eq(path_between(deep, "/no/such", way, sizeof way), ST_IO);
    leave(&p);
}

/* ---- which rows a report is made from ---- */

Test(rows, newest_build_machine_and_row_count)
{
    Place p = place();
    sweep_write(p.journal, "run-1", "old", 2, 4096);
    sweep_write(p.journal, "run-2", "new", 2, 4096);
    Rows once, twice;
    cr_assert_eq(rows_load(p.journal, &once), ST_OK, "%s", status_reason());
    cr_expect_eq(once.n_older, once.n);
    cr_expect(once.finished && once.n_replaced == 0);
    sweep_write(p.journal, "run-3", "new", 2, 4096);
    cr_assert_eq(rows_load(p.journal, &twice), ST_OK);
    cr_expect_eq(twice.n, once.n);
    cr_expect_str_eq(rows_run(&twice)->run, "run-3");
    cr_expect(twice.n_replaced >= 10);

    Journal *j = NULL;
    Row run = sample_row(ROW_RUN);
    snprintf(run.build, sizeof run.build, "new");
    run.n_cores = 64;
    cr_assert_eq(journal_open(&j, p.journal, false), ST_OK);
    cr_assert_eq(journal_append(j, &run), ST_OK);
    journal_close(j);
    rows_free(&twice);
    cr_assert_eq(rows_load(p.journal, &twice), ST_OK);
    cr_expect_eq(twice.n, 1, "another machine has measured nothing yet");
    cr_expect(!twice.finished && twice.n_elsewhere > 0);
    rows_free(&once);
    rows_free(&twice);
    leave(&p);
}

Test(rows, a_journal_without_a_run_is_refused)
{
    Place p = place();
    Journal *j = NULL;
    Row r = sample_row(ROW_END);
    cr_assert_eq(journal_open(&j, p.journal, false), ST_OK);
    journal_append(j, &r);
    journal_close(j);
    cr_expect_eq(report_make(p.journal, p.md, p.plots, NULL), ST_USAGE);
    cr_expect(strstr(status_reason(), "no row of kind 'run'") != NULL);
    cr_expect_eq(report_make("/no/such/journal", p.md, p.plots, NULL), ST_IO);
    leave(&p);
}

Test(series, labels_tell_series_apart)
{
    Row row[4];
    for (int i = 0; i < 4; i++) {
        row[i] = sample_row(ROW_CASE);
        row[i].c.n = 512 << i;
    }
    row[2].c.width = 512;
    row[3].c.causal = false;
    Rows rows = {.row = row, .n = 4};
    SeriesSet set;
    cr_assert_eq(series_of_cases(&rows, LEVEL_LAYER, PASS_FWD, &set), ST_OK);
    cr_assert_eq(set.n, 3);
    cr_expect_str_eq(set.item[0].label, "gau (width 256, bidirectional)");
    cr_expect_str_eq(set.item[1].label, "gau (width 256, causal)");
    cr_expect_str_eq(set.item[2].label, "gau (width 512, causal)");
    cr_expect_eq(set.item[1].n, 2);
    series_free(&set);
    row[1].c = row[0].c;
    row[1].c.batch = 16;
    rows.n = 2;
    cr_assert_eq(series_of_cases(&rows, LEVEL_LAYER, PASS_FWD, &set), ST_OK);
    cr_assert_eq(set.n, 2, "two rows of one length are two series");
    cr_expect_str_eq(set.item[1].label, "gau (batch 16)");
    series_free(&set);
}

/* ---- RESULTS.md ---- */

static void expect_words(const char *text, const char *const *words, int n)
{
    for (int i = 0; i < n; i++)
        cr_expect(strstr(text, words[i]) != NULL, "no '%s'", words[i]);
}

Test(results, page_has_what_it_must, .timeout = 60)
{
    static const char *const words[] = {
        "CPU: Sample CPU 9000",
        "longmix bench --profile \"quick\"",
        "The CUDA backend was not used: no NVIDIA driver (libcuda.so.1 not found)",
        "run on a GPU: nothing here",
        "| vanilla (naive) |",
        "| lsh | 197k |",
        "oom at 16k",
        "T^0.9",
        "faster than vanilla (tiled)",
        "not within the sweep",
        "at all lengths compared, 512 to 64k",
        "| flash_linear | from 1.1k (",
        "**One seed, one learning rate: not a claim.**",
        "byte perplexity",
        "SGEMM, OpenBLAS (Haswell) | 130 GFLOP/s",
        "| lsh | check of decode | failed_check | 97 | 1 | decode differs from one pass by 0.25 |",
        "| lsh | layer, train | unsupported | 512 to 128k | 9 |",
        "malloc of 4.1 GiB failed \\| limit 6 GiB",
        "## What the words mean",
    };
    Place p = place();
    sweep_write(p.journal, "run-1", "0011", VARIANTS, LONGEST);
    bool good = false;
    cr_expect_eq(report_validate(p.journal, stderr, &good), ST_OK);
    cr_expect(good);
    cr_assert_eq(report_make(p.journal, p.md, p.plots, NULL), ST_OK, "%s", status_reason());
    char *text = text_of(p.md);
    expect_words(text, words, COUNT(words));
    if (has_gnuplot())
        cr_expect(strstr(text, "](data/plots/time-per-token.svg)") != NULL);
    for (const char *line = text; line != NULL; line = strchr(line + 1, '\n')) {
        int bars = 0;
        for (const char *c = line + 1; *c != '\n' && *c != '\0'; c++)
            bars += *c == '|' && c[-1] != '\\';
        cr_expect(bars <= 11, "a table of %d columns: %.60s", bars - 1, line);
    }
    free(text);
    leave(&p);
}

/* Every status of a row that gave no number comes with its reason. */
Test(results, every_status_is_told, .timeout = 60)
{
    Place p = place();
    Row rows[ROW_STATUSES];
    for (RowStatus s = ROW_OK; s < ROW_STATUSES; s++) {
        rows[s] = sample_row(ROW_CASE);
        rows[s].c.n = 512 << s;
        if (s != ROW_OK)
            set_failure(&rows[s], s, "because of *this* and <that> | those");
    }
    small_journal(&p, rows, ROW_STATUSES);
    cr_assert_eq(report_make(p.journal, p.md, p.plots, NULL), ST_OK, "%s", status_reason());
    char *text = text_of(p.md), line[128];
    for (RowStatus s = ROW_OOM; s < ROW_STATUSES; s++) {
        snprintf(line, sizeof line,
                 "| gau | layer, fwd | %s | %s | 1 | because of \\*this\\* and "
                 "&lt;that> \\| those |",
                 row_status_names[s], text_length(512 << s).s);
        cr_expect(strstr(text, line) != NULL, "no %s", line);
    }
    cr_expect(strstr(text, "has not come to its end") != NULL);
    free(text);
    leave(&p);
}

static void expect_same_file(const Place *a, const char *file_a, const char *file_b)
{
    char command[256];
    snprintf(command, sizeof command, "cmp %s %s/%s", file_a, a->folder, file_b);
    cr_expect_eq(system(command), 0, "%s", command);
}

Test(results, same_rows_give_the_same_bytes, .timeout = 60)
{
    Place p = place();
    char first[96], plots[96];
    sweep_write(p.journal, "run-1", "0011", VARIANTS, 1 << 17);
    cr_assert_eq(report_make(p.journal, p.md, p.plots, NULL), ST_OK, "%s", status_reason());
    snprintf(first, sizeof first, "%s/first.md", p.folder);
    rename(p.md, first);
    snprintf(plots, sizeof plots, "%s/first", p.folder);
    rename(p.plots, plots);
    cr_assert_eq(report_make(p.journal, p.md, p.plots, NULL), ST_OK, "%s", status_reason());
    expect_same_file(&p, first, "RESULTS.md");
    char command[256];
    snprintf(command, sizeof command, "diff -r %s %s", plots, p.plots);
    cr_expect_eq(system(command), 0);
    leave(&p);
}

Test(results, without_gnuplot_there_are_tables)
{
    Place p = place();
    struct stat s;
    char script[96];
    sweep_write(p.journal, "run-1", "0011", 2, 4096);
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "/nowhere", 1);
    cr_assert_eq(report_make(p.journal, p.md, p.plots, NULL), ST_OK, "%s", status_reason());
    setenv("PATH", path, 1);
    char *text = text_of(p.md);
    cr_expect(strstr(text, "There are no plots: gnuplot is not installed; `apt-get install "
                           "gnuplot-nox` brings it") != NULL);
    cr_expect(strstr(text, "![") == NULL);
    cr_expect(strstr(text, "| vanilla (tiled) |") != NULL);
    snprintf(script, sizeof script, "%s/memory.gp", p.plots);
    cr_expect_eq(stat(script, &s), 0);
    free(text);
    free(path);
    leave(&p);
}

Test(plots, all_are_drawn_and_those_without_rows_are_named, .timeout = 60)
{
    if (!has_gnuplot())
        cr_skip_test("needs gnuplot");
    Place p = place();
    Rows rows;
    PlotNotes notes;
    struct stat s;
    sweep_write(p.journal, "run-1", "0011", VARIANTS, 1 << 16);
    cr_assert_eq(rows_load(p.journal, &rows), ST_OK);
    cr_assert_eq(plots_make(&rows, p.plots, &notes), ST_OK, "%s", status_reason());
    int drawn = 0;
    for (int i = 0; i < notes.n; i++) {
        char svg[128];
        snprintf(svg, sizeof svg, "%s/%s.svg", p.plots, notes.note[i].name);
        bool there = stat(svg, &s) == 0 && s.st_size > 5000;
        cr_expect_eq(there, notes.note[i].drawn, "%s", svg);
        cr_expect_eq(there, notes.note[i].why[0] == '\0');
        drawn += there;
    }
    cr_expect_eq(drawn, 8);
    rows_free(&rows);
    leave(&p);
}

static int count(const char *text, const char *word)
{
    int n = 0;
    for (const char *p = strstr(text, word); p != NULL; p = strstr(p + 1, word))
        n++;
    return n;
}

/* More lines than one panel bears: a panel a family, and vanilla's line in each of them. */
Test(plots, many_lines_become_small_multiples)
{
    Place p = place();
    char script[128];
    sweep_write(p.journal, "run-1", "0011", COUNT(behaviours), 1 << 16);
    cr_assert_eq(report_make(p.journal, p.md, p.plots, NULL), ST_OK, "%s", status_reason());
    snprintf(script, sizeof script, "%s/time-per-token.gp", p.plots);
    char *text = text_of(script);
    cr_expect_eq(count(text, "set multiplot layout 2,3"), 1);
    cr_expect_eq(count(text, "title 'vanilla (tiled)'"), 6);
    cr_expect_eq(count(text, "title 'primer_ez'"), 1);
    free(text);
    leave(&p);
}

/* A journal is data: nothing in it is run by gnuplot. */
Test(plots, a_hostile_journal_runs_nothing, .timeout = 60)
{
    static const char *const names[] = {
        "x';system('touch pwned');#",
        "`touch pwned`",
        "a\n!touch pwned\n",
        "EOD\nset print",
    };
    Place p = place();
    Row rows[2 * COUNT(names)];
    for (int i = 0; i < COUNT(names); i++) {
        Row r = sample_row(ROW_CHECK), *pair = &rows[2 * i];
        snprintf(r.c.variant, sizeof r.c.variant, "%s", names[i]);
        pair[0] = r;
        pair[1] = sample_row(ROW_CASE);
        pair[1].c = r.c;
        snprintf(pair[1].c.set, sizeof pair[1].c.set, "%s", names[i]);
    }
    small_journal(&p, rows, COUNT(rows));
    cr_expect_eq(report_make(p.journal, p.md, p.plots, NULL), ST_OK, "%s", status_reason());
    char pwned[96];
    snprintf(pwned, sizeof pwned, "%s/pwned", p.plots);
    cr_expect_neq(access(pwned, F_OK), 0);
    leave(&p);
}

/* ---- leaks ---- */
Test(report, what_choices_see_of_the_future, .timeout = 60)
{
    Place p = place();
    Row rows[4];
    for (int i = 0; i < COUNT(rows); i++)
        rows[i] = sample_row(ROW_CHECK);
    snprintf(rows[0].c.variant, sizeof rows[0].c.variant, "lsh");
    rows[1] = rows[0]; /* with other options, more of them */
    snprintf(rows[1].c.set, sizeof rows[1].c.set, "n_hashes=1");
    rows[1].leak = (Leak){.rows = 77, .of = 200, .largest = 0.5, .held = 0};
    rows[2].leak = (Leak){0}; /* gau has no choices */
    snprintf(rows[3].c.variant, sizeof rows[3].c.variant, "scaling");
    rows[3].leak = (Leak){.of = 200};
    small_journal(&p, rows, COUNT(rows));
    cr_assert_eq(report_make(p.journal, p.md, p.plots, NULL), ST_OK, "%s", status_reason());
    char *text = text_of(p.md);
    const char *at = strstr(text, "## What choices see of the future");
    cr_assert_not_null(at);
    cr_expect(strstr(at, "| lsh | 77 of 200 | 0.5 | 0 |") != NULL, "%s", at);
    cr_expect(strstr(at, "| scaling | 0 of 200 | 0 | 0 |") != NULL, "%s", at);
    cr_expect(strstr(at, "| gau | ") == NULL || strstr(at, "| gau | ") > strstr(at + 1, "## "));
    free(text);
    leave(&p);
}

/* ---- kernels ---- */
Test(report, kernels_stand_against_their_bars)
{
    Place p = place();
    char *text = NULL;
    size_t size = 0;
    Row rows[] = {sample_kernel("norm", PASS_FWD, 0.6, 0.7),
                  sample_kernel("attention", PASS_BWD, 0.8, 0.7),
                  sample_kernel("gemm", PASS_FWD, 0.9, 0)};
    rows[0].roof = ROOF_BANDWIDTH;
    small_journal(&p, rows, COUNT(rows));
    FILE *f = open_memstream(&text, &size);
    cr_assert_eq(report_kernels(p.journal, true, f), ST_OK, "%s", status_reason());
    fclose(f);
    const char *above = strstr(text, "| attention bwd"), *none = strstr(text, "| gemm fwd"),
               *below = strstr(text, "| norm fwd");
    cr_assert(above != NULL && none != NULL && below != NULL, "%s", text);
    cr_expect(above < none && none < below, "%s", text);
    cr_expect(strstr(text, "1 of 2 bars hold") != NULL, "%s", text);
    cr_expect(strstr(below, "GiB/s | bandwidth |    0.600") != NULL, "%s", below);
    cr_expect(strstr(below, "**below**") != NULL && strstr(above, "holds") < none, "%s", text);
    cr_expect(strstr(none, "holds") == NULL, "%s", none);
    free(text);
    text = NULL;
    small_journal(&p, rows, 0);
    f = open_memstream(&text, &size);
    cr_expect_eq(report_kernels(p.journal, true, f), ST_OK);
    fclose(f);
    cr_expect_str_eq(text, "");
    free(text);
    leave(&p);
}

Test(report, ops_have_shares_of_the_step)
{
    Place p = place();
    char *text = NULL;
    size_t size = 0;
    Row row = sample_row(ROW_OPS);
    small_journal(&p, &row, 1);
    FILE *f = open_memstream(&text, &size);
    cr_assert_eq(report_kernels(p.journal, true, f), ST_OK, "%s", status_reason());
    fclose(f);
    cr_expect(strstr(text, "| linear bwd           |    13 |     750 ms |  75.0 %") != NULL, "%s",
              text);
    cr_expect(strstr(text, "tape 25.0 %") != NULL && strstr(text, "13 ops") != NULL, "%s", text);
    cr_expect(strstr(text, "9 blocks, 3 of all steps from the system") != NULL, "%s", text);
    free(text);
    leave(&p);
}

Test(report, peers_have_ratios)
{
    Place p = place();
    char *text = NULL;
    size_t size = 0;
    Row rows[3] = {sample_row(ROW_PEER), sample_row(ROW_PEER), sample_row(ROW_PEER)};
    rows[1].c.n *= 2;
    rows[1].bar = 1.7;
    rows[2].c.n *= 4;
    rows[2].ratio = rows[2].ratio_hi = 0.9;
    rows[2].ratio_lo = 0.8;
    small_journal(&p, rows, COUNT(rows));
    FILE *f = open_memstream(&text, &size);
    cr_assert_eq(report_kernels(p.journal, true, f), ST_OK, "%s", status_reason());
    fclose(f);
    cr_expect(strstr(text, "## Beside torch 1.13.0") != NULL, "%s", text);
    cr_expect(strstr(text, "|     200 ms |     300 ms |   1.50 | 1.45 to 1.60   |  1.2 | ahead") !=
                  NULL,
              "%s", text);
    cr_expect(strstr(text, "**below**") != NULL && strstr(text, "**behind**") != NULL, "%s", text);
    free(text);
    leave(&p);
}
