/* compare_journals.c - two results files, held against each other. */
#include "report/compare.h"

#include "report/rows.h"
#include "report/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- facts of a row ---- */
static void put_memory(const Memory *m, Facts *f)
{
    facts_number(f, "memory", (double)m->counted);
    facts_number(f, "memory.param", (double)m->param);
    facts_number(f, "memory.grad", (double)m->grad);
    facts_number(f, "memory.optim", (double)m->optim);
    facts_number(f, "memory.act", (double)m->act);
    facts_number(f, "memory.state", (double)m->state);
    facts_number(f, "memory.input", (double)m->input);
}

static Facts facts_of(const Row *r)
{
    Facts f = {.n = 0};
    facts_number(&f, "flops", r->flops);
    facts_number(&f, "bytes", r->bytes);
    facts_number(&f, "params", (double)r->params);
    facts_number(&f, "allocations", (double)r->memory.n_allocs);
    put_memory(&r->memory, &f);
    return f;
}

/* ---- one cell ---- */
static void stand(CompareCell *cell, int side, const Row *r)
{
    static const Standing of_status[ROW_STATUSES] = {
        [ROW_OOM] = STANDING_BROKEN,           [ROW_TIMEOUT] = STANDING_BROKEN,
        [ROW_FAILED_CHECK] = STANDING_BROKEN,  [ROW_CRASH] = STANDING_BROKEN,
        [ROW_OOM_PREDICTED] = STANDING_ABSENT, [ROW_TIMEOUT_PREDICTED] = STANDING_ABSENT,
        [ROW_UNSUPPORTED] = STANDING_ABSENT,   [ROW_SKIPPED_AFTER] = STANDING_ABSENT,
        [ROW_SKIPPED_BUDGET] = STANDING_ABSENT};
    cell->standing[side] = r == NULL ? STANDING_ABSENT : of_status[r->status];
    if (r == NULL)
        snprintf(cell->why[side], sizeof cell->why[side], "%c: no such row", "AB"[side]);
    else if (r->status != ROW_OK)
        snprintf(cell->why[side], sizeof cell->why[side], "%c: %s: %.120s", "AB"[side],
                 row_status_names[r->status], r -> reason);
    else
        cell->facts[side] = facts_of(r);
}

/* Looks are taken as they were, or would have been, in the run. */
static void replay(const Timing *a, const Timing *b, int family, Paired *p)
{
    static const double MARGIN = 0.02, MARGIN_SHORT = 0.05, SHORT = 100e-6; /* , , seconds */
    bool done = false;
    *p = (Paired){.inner = a->inner};
    p->margin = fmin(a->median, b->median) < SHORT ? MARGIN_SHORT : MARGIN;
    memcpy(p->a, a->seconds, (size_t)a->n * sizeof *p->a);
    memcpy(p->b, b->seconds, (size_t)b->n * sizeof *p->b);
    for (int look = 0; look < PAIRED_LOOKS && !done; look++) {
        p->n = a->n < paired_looks[look] ? a->n : paired_looks[look];
        done = paired_judge(p, family) || p->n == a->n;
    }
    if (p->stop_reason[0] == '\0')
        snprintf(p->stop_reason, sizeof p->stop_reason, "pairs");
}

static bool recorded_together(const Row *a, const Row *b)
{
    return a != NULL && b != NULL && a->status == ROW_OK && b->status == ROW_OK &&
           strcmp(a->run, b->run) == 0 && a->timing.n == b->timing.n && a->timing.n >= 1 &&
           a->timing.n <= PAIRED_MAX && a->timing.inner == b->timing.inner;
}

static const Row *find(const Rows *rows, const Case *c)
{
    char key[ROW_KEY_SIZE], other[ROW_KEY_SIZE];
    case_key(c, key, sizeof key);
    for (int i = 0; i < rows->n; i++) {
        if (rows->row[i].kind != ROW_CASE || rows->row[i].c.n != c->n)
            continue;
        case_key(&rows->row[i].c, other, sizeof other);
        if (strcmp(key, other) == 0)
            return &rows->row[i];
    }
    return NULL;
}

/* ---- all of them ---- */
static void add_cell(Comparison *c, const Row *a, const Row *b)
{
    CompareCell *cell = &c->cell[c->n++];
    *cell = (CompareCell){.c = a != NULL ? a->c : b->c};
    stand(cell, COMPARE_A, a);
    stand(cell, COMPARE_B, b);
}

static void pair_up(Comparison *c, const Rows *a, const Rows *b)
{
    int family = 0;
    for (int i = 0; i < c->n; i++)
        family += recorded_together(find(a, &c->cell[i].c), find(b, &c->cell[i].c));
    for (int i = 0; i < c->n; i++) {
        CompareCell *cell = &c->cell[i];
        const Row *x = find(a, &cell->c), *y = find(b, &cell->c);
        cell->timed = recorded_together(x, y);
        if (cell->timed)
            replay(&x->timing, &y->timing, family, &cell->first);
    }
    if (family == 0)
        snprintf(c->basis, sizeof c->basis,
                 "not decided: samples of different runs are no pairs; facts alone decide");
    else
        snprintf(c->basis, sizeof c->basis,
                 "pairs that one run recorded in both files, for %d of %d cells; not confirmed by "
                 "new processes",
                 family, c->n);
}

static void describe(CompareSide *s, const char *path, const Rows *rows)
{
    const Row *run = rows_run(rows);
    snprintf(s->name, sizeof s->name, "%s", path);
    snprintf(s->build, sizeof s->build, "%s", run->build);
    snprintf(s->commit, sizeof s->commit, "%s", run->commit);
    snprintf(s->compiler, sizeof s->compiler, "%s", run->compiler);
    snprintf(s->isa, sizeof s->isa, "%s", run->isa);
}

static void compare_rows(const Rows *a, const Rows *b, Comparison *out)
{
    out->cell = calloc((size_t)(a->n + b->n) + 1, sizeof *out->cell);
    CHECK(out->cell != NULL);
    for (int i = 0; i < a->n; i++)
        if (a->row[i].kind == ROW_CASE)
            add_cell(out, &a->row[i], find(b, &a->row[i].c));
    for (int i = 0; i < b->n; i++)
        if (b->row[i].kind == ROW_CASE && find(a, &b->row[i].c) == NULL)
            add_cell(out, NULL, &b->row[i]);
    pair_up(out, a, b);
    compare_judge(out);
}

Status compare_journals(const char *a, const char *b, Comparison *out)
{
    Rows x, y;
    TRY(rows_load(a, &x));
    Status st = rows_load(b, &y);
    if (st == ST_OK) {
        describe(&out->side[COMPARE_A], a, &x);
        describe(&out->side[COMPARE_B], b, &y);
        compare_rows(&x, &y, out);
        rows_free(&y);
    }
    rows_free(&x);
    return st;
}
