/* compare.c - see compare.h: what the cells of a comparison say together. */
#include "report/compare.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const fact_gate_names[FACT_GATES + 1] = {"worse", "any", "show", NULL};

void compare_free(Comparison *c)
{
    free(c->cell);
    *c = (Comparison){.n = 0};
}

void compare_name(const CompareCell *cell, char *out, size_t size)
{
    static const char *const controls[] = {"", "control A/A: ", "control +10 %: "};
    const Case *c = &cell->c;
    snprintf(out, size, "%s%s %s %s%s n=%" PRId64 "%s%s%s", controls[cell->kind], c->variant,
             level_names[c->level], pass_names[c->pass], c->impl == IMPL_NAIVE ? " naive" : "",
             c->n, c->causal ? "" : " bidirectional", c->set[0] != '\0' ? " " : "", c->set);
}

/* ---- times ---- */
static bool in_family(const CompareCell *cell)
{
    return cell->kind == CELL_USUAL && cell->standing[COMPARE_A] == STANDING_OK &&
           cell->standing[COMPARE_B] == STANDING_OK;
}

int compare_family(const Comparison *c)
{
    int n = 0;
    for (int i = 0; i < c->n; i++)
        n += in_family(&c->cell[i]);
    return n;
}

/* Takes back findings of one direction that do not count among all timed cells. */
static void step_down(Comparison *c, Finding which)
{
    double *p = calloc((size_t)c->n + 1, sizeof *p);
    bool *counts = calloc((size_t)c->n + 1, sizeof *counts);
    int n = 0;
    CHECK(p != NULL && counts != NULL);
    for (int i = 0; i < c->n; i++)
        if (in_family(&c->cell[i]) && c->cell[i].timed)
            p[n++] =
                which == FINDING_SLOWER ? c->cell[i].first.p_slower : c->cell[i].first.p_faster;
    paired_holm(p, n, PAIRED_ALPHA, counts);
    n = 0;
    for (int i = 0; i < c->n; i++) {
        CompareCell *cell = &c->cell[i];
        if (!in_family(cell) || !cell->timed)
            continue;
        if (cell->finding == which && !counts[n]) {
            cell->finding = FINDING_INCONCLUSIVE;
            snprintf(cell->note, sizeof cell->note, "%s alone, but not among %d cells",
                     finding_names[which], compare_family(c));
        }
        n++;
    }
    free(p);
    free(counts);
}

void compare_judge(Comparison *c)
{
    for (int i = 0; i < c->n; i++)
        if (c->cell[i].timed)
            c->cell[i].finding = c->cell[i].first.finding;
    step_down(c, FINDING_SLOWER);
    step_down(c, FINDING_FASTER);
}

/* Could B be slower by more than the margin? */
static bool may_be_slower(Finding finding, const Paired *p)
{
    return finding == FINDING_ENVIRONMENT ||
           (finding == FINDING_INCONCLUSIVE && p->hi > 1 + p->margin);
}

bool compare_wants_again(const CompareCell *cell)
{
    return cell->timed && (cell->finding == FINDING_SLOWER || cell->finding == FINDING_FASTER ||
                           may_be_slower(cell->finding, &cell->first));
}

void compare_confirm(CompareCell *cell)
{
    Finding first = cell->finding, again = cell->again.finding;
    bool differs = first == FINDING_SLOWER || first == FINDING_FASTER;
    cell->again_timed = true;
    if (again == first)
        return;
    if (again == FINDING_ENVIRONMENT || (!differs && again == FINDING_EQUIVALENT))
        cell->finding = again;
    else
        cell->finding = FINDING_INCONCLUSIVE;
    snprintf(cell->note, sizeof cell->note, "%s at first, %s when measured again",
             finding_names[first], finding_names[again]);
}

/* ---- facts ---- */
int compare_facts(const CompareCell *cell, FactStep out[2 * FACTS_MAX])
{
    const Facts *a = &cell->facts[COMPARE_A], *b = &cell->facts[COMPARE_B];
    int n = 0;
    for (int i = 0; i < a->n; i++)
        out[n++] = (FactStep){.a = &a->fact[i], .b = facts_find(b, a->fact[i].name)};
    for (int i = 0; i < b->n; i++)
        if (facts_find(a, b->fact[i].name) == NULL)
            out[n++] = (FactStep){.b = &b->fact[i]};
    for (int i = 0; i < n; i++)
        out[i].change = fact_change(out[i].a, out[i].b);
    return n;
}

bool compare_counts(const Comparison *c, const FactStep *step)
{
    bool known = step->change >= CHANGE_BETTER; /* on both sides */
    return (c->gate == FACTS_WORSE && step->change == CHANGE_WORSE) ||
           (c->gate == FACTS_ANY && known);
}

/* ---- together ---- */
static void tally_facts(const Comparison *c, const CompareCell *cell, Tally *t)
{
    FactStep step[2 * FACTS_MAX];
    bool both =
        cell->standing[COMPARE_A] == STANDING_OK && cell->standing[COMPARE_B] == STANDING_OK;
    int n = both ? compare_facts(cell, step) : 0;
    for (int i = 0; i < n; i++) {
        t->changed_facts += step[i].change >= CHANGE_BETTER;
        t->worse_facts += compare_counts(c, &step[i]);
    }
}

/* B is broken where A is not: what was broken before is no news. */
static void tally_standing(const CompareCell *cell, Tally *t)
{
    bool broken = cell->standing[COMPARE_B] == STANDING_BROKEN;
    t->broken += broken && cell->standing[COMPARE_A] != STANDING_BROKEN;
    t->absent += cell->standing[COMPARE_A] == STANDING_ABSENT ||
                 cell->standing[COMPARE_B] == STANDING_ABSENT;
}

static bool control_holds(const CompareCell *cell)
{
    Finding f = cell->finding;
    return cell->kind == CELL_PLANTED ? f == FINDING_SLOWER
                                      : f != FINDING_SLOWER && f != FINDING_FASTER;
}

Tally compare_tally(const Comparison *c)
{
    Tally t = {.broken = 0};
    for (int i = 0; i < c->n; i++) {
        const CompareCell *cell = &c->cell[i];
        if (cell->kind != CELL_USUAL) {
            t.gate_broken = t.gate_broken || !cell->timed || !control_holds(cell);
            continue;
        }
        tally_facts(c, cell, &t);
        tally_standing(cell, &t);
        if (!cell->timed)
            continue;
        t.found[cell->finding]++;
        t.unclear += may_be_slower(cell->finding, &cell->first);
    }
    bool worse = t.found[FINDING_SLOWER] + t.broken + t.worse_facts > 0;
    t.exit_code = t.gate_broken   ? COMPARE_UNCLEAR
                  : worse         ? COMPARE_REGRESSED
                  : t.unclear > 0 ? COMPARE_UNCLEAR
                                  : COMPARE_PASS;
    return t;
}
