/* duo_sparse.c - cases of blocks of units: soft masks, choices (ties, noise of both kinds), and the
 * sparse feed-forward layer with few rows and with many, popular units and units nobody picks. */
#include "tests/duo_ops.h"

#include <math.h>

/* ---- blocks ---- */
static void soft_case(Duo *u, int64_t n, int block)
{
    Arr z = duo_random(u, n * block, 3, 1), m = duo_nans(u, n * block);
    Arr dm = duo_random(u, n * block, 1, 2), dz = duo_random(u, n * block, 1, 3);
    for (int i = 0; i < 2; i++) {
        SoftBlocks a = {.n = n, .block = block, .z = at(z, i), .m = at(m, i)};
        duo_must(u->k[i]->soft_blocks_fwd(u->d[i], &a));
        a.dm = at(dm, i), a.dz = at(dz, i);
        duo_must(u->k[i]->soft_blocks_bwd(u->d[i], &a));
    }
    duo_same(u, m, "soft_blocks");
    duo_same(u, dz, "soft_blocks: dz");
    duo_clear(u);
}

static void compare_picks(Duo *u, Pick a, Arr z, Arr noise, const char *name)
{
    Arr pick = duo_random_ids(u, a.n, 1000, 9);
    for (int i = 0; i < 2; i++) {
        a.z = at(z, i), a.u = at(noise, i), a.pick = at(pick, i);
        duo_must(u->k[i]->pick(u->d[i], &a));
    }
    duo_note(u, (double)duo_differ(u, pick), name);
    duo_clear(u);
}

/* Without noise, with the stream's from an odd number on (z alike: the largest uniform number
 * wins), with noise that is given, some of it 0 or 1; then ties. */
static void pick_case(Duo *u, int64_t n, int block)
{
    static const double far[] = {0, -1, 1e6};
    Pick a = {.n = n, .block = block, .seed = 0x123456789abcdefull, .stream = 7};
    compare_picks(u, a, duo_random(u, n * block, 1, 1), (Arr){0}, "pick");
    a.tau = 0.5, a.offset = ((uint64_t)1 << 34) + 3;
    compare_picks(u, a, duo_random(u, n * block, 1, 1), (Arr){0}, "pick: own noise");
    compare_picks(u, a, duo_zeros(u, n * block), (Arr){0}, "pick: noise alone");
    compare_picks(u, a, duo_random(u, n * block, 1, 1), duo_shifted(u, n * block, 0.5, 0.4, 2),
                  "pick: given noise");
    a.tau = 0;
    for (int i = 0; i < COUNT(far); i++)
        compare_picks(u, a, duo_shifted(u, n * block, far[i], 0, 1), (Arr){0}, "pick: ties");
    compare_picks(u, a, duo_nans(u, n * block), (Arr){0}, "pick: nothing is a number");
}

void family_blocks(Duo *u, bool small)
{
    static const int64_t shapes[][2] = {{1, 1},  {1, 33}, {5, 4},  {67, 16},
                                        {9, 31}, {6, 64}, {3, 300}};
    for (int i = 0; i < COUNT(shapes); i++) {
        soft_case(u, shapes[i][0], (int)shapes[i][1]);
        pick_case(u, shapes[i][0], (int)shapes[i][1]);
    }
    if (!small)
        pick_case(u, 5000, 32);
}

/* ---- the layer ---- */
typedef struct Case {
    int64_t rows;
    int width, blocks, block;
    bool scaled, estimate, bias;
    int popular; /* units of a block that are picked at all */
} Case;

typedef struct Arrays {
    Arr x, w1, w2, bias, z, y, u, pick, dy, dx, dw1, dw2, dbias, dz;
} Arrays;

static Arrays arrays_of(Duo *u, const Case *c)
{
    const int64_t n = c->rows * c->width, units = (int64_t)c->blocks * c->block;
    Arrays a = {.x = duo_random(u, n, 1, 1)};
    a.w1 = duo_random(u, units * c->width, 1 / sqrt(c->width), 2);
    a.w2 = duo_random(u, units * c->width, 1 / sqrt(c->blocks), 3);
    a.bias = duo_random(u, c->bias ? c->width : 0, 1, 4);
    a.z = duo_random(u, c->scaled || c->estimate ? c->rows * units : 0, 2, 5);
    a.y = duo_nans(u, n), a.u = duo_nans(u, c->rows * c->blocks);
    a.pick = duo_random_ids(u, c->rows * c->blocks, c->popular, 6);
    a.dy = duo_random(u, n, 1, 7), a.dx = duo_random(u, n, 1, 8);
    a.dw1 = duo_random(u, units * c->width, 1, 9);
    a.dw2 = duo_random(u, units * c->width, 1, 10);
    a.dbias = duo_random(u, a.bias.n, 1, 11);
    a.dz = duo_random(u, c->estimate ? a.z.n : 0, 1, 12);
    return a;
}

/* wanted: bits for dx, dw1, dw2. */
static void ff_case(Duo *u, Case c, int wanted)
{
    const Arrays x = arrays_of(u, &c);
    for (int i = 0; i < 2; i++) {
        SparseFf a = {.rows = c.rows, .width = c.width, .blocks = c.blocks, .block = c.block};
        a.scaled = c.scaled, a.pick = at(x.pick, i), a.z = at(x.z, i), a.bias = at(x.bias, i);
        a.x = at(x.x, i), a.w1 = at(x.w1, i), a.w2 = at(x.w2, i);
        a.y = at(x.y, i), a.u = at(x.u, i);
        duo_must(u->k[i]->sparse_ff_fwd(u->d[i], &a));
        a.dy = at(x.dy, i), a.dbias = at(x.dbias, i), a.dz = at(x.dz, i);
        a.dx = wanted & 1 ? at(x.dx, i) : NULL;
        a.dw1 = wanted & 2 ? at(x.dw1, i) : NULL;
        a.dw2 = wanted & 4 ? at(x.dw2, i) : NULL;
        duo_must(u->k[i]->sparse_ff_bwd(u->d[i], &a));
    }
    duo_same(u, x.y, "sparse_ff");
    duo_same(u, x.u, "sparse_ff: u");
    duo_same(u, x.dx, "sparse_ff: dx");
    duo_same(u, x.dw1, "sparse_ff: dw1");
    duo_same(u, x.dw2, "sparse_ff: dw2");
    duo_same(u, x.dbias, "sparse_ff: dbias");
    duo_same(u, x.dz, "sparse_ff: dz");
    duo_clear(u);
}

void family_sparse_ff(Duo *u, bool small)
{
    static const Case cases[] = {
        {.rows = 1, .width = 1, .blocks = 1, .block = 1, .popular = 1},
        {.rows = 1, .width = 132, .blocks = 5, .block = 4, .popular = 4, .bias = true},
        {.rows = 16, .width = 67, .blocks = 9, .block = 7, .popular = 7, .scaled = true},
        {.rows = 17, .width = 33, .blocks = 3, .block = 5, .popular = 2, .estimate = true},
        {.rows = 40, .width = 8, .blocks = 1, .block = 40, .popular = 1, .bias = true}};
    for (int i = 0; i < COUNT(cases); i++)
        for (int wanted = 7; wanted > 0; wanted -= small ? 7 : 1)
            ff_case(u, cases[i], wanted);
    Case c = {.rows = small ? 50 : 300, .width = 36, .blocks = 4, .block = 16, .popular = 16};
    c.scaled = c.estimate = c.bias = true;
    ff_case(u, c, 7);
}
