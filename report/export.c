/* export.c - see export.h. */
#include "report/export.h"

#include "report/fields.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const export_format_names[EXPORT_FORMATS + 1] = {
    "csv", "google-benchmark", "github-smaller", "github-bigger", NULL};

static bool is_point(const Row *r)
{
    return r->kind == ROW_CASE || r->kind == ROW_TRAIN;
}

void export_name(const Row *r, char *out, size_t size)
{
    const Case *c = &r->c;
    size_t used = (size_t)snprintf(out, size, "%s/%s/%s/%s/%s", c->variant, level_names[c->level],
                                   pass_names[c->pass], impl_names[c->impl], c->backend);
    const struct {
        const char *name;
        int64_t value;
    } sizes[] = {
        {"n", c->n},           {"batch", c->batch},     {"width", c->width},    {"heads", c->heads},
        {"layers", c->layers}, {"segment", c->segment}, {"threads", c->threads}};
    for (int i = 0; i < COUNT(sizes) && used < size; i++)
        if (sizes[i].value > 0)
            used += (size_t)snprintf(out + used, size - used, "/%s:%" PRId64, sizes[i].name,
                                     sizes[i].value);
    if (used < size)
        snprintf(out + used, size - used, "%s%s%s%s", c->causal ? "" : "/bidirectional",
                 c->hot ? "/hot" : "", c->set[0] != '\0' ? "/" : "", c->set);
    for (char *p = out; *p != '\0'; p++)
        if (*p == ' ')
            *p = '/';
}

/* ---- CSV ---- */
static void put_cell(FILE *f, const char *text)
{
    bool quote = strpbrk(text, ",\"\n\r") != NULL;
    if (quote)
        fputc('"', f);
    for (; *text != '\0'; text++)
        fprintf(f, "%s%c", *text == '"' ? "\"" : "", *text);
    if (quote)
        fputc('"', f);
}

static bool in_csv(const Field *f, bool top)
{
    bool array = f->type == FIELD_REALS || f->type == FIELD_OBJECTS;
    return !array && (!top || field_in(f, ROW_CASE) || field_in(f, ROW_TRAIN));
}

/* The names of a struct's columns, objects as "timing.median". */
static void put_names(FILE *f, const Field *fields, const char *prefix, bool top, int *n)
{
    for (const Field *x = fields; x->name != NULL; x++) {
        char name[96];
        if (!in_csv(x, top))
            continue;
        snprintf(name, sizeof name, "%.40s%.40s", prefix, x->name);
        if (x->type == FIELD_OBJECT) {
            snprintf(name + strlen(name), 2, ".");
            put_names(f, x->fields, name, false, n);
        } else {
            fprintf(f, "%s%s", (*n)++ > 0 ? "," : "", name);
        }
    }
}

static void put_values(FILE *f, const Field *fields, const void *base, const Row *row, bool top,
                       int *n)
{
    for (const Field *x = fields; x->name != NULL; x++) {
        char text[ROW_KEY_SIZE] = "";
        if (!in_csv(x, top))
            continue;
        if (x->type == FIELD_OBJECT) {
            put_values(f, x->fields, field_at(x, base), row, false, n);
            continue;
        }
        if (!top || field_in(x, row->kind))
            field_text(x, base, text, sizeof text);
        if (strcmp(text, "nan") == 0 || strcmp(text, "-nan") == 0)
            text[0] = '\0';
        fprintf(f, "%s", (*n)++ > 0 ? "," : "");
        put_cell(f, text);
    }
}

static void export_csv(FILE *f, const Rows *rows)
{
    int n = 0;
    put_names(f, row_fields, "", true, &n);
    fprintf(f, "\r\n");
    for (int i = 0; i < rows->n; i++) {
        if (!is_point(&rows->row[i]))
            continue;
        n = 0;
        put_values(f, row_fields, &rows->row[i], &rows->row[i], true, &n);
        fprintf(f, "\r\n");
    }
}

/* ---- google-benchmark ---- */

/* Processor time is not measured apart: both times are that of the wall clock. */
static json_t *google_entry(const Row *r, const char *name, double seconds)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:I, s:f, s:f, s:s, s:f, s:f}", "name", name,
                     "run_name", name, "family_index", 0, "per_family_instance_index", 0,
                     "repetitions", r->timing.n, "iterations", (json_int_t)r->timing.inner,
                     "real_time", 1e9 * seconds, "cpu_time", 1e9 * seconds, "time_unit", "ns",
                     "items_per_second", (double)r->tokens / seconds, "peak_memory",
                     (double)r->memory.counted);
}

static void google_aggregate(json_t *list, const Row *r, const char *name, const char *which,
                             double seconds)
{
    char full[512];
    json_t *entry = google_entry(r, name, seconds);
    snprintf(full, sizeof full, "%.400s_%s", name, which);
    json_object_set_new(entry, "name", json_string(full));
    json_object_set_new(entry, "run_type", json_string("aggregate"));
    json_object_set_new(entry, "aggregate_name", json_string(which));
    json_object_set_new(entry, "aggregate_unit", json_string("time"));
    json_array_append_new(list, entry);
}

static void google_case(json_t *list, const Row *r)
{
    char name[400];
    double mean = 0, square = 0;
    const Timing *t = &r->timing;
    export_name(r, name, sizeof name);
    for (int i = 0; i < t->n; i++) {
        json_t *entry = google_entry(r, name, t->seconds[i]);
        json_object_set_new(entry, "run_type", json_string("iteration"));
        json_object_set_new(entry, "repetition_index", json_integer(i));
        json_object_set_new(entry, "threads", json_integer(r->c.threads));
        json_array_append_new(list, entry);
        mean += t->seconds[i] / t->n;
    }
    for (int i = 0; i < t->n; i++)
        square += (t->seconds[i] - mean) * (t->seconds[i] - mean);
    google_aggregate(list, r, name, "mean", mean);
    google_aggregate(list, r, name, "median", t->median);
    if (t->n > 1)
        google_aggregate(list, r, name, "stddev", sqrt(square / (t->n - 1)));
}

static json_t *google_json(const Rows *rows)
{
    const Row *run = rows_run(rows);
    json_t *list = json_array();
    for (int i = 0; i < rows->n; i++)
        if (rows->row[i].kind == ROW_CASE && rows->row[i].status == ROW_OK)
            google_case(list, &rows->row[i]);
    json_t *context =
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:b, s:[], s:s, s:s}", "date", run->date, "host_name",
                  run->host_cpu, "executable", "longmix", "num_cpus", run->n_cores, "mhz_per_cpu",
                  0, "cpu_scaling_enabled", false, "caches", "library_build_type", "release",
                  "longmix_commit", run->commit);
    return json_pack("{s:o, s:o}", "context", context, "benchmarks", list);
}

/* ---- github-action-benchmark ---- */
static void github_entry(json_t *list, const Row *r, const char *what, const char *unit,
                         double value, double range)
{
    char name[512], text[400], extra[256];
    export_name(r, text, sizeof text);
    snprintf(name, sizeof name, "%s %s", text, what);
    json_t *entry = json_pack("{s:s, s:s, s:f}", "name", name, "unit", unit, "value", value);
    if (range > 0) {
        snprintf(extra, sizeof extra, "± %.4g", range);
        json_object_set_new(entry, "range", json_string(extra));
        snprintf(extra, sizeof extra, "%d samples of %d steps, 99 %% interval %.6g to %.6g s",
                 r->timing.n, r->timing.inner, r->timing.ci_lo, r->timing.ci_hi);
        json_object_set_new(entry, "extra", json_string(extra));
    }
    json_array_append_new(list, entry);
}

static void github_smaller(json_t *list, const Row *r)
{
    if (r->kind == ROW_TRAIN) {
        github_entry(list, r, "bits per byte", "bits/byte", r->test_bpb, 0);
        return;
    }
    double half = (r->timing.ci_hi - r->timing.ci_lo) / 2;
    github_entry(list, r, "time", "us/step", 1e6 * r->timing.median, 1e6 * half);
    github_entry(list, r, "peak memory", "bytes", (double)r->memory.counted, 0);
}

static void github_bigger(json_t *list, const Row *r)
{
    double rate = (double)r->tokens / r->timing.median;
    double half = ((double)r->tokens / r->timing.ci_lo - (double)r->tokens / r->timing.ci_hi) / 2;
    if (r->kind == ROW_CASE)
        github_entry(list, r, "speed", "tokens/s", rate, half);
}

static json_t *github_json(const Rows *rows, bool bigger)
{
    json_t *list = json_array();
    for (int i = 0; i < rows->n; i++)
        if (is_point(&rows->row[i]) && rows->row[i].status == ROW_OK)
            (bigger ? github_bigger : github_smaller)(list, &rows->row[i]);
    return list;
}

/* ---- all ---- */
Status export_rows(FILE *f, const Rows *rows, ExportFormat format)
{
    if (format == EXPORT_CSV) {
        export_csv(f, rows);
        return ferror(f) == 0 ? ST_OK : FAIL(ST_IO, "the export cannot be written");
    }
    json_t *json = format == EXPORT_GOOGLE ? google_json(rows)
                                           : github_json(rows, format == EXPORT_GITHUB_BIGGER);
    if (json == NULL)
        return FAIL(ST_OOM, "no memory for the export");
    bool fine = json_dumpf(json, f, JSON_INDENT(2)) == 0 && fputc('\n', f) != EOF;
    json_decref(json);
    return fine ? ST_OK : FAIL(ST_IO, "the export cannot be written");
}
