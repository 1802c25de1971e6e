/* law.h - what the laws share: small settings by the dozen, and the laws by family. */
#ifndef LONGMIX_TESTS_LAW_H
#define LONGMIX_TESTS_LAW_H

#include "tests/laws.h"
#include "tests/stand.h"

/* The lengths at which seams show: one row, less than a chunk, whole chunks, a rest. */
enum { N_LENGTHS = 8 };
extern const int64_t lengths[N_LENGTHS];

double *room(int64_t n); /* n zeros; free them */

typedef double SettingFn(const Setting *s);

/* Each returns the largest error of fn: with every value of every option of a small range, one at a
 * time; at base and with the mixer's options; causal and bidirectional, as far as the variant has
 * them. */
double over_table(const Setting *base, const Option *options, SettingFn *fn);
double over_options(const Setting *base, SettingFn *fn);
double both_ways(const Variant *v, const char *backend, SettingFn *fn);
/* The same, and in training too where that differs: with what is drawn one way and the other. */
double all_ways(const Variant *v, const char *backend, SettingFn *fn);

/* Outputs and all gradients of two settings of equal sizes. */
double compare(const Setting *a, const Setting *b);

/* o = P V of all groups by the definition, (B,T,width): from the parts of a whole pass of r. Free
 * it. */
typedef void MatrixFn(double *P, const HostParts *h, int group, const MixCtx *c);
double *by_definition(Stand *r, const Parts *parts, MatrixFn *matrix, int width);

/* Two laws of any backend. */
double memory_on(const Variant *v, const char *backend);
double failing_on(const Variant *v, const char *backend);

typedef double LawFn(const Variant *v);
LawFn law_matrix_ref, law_matrix_cpu, law_ragged_ref, law_ragged_cpu;
LawFn law_against_ref, law_recipe, law_naive, law_recompute, law_invert_ref, law_invert_cpu;
LawFn law_segments_ref, law_segments_cpu, law_segments_long, law_causal;
LawFn law_decode_ref, law_decode_cpu, law_cuts_ref, law_cuts_cpu;
LawFn law_gradients;
LawFn law_batch, law_heads, law_threads;
LawFn law_cost, law_cost_decode, law_memory;
LawFn law_failing;
LawFn law_equals;

#endif
