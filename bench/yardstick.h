/* yardstick.h - what a machine's speed is measured by: matrix products, by the backend's own kernel
 * and by OpenBLAS, and reading more memory than the caches hold. */
#ifndef LONGMIX_YARDSTICK_H
#define LONGMIX_YARDSTICK_H

#include "kernels/kernels.h"
#include "report/row.h"

typedef struct Product {
    int m, n, k;
} Product;
enum { YARD_PRODUCTS = 3 };
extern const Product yard_products[YARD_PRODUCTS]; /* the small one first */

typedef struct Line { /* of a cache */
    uint64_t x[8];
} Line;

/* A zero or half-built one is fine for yard_free. */
typedef struct Yard {
    Dev *dev;
    Timer *timer;
    Buf a, b, c; /* every product is a corner of them */
    bool host;   /* OpenBLAS can reach them */
    int threads;
    Line *line;
    int64_t n_lines;
} Yard;

/* Opens c->backend in memory of its own, with room for the first n products. */
Status yard_open(Yard *y, const Case *c, int n);
/* Takes and touches four times the last-level cache. */
Status yard_lines(Yard *y);
void yard_free(Yard *y);

/* Runs one of them once; seconds. blas: by OpenBLAS with all threads, on the host only. */
Status yard_multiply(const Yard *y, int product, bool blas, double *seconds);
Status yard_read(const Yard *y, double *seconds);

double yard_flops(int product);
double yard_bytes(const Yard *y); /* that yard_read reads */

#endif
