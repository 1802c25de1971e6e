/* duo_modules.c - cases of the layers that work on modules: multiplicative layer, convolution over
 * positions and modules. */
#include "tests/duo_ops.h"

#include <math.h>

/* ---- multiplicative layer ---- */
static void mult_case(Duo *u, Mult a, bool biased)
{
    const int64_t width = (int64_t)a.modules * a.m, n = a.rows * width;
    const double sd = 1 / sqrt((double)a.in);
    Arr x = duo_random(u, a.rows * a.in, 1, 1), g = duo_random(u, (int64_t)a.in * a.modules, 1, 2);
    Arr e = duo_random(u, (int64_t)a.in * a.m, sd, 3),
        bias = duo_random(u, biased ? width : 0, 1, 4);
    Arr y = duo_nans(u, n), dy = duo_random(u, n, 1 / sqrt((double)width), 5);
    Arr dx = duo_random(u, x.n, 1, 6), dg = duo_random(u, g.n, 1, 7), de = duo_random(u, e.n, 1, 8);
    Arr dbias = duo_random(u, bias.n, 1, 9);
    for (int i = 0; i < 2; i++) {
        a.x = at(x, i), a.g = at(g, i), a.e = at(e, i), a.bias = at(bias, i), a.y = at(y, i);
        duo_must(u->k[i]->mult_fwd(u->d[i], &a));
        a.dy = at(dy, i), a.dx = at(dx, i), a.dg = at(dg, i), a.de = at(de, i);
        a.dbias = at(dbias, i);
        duo_must(u->k[i]->mult_bwd(u->d[i], &a));
    }
    duo_same(u, y, "mult");
    duo_same(u, dx, "mult: dx");
    duo_same(u, dg, "mult: dg");
    duo_same(u, de, "mult: de");
    duo_same(u, dbias, "mult: dbias");
    duo_clear(u);
}

/* Few rows, which do not write the weights out, and many. */
void family_mult(Duo *u, bool small)
{
    mult_case(u, (Mult){.rows = 1, .in = 1, .modules = 1, .m = 1}, false);
    mult_case(u, (Mult){.rows = 3, .in = 5, .modules = 4, .m = 7}, true);
    mult_case(u, (Mult){.rows = 8, .in = 16, .modules = 1, .m = 16}, false);
    mult_case(u, (Mult){.rows = 9, .in = 7, .modules = 1, .m = 1}, true);
    mult_case(u, (Mult){.rows = 33, .in = 6, .modules = 5, .m = 3}, false);
    mult_case(u, (Mult){.rows = small ? 12 : 90, .in = 34, .modules = 4, .m = 36}, true);
}

/* ---- convolution ---- */
typedef struct ConvCase {
    int64_t batch, len;
    int modules, in, out, taps, side;
    bool bias, halo;
} ConvCase;

static ModConv shape_of(const ConvCase *c)
{
    return (ModConv){.batch = c->batch,
                     .len = c->len,
                     .modules = c->modules,
                     .in = c->in,
                     .out = c->out,
                     .taps = c->taps,
                     .side = c->side};
}

static void modconv_case(Duo *u, ConvCase c)
{
    const int64_t rows = c.batch * c.len * c.modules, line = (int64_t)c.taps * c.side * c.in;
    const int64_t n_halo = c.halo ? c.batch * (c.taps - 1) * c.modules * c.in : 0;
    Arr x = duo_random(u, rows * c.in, 1, 1), bias = duo_random(u, c.bias ? c.out : 0, 1, 2);
    Arr w = duo_random(u, line * c.out, 1 / sqrt((double)line), 3);
    Arr halo = duo_random(u, n_halo, 1, 4), y = duo_nans(u, rows * c.out);
    Arr dy = duo_random(u, rows * c.out, 1 / sqrt((double)rows), 5);
    Arr dx = duo_random(u, x.n, 1, 6), dw = duo_random(u, w.n, 1, 7);
    Arr dbias = duo_random(u, bias.n, 1, 8);
    for (int i = 0; i < 2; i++) {
        ModConv a = shape_of(&c);
        a.x = at(x, i), a.w = at(w, i), a.bias = at(bias, i), a.halo = at(halo, i), a.y = at(y, i);
        duo_must(u->k[i]->modconv_fwd(u->d[i], &a));
        a.halo = NULL, a.dy = at(dy, i), a.dx = at(dx, i), a.dw = at(dw, i);
        a.dbias = at(dbias, i);
        duo_must(u->k[i]->modconv_bwd(u->d[i], &a));
    }
    duo_same(u, y, "modconv");
    duo_same(u, dx, "modconv: dx");
    duo_same(u, dw, "modconv: dw");
    duo_same(u, dbias, "modconv: dbias");
    duo_clear(u);
}

/* One module, more taps or modules aside than there are, odd widths, sums cut into shares. */
void family_modconv(Duo *u, bool small)
{
    modconv_case(u, (ConvCase){1, 1, 1, 1, 1, 1, 1, .bias = true});
    modconv_case(u, (ConvCase){2, 1, 3, 4, 4, 3, 3, .halo = true});
    modconv_case(u, (ConvCase){1, 2, 2, 3, 5, 4, 5, .bias = true, .halo = true});
    modconv_case(u, (ConvCase){2, 9, 4, 5, 7, 3, 3, .bias = true});
    modconv_case(u, (ConvCase){2, 5, 3, 20, 12, 3, 3, .bias = true, .halo = true});
    modconv_case(u, (ConvCase){1, 1, 3, 32, 9, 3, 3, .bias = true, .halo = true});
    modconv_case(u, (ConvCase){2, 33, 4, 1, 2, 2, 1, .bias = true});
    if (small)
        return;
    modconv_case(u, (ConvCase){2, 37, 5, 16, 70, 3, 3, .bias = true, .halo = true});
    modconv_case(u, (ConvCase){1, 90, 4, 8, 8, 2, 1, .bias = true});
}
