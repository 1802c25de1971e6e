/* trial.c - see trial.h. */
#include "bench/trial.h"

#include <string.h>

Status trial_once(const TrialSpec *spec, Paired *out, int *which)
{
    Pairing p = {.drag = {spec->drag[SIDE_A], spec->drag[SIDE_B]}};
    Status st = pairing_open(&p, spec->program, &spec->c, spec->duel.seed, which);
    if (st == ST_OK) {
        Arena arena = pairing_arena(&p);
        *which = SIDE_B;
        st = duel(&arena, &spec->duel, out);
    }
    pairing_close(&p);
    return st;
}

Finding trial_agree(Finding first, Finding again)
{
    bool differs = first == FINDING_SLOWER || first == FINDING_FASTER;
    return !differs || first == again     ? first
           : again == FINDING_ENVIRONMENT ? FINDING_ENVIRONMENT
                                          : FINDING_INCONCLUSIVE;
}
