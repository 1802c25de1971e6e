/* compare_record.c - see compare_record.h. */
#include "bench/compare_record.h"

#include "bench/machine.h"
#include "report/journal.h"
#include "report/stats.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double number_of(const Facts *f, const char *name)
{
    const Fact *x = facts_find(f, name);
    return x != NULL ? strtod(x->value, NULL) : 0;
}

static Memory memory_of(const Facts *f)
{
    return (Memory){.counted = (int64_t)number_of(f, "memory"),
                    .param = (int64_t)number_of(f, "memory.param"),
                    .grad = (int64_t)number_of(f, "memory.grad"),
                    .optim = (int64_t)number_of(f, "memory.optim"),
                    .act = (int64_t)number_of(f, "memory.act"),
                    .state = (int64_t)number_of(f, "memory.state"),
                    .input = (int64_t)number_of(f, "memory.input"),
                    .n_allocs = (int64_t)number_of(f, "allocations")};
}

static int64_t tokens_of(const Case *c)
{
    return c->batch * (c->pass == PASS_DECODE ? 1 : c->n);
}

static Row row_of(const CompareCell *cell, int side)
{
    const Facts *f = &cell->facts[side];
    const double *x = side == COMPARE_A ? cell->first.a : cell->first.b;
    Row r = {.kind = ROW_CASE,
             .c = cell->c,
             .flops = number_of(f, "flops"),
             .bytes = number_of(f, "bytes"),
             .params = (int64_t)number_of(f, "params"),
             .tokens = tokens_of(&cell->c),
             .predicted = memory_of(f),
             .memory = memory_of(f)};
    r.timing.n = cell->first.n;
    r.timing.inner = cell->first.inner;
    memcpy(r.timing.seconds, x, (size_t)cell->first.n * sizeof *x);
    snprintf(r.timing.stop_reason, sizeof r.timing.stop_reason, "samples");
    timing_summarise(&r.timing);
    r.predicted_seconds = r.timing.median;
    return r;
}

static Status put(Journal *j, const Row *like, Row *row)
{
    memcpy(row->run, like->run, sizeof row->run);
    memcpy(row->build, like->build, sizeof row->build);
    row->time = like->time;
    return journal_append(j, row);
}

/* The check that B passed, and A with it, before anything was timed. */
static Row check_of(const CompareCell *cell)
{
    return (Row){.kind = ROW_CHECK, .c = cell->c, .tolerance = 1};
}

static Status write_side(const Comparison *c, int side, Journal *j, Row *run)
{
    Row end = {.kind = ROW_END};
    memcpy(run->build, c->side[side].build, sizeof run->build);
    snprintf(run->commit, sizeof run->commit, "%s", c->side[side].commit);
    snprintf(run->isa, sizeof run->isa, "%s", c->side[side].isa);
    snprintf(run->compiler, sizeof run->compiler, "%.63s", c->side[side].compiler);
    snprintf(run->profile, sizeof run->profile, "compare");
    snprintf(run->cuda, sizeof run->cuda, "not asked for");
    TRY(journal_append(j, run));
    for (int i = 0; i < c->n; i++) {
        const CompareCell *cell = &c->cell[i];
        if (cell->kind != CELL_USUAL || !cell->timed)
            continue;
        Row check = check_of(cell), row = row_of(cell, side);
        TRY(put(j, run, &check));
        TRY(put(j, run, &row));
    }
    return put(j, run, &end);
}

Status compare_record(const Comparison *c, const char *folder)
{
    char word[] = "compare", *const command[] = {word};
    char path[PATH_MAX];
    Row run;
    machine_row(1, command, 1, &run);
    for (int side = 0; side < COMPARE_SIDES; side++) {
        Journal *j = NULL;
        if ((size_t)snprintf(path, sizeof path, "%s/%c.jsonl", folder, "ab"[side]) >= sizeof path)
            return FAIL(ST_USAGE, "%s: too long a path", folder);
        TRY(journal_open(&j, path, true));
        Status st = write_side(c, side, j, &run);
        journal_close(j);
        TRY(st);
    }
    return ST_OK;
}
