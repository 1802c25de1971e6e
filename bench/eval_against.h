/* eval_against.h - `longmix eval NEW... --against OLD...`: which training models a text better. */
#ifndef LONGMIX_EVAL_AGAINST_H
#define LONGMIX_EVAL_AGAINST_H

#include "bench/trainer.h"
#include "report/contrast.h"

enum { EVAL_MAX_SEEDS = 16 };

/* Checkpoints of one recipe, a seed each. */
typedef struct Seeds {
    int n;
    const char *path[EVAL_MAX_SEEDS];
} Seeds;

/* Examines both sides on all windows of a split, prints the difference in bits per byte of every
 * seed and what may be claimed. ST_USAGE where the sides are not as long as each other, contexts
 * differ, or a seed comes twice. */
Status eval_against(const Seeds *these, const Seeds *those, Dev *d, const Text *text,
                    TextSplit split, Claim *claim);

#endif
