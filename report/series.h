/* series.h - rows grouped into lines: a line is what differs in context length alone. */
#ifndef LONGMIX_SERIES_H
#define LONGMIX_SERIES_H

#include "report/rows.h"
#include "report/style.h"

typedef struct Series {
    const Row *const *row; /* n of them, by ascending length; whatever their status */
    int n;
    char label[96]; /* the variant, and what tells this line from others of the variant */
    Style style;
    int nth; /* 0, 1, ... among the lines of the variant */
} Series;

typedef struct SeriesSet {
    Series *item;
    int n;
    const Row **rows; /* what the series point into */
} SeriesSet;

/* A number of a row, NaN where it has none. */
typedef double Measure(const Row *r);

/* CASE rows of a level and pass, or all TRAIN rows (one series each), in the order of the legend.
 * Zero is a valid empty value. Fails: ST_OOM. */
Status series_of_cases(const Rows *rows, Level level, Pass pass, SeriesSet *out);
Status series_of_trainings(const Rows *rows, SeriesSet *out);
void series_free(SeriesSet *s);

/* The points of a series where it has a finite positive measure and status ok: x, y >= s->n
 * numbers. */
int series_points(const Series *s, Measure *measure, double *x, double *y);
/* The first row past the last good one: what stopped the series; NULL when nothing did. */
const Row *series_stop(const Series *s);
const Row *series_last_ok(const Series *s);       /* NULL when there is none */
const Row *series_at(const Series *s, int64_t n); /* its good row of that length, or NULL */
/* The series of the same variant and settings in another set, or NULL. */
const Series *series_twin(const SeriesSet *set, const Series *s);

/* Measures. */
double seconds_per_sequence(const Row *r);
double micros_per_token(const Row *r);
double micros_per_token_p20(const Row *r);
double micros_per_token_p80(const Row *r);
double micros_per_token_lo(const Row *r); /* 99 % interval of the median */
double micros_per_token_hi(const Row *r);
double counted_bytes(const Row *r);
double predicted_bytes(const Row *r);
double percent_of_sgemm(const Row *r); /* NaN for what is limited by the bandwidth */

#endif
