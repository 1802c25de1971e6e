/* rig_steps.h - what rig.c and rig_steps.c share. Private to them. */
#ifndef LONGMIX_RIG_STEPS_H
#define LONGMIX_RIG_STEPS_H

#include "bench/rig.h"

/* Fills input `copy` with the random numbers of positions `first` and later. */
Status rig_draw(Rig *r, int copy, int64_t first);
/* How the first block's mixer is called on its own. */
MixIn rig_mix_in(const Rig *r);

#endif
