/* format.h - numbers with units, short enough for a table or an axis. */
#ifndef LONGMIX_FORMAT_H
#define LONGMIX_FORMAT_H

#include "kernels/base.h"

/* A short text, passed by value. */
typedef struct Text {
    char s[32];
} Text;

Text text_length(double tokens); /* "512", "1k", "3.1k", "1M": k is 1024 */
Text text_bytes(double bytes);   /* "1.5 GiB" */
Text text_digits(double x); /* three significant digits, "0.0123", "1.5", "12300"; "-" for NaN */
Text text_fixed(double x, int n);   /* n digits behind the point; "-" for NaN */
Text text_count(double n);          /* "812", "196.6k", "12.3M": k is 1000 */
Text text_rate(double flops);       /* "98.3 GFLOP/s" */
Text text_seconds(double seconds);  /* "12 ms", "61.5 s", "3.4 min" */
Text text_percent(double fraction); /* "41 %" */

#endif
