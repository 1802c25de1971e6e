/* validate.h - is a journal what SCHEMA.md says? */
#ifndef LONGMIX_VALIDATE_H
#define LONGMIX_VALIDATE_H

#include "kernels/base.h"

#include <stdio.h>

/* Prints one line about a good journal, or the first errors with their line numbers. ST_USAGE when
 * there are errors, ST_IO when it cannot be read. */
Status report_validate(const char *path, FILE *out);

#endif
