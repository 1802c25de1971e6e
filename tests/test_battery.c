/* test_battery.c - every law on every variant of the table, or on $LONGMIX_VARIANT alone.
 * Prints the largest error of each. */
#include "tests/laws.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Pair {
    int law, variant;
} Pair;

enum { MAX_PAIRS = 4096 };

ParameterizedTestParameters(battery, law)
{
    static Pair pairs[MAX_PAIRS];
    const char *only = getenv("LONGMIX_VARIANT");
    size_t n = 0;
    for (int v = 0; variant_table[v] != NULL; v++)
        for (int l = 0; l < n_laws && n < MAX_PAIRS; l++)
            if (only == NULL || strcmp(only, variant_table[v]->name) == 0)
                pairs[n++] = (Pair){l, v};
    return cr_make_param_array(Pair, pairs, n);
}

ParameterizedTest(Pair *p, battery, law, .timeout = 120)
{
    const Law *l = &laws[p->law];
    const Variant *v = variant_table[p->variant];
    const char *off = law_off(l, v);
    if (off != NULL) {
        printf("%-16s %-36s %s\n", v->name, l->name, off);
        return;
    }
    double error = l->measure(v);
    printf("%-16s %-36s %.2g (allowed %.2g)\n", v->name, l->name, error, l->bound);
    cr_assert(error <= l->bound, "%s: %s: error %g, allowed %g", v->name, l->name, error, l->bound);
}
