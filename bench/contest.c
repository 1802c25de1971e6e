/* contest.c - see contest.h. */
#include "bench/contest.h"

#include "bench/check.h"
#include "bench/clock.h"
#include "bench/progress.h"
#include "kernels/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Contest {
    const ContestSpec *spec;
    Comparison *c;
    Side side[SIDES];
    Progress show;
    double start;
} Contest;

static void show(Contest *k, const char *what, int done, int total)
{
    double passed = clock_now() - k->start;
    ProgressState s = {.done = done,
                       .total = total,
                       .eta = done > 0 ? passed / done * (total - done) : -1,
                       .what = what};
    progress_show(&k->show, &s, clock_now());
}

/* ---- without a clock ---- */

/* A side that died is started again; should that fail, the next question says so. */
static Status ask(Contest *k, int side, const char *word, json_t *request, json_t **answer)
{
    if (k->side[side].child.pid == 0)
        (void)side_start(&k->side[side], k->spec->program[side], NULL);
    k->side[side].limit = 300;
    return side_ask(&k->side[side], word, request, answer);
}

static void note_standing(CompareCell *cell, int side, Status st)
{
    bool absent = st == ST_UNSUPPORTED || st == ST_SHAPE || st == ST_USAGE;
    cell->standing[side] = st == ST_OK ? STANDING_OK : absent ? STANDING_ABSENT : STANDING_BROKEN;
    cell->why[side][0] = '\0';
    if (st != ST_OK)
        snprintf(cell->why[side], sizeof cell->why[side], "%c: %.150s", "AB"[side],
                 status_reason());
}

static Status learn_facts(Contest *k, CompareCell *cell, int side)
{
    json_t *request = case_request(&cell->c), *answer = NULL;
    json_object_set_new(request, "run", json_true());
    json_object_set_new(request, "instructions", json_boolean(k->spec->instructions));
    TRY(ask(k, side, "facts", request, &answer));
    Status st = facts_parse(json_object_get(answer, "facts"), &cell->facts[side]);
    json_decref(answer);
    return st;
}

/* B against the reference, and A too where B fails: what was wrong before is no news. */
static Status check_side(Contest *k, const CompareCell *cell, int side)
{
    json_t *answer = NULL;
    Case c = check_case(&cell->c);
    TRY(ask(k, side, "check", case_request(&c), &answer));
    json_decref(answer);
    return ST_OK;
}

/* Cells share a check; the answer of the cell before that had the same one is taken over. */
static bool checked_before(const Comparison *c, int at, int *where)
{
    char key[ROW_KEY_SIZE], other[ROW_KEY_SIZE];
    Case check = check_case(&c->cell[at].c);
    case_key(&check, key, sizeof key);
    for (*where = 0; *where < at; ++*where) {
        check = check_case(&c->cell[*where].c);
        case_key(&check, other, sizeof other);
        if (strcmp(key, other) == 0 && c->cell[*where].standing[SIDE_B] != STANDING_ABSENT)
            return true;
    }
    return false;
}

static void check_cell(Contest *k, int at)
{
    CompareCell *cell = &k->c->cell[at];
    int where;
    if (!k->spec->check || cell->standing[SIDE_B] != STANDING_OK)
        return;
    if (checked_before(k->c, at, &where)) {
        if (k->c->cell[where].standing[SIDE_B] == STANDING_BROKEN)
            for (int side = 0; side < SIDES; side++) {
                cell->standing[side] = k->c->cell[where].standing[side];
                memcpy(cell->why[side], k->c->cell[where].why[side], sizeof cell->why[side]);
            }
        return;
    }
    note_standing(cell, SIDE_B, check_side(k, cell, SIDE_B));
    if (cell->standing[SIDE_B] == STANDING_BROKEN && cell->standing[SIDE_A] == STANDING_OK)
        note_standing(cell, SIDE_A, check_side(k, cell, SIDE_A));
}

static void learn_all(Contest *k)
{
    for (int i = 0; i < k->c->n; i++) {
        show(k, "facts and checks", i, k->c->n);
        for (int side = 0; side < SIDES; side++)
            note_standing(&k->c->cell[i], side, learn_facts(k, &k->c->cell[i], side));
        check_cell(k, i);
    }
}

/* ---- with a clock ---- */
static TrialSpec trial_of(const Contest *k, const CompareCell *cell, int family, uint64_t seed)
{
    TrialSpec t = {.c = cell->c, .duel = k->spec->duel};
    for (int side = 0; side < SIDES; side++)
        t.program[side] = k->spec->program[cell->kind == CELL_USUAL ? side : SIDE_A];
    t.drag[SIDE_B] = cell->kind == CELL_PLANTED ? 0.10 : 0;
    t.duel.family = cell->kind == CELL_USUAL && family > 0 ? family : 1;
    t.duel.seed = seed;
    return t;
}

static uint64_t seed_of(const Contest *k, int at, int time)
{
    return (uint64_t)rng_bits(k->spec->duel.seed, 5, 2 * (uint64_t)at + (uint64_t)time);
}

static bool take_time(Contest *k, int at, int family, int time, Paired *out)
{
    CompareCell *cell = &k->c->cell[at];
    int which = 0;
    TrialSpec t = trial_of(k, cell, family, seed_of(k, at, time));
    Status st = trial_once(&t, out, &which);
    if (st != ST_OK)
        note_standing(cell, which, st);
    return st == ST_OK;
}

static void time_all(Contest *k)
{
    int family = compare_family(k->c), wanted = 0, done = 0;
    for (int i = 0; i < k->c->n; i++)
        wanted += k->c->cell[i].standing[SIDE_A] == STANDING_OK &&
                  k->c->cell[i].standing[SIDE_B] == STANDING_OK;
    k->start = clock_now();
    for (int i = 0; i < k->c->n; i++) {
        CompareCell *cell = &k->c->cell[i];
        char name[256];
        if (cell->standing[SIDE_A] != STANDING_OK || cell->standing[SIDE_B] != STANDING_OK)
            continue;
        compare_name(cell, name, sizeof name);
        show(k, name, done++, wanted);
        cell->timed = take_time(k, i, family, 0, &cell->first);
    }
}

static void confirm_all(Contest *k)
{
    int family = 0, done = 0;
    k->start = clock_now();
    for (int i = 0; i < k->c->n; i++)
        family += compare_wants_again(&k->c->cell[i]);
    for (int i = 0; i < k->c->n; i++) {
        CompareCell *cell = &k->c->cell[i];
        char name[256];
        if (!compare_wants_again(cell))
            continue;
        compare_name(cell, name, sizeof name);
        show(k, name, done++, family);
        if (take_time(k, i, family, 1, &cell->again))
            compare_confirm(cell);
        else
            cell->timed = false;
    }
}

/* ---- all ---- */

/* Controls take the case of the first cell that A can run. */
static void add_controls(Contest *k)
{
    Comparison *c = k->c;
    int from = 0;
    while (from < c->n && c->cell[from].standing[SIDE_A] != STANDING_OK)
        from++;
    if (from == c->n)
        return;
    c->cell = realloc(c->cell, (size_t)(c->n + 2) * sizeof *c->cell);
    CHECK(c->cell != NULL);
    c->cell[c->n] = (CompareCell){.kind = CELL_SAME, .c = c->cell[from].c};
    c->cell[c->n + 1] = (CompareCell){.kind = CELL_PLANTED, .c = c->cell[from].c};
    c->n += 2;
}

static Status meet(Contest *k)
{
    for (int i = 0; i < SIDES; i++) {
        CompareSide *s = &k->c->side[i];
        TRY(side_start(&k->side[i], k->spec->program[i], NULL));
        memcpy(s->build, k->side[i].build, sizeof s->build);
        memcpy(s->commit, k->side[i].commit, sizeof s->commit);
        memcpy(s->compiler, k->side[i].compiler, sizeof s->compiler);
        memcpy(s->isa, k->side[i].isa, sizeof s->isa);
    }
    return ST_OK;
}

Status contest_run(const ContestSpec *spec, Comparison *c)
{
    Contest k = {.spec = spec, .c = c, .start = clock_now()};
    k.show = progress_new(k.start);
    Status st = meet(&k);
    if (st == ST_OK)
        learn_all(&k);
    for (int i = 0; i < SIDES; i++)
        side_stop(&k.side[i]);
    if (st == ST_OK && spec->controls)
        add_controls(&k);
    if (st == ST_OK && spec->times) {
        pairing_pin(spec->threads);
        time_all(&k);
        compare_judge(c);
        confirm_all(&k);
        pairing_unpin();
    }
    progress_clear(&k.show);
    return st;
}
