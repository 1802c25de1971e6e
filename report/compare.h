/* compare.h - A against B: what was found out about each cell, what it means together, and how it
 * is told: a table, JSON, Markdown for a pull request, a plot. */
#ifndef LONGMIX_COMPARE_H
#define LONGMIX_COMPARE_H

#include "report/fact.h"
#include "report/paired.h"
#include "report/row.h"

#include <stdio.h>

enum { COMPARE_A, COMPARE_B, COMPARE_SIDES };

/* How a side stands to a cell before anything is timed. */
typedef enum Standing {
    STANDING_OK,
    STANDING_ABSENT, /* unknown to it, or not supported */
    STANDING_BROKEN  /* crashed, ran out of memory or time, or computes something wrong */
} Standing;

typedef enum CellKind {
    CELL_USUAL,
    CELL_SAME,   /* a control: A against A, which must not differ */
    CELL_PLANTED /* a control: A against A made slower by a tenth, which must be seen */
} CellKind;

typedef struct CompareCell {
    CellKind kind;
    Case c;
    Standing standing[COMPARE_SIDES];
    char why[COMPARE_SIDES][160]; /* for all standings but ok */
    Facts facts[COMPARE_SIDES];
    bool timed, again_timed;
    Paired first, again; /* again: by new processes, see compare_wants_again */
    Finding finding;     /* of both, among all cells */
    char note[96];       /* what to know about the finding; mostly empty */
} CompareCell;

/* Which changes of facts count against B. */
typedef enum FactGate {
    FACTS_WORSE, /* costs that have grown */
    FACTS_ANY,   /* every change */
    FACTS_SHOW,  /* none */
    FACT_GATES
} FactGate;
extern const char *const fact_gate_names[FACT_GATES + 1]; /* "worse", "any", "show" */

typedef struct CompareSide {
    char name[128], build[24], commit[48], compiler[96], isa[16];
} CompareSide;

typedef struct Comparison {
    CompareSide side[COMPARE_SIDES];
    char date[32], host[96];
    char basis[160]; /* what times rest on, "" for pairs of this run */
    FactGate gate;
    CompareCell *cell; /* compare_free gives them back */
    int n;
} Comparison;

void compare_free(Comparison *c);

/* How many usual cells have standing on both sides: the family of Holm's procedure. */
int compare_family(const Comparison *c);
/* Findings of the cells among each other by Holm: a difference that does not count among so many
 * is inconclusive. */
void compare_judge(Comparison *c);
/* Is the cell to be measured again? Where a difference was found, and where it is not clear that B
 * is not slower. */
bool compare_wants_again(const CompareCell *cell);
/* After `again` was taken: a difference is one that both times have; what was unclear is equivalent
 * if it is so then. */
void compare_confirm(CompareCell *cell);

/* What became of a fact of a cell. */
typedef struct FactStep {
    const Fact *a, *b; /* one may be NULL */
    Change change;
} FactStep;
/* Facts of both sides, in the order of A, then new ones; at most 2 FACTS_MAX. Returns how many. */
int compare_facts(const CompareCell *cell, FactStep out[2 * FACTS_MAX]);
/* Does the change count against B? */
bool compare_counts(const Comparison *c, const FactStep *step);

enum { COMPARE_PASS = 0, COMPARE_REGRESSED = 1, COMPARE_USAGE = 2, COMPARE_UNCLEAR = 3 };
typedef struct Tally {
    int found[FINDINGS], unclear; /* unclear: B may be slower, as far as is known */
    int broken, absent, worse_facts, changed_facts;
    bool gate_broken; /* a control did not come out as it must */
    int exit_code;
} Tally;
Tally compare_tally(const Comparison *c);

/* "vanilla mix fwd n=512"; what all cells share is left to the caller. */
void compare_name(const CompareCell *cell, char *out, size_t size);

void compare_table(FILE *f, const Comparison *c);
/* Of the table only what is not the same without a clock. */
void compare_changes(FILE *f, const Comparison *c);
void compare_markdown(FILE *f, const Comparison *c);
/* Fails: ST_IO, ST_OOM. */
Status compare_json(const Comparison *c, const char *path);
/* compare.gp, .svg and .png in a folder, which is made. Fails as gnuplot_run; ST_UNSUPPORTED also
 * where no cell was timed. */
Status compare_plot(const Comparison *c, const char *folder);

/* Two results files instead of two builds: facts decide, and times only where both hold the same
 * run's samples, pair by pair. */
Status compare_journals(const char *a, const char *b, Comparison *out);

#endif
