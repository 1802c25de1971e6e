/* size.h - published model sizes by name, for the decode benchmark and the papers' sweeps. */
#ifndef LONGMIX_SIZE_H
#define LONGMIX_SIZE_H

#include "report/row.h"
#include "variants/template/mixer.h"

/* One model family: the dense model, and what its sparse ones have in place of dense layers. */
typedef struct Size {
    const char *name;
    int width, heads, layers, vocab;
    int ffn, ffn_sparse; /* dense projections; sparse ones, with what they save put back; 0: own */
    int modules, block, rank; /* 0: the variant's own, all of them */
} Size;

extern const Size size_table[]; /* from small to large; a NULL name ends it */

typedef struct SizeNames {
    const char *name[17];
} SizeNames;
SizeNames size_names(void); /* ending in NULL */

/* Puts the numbers of a size into a case of a variant. Options that the variant has and the case
 * does not set are set; a model gets as many layers as take at most half of mem_limit (0: all)
 * where they are dense, so that all variants have the same. */
Status size_apply(const Size *s, const Variant *v, Case *c);

#endif
