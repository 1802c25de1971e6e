/* compare_text.c - a comparison for people: a table, and a comment for a pull request. */
#include "report/compare.h"

#include "report/format.h"
#include "report/stats.h"
#include "report/tables.h"

#include <math.h>
#include <string.h>

/* ---- numbers ---- */
typedef struct Spread {
    double median, p20, p80, min;
} Spread;

static Spread spread_of(const double *seconds, int n)
{
    double x[PAIRED_MAX];
    memcpy(x, seconds, (size_t)n * sizeof *x);
    stats_sort(x, n);
    return (Spread){stats_quantile(x, n, 0.5), stats_quantile(x, n, 0.2), stats_quantile(x, n, 0.8),
                    x[0]};
}

/* "0.315 ms [0.311 0.322] 0.309": median, 20th and 80th percentile, least; "-" for none. */
static void put_spread(FILE *f, const double *seconds, int n)
{
    Spread s = spread_of(seconds, n);
    fprintf(f, "%s ms [%s %s] %s", text_digits(1e3 * s.median).s, text_digits(1e3 * s.p20).s,
            text_digits(1e3 * s.p80).s, text_digits(1e3 * s.min).s);
}

/* B's median in units of the fixed kernel, which days and machines may be compared by. */
static double normalised(const Paired *p)
{
    double sentinel[PAIRED_WINDOWS];
    for (int i = 0; i < p->n_windows; i++)
        sentinel[i] = p->window[i].sentinel;
    if (p->n_windows == 0)
        return (double)NAN;
    stats_sort(sentinel, p->n_windows);
    return spread_of(p->b, p->n).median / stats_quantile(sentinel, p->n_windows, 0.5);
}

static void percent_change(double ratio, char *out, size_t size)
{
    snprintf(out, size, "%+.1f %%", 100 * (ratio - 1));
}

/* "+4.9 % (+4.4 % to +5.3 %)" */
static void put_change(FILE *f, const Paired *p)
{
    char at[24], lo[24], hi[24];
    percent_change(p->ratio, at, sizeof at);
    percent_change(p->lo, lo, sizeof lo);
    percent_change(p->hi, hi, sizeof hi);
    fprintf(f, "%s (%s to %s)", at, lo, hi);
}

/* ---- words ---- */
static const char *word_of(const CompareCell *cell)
{
    if (cell->standing[COMPARE_B] == STANDING_BROKEN)
        return cell->standing[COMPARE_A] == STANDING_BROKEN ? "broken on both sides" : "BROKEN";
    if (cell->standing[COMPARE_A] == STANDING_BROKEN)
        return "mended";
    if (cell->standing[COMPARE_A] == STANDING_ABSENT)
        return cell->standing[COMPARE_B] == STANDING_ABSENT ? "not supported" : "new";
    if (cell->standing[COMPARE_B] == STANDING_ABSENT)
        return "gone";
    return cell->timed ? finding_names[cell->finding] : "not timed";
}

static const char *why_of(const CompareCell *cell)
{
    const char *b = cell->why[COMPARE_B], *a = cell->why[COMPARE_A];
    return b[0] != '\0' ? b : a[0] != '\0' ? a : cell->note;
}

/* "1 regressed ..." in one line. */
static void put_summary(FILE *f, const Comparison *c)
{
    static const char *const words[] = {"passed", "REGRESSED", "", "unclear"};
    Tally t = compare_tally(c);
    fprintf(f, "%s:", t.gate_broken ? "the gate itself is broken" : words[t.exit_code]);
    for (int i = 0; i < FINDINGS; i++)
        if (t.found[i] > 0 || i == FINDING_SLOWER)
            fprintf(f, "%s %d %s", i == FINDING_SLOWER ? "" : ",", t.found[i], finding_names[i]);
    fprintf(f, "; %d broken; facts: %d changed, %d of them count against B", t.broken,
            t.changed_facts, t.worse_facts);
    if (t.absent > 0)
        fprintf(f, "; %d not on both sides", t.absent);
    fprintf(f, "\n");
}

static void put_side(FILE *f, const char *letter, const CompareSide *s)
{
    fprintf(f, "%s: %s, commit %s, build %s, %s, %s\n", letter, s->name, s->commit, s->build,
            s->compiler, s->isa);
}

/* ---- the table ---- */
static void table_row(FILE *f, const CompareCell *cell, int width)
{
    char name[256];
    compare_name(cell, name, sizeof name);
    fprintf(f, "%-*s  ", width, name);
    if (cell->timed) {
        put_spread(f, cell->first.a, cell->first.n);
        fprintf(f, " | ");
        put_spread(f, cell->first.b, cell->first.n);
        fprintf(f, " | ");
        put_change(f, &cell->first);
        fprintf(f, " | %d%s pairs, lag %.2f | ", cell->first.n, cell->again_timed ? " twice" : "",
                cell->first.lag1);
    }
    const char *why = why_of(cell);
    fprintf(f, "%s%s%s\n", word_of(cell), why[0] != '\0' ? ": " : "", why);
}

static void put_step(FILE *f, const FactStep *s)
{
    const char *name = s->a != NULL ? s->a->name : s->b->name;
    fprintf(f, "%s %s -> %s (%s)", name, s->a != NULL ? s->a->value : "none",
            s->b != NULL ? s->b->value : "none", change_names[s->change]);
}

static void table_facts(FILE *f, const Comparison *c)
{
    for (int i = 0; i < c->n; i++) {
        FactStep step[2 * FACTS_MAX];
        char name[256];
        int n = compare_facts(&c->cell[i], step);
        compare_name(&c->cell[i], name, sizeof name);
        for (int k = 0; k < n; k++) {
            if (step[k].change == CHANGE_NONE || step[k].a == NULL || step[k].b == NULL)
                continue;
            fprintf(f, "%s%s: ", compare_counts(c, &step[k]) ? "! " : "  ", name);
            put_step(f, &step[k]);
            fprintf(f, "\n");
        }
    }
}

void compare_table(FILE *f, const Comparison *c)
{
    int width = 0;
    put_side(f, "A", &c->side[COMPARE_A]);
    put_side(f, "B", &c->side[COMPARE_B]);
    if (c->basis[0] != '\0')
        fprintf(f, "times: %s\n", c->basis);
    for (int i = 0; i < c->n; i++) {
        char name[256];
        compare_name(&c->cell[i], name, sizeof name);
        width = (int)strlen(name) > width ? (int)strlen(name) : width;
    }
    fprintf(f,
            "\n%-*s  A: median ms of a step [20th 80th percentile] least | B | B against A "
            "(interval, 99 %% over all looks) | pairs | verdict\n",
            width, "cell");
    for (int i = 0; i < c->n; i++)
        table_row(f, &c->cell[i], width);
    fprintf(f, "\n");
    table_facts(f, c);
    put_summary(f, c);
}

void compare_changes(FILE *f, const Comparison *c)
{
    for (int i = 0; i < c->n; i++) {
        const CompareCell *cell = &c->cell[i];
        char name[256];
        bool here = cell->standing[COMPARE_B] == STANDING_OK;
        bool known = cell->standing[COMPARE_A] == STANDING_OK;
        compare_name(cell, name, sizeof name);
        if (!here && known)
            fprintf(f, "%s: %s: %s\n", name, word_of(cell), why_of(cell));
        else if (here && !known)
            fprintf(f, "  %s: new, not in the baseline yet\n", name);
    }
    table_facts(f, c);
    put_summary(f, c);
}

/* ---- Markdown ---- */
static bool is_news(const CompareCell *cell)
{
    bool both =
        cell->standing[COMPARE_A] == STANDING_OK && cell->standing[COMPARE_B] == STANDING_OK;
    return !both || !cell->timed || cell->finding != FINDING_EQUIVALENT || cell->kind != CELL_USUAL;
}

static void markdown_row(FILE *f, const CompareCell *cell)
{
    char name[256];
    compare_name(cell, name, sizeof name);
    fprintf(f, "| ");
    put_text(f, name);
    fprintf(f, " | ");
    if (cell->timed) {
        Spread a = spread_of(cell->first.a, cell->first.n),
               b = spread_of(cell->first.b, cell->first.n);
        fprintf(f, "%s | %s | ", text_digits(1e3 * a.median).s, text_digits(1e3 * b.median).s);
        put_change(f, &cell->first);
        fprintf(f, " | %d%s | %s", cell->first.n, cell->again_timed ? " x 2" : "",
                text_digits(normalised(&cell->first)).s);
    } else {
        fprintf(f, " | | | |");
    }
    fprintf(f, " | %s", word_of(cell));
    if (why_of(cell)[0] != '\0')
        fprintf(f, ": ");
    put_text(f, why_of(cell));
    fprintf(f, " |\n");
}

static void markdown_table(FILE *f, const Comparison *c, bool news)
{
    fprintf(f, "| cell | A, ms | B, ms | B against A (interval, 99 %% over all looks) | pairs | B "
               "/ sentinel | "
               "verdict |\n|---|--:|--:|---|--:|--:|---|\n");
    for (int i = 0; i < c->n; i++)
        if (is_news(&c->cell[i]) == news)
            markdown_row(f, &c->cell[i]);
    fprintf(f, "\n");
}

static void markdown_facts(FILE *f, const Comparison *c)
{
    fprintf(f, "| cell | fact | A | B | |\n|---|---|--:|--:|---|\n");
    for (int i = 0; i < c->n; i++) {
        FactStep step[2 * FACTS_MAX];
        char name[256];
        int n = compare_facts(&c->cell[i], step);
        compare_name(&c->cell[i], name, sizeof name);
        for (int k = 0; k < n; k++) {
            const FactStep *s = &step[k];
            if (s->change == CHANGE_NONE || s->a == NULL || s->b == NULL)
                continue;
            fprintf(f, "| ");
            put_text(f, name);
            fprintf(f, " | %s | %.16s | %.16s | %s%s |\n", s->a->name, s->a->value, s->b->value,
                    change_names[s->change], compare_counts(c, s) ? ", **counts**" : "");
        }
    }
    fprintf(f, "\n");
}

void compare_markdown(FILE *f, const Comparison *c)
{
    int news = 0;
    for (int i = 0; i < c->n; i++)
        news += is_news(&c->cell[i]);
    fprintf(f, "### Longmix: ");
    put_summary(f, c);
    fprintf(f, "\n- ");
    put_side(f, "A", &c->side[COMPARE_A]);
    fprintf(f, "- ");
    put_side(f, "B", &c->side[COMPARE_B]);
    fprintf(f, "- on %s, %s%s%s\n\n", c->host, c->date, c->basis[0] != '\0' ? "; times: " : "",
            c->basis);
    if (news > 0)
        markdown_table(f, c, true);
    if (compare_tally(c).changed_facts > 0)
        markdown_facts(f, c);
    if (news < c->n) {
        fprintf(f, "<details><summary>%d equivalent</summary>\n\n", c->n - news);
        markdown_table(f, c, false);
        fprintf(f, "</details>\n");
    }
}
