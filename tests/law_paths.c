/* law_paths.c - two ways to one result: cpu and ref, naive and tiled, recomputed and stored. */
#include "tests/law.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double against_ref_at(const Setting *s)
{
    Setting ref = *s;
    ref.backend = "ref";
    return compare(s, &ref);
}

static double against_ref(const Setting *base)
{
    double most = 0;
    for (int i = 0; i < COUNT(lengths); i++) {
        Setting s = *base;
        s.len = lengths[i];
        most = worse(most, over_options(&s, against_ref_at));
    }
    Setting big = *base; /* several tiles of everything */
    big.len = 150;
    big.width = 36;
    big.heads = 3;
    big.ffn = 70;
    big.n_norm = 40;
    known_options(big.v, "s=20 c=32 block=5 rank=9 modules=6", big.set, sizeof big.set);
    return worse(most, against_ref_at(&big));
}
double law_against_ref(const Variant *v)
{
    return all_ways(v, "cpu", against_ref);
}

/* Norms of every kind, biases and residual on and off. */
static double recipe_at(const Setting *s)
{
    return over_table(s, recipe_options, against_ref_at);
}
double law_recipe(const Variant *v)
{
    return both_ways(v, "cpu", recipe_at);
}

static double naive_at(const Setting *base)
{
    Setting tiled = *base, naive;
    double small = 0;
    for (int i = 0; i < 2; i++) {
        naive = tiled;
        naive.naive = true;
        small = worse(small, compare(&tiled, &naive));
        tiled.len = 300; /* several tiles, an odd rest */
        tiled.n_norm = 50;
    }
    return small;
}
double law_naive(const Variant *v)
{
    return all_ways(v, "cpu", naive_at);
}

static double recompute_at(const Setting *base)
{
    Setting s = *base, again = *base;
    s.blocks = again.blocks = 3;
    s.store = again.recompute = true;
    return compare(&s, &again);
}
double law_recompute(const Variant *v)
{
    return worse(all_ways(v, "cpu", recompute_at), all_ways(v, "ref", recompute_at));
}

/* Blocks of two streams, computed back from their outputs, and the same with all kept. */
static double invert_at(const Setting *base)
{
    Setting s = *base, keep;
    size_t at = strlen(s.set);
    s.blocks = 3;
    snprintf(s.set + at, sizeof s.set - at, "reversible=1 ");
    keep = s;
    keep.store = true;
    return compare(&s, &keep);
}
double law_invert_ref(const Variant *v)
{
    return all_ways(v, "ref", invert_at);
}
double law_invert_cpu(const Variant *v)
{
    return all_ways(v, "cpu", invert_at);
}
