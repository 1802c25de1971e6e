/* selftest.c - see selftest.h. */
#include "report/selftest.h"

#include "report/files.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>

/* ---- the file ---- */
static json_t *cell_json(const SelftestCell *c)
{
    json_t *counts = json_object();
    for (int i = 0; i < FINDINGS; i++)
        json_object_set_new(counts, finding_names[i], json_integer(c->count[i]));
    return json_pack("{s:f, s:b, s:i, s:o, s:i, s:f, s:f}", "effect", c->effect, "hog", c->hog,
                     "comparisons", c->n, "findings", counts, "unconfirmed", c->unconfirmed,
                     "pairs", c->pairs, "seconds", c->seconds);
}

static json_t *selftest_json(const Selftest *s)
{
    json_t *cells = json_array();
    for (int i = 0; i < s->n; i++)
        json_array_append_new(cells, cell_json(&s->cell[i]));
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "selftest", SELFTEST_SCHEMA,
                     "date", s->date, "host", s->host, "commit", s->commit, "build", s->build,
                     "command", s->command, "what", s->what, "cells", cells);
}

Status selftest_write(const Selftest *s, const char *path)
{
    char folder[PATH_MAX];
    folder_of(path, folder, sizeof folder);
    TRY(folder_make(folder));
    json_t *object = selftest_json(s);
    if (object == NULL)
        return FAIL(ST_OOM, "no memory for the results of the self-test");
    bool fine = json_dump_file(object, path, JSON_INDENT(1)) == 0;
    json_decref(object);
    return fine ? ST_OK : FAIL(ST_IO, "%s: cannot be written: %s", path, strerror(errno));
}

static bool text_from(const json_t *object, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));
    snprintf(out, size, "%s", text != NULL ? text : "");
    return text != NULL;
}

static bool count_from(const json_t *object, const char *name, int *out)
{
    const json_t *value = json_object_get(object, name);
    json_int_t x = json_integer_value(value);
    *out = x >= 0 && x <= 1000000 ? (int)x : -1;
    return json_is_integer(value) && *out >= 0;
}

static bool number_from(const json_t *object, const char *name, double *out)
{
    *out = json_number_value(json_object_get(object, name));
    return json_is_number(json_object_get(object, name));
}

static bool cell_from(const json_t *object, SelftestCell *c)
{
    const json_t *counts = json_object_get(object, "findings");
    int sum = 0;
    bool fine =
        number_from(object, "effect", &c->effect) && count_from(object, "comparisons", &c->n) &&
        count_from(object, "unconfirmed", &c->unconfirmed) &&
        number_from(object, "pairs", &c->pairs) && number_from(object, "seconds", &c->seconds) &&
        json_is_boolean(json_object_get(object, "hog"));
    c->hog = json_is_true(json_object_get(object, "hog"));
    for (int i = 0; i < FINDINGS && fine; i++) {
        fine = count_from(counts, finding_names[i], &c->count[i]);
        sum += c->count[i];
    }
    return fine && sum == c->n && c->unconfirmed <= c->n;
}

static bool selftest_from(const json_t *object, Selftest *s)
{
    const json_t *cells = json_object_get(object, "cells");
    bool fine = json_integer_value(json_object_get(object, "selftest")) == SELFTEST_SCHEMA &&
                text_from(object, "date", s->date, sizeof s->date) &&
                text_from(object, "host", s->host, sizeof s->host) &&
                text_from(object, "commit", s->commit, sizeof s->commit) &&
                text_from(object, "build", s->build, sizeof s->build) &&
                text_from(object, "command", s->command, sizeof s->command) &&
                text_from(object, "what", s->what, sizeof s->what) &&
                json_array_size(cells) <= SELFTEST_MAX;
    s->n = fine ? (int)json_array_size(cells) : 0;
    for (int i = 0; i < s->n && fine; i++)
        fine = cell_from(json_array_get(cells, (size_t)i), &s->cell[i]);
    return fine;
}

Status selftest_read(const char *path, Selftest *out)
{
    json_error_t error;
    *out = (Selftest){.n = 0};
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL)
        return FAIL(ST_USAGE, "%s: %.160s", path, error.text);
    bool fine = selftest_from(object, out);
    json_decref(object);
    return fine ? ST_OK
                : FAIL(ST_USAGE, "%s: does not hold the results of a self-test, schema %d", path,
                       SELFTEST_SCHEMA);
}

/* ---- the table ---- */
Bar selftest_bar(const SelftestCell *c)
{
    int slower = c->count[FINDING_SLOWER], alarms = slower + c->count[FINDING_FASTER];
    bool told = c->effect == 0 ? c->n >= 400 : c->n >= 20;
    if (!told || (c->effect > 0 && c->effect < 0.05) ||
        (c->effect < 0.1 && c->effect > 0 && c->hog))
        return BAR_NOT_TOLD;
    if (c->effect == 0)
        return alarms * 100 <= c->n ? BAR_MET : BAR_MISSED;
    return slower * 100 >= (c->effect < 0.1 ? 90 : 95) * c->n ? BAR_MET : BAR_MISSED;
}

static void put_rate(FILE *f, int k, int n)
{
    Rate r = paired_rate(k, n, 0.95);
    fprintf(f, " %d of %d: %.3g %% (%.3g to %.3g) |", k, n, n > 0 ? 100.0 * k / n : 0.0, 100 * r.lo,
            100 * r.hi);
}

static void put_bar(FILE *f, const SelftestCell *c)
{
    static const char *const words[] = {"met", "**missed**", ""};
    const char *bar = c->effect == 0    ? "at most 1 % differ: "
                      : c->effect < 0.1 ? "at least 90 % slower: "
                                        : "at least 95 % slower: ";
    Bar met = selftest_bar(c);
    fprintf(f, " %s%s |\n", met == BAR_NOT_TOLD ? "" : bar, words[met]);
}

void selftest_table(FILE *f, const Selftest *s)
{
    fprintf(f, "| B is slowed by | cores | found slower (95 %% interval) | found faster | "
               "equivalent | inconclusive | environment | not confirmed | pairs | s | bar |\n"
               "|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (const SelftestCell *c = s->cell; c < s->cell + s->n; c++) {
        if (c->effect == 0)
            fprintf(f, "| nothing (A/A) | %s |", c->hog ? "shared with a hog" : "as they were");
        else
            fprintf(f, "| %.3g %% | %s |", 100 * c->effect,
                    c->hog ? "shared with a hog" : "as they were");
        put_rate(f, c->count[FINDING_SLOWER], c->n);
        put_rate(f, c->count[FINDING_FASTER], c->n);
        fprintf(f, " %d | %d | %d | %d | %.0f | %.2g |", c->count[FINDING_EQUIVALENT],
                c->count[FINDING_INCONCLUSIVE], c->count[FINDING_ENVIRONMENT], c->unconfirmed,
                c->pairs, c->seconds);
        put_bar(f, c);
    }
}

void selftest_section(FILE *f, const Selftest *s)
{
    fprintf(f,
            "## How far a comparison can be trusted\n\n"
            "`longmix compare` against itself, on %s (%s, commit %s, %s): B is the same program, "
            "slowed down by a known part where the table says so. A hog is a program on each core "
            "that computes for 0.05 to 0.6 s, then rests as long. %s. Made by `%s`.\n\n",
            s->host, s->date, s->commit, s->build, s->what, s->command);
    selftest_table(f, s);
    fprintf(f, "\n");
}
