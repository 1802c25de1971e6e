/* law_time.c - one pass = segments = token by token, and nothing leaks from the future. */
#include "tests/law.h"

#include <math.h>
#include <stdlib.h>

/* ---- one pass = segments = token by token ---- */
enum { MAX_CUTS = 16 }; /* lengths of the segments of one pass, zeros behind them */

/* One whole pass against n ways to cut it. */
static double segments_by(Setting s, const int64_t cuts[][MAX_CUTS], int n)
{
    double most = 0;
    Stand whole, parts;
    stand_open(&whole, &s);
    s.state = true;
    stand_open(&parts, &s);
    double *y = room(stand_size(&whole)), *z = room(stand_size(&whole));
    stand_forward(&whole, y);
    for (int i = 0; i < n; i++) {
        stand_segments(&parts, cuts[i], z);
        most = worse(most, worst(z, y, stand_size(&whole)));
    }
    free(y);
    free(z);
    stand_close(&whole);
    stand_close(&parts);
    return most;
}

static double segments_at(const Setting *base)
{
    static const int64_t cuts[][MAX_CUTS] = {{13},
                                             {1, 12},
                                             {3, 1, 4, 5},
                                             {4, 4, 4, 1},
                                             {6, 7},
                                             {9, 2, 2},
                                             {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};
    Setting s = *base;
    s.blocks = 2;
    return segments_by(s, cuts, COUNT(cuts));
}
static double segments_on(const Variant *v, const char *backend)
{
    Setting s = setting_small(v, backend);
    return over_options(&s, segments_at);
}
double law_segments_ref(const Variant *v)
{
    return segments_on(v, "ref");
}
double law_segments_cpu(const Variant *v)
{
    return segments_on(v, "cpu");
}

/* Long enough for many tiles, and for decode kernels to split their keys. */
double law_segments_long(const Variant *v)
{
    static const int64_t cuts[][MAX_CUTS] = {{700}, {256, 256, 188}, {699, 1}, {1, 300, 1, 397, 1}};
    Setting s = setting_small(v, "cpu");
    s.len = 700;
    s.batch = 1;
    s.width = 32;
    s.ffn = 48;
    s.n_norm = 100;
    known_options(s.v, "s=16 c=64 block=8 rank=5 modules=8", s.set, sizeof s.set);
    return segments_by(s, cuts, COUNT(cuts));
}

/* ---- nothing leaks from the future ---- */
static double causal_at(const Setting *base)
{
    double most = 0;
    Setting s = *base;
    s.blocks = 2;
    Stand r;
    stand_open(&r, &s);
    int64_t n = stand_size(&r), w = s.width;
    double *x = numbers(n, 1, 1), *y = room(n), *z = room(n);
    stand_forward(&r, y);
    stand_freeze(&r, true);
    for (int64_t t = 0; t + 1 < s.len; t++) { /* change all that comes after t */
        double *x2 = numbers(n, 1, 1);
        for (int64_t b = 0; b < s.batch; b++)
            for (int64_t i = (b * s.len + t + 1) * w; i < (b + 1) * s.len * w; i++)
                x2[i] = 5 - x[i];
        stand_set_input(&r, x2);
        stand_forward(&r, z);
        for (int64_t b = 0; b < s.batch; b++)
            most = worse(most, worst(z + b * s.len * w, y + b * s.len * w, (t + 1) * w));
        free(x2);
    }
    free(x);
    free(y);
    free(z);
    stand_close(&r);
    return most;
}
double law_causal(const Variant *v)
{
    Setting ref = setting_small(v, "ref"), cpu = setting_small(v, "cpu");
    return worse(over_options(&ref, causal_at), over_options(&cpu, causal_at));
}
