/* laws.h - the conformance battery: what every variant must obey, with no test of its own.
 *
 * A law measures an error at one or many small settings; it holds when the error is within its
 * bound. A law that a capability switches off says so. */
#ifndef LONGMIX_TESTS_LAWS_H
#define LONGMIX_TESTS_LAWS_H

#include "variants/template/mixer.h"

typedef struct Law {
    const char *name;
    double bound;
    unsigned needs;   /* capabilities without which it does not apply */
    unsigned without; /* capabilities with which it does not apply */
    /* The largest error; NaN fails. */
    double (*measure)(const Variant *v);
} Law;

extern const Law laws[];
extern const int n_laws;

/* NULL when the law applies to v, else the capability that switches it off: "needs stateful". */
const char *law_off(const Law *l, const Variant *v);

#endif
