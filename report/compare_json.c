/* compare_json.c - a comparison as JSON, with every sample. */
#include "report/compare.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *numbers(const double *x, int n)
{
    json_t *array = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(array, number(x[i]));
    return array;
}

static json_t *windows_json(const Paired *p)
{
    json_t *array = json_array();
    for (int i = 0; i < p->n_windows; i++) {
        const Window *w = &p->window[i];
        json_array_append_new(array,
                              json_pack("{s:f, s:f, s:f, s:b}", "sentinel", w->sentinel, "stolen",
                                        w->stolen, "switches", w->switches, "marked", w->marked));
    }
    return array;
}

static json_t *paired_json(const Paired *p)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:f, s:o, s:o, s:o, s:f, s:f, s:f, s:o, s:o, s:o}",
                     "finding", finding_names[p->finding], "stop_reason", p->stop_reason, "pairs",
                     p->n, "inner", p->inner, "margin", p->margin, "ratio", number(p->ratio), "lo",
                     number(p->lo), "hi", number(p->hi), "p_slower", p->p_slower, "p_faster",
                     p->p_faster, "lag1", p->lag1, "windows", windows_json(p), "a",
                     numbers(p->a, p->n), "b", numbers(p->b, p->n));
}

static json_t *changes_json(const CompareCell *cell)
{
    FactStep step[2 * FACTS_MAX];
    json_t *array = json_array();
    int n = compare_facts(cell, step);
    for (int i = 0; i < n; i++) {
        const FactStep *s = &step[i];
        if (s->change == CHANGE_NONE)
            continue;
        json_array_append_new(array, json_pack("{s:s, s:s, s:s?, s:s?}", "name",
                                               s->a != NULL ? s->a->name : s->b->name, "change",
                                               change_names[s->change], "a",
                                               s->a != NULL ? s->a->value : NULL, "b",
                                               s->b != NULL ? s->b->value : NULL));
    }
    return array;
}

static json_t *cell_json(const CompareCell *cell)
{
    static const char *const kinds[] = {"usual", "same", "planted"};
    static const char *const standings[] = {"ok", "absent", "broken"};
    char name[256], *text = case_brief_json(&cell->c);
    compare_name(cell, name, sizeof name);
    json_t *out =
        json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:o}", "name", name, "kind",
                  kinds[cell->kind], "case", json_loads(text != NULL ? text : "", 0, NULL), "a",
                  standings[cell->standing[COMPARE_A]], "b", standings[cell->standing[COMPARE_B]],
                  "why_a", cell->why[COMPARE_A], "why_b", cell->why[COMPARE_B], "note", cell->note,
                  "changes", changes_json(cell));
    free(text);
    if (out != NULL && cell->timed) {
        json_object_set_new(out, "finding", json_string(finding_names[cell->finding]));
        json_object_set_new(out, "first", paired_json(&cell->first));
    }
    if (out != NULL && cell->again_timed)
        json_object_set_new(out, "again", paired_json(&cell->again));
    return out;
}

static json_t *side_json(const CompareSide *s)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", s->name, "build", s->build, "commit",
                     s->commit, "compiler", s->compiler, "isa", s->isa);
}

static json_t *tally_json(const Comparison *c)
{
    Tally t = compare_tally(c);
    json_t *found = json_object();
    for (int i = 0; i < FINDINGS; i++)
        json_object_set_new(found, finding_names[i], json_integer(t.found[i]));
    return json_pack("{s:o, s:i, s:i, s:i, s:i, s:i, s:b, s:i}", "findings", found, "unclear",
                     t.unclear, "broken", t.broken, "absent", t.absent, "worse_facts",
                     t.worse_facts, "changed_facts", t.changed_facts, "gate_broken", t.gate_broken,
                     "exit_code", t.exit_code);
}

Status compare_json(const Comparison *c, const char *path)
{
    json_t *cells = json_array();
    for (int i = 0; i < c->n; i++)
        json_array_append_new(cells, cell_json(&c->cell[i]));
    json_t *out = json_pack("{s:i, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o}", "comparison", 1, "a",
                            side_json(&c->side[COMPARE_A]), "b", side_json(&c->side[COMPARE_B]),
                            "date", c->date, "host", c->host, "basis", c->basis, "facts",
                            fact_gate_names[c->gate], "tally", tally_json(c), "cells", cells);
    if (out == NULL)
        return FAIL(ST_OOM, "no memory for the comparison as JSON");
    bool fine = json_dump_file(out, path, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) == 0;
    json_decref(out);
    return fine ? ST_OK : FAIL(ST_IO, "%s: cannot be written: %s", path, strerror(errno));
}
