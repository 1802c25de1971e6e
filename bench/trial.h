/* trial.h - a comparison with its confirmation: what differs is measured again by new processes,
 * with other orders and other places in memory, and counts when both agree. */
#ifndef LONGMIX_TRIAL_H
#define LONGMIX_TRIAL_H

#include "bench/pairing.h"

typedef struct TrialSpec {
    const char *program[SIDES];
    Case c;
    double drag[SIDES];
    DuelSpec duel;
} TrialSpec;

/* One duel of new processes. Fails as pairing_open and duel do; *which: the side that did. */
Status trial_once(const TrialSpec *spec, Paired *out, int *which);

/* What two independent findings say together: a difference only if both have it. */
Finding trial_agree(Finding first, Finding again);

#endif
