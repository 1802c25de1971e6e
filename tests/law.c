/* law.c - see law.h. */
#include "tests/law.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double *room(int64_t n)
{
    double *x = calloc((size_t)n, sizeof *x);
    CHECK(x != NULL);
    return x;
}

const int64_t lengths[N_LENGTHS] = {1, 2, 3, 4, 5, 8, 12, 13};

double over_table(const Setting *base, const Option *o, SettingFn *fn)
{
    double most = 0;
    for (int i = 0; i < option_count(o); i++)
        for (double value = o[i].lo; o[i].whole && o[i].hi - o[i].lo <= 8 && value <= o[i].hi;
             value++) {
            Setting s = *base;
            MixCtx c;
            size_t at = strlen(s.set);
            snprintf(s.set + at, sizeof s.set - at, "%s=%g ", o[i].name, value);
            CHECK(setting_ctx(&s, &c) == ST_OK);
            if (mix_accepts(s.v, &c) == ST_OK)
                most = worse(most, fn(&s));
        }
    return most;
}

double over_options(const Setting *base, SettingFn *fn)
{
    const ChannelMixer *f = base->v->channel;
    double most = worse(fn(base), over_table(base, base->v->mixer->options, fn));
    return f != NULL ? worse(most, over_table(base, f->options, fn)) : most;
}

double both_ways(const Variant *v, const char *backend, SettingFn *fn)
{
    double most = 0;
    for (int causal = 0; causal < 2; causal++) {
        Setting s = setting_small(v, backend);
        s.causal = causal != 0;
        if (variant_caps(v) & (causal ? CAP_CAUSAL : CAP_BIDIRECTIONAL))
            most = worse(most, fn(&s));
    }
    return most;
}

double all_ways(const Variant *v, const char *backend, SettingFn *fn)
{
    static const char *const draws[] = {"quant_prob=0", "quant_prob=1"};
    double most = both_ways(v, backend, fn);
    for (int i = 0; variant_caps(v) & CAP_DRAWS && i < COUNT(draws); i++) {
        Setting s = setting_small(v, backend);
        known_options(v, draws[i], s.draws, sizeof s.draws);
        s.training = true;
        s.causal = (variant_caps(v) & CAP_CAUSAL) != 0;
        most = worse(most, fn(&s));
    }
    return most;
}

double compare(const Setting *a, const Setting *b)
{
    Stand r[2];
    double *y[2], *dx[2], *dw[2], most = 0;
    for (int i = 0; i < 2; i++) {
        Setting s = i == 0 ? *a : *b;
        s.grads = true;
        stand_open(&r[i], &s);
        int64_t n = stand_size(&r[i]);
        double *dy = numbers(n, 1, 9);
        y[i] = room(n);
        dx[i] = room(n);
        dw[i] = room(stand_n_params(&r[i]));
        stand_backward(&r[i], dy, y[i], dx[i], dw[i]);
        free(dy);
    }
    most = worse(worst(y[0], y[1], stand_size(&r[0])), worst(dx[0], dx[1], stand_size(&r[0])));
    most = worse(most, worst(dw[0], dw[1], stand_n_params(&r[0])));
    for (int i = 0; i < 2; i++) {
        free(y[i]);
        free(dx[i]);
        free(dw[i]);
        stand_close(&r[i]);
    }
    return most;
}
