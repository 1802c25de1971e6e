/* laws.c - the table of the battery's laws; each is a short function over test stands. */
#include "tests/law.h"

#include <stdio.h>

const Law laws[] = {
    {"mix = matrix V (ref)", 1e-11, 0, 0, law_matrix_ref},
    {"mix = matrix V (cpu)", 2e-5, 0, 0, law_matrix_cpu},
    {"ragged lengths (ref)", 1e-11, 0, 0, law_ragged_ref},
    {"ragged lengths (cpu)", 2e-5, 0, 0, law_ragged_cpu},
    {"cpu = ref, with gradients", 5e-5, 0, 0, law_against_ref},
    {"options of the block, cpu = ref", 5e-5, 0, 0, law_recipe},
    {"naive = tiled, with gradients", 5e-5, CAP_NAIVE, 0, law_naive},
    {"recompute = store, with gradients", 0, 0, 0, law_recompute},
    {"invert = store (ref)", 1e-11, 0, 0, law_invert_ref},
    {"invert = store (cpu)", 5e-5, 0, 0, law_invert_cpu},
    {"no leak from the future", 1e-12, CAP_CAUSAL, 0, law_causal},
    {"segments = one pass (ref)", 1e-11, CAP_STATEFUL, CAP_OWN_DECODE, law_segments_ref},
    {"segments = one pass (cpu)", 5e-5, CAP_STATEFUL, CAP_OWN_DECODE, law_segments_cpu},
    {"long segments = one pass (cpu)", 5e-5, CAP_STATEFUL, CAP_OWN_DECODE, law_segments_long},
    {"own decode = its matrix V (ref)", 1e-11, CAP_OWN_DECODE, 0, law_decode_ref},
    {"own decode = its matrix V (cpu)", 2e-5, CAP_OWN_DECODE, 0, law_decode_cpu},
    {"own decode, any segments (ref)", 1e-11, CAP_OWN_DECODE, 0, law_cuts_ref},
    {"own decode, any segments (cpu)", 5e-5, CAP_OWN_DECODE, 0, law_cuts_cpu},
    {"gradients = differences (ref)", 1e-6, 0, 0, law_gradients},
    {"batch permutation", 0, 0, 0, law_batch},
    {"head permutation", 2e-5, CAP_HEADS_EXCHANGEABLE, 0, law_heads},
    {"same bits for any threads", 0, 0, 0, law_threads},
    {"cost formula = work counted", 1e-12, 0, 0, law_cost},
    {"cost of decode = work counted", 1e-12, CAP_STATEFUL, 0, law_cost_decode},
    {"memory predicted = used", 0, 0, 0, law_memory},
    {"any failing allocation is clean", 0, 0, 0, law_failing},
    {"equals", 2e-5, 0, 0, law_equals},
};
const int n_laws = COUNT(laws);

const char *law_off(const Law *l, const Variant *v)
{
    static _Thread_local char why[64];
    if (l->measure == law_equals && v->mixer->equals == NULL)
        return "n/a (states no equal)";
    bool invert = l->measure == law_invert_ref || l->measure == law_invert_cpu;
    bool after = v->mixer_norm == NORM_POST || v->channel_norm == NORM_POST;
    if (invert && after && v->norm != NORM_NONE)
        return "n/a (norm after the sum)";
    for (int i = 0; i < N_CAPS; i++) {
        unsigned bit = 1u << i;
        bool lacks = l->needs & bit && !(variant_caps(v) & bit);
        if (!lacks && !(l->without & bit && variant_caps(v) & bit))
            continue;
        snprintf(why, sizeof why, "n/a (%s %s)", lacks ? "not" : "is", cap_names[i]);
        return why;
    }
    return NULL;
}
