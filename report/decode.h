/* decode.h - the decode benchmark's rows: one token by model size, dense and sparse. Private to
 * report/. */
#ifndef LONGMIX_DECODE_H
#define LONGMIX_DECODE_H

#include "report/rows.h"

#include <stdio.h>

typedef struct DecodeRows {
    const Row **row; /* by level, width and bytes, the largest first; free it */
    int n;
    double bandwidth, rate; /* bytes/s, flop/s of the machine; NaN: not measured */
} DecodeRows;

Status decode_rows(const Rows *rows, DecodeRows *out);
const Row *decode_dense(const DecodeRows *d, const Row *r);    /* of the same size, or NULL */
double decode_seconds(const Row *r);                           /* of a token */
double decode_speedup(const DecodeRows *d, const Row *r);      /* over the dense one; NaN */
double decode_byte_speedup(const DecodeRows *d, const Row *r); /* by the bytes alone */

/* Speed-up of one block over the dense one against the width: measured and by the byte model. */
Status plot_decode(FILE *f, const char *name, const Rows *rows, bool *drawn);

#endif
