/* variants_main.c - the promises of elsewhere.h as a plain program: what the sanitizers watch, and
 * what `make check-cuda` runs on a device.
 * Usage: variants_main BACKEND quick|all|table VARIANT|all
 *
 * table: only what has a size in the results, "outputs and gradients" and "several tiles"; prints
 * the larger error. Exit status 1: a promise is broken. */
#include "tests/elsewhere.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE = 2 }; /* promises that the table is made of */

static int run(const char *backend, const char *which, const Variant *v, int math)
{
    const bool all = strcmp(which, "all") == 0, table = strcmp(which, "table") == 0;
    int broken = 0;
    double most = 0;
    for (int i = 0; i < (table ? TABLE : n_promises); i++) {
        const Promise *p = &promises[i];
        if (!promise_applies(p, v) || (p->slow && !all))
            continue;
        const double error = p->measure(v, backend);
        const bool good = error <= p->bound[math];
        most = isnan(error) || error > most ? error : most;
        broken += !good;
        if (!table || !good)
            printf("%-4s %-16s %-32s %.9g (allowed %.1g)\n", good ? "ok" : "FAIL", v->name, p->name,
                   error, p->bound[math]);
        fflush(stdout);
    }
    if (table)
        printf("%-16s %-8s %.2e\n", v->name, math_names[math], most);
    return broken;
}

int main(int argc, char **argv)
{
    int broken = 0, n = 0;
    Dev *d;
    if (argc != 4) {
        fprintf(stderr, "usage: variants_main BACKEND quick|all|table VARIANT|all\n");
        return 2;
    }
    if (dev_open(&d, argv[1], 0, 0) != ST_OK) {
        fprintf(stderr, "%s\n", status_reason());
        return 2;
    }
    const int math = math_of(dev_kernels(d)->isa);
    dev_close(d);
    for (int i = 0; variant_table[i] != NULL; i++)
        if (strcmp(argv[3], "all") == 0 || strcmp(argv[3], variant_table[i]->name) == 0) {
            broken += run(argv[1], argv[2], variant_table[i], math);
            n++;
        }
    return n == 0 ? 2 : broken > 0;
}
