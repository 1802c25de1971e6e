/* elsewhere.h - the variant battery on a backend that is neither ref nor cpu: the CUDA sources,
 * emulated or on a device, against float64.
 *
 * Knows no test framework, so that it also runs in a plain program under sanitizers and on a GPU
 * (variants_main.c). */
#ifndef LONGMIX_TESTS_ELSEWHERE_H
#define LONGMIX_TESTS_ELSEWHERE_H

#include "variants/template/mixer.h"

typedef struct Promise {
    const char *name;
    double bound[3];         /* products in float32, tf32, bf16 */
    unsigned needs, without; /* capabilities with and without which it does not apply */
    bool slow;
    /* The largest error; NaN fails. Settings whose kernels the backend lacks are left out, and
     * named on stdout. */
    double (*measure)(const Variant *v, const char *backend);
} Promise;

extern const Promise promises[];
extern const int n_promises;

bool promise_applies(const Promise *p, const Variant *v);

/* 0 float32, 1 tf32, 2 bf16: how the backend computes products, from its isa. */
int math_of(const char *isa);
extern const char *const math_names[3];

#endif
