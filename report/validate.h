/* validate.h - is a journal what SCHEMA.md says? */
#ifndef LONGMIX_VALIDATE_H
#define LONGMIX_VALIDATE_H

#include "kernels/base.h"

#include <stdio.h>

/* Prints one line about a good journal, or the first broken rules with their line numbers; *good
 * says which. Fails: ST_USAGE at the first line that is no row of this schema; ST_IO. */
Status report_validate(const char *path, FILE *out, bool *good);

#endif
