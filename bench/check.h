/* check.h - no number without a passed check: a backend against ref, for one variant. */
#ifndef LONGMIX_CHECK_H
#define LONGMIX_CHECK_H

#include "report/row.h"

/* The small case that stands for all cases of the variant, backend, implementation and options of
 * c: 2 sequences of 101 tokens, up to 2 heads of the width that they have in c, chunks and keys of
 * a few where the options leave them open. */
Case check_case(const Case *c);

/* The largest relative error that the case's way to multiply may leave. */
double check_tolerance(const Case *c);

/* Runs a block forward and backward on c->backend and on ref, with the same weights and inputs, and
 * fills a ROW_CHECK: the largest relative error over output and gradients, and what is allowed. For
 * variants with carried state the output counts once more, by two segments and then token by token,
 * against the whole pass on ref, or against the same on ref where decode is a definition of its
 * own. Of causal variants with choices the leak is measured, on ref. */
void check_run(const Case *c, Row *row);

#endif
