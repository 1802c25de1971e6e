/* yardstick.h - what a machine's speed is measured by: matrix products, by the backend's own kernel
 * and by OpenBLAS, and reading more memory than the caches hold. On a GPU all of it is the
 * device's: products in the case's math, and its own memory. */
#ifndef LONGMIX_YARDSTICK_H
#define LONGMIX_YARDSTICK_H

#include "kernels/kernels.h"
#include "report/row.h"

typedef struct Product {
    int m, n, k;
} Product;
enum { YARD_HOST_PRODUCTS = 3, YARD_PRODUCTS = 5 };
extern const Product yard_products[YARD_PRODUCTS]; /* small ones first; the last ones for GPUs */

typedef struct Line { /* of a cache */
    uint64_t x[8];
} Line;

/* A zero or half-built one is fine for yard_free. */
typedef struct Yard {
    Dev *dev;
    Timer *timer;
    Buf a, b, c;     /* every product so far is a corner of them */
    int64_t numbers; /* of each */
    bool host;       /* OpenBLAS can reach them */
    int products;    /* so many of the table are for this device */
    int threads;
    Line *line; /* on the host */
    Buf on_device, sum;
    int64_t n_lines;
} Yard;

/* Opens c->backend in memory of its own. */
Status yard_open(Yard *y, const Case *c);
/* Takes and touches four times the last-level cache. */
Status yard_lines(Yard *y);
void yard_free(Yard *y);

/* Runs one of them once, after taking and filling what it needs; seconds. blas: by OpenBLAS with
 * all threads, on the host only. */
Status yard_multiply(Yard *y, int product, bool blas, double *seconds);
/* On a GPU the faster of reading all and of copying one half to the other, which moves as much. */
Status yard_read(const Yard *y, double *seconds);

double yard_flops(int product);
double yard_bytes(const Yard *y); /* that yard_read reads */

#endif
