/* duo_layers.c - cases of layers along the positions: convolution, recurrent unit, biases by
 * distance, and of random numbers. */
#include "tests/duo_ops.h"

#include <math.h>

/* ---- convolution ---- */
typedef struct ConvCase {
    int64_t batch, len;
    int width, taps;
    bool bias, halo;
} ConvCase;

static void conv_case(Duo *u, ConvCase c)
{
    const int64_t n = c.batch * c.len * c.width, nw = (int64_t)c.taps * c.width;
    Arr x = duo_random(u, n, 1, 1), w = duo_random(u, nw, 1, 2), y = duo_nans(u, n);
    Arr bias = duo_random(u, c.bias ? c.width : 0, 1, 3), dbias = duo_random(u, bias.n, 1, 4);
    Arr halo = duo_random(u, c.halo ? c.batch * (c.taps - 1) * c.width : 0, 1, 5);
    Arr dy = duo_random(u, n, 1, 6), dx = duo_random(u, n, 1, 7), dw = duo_random(u, nw, 1, 8);
    for (int i = 0; i < 2; i++) {
        Conv a = {.batch = c.batch, .len = c.len, .width = c.width, .taps = c.taps};
        a.x = at(x, i), a.w = at(w, i), a.bias = at(bias, i), a.y = at(y, i), a.halo = at(halo, i);
        duo_must(u->k[i]->conv_fwd(u->d[i], &a));
        a.halo = NULL, a.dy = at(dy, i), a.dbias = at(dbias, i);
        a.dx = at(dx, i), a.dw = at(dw, i);
        duo_must(u->k[i]->conv_bwd(u->d[i], &a));
    }
    duo_same(u, y, "conv");
    duo_same(u, halo, "conv: halo");
    duo_same(u, dx, "conv: dx");
    duo_same(u, dw, "conv: dw");
    duo_same(u, dbias, "conv: dbias");
    duo_clear(u);
}

void family_conv(Duo *u, bool small)
{
    static const int taps[] = {1, 2, 3, 4, 5, 16, 17, CONV_TAPS_MAX};
    for (int i = 0; i < COUNT(taps); i++) {
        const bool odd = i % 2 != 0;
        conv_case(u, (ConvCase){1, 1, 1, taps[i], odd, !odd});
        conv_case(u, (ConvCase){2, 7, 5, taps[i], !odd, odd}); /* more taps than positions */
        conv_case(u, (ConvCase){2, small ? 33 : 70, 33, taps[i], odd, true});
    }
    if (!small)
        conv_case(u, (ConvCase){1, 1500, 65, 3, true, true});
}

/* ---- recurrent unit ---- */
/* Gates around 4 forget little, so that much comes from one chunk of positions to the next. */
static void sru_case(Duo *u, int64_t batch, int64_t len, int width, bool state)
{
    const int64_t n = batch * len * width;
    Arr g = duo_shifted(u, 3 * n, width > 1 ? 4 : 0, 1, 1), x = duo_random(u, n, 1, 2),
        h = duo_nans(u, n);
    Arr c = duo_nans(u, n), kept = duo_random(u, state ? batch * width : 0, 1, 3);
    Arr dh = duo_random(u, n, 1, 4), dg = duo_random(u, 3 * n, 1, 5), dx = duo_random(u, n, 1, 6);
    for (int i = 0; i < 2; i++) {
        Sru a = {.batch = batch, .len = len, .width = width, .g = at(g, i), .x = at(x, i)};
        a.h = at(h, i), a.state = at(kept, i), a.c = at(c, i);
        duo_must(u->k[i]->sru_fwd(u->d[i], &a));
        a.state = NULL, a.dh = at(dh, i), a.dg = at(dg, i), a.dx = at(dx, i);
        if (!state)
            duo_must(u->k[i]->sru_bwd(u->d[i], &a));
    }
    duo_same(u, h, "sru");
    duo_same(u, c, "sru: c");
    duo_same(u, kept, "sru: state");
    duo_same(u, dg, "sru: dg");
    duo_same(u, dx, "sru: dx");
    duo_clear(u);
}

/* One position, one chunk of positions, several with a shorter last one. */
void family_sru(Duo *u, bool small)
{
    static const int64_t lens[] = {1, 5, 63, 64, 101, 1000};
    for (int i = 0; i < COUNT(lens) - small; i++)
        for (int state = 0; state < 2; state++) {
            sru_case(u, 1, lens[i], 1, state);
            sru_case(u, 3, lens[i], small ? 7 : 33, state);
        }
}

/* ---- biases by distance ---- */
static void rel_case(Duo *u, Rel r)
{
    const int64_t width = r.kind == REL_ROPE ? r.width : REL_BUCKETS;
    Arr a = duo_random(u, width, 1, 1), c = duo_random(u, r.kind == REL_ROPE ? width : 0, 1, 2);
    Arr y = duo_nans(u, r.n), dy = duo_random(u, r.n, 1 / sqrt((double)r.n), 3);
    Arr da = duo_random(u, a.n, 1, 4), dc = duo_random(u, c.n, 1, 5);
    for (int i = 0; i < 2; i++) {
        r.a = at(a, i), r.c = at(c, i), r.y = at(y, i);
        duo_must(u->k[i]->rel_fwd(u->d[i], &r));
        r.dy = at(dy, i), r.da = at(da, i), r.dc = at(dc, i);
        duo_must(u->k[i]->rel_bwd(u->d[i], &r));
    }
    duo_same(u, y, "rel");
    duo_same(u, da, "rel: da");
    duo_same(u, dc, "rel: dc");
    duo_clear(u);
}

/* Tables that begin before, in and behind the distances with buckets of their own. */
void family_rel(Duo *u, bool small)
{
    static const int64_t firsts[] = {0, -1, -40, -300, 60, 200};
    for (int i = 0; i < COUNT(firsts); i++)
        for (int which = i < 3 ? 0 : 2; which < 4; which++) {
            Rel r = {.kind = REL_BUCKET, .causal = which & 1, .first = firsts[i], .scale = 0.7};
            r.n = which < 2 ? 1 : 401;
            rel_case(u, r);
            r = (Rel){.kind = REL_ROPE, .half = which & 1, .first = firsts[i], .base = 10000};
            r.n = which < 2 ? 1 : 301, r.width = 2 + 34 * (i % 3);
            rel_case(u, r);
        }
    rel_case(u, (Rel){.kind = REL_ROPE, .n = 65, .first = -1000003, .width = 8, .base = 10000});
    if (small)
        return;
    rel_case(u, (Rel){.kind = REL_ROPE, .n = 30000, .first = -9, .width = 2, .base = 10000});
    rel_case(u, (Rel){.kind = REL_ROPE, .n = 5000, .first = -4999, .width = 128, .base = 10000});
    rel_case(u, (Rel){.kind = REL_BUCKET, .n = 20000, .first = -10000, .scale = 1});
}

/* ---- random numbers ---- */
void family_random(Duo *u, bool small)
{
    static const uint64_t offsets[] = {0, 1, 6, 3, ((uint64_t)1 << 34) - 2};
    for (int i = 0; i < COUNT(offsets); i++)
        for (int64_t n = 1; n < (small ? 100 : 5000); n = 4 * n + i) {
            Arr y = duo_nans(u, n);
            for (int side = 0; side < 2; side++)
                duo_must(u->k[side]->normal(u->d[side], n, 0x123456789abcdef0u + (unsigned)i,
                                            7u << 24, offsets[i], at(y, side)));
            duo_same(u, y, "normal");
            duo_clear(u);
        }
}
