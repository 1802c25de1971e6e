/* selftest.h - how often the comparison of builds cries wolf, and how often it sees the wolf: a
 * small JSON file that `longmix selftest stats` writes and the report reads (SCHEMA.md). */
#ifndef LONGMIX_SELFTEST_H
#define LONGMIX_SELFTEST_H

#include "report/paired.h"

#include <stdio.h>

typedef struct SelftestCell {
    double effect; /* fraction by which B was slowed down; 0: A and B are the same */
    bool hog;      /* while other programs wanted the cores */
    int n, count[FINDINGS], unconfirmed; /* comparisons; by finding; differences not seen again */
    double pairs, seconds;               /* mean of each comparison */
} SelftestCell;

enum { SELFTEST_SCHEMA = 1, SELFTEST_MAX = 32 };
typedef struct Selftest {
    char date[32], host[96], commit[48], build[24], command[256], what[128];
    int n;
    SelftestCell cell[SELFTEST_MAX];
} Selftest;

/* Replaces the file, and makes its folder. Fails: ST_IO, ST_OOM. */
Status selftest_write(const Selftest *s, const char *path);
/* Fails: ST_IO; ST_USAGE for a file that is none. */
Status selftest_read(const char *path, Selftest *out);

/* A table in Markdown, with 95 % intervals of the rates. */
void selftest_table(FILE *f, const Selftest *s);
/* The same as a section of the report. */
void selftest_section(FILE *f, const Selftest *s);

typedef enum Bar { BAR_MET, BAR_MISSED, BAR_NOT_TOLD } Bar;
/* False alarms at most 1 in 100 over 400 or more; 10 % found in 95 of 100; 5 %, with no hog, in 90
 * of 100; none of it judged from fewer than 20 comparisons. */
Bar selftest_bar(const SelftestCell *c);

#endif
