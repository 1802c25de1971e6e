/* results.h - RESULTS.md: tables and plots from a journal, with no device at hand. */
#ifndef LONGMIX_RESULTS_H
#define LONGMIX_RESULTS_H

#include "kernels/base.h"

#include <stdio.h>

/* Writes a report, and its plots into a folder that is made. The newest row of each point counts,
 * of the newest build in the journal. Without gnuplot there are tables and a line that says how to
 * get it. Equal journals give equal bytes. selftest: results of `longmix selftest stats`, which
 * become a section; NULL: none. Fails: ST_USAGE for a file that cannot be read; ST_IO. */
Status report_make(const char *journal, const char *out_md, const char *plots_folder,
                   const char *selftest);

/* The tables of kernels, peers and (if wanted) ops alone, for a terminal; nothing where the journal
 * has none. */
Status report_kernels(const char *journal, bool ops, FILE *out);

#endif
