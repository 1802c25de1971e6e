/* tables.h - the parts of RESULTS.md that are tables. Private to report/. */
#ifndef LONGMIX_TABLES_H
#define LONGMIX_TABLES_H

#include "report/rows.h"

#include <stdio.h>

/* Text of others, with what Markdown would take for its own marked: pipes, stars, angle brackets.
 */
void put_text(FILE *f, const char *s);

/* Each writes a section with its heading, or nothing where the journal has no such rows. */
Status table_headline(FILE *f, const Rows *rows); /* speed, memory, crossings, decode */
Status table_costs(FILE *f, const Rows *rows);    /* parameters, flops a token */
Status table_quality(FILE *f, const Rows *rows);
void table_roof(FILE *f, const Rows *rows);
void table_peers(FILE *f, const Rows *rows);
void table_ops(FILE *f, const Rows *rows);       /* op by op, for a terminal */
Status table_largest(FILE *f, const Rows *rows); /* three costs of each step, and that folded */
Status table_decode(FILE *f, const Rows *rows);  /* by model size */
Status table_kernels(FILE *f, const Rows *rows);
Status table_checks(FILE *f, const Rows *rows);
Status table_leaks(FILE *f, const Rows *rows);    /* what choices see of the future */
Status table_failures(FILE *f, const Rows *rows); /* every row that is not ok */
Status table_points(FILE *f, const Rows *rows);   /* every measured point, folded away */

#endif
