/* test_export.c - a journal in the formats of others, read back by what those formats say. */
#include "report/export.h"

#include "tests/fixtures/place.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Rows sample_rows(const Place *p)
{
    Row cases[3] = {sample_row(ROW_CASE), sample_row(ROW_CASE), sample_row(ROW_TRAIN)};
    Rows rows;
    cases[0].c.n = 512;
    snprintf(cases[0].c.set, sizeof cases[0].c.set, "chunk=64 s=8");
    cases[1].c.n = 1024;
    cases[1].status = ROW_OOM;
    snprintf(cases[1].reason, sizeof cases[1].reason, "no room for \"this\", or\nthat");
    small_journal(p, cases, COUNT(cases));
    cr_assert_eq(rows_load(p->journal, &rows), ST_OK, "%s", status_reason());
    return rows;
}

static char *exported(const Rows *rows, ExportFormat format)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    cr_assert_not_null(f);
    cr_assert_eq(export_rows(f, rows, format), ST_OK);
    fclose(f);
    return text;
}

static json_t *exported_json(const Rows *rows, ExportFormat format)
{
    json_error_t error;
    char *text = exported(rows, format);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(json, "%s", error.text);
    free(text);
    return json;
}

/* Fields of a record by RFC 4180; *at moves behind it. */
static int read_record(const char **at, char field[128][320])
{
    int n = 0;
    size_t len = 0;
    bool quoted = false;
    for (;; ++*at) {
        char c = **at;
        cr_assert_neq(c, '\0');
        cr_assert(n < 128 && len < 319);
        if (c == '"' && quoted && (*at)[1] == '"')
            field[n][len++] = *(++*at);
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == ',' || c == '\r')) {
            field[n++][len] = '\0';
            len = 0;
        } else if (!quoted && c == '\n')
            break;
        else
            field[n][len++] = c;
    }
    ++*at;
    return n;
}

static int column(char names[128][320], int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    cr_assert(false, "no column %s", name);
    return -1;
}

Test(export, csv_has_a_line_for_each_point_and_quotes_what_must_be)
{
    static char names[128][320], v[128][320];
    Place p = place();
    Rows rows = sample_rows(&p);
    char *text = exported(&rows, EXPORT_CSV);
    const char *at = text;
    int n = read_record(&at, names), lines = 0;
    for (; *at != '\0'; lines++) {
        cr_expect_eq(read_record(&at, v), n);
        if (lines == 0) {
            cr_expect_str_eq(v[column(names, n, "case.n")], "512");
            cr_expect_str_eq(v[column(names, n, "case.set")], "chunk=64 s=8");
            double median = strtod(v[column(names, n, "timing.median")], NULL);
            cr_expect_float_eq(median, sample_row(ROW_CASE).timing.median, 1e-15);
        }
        if (lines == 1) {
            cr_expect_str_eq(v[column(names, n, "status")], "oom");
            cr_expect_str_eq(v[column(names, n, "reason")], "no room for \"this\", or\nthat");
        }
        if (lines == 2)
            cr_expect_str_eq(v[column(names, n, "kind")], "train");
    }
    cr_expect_eq(lines, 3);
    free(text);
    rows_free(&rows);
    leave(&p);
}

/* What compare.py of google-benchmark reads of an entry. */
Test(export, google_benchmark_has_repetitions_and_aggregates)
{
    Place p = place();
    Rows rows = sample_rows(&p);
    json_t *json = exported_json(&rows, EXPORT_GOOGLE), *entry;
    json_t *list = json_object_get(json, "benchmarks");
    Timing t = sample_row(ROW_CASE).timing;
    size_t i;
    int repetitions = 0, medians = 0;
    cr_expect(json_is_object(json_object_get(json, "context")));
    cr_expect(json_is_integer(json_object_get(json_object_get(json, "context"), "num_cpus")));
    json_array_foreach(list, i, entry)
    {
        const char *type = json_string_value(json_object_get(entry, "run_type"));
        const char *name = json_string_value(json_object_get(entry, "name"));
        double time = json_number_value(json_object_get(entry, "real_time"));
        cr_expect(json_is_real(json_object_get(entry, "cpu_time")));
        cr_expect_str_eq(json_string_value(json_object_get(entry, "time_unit")), "ns");
        cr_expect(json_is_integer(json_object_get(entry, "iterations")));
        cr_assert(type != NULL && name != NULL && strstr(name, "/n:512/") != NULL);
        cr_expect(strstr(name, "/chunk=64/s=8") != NULL, "%s", name);
        if (strcmp(type, "iteration") == 0) {
            cr_expect_float_eq(time, 1e9 * t.seconds[repetitions], 1e-3);
            repetitions++;
        } else if (strcmp(json_string_value(json_object_get(entry, "aggregate_name")), "median") ==
                   0) {
            cr_expect_float_eq(time, 1e9 * t.median, 1e-3);
            cr_expect(strstr(name, "_median") != NULL);
            medians++;
        }
    }
    cr_expect_eq(repetitions, t.n);
    cr_expect_eq(medians, 1);
    json_decref(json);
    rows_free(&rows);
    leave(&p);
}

/* github-action-benchmark: an array of name (unique), unit, value, and maybe range and extra. */
static void expect_github(const Rows *rows, ExportFormat format, size_t n,
                          const char *const units[])
{
    json_t *list = exported_json(rows, format), *entry;
    size_t i;
    cr_assert(json_is_array(list));
    cr_expect_eq(json_array_size(list), n, "%zu entries", json_array_size(list));
    json_array_foreach(list, i, entry)
    {
        const char *name, *unit = json_string_value(json_object_get(entry, "unit")), *member;
        json_t *value;
        cr_expect_not_null(json_string_value(json_object_get(entry, "name")));
        cr_expect_str_eq(unit, units[i]);
        cr_expect_gt(json_number_value(json_object_get(entry, "value")), 0);
        name = json_string_value(json_object_get(entry, "name"));
        for (size_t k = 0; k < i; k++)
            cr_expect_str_neq(name,
                              json_string_value(json_object_get(json_array_get(list, k), "name")));
        json_object_foreach(entry, member, value)
        {
            cr_expect(strstr("name unit value range extra", member) != NULL, "%s", member);
            if (strcmp(member, "value") != 0)
                cr_expect(json_is_string(value), "%s is no text", member);
        }
    }
    json_decref(list);
}

Test(export, github_action_benchmark_takes_it)
{
    Place p = place();
    Rows rows = sample_rows(&p);
    expect_github(&rows, EXPORT_GITHUB_SMALLER, 3,
                  (const char *const[]){"us/step", "bytes", "bits/byte"});
    expect_github(&rows, EXPORT_GITHUB_BIGGER, 1, (const char *const[]){"tokens/s"});
    rows_free(&rows);
    leave(&p);
}
