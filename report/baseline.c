/* baseline.c - see baseline.h. */
#include "report/baseline.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */
static bool put_cell(FILE *f, const CompareCell *cell, bool last)
{
    char name[256];
    json_t *facts = facts_json(&cell->facts[COMPARE_B]);
    char *text = facts != NULL ? json_dumps(facts, JSON_REAL_PRECISION(17)) : NULL;
    compare_name(cell, name, sizeof name);
    if (text != NULL)
        fprintf(f, "  \"%s\": %s%s\n", name, text, last ? "" : ",");
    json_decref(facts);
    free(text);
    return text != NULL;
}

static int last_of(const Comparison *c)
{
    int last = -1;
    for (int i = 0; i < c->n; i++)
        if (c->cell[i].standing[COMPARE_B] == STANDING_OK)
            last = i;
    return last;
}

Status baseline_write(const Comparison *c, const char *platform, const char *path)
{
    int last = last_of(c);
    bool memory = true;
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return FAIL(ST_IO, "%s: %s", path, strerror(errno));
    fprintf(f, "{\n \"baseline\": %d,\n \"platform\": \"%s\",\n \"cells\": {\n", BASELINE_SCHEMA,
            platform);
    for (int i = 0; i <= last && memory; i++)
        if (c->cell[i].standing[COMPARE_B] == STANDING_OK)
            memory = put_cell(f, &c->cell[i], i == last);
    fprintf(f, " }\n}\n");
    bool written = ferror(f) == 0;
    written = fclose(f) == 0 && written;
    if (!memory)
        return FAIL(ST_OOM, "no memory for the baseline");
    return written ? ST_OK : FAIL(ST_IO, "%s: cannot be written", path);
}

/* ---- reading ---- */
static CompareCell *cell_of(Comparison *c, const char *name)
{
    char other[256];
    for (int i = 0; i < c->n; i++) {
        compare_name(&c->cell[i], other, sizeof other);
        if (strcmp(name, other) == 0)
            return &c->cell[i];
    }
    return NULL;
}

/* "avx2.result": of an instruction set; its prefix must be one that B has results of. */
static bool comparable(const Facts *b, const char *name, bool same_platform)
{
    const char *dot = strchr(name, '.');
    bool result = dot != NULL && strcmp(dot, ".result") == 0;
    bool instructions = dot != NULL && strcmp(dot, ".instructions") == 0;
    bool of_isa = result || instructions || (dot != NULL && strcmp(dot, ".scratch") == 0);
    if (!of_isa)
        return true;
    return facts_find(b, name) != NULL && (same_platform || !(result || instructions));
}

/* Keeps in both lists what can be compared. */
static int keep_comparable(CompareCell *cell, bool same_platform)
{
    Facts *a = &cell->facts[COMPARE_A], kept = {.n = 0};
    for (int i = 0; i < a->n; i++)
        if (comparable(&cell->facts[COMPARE_B], a->fact[i].name, same_platform))
            kept.fact[kept.n++] = a->fact[i];
    int left_out = a->n - kept.n;
    *a = kept;
    return left_out;
}

/* A cell that only the file knows has no case but its name in place of the variant. */
static CompareCell *add_gone(Comparison *c, const char *name)
{
    c->cell = realloc(c->cell, (size_t)(c->n + 1) * sizeof *c->cell);
    CHECK(c->cell != NULL);
    CompareCell *cell = &c->cell[c->n++];
    *cell = (CompareCell){.standing = {STANDING_OK, STANDING_ABSENT}};
    snprintf(cell->why[COMPARE_B], sizeof cell->why[COMPARE_B], "B: no such cell: %.100s", name);
    snprintf(cell->c.variant, sizeof cell->c.variant, "%.31s", name);
    return cell;
}

static Status read_cells(Comparison *c, json_t *cells, bool same_platform, int *left_out)
{
    const char *name;
    json_t *facts;
    int n = c->n;
    for (int i = 0; i < n; i++) {
        c->cell[i].standing[COMPARE_A] = STANDING_ABSENT;
        snprintf(c->cell[i].why[COMPARE_A], sizeof c->cell[i].why[COMPARE_A],
                 "not in the baseline yet");
    }
    json_object_foreach(cells, name, facts)
    {
        CompareCell *cell = cell_of(c, name);
        if (cell == NULL)
            cell = add_gone(c, name);
        cell->standing[COMPARE_A] = STANDING_OK;
        cell->why[COMPARE_A][0] = '\0';
        TRY(facts_parse(facts, &cell->facts[COMPARE_A]));
        *left_out += keep_comparable(cell, same_platform);
    }
    return ST_OK;
}

Status baseline_read(Comparison *c, const char *platform, const char *path, int *left_out)
{
    json_error_t error;
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    *left_out = 0;
    if (object == NULL)
        return FAIL(ST_USAGE, "%s: line %d: %.160s", path, error.line, error.text);
    json_t *cells = json_object_get(object, "cells");
    const char *made_on = json_string_value(json_object_get(object, "platform"));
    bool ours = json_integer_value(json_object_get(object, "baseline")) == BASELINE_SCHEMA &&
                json_is_object(cells) && made_on != NULL;
    Status st = ours ? read_cells(c, cells, strcmp(made_on, platform) == 0, left_out)
                     : FAIL(ST_USAGE, "%s: is no baseline of schema %d", path, BASELINE_SCHEMA);
    json_decref(object);
    return st;
}
