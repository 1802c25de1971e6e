/* export.h - a journal in the formats of others. */
#ifndef LONGMIX_EXPORT_H
#define LONGMIX_EXPORT_H

#include "report/rows.h"

#include <stdio.h>

typedef enum ExportFormat {
    EXPORT_CSV,    /* RFC 4180: a line for each case and training, a column for each number */
    EXPORT_GOOGLE, /* JSON of google-benchmark: each sample a repetition, and aggregates */
    EXPORT_GITHUB_SMALLER, /* github-action-benchmark, customSmallerIsBetter: times, memory, bits */
    EXPORT_GITHUB_BIGGER,  /* github-action-benchmark, customBiggerIsBetter: tokens a second */
    EXPORT_FORMATS
} ExportFormat;
extern const char *const export_format_names[EXPORT_FORMATS + 1];

/* Fails: ST_IO, ST_OOM. */
Status export_rows(FILE *f, const Rows *rows, ExportFormat format);

/* "gau/layer/fwd/tiled/n:4096/batch:1/width:256/heads:4/...": all that tells two points apart. */
void export_name(const Row *r, char *out, size_t size);

#endif
