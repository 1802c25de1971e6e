/* solve.h - sizes that give every recipe the same number of parameters.
 *
 * Variants are compared at equal parameter counts, embedding and head left out. The solver picks
 * depth, width (a multiple of 16) and channel width (of 8; E in the GAU family). */
#ifndef LONGMIX_SOLVE_H
#define LONGMIX_SOLVE_H

#include "bench/model.h"

/* Parameters of such a model without embedding and head, from the declarations alone. */
int64_t solve_count(const ModelSpec *s);
/* Of embedding and loss layer (s->ctx.vocab). */
int64_t solve_ends(const ModelSpec *s);

/* Heads of about 32 columns, an even number each, that divide the width; 1 where no more do. */
int solve_heads(int width);

/* Fills layers, ctx.width, ctx.heads and ctx.ffn so that the count is at most `params` and within
 * 2 % of it, as near as possible to the usual shape (width 64 per layer, head width 32, the
 * recipe's own channel width). Fails: ST_USAGE when no size fits. */
Status solve_size(ModelSpec *s, const char *set, int64_t params);

/* The same for a fixed depth and number of heads, s->layers and s->ctx.heads: fills ctx.width, near
 * the width it has (that one where it can be), and ctx.ffn, both multiples of 16, so that the count
 * is within 1 % of `params`. Fails: ST_USAGE with the nearest there is. */
Status solve_match(ModelSpec *s, const char *set, int64_t params);

#endif
