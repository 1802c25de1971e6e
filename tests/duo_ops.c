/* duo_ops.c - cases of the simple kernels: edges of rows, of warps and of blocks. */
#include "tests/duo_ops.h"

#include <math.h>

/* ---- sums, copies ---- */
static void flat_case(Duo *u, int64_t n)
{
    Arr a = duo_random(u, n, 1, 1), b = duo_random(u, n, 1, 2), y = duo_nans(u, n);
    Arr total = duo_nans(u, 1), squares = duo_random(u, 1, 1, 3), five = duo_nans(u, n);
    Arr shifted = duo_shifted(u, n, 100, 1, 4), mixed = duo_nans(u, n);
    for (int i = 0; i < 2; i++) {
        duo_must(u->k[i]->add(u->d[i], n, at(a, i), at(b, i), at(y, i)));
        duo_must(u->k[i]->add(u->d[i], n, at(a, i), at(b, i), at(a, i)));
        duo_must(u->k[i]->blend(u->d[i], n, 0.3, at(y, i), -1.7, at(b, i), at(mixed, i)));
        duo_must(u->k[i]->blend(u->d[i], n, 1, at(y, i), -1, at(b, i), at(b, i)));
        duo_must(u->k[i]->fill(u->d[i], n, 0.1, at(five, i)));
        duo_must(u->k[i]->sum(u->d[i], n, 0.5, at(shifted, i), at(total, i)));
        duo_must(u->k[i]->sumsq(u->d[i], n, at(shifted, i), at(squares, i)));
    }
    duo_same(u, y, "add");
    duo_same(u, a, "add in place");
    duo_same(u, mixed, "blend");
    duo_same(u, b, "blend in place");
    duo_same(u, five, "fill");
    duo_same(u, total, "sum");
    duo_same(u, squares, "sumsq");
    duo_clear(u);
}

static void colsum_case(Duo *u, int64_t rows, int64_t width)
{
    Arr x = duo_random(u, rows * width, 1, 1), y = duo_random(u, width, 1, 2);
    for (int i = 0; i < 2; i++)
        duo_must(u->k[i]->colsum(u->d[i], rows, width, at(x, i), at(y, i)));
    duo_same(u, y, "colsum");
    duo_clear(u);
}

static void copy_case(Duo *u, int64_t batch, int64_t rows, int64_t width, int64_t gap, bool add)
{
    Copy c = {.batch = batch, .rows = rows, .width = width, .add = add};
    c.src_row = width + gap, c.dst_row = width + 2 * gap;
    c.src_batch = rows * c.src_row + gap, c.dst_batch = rows * c.dst_row;
    Arr src = duo_random(u, batch * c.src_batch, 1, 1),
        dst = duo_random(u, batch * c.dst_batch, 1, 2);
    for (int i = 0; i < 2; i++) {
        c.src = at(src, i), c.dst = at(dst, i);
        duo_must(u->k[i]->copy(u->d[i], &c));
    }
    duo_same(u, dst, add ? "copy and add" : "copy");
    duo_clear(u);
}

void family_sums(Duo *u, bool small)
{
    static const int64_t sizes[] = {1, 31, 32, 33, 257, 4097, 100000};
    for (int i = 0; i < COUNT(sizes) - 2 * small; i++)
        flat_case(u, sizes[i]);
    colsum_case(u, 1, 1);
    colsum_case(u, 33, 31);
    colsum_case(u, 17, 65);
    colsum_case(u, small ? 40 : 700, 33);
    for (int gap = 0; gap < 2; gap++) {
        copy_case(u, 1, 1, 1, gap, gap);
        copy_case(u, 3, 5, 17, gap, false);
        copy_case(u, 2, small ? 9 : 200, 33, gap, true);
    }
}

/* ---- gates and gains ---- */
static void gate_case(Duo *u, Act act, int64_t n, bool gated, bool set)
{
    const int64_t nb = gated ? n : 0;
    Arr a = duo_random(u, n, 2, 1), b = duo_random(u, nb, 1, 2), y = duo_nans(u, n);
    Arr dy = duo_random(u, n, 1, 3), da = set ? duo_unset(u, n) : duo_random(u, n, 1, 4);
    Arr db = set ? duo_unset(u, nb) : duo_random(u, nb, 1, 5);
    for (int i = 0; i < 2; i++) {
        Gate g = {.act = act, .n = n, .a = at(a, i), .b = at(b, i), .y = at(y, i)};
        duo_must(u->k[i]->gate_fwd(u->d[i], &g));
        g.dy = at(dy, i), g.da = at(da, i), g.db = at(db, i);
        g.set_da = g.set_db = set;
        duo_must(u->k[i]->gate_bwd(u->d[i], &g));
    }
    duo_same(u, y, "gate");
    duo_same(u, da, "gate: da");
    duo_same(u, db, "gate: db");
    duo_clear(u);
}

static void affine_case(Duo *u, int64_t rows, int width, bool gain, bool bias)
{
    int64_t n = rows * width;
    Arr x = duo_random(u, n, 1, 1), g = duo_random(u, gain ? width : 0, 1, 2);
    Arr b = duo_random(u, bias ? width : 0, 1, 3), y = duo_nans(u, n), dy = duo_random(u, n, 1, 4);
    Arr dx = duo_random(u, n, 1, 5), dg = duo_random(u, gain ? width : 0, 1, 6);
    Arr db = duo_random(u, bias ? width : 0, 1, 7);
    for (int i = 0; i < 2; i++) {
        Affine a = {.rows = rows,
                    .width = width,
                    .x = at(x, i),
                    .gain = at(g, i),
                    .bias = at(b, i),
                    .y = at(y, i)};
        duo_must(u->k[i]->affine_fwd(u->d[i], &a));
        a.dy = at(dy, i), a.dx = at(dx, i), a.dgain = at(dg, i), a.dbias = at(db, i);
        duo_must(u->k[i]->affine_bwd(u->d[i], &a));
    }
    duo_same(u, y, "affine");
    duo_same(u, dx, "affine: dx");
    duo_same(u, dg, "affine: dgain");
    duo_same(u, db, "affine: dbias");
    duo_clear(u);
}

void family_gates(Duo *u, bool small)
{
    for (int act = ACT_NONE; act <= ACT_SIGMOID; act++) {
        gate_case(u, (Act)act, 33, true, false);
        gate_case(u, (Act)act, 65, true, true);
        gate_case(u, (Act)act, small ? 40 : 3000, false, act % 2 == 0);
    }
    for (int which = 0; which < 4; which++)
        affine_case(u, small ? 9 : 70, 33, which % 2 != 0, which / 2 != 0);
}

/* ---- norms ---- */
static void norm_case(Duo *u, NormKind kind, int64_t rows, int width, double mean, bool bias)
{
    int64_t n = rows * width, gains = kind == NORM_SCALE ? 1 : width;
    Arr x = duo_shifted(u, n, mean, 1, 1), g = duo_shifted(u, gains, 1, 0.3, 2);
    Arr b = duo_random(u, bias ? width : 0, 1, 3), y = duo_nans(u, n),
        stats = duo_nans(u, 2 * rows);
    Arr dy = duo_random(u, n, 1, 4), dx = duo_random(u, n, 1, 5), dg = duo_random(u, gains, 1, 6);
    Arr db = duo_random(u, bias ? width : 0, 1, 7);
    for (int i = 0; i < 2; i++) {
        Norm a = {.kind = kind,
                  .rows = rows,
                  .width = width,
                  .eps = 1e-5,
                  .x = at(x, i),
                  .gain = at(g, i),
                  .bias = at(b, i),
                  .y = at(y, i),
                  .stats = at(stats, i)};
        duo_must(u->k[i]->norm_fwd(u->d[i], &a));
        a.dy = at(dy, i), a.dx = at(dx, i), a.dgain = at(dg, i), a.dbias = at(db, i);
        duo_must(u->k[i]->norm_bwd(u->d[i], &a));
    }
    duo_same(u, y, "norm");
    duo_same(u, stats, "norm: stats");
    duo_same(u, dx, "norm: dx");
    duo_same(u, dg, "norm: dgain");
    duo_same(u, db, "norm: dbias");
    duo_clear(u);
}

void family_norms(Duo *u, bool small)
{
    static const int widths[] = {1, 3, 32, 33, 130, 300, 2100};
    for (int kind = NORM_LAYER; kind <= NORM_SCALE; kind++)
        for (int i = 0; i < COUNT(widths) - 2 * small; i++)
            norm_case(u, (NormKind)kind, small ? 3 : 5 + 30 * (i % 2), widths[i], i == 3 ? 10 : 0.5,
                      i % 2 == 0);
}

/* ---- rotary positions ---- */
static void rope_case(Duo *u, Rope r)
{
    int64_t n = r.rows * r.heads * r.d;
    Arr x = duo_random(u, n, 1, 1), y = duo_random(u, n, 1, 2);
    for (int i = 0; i < 2; i++) {
        r.x = at(x, i), r.y = at(y, i);
        duo_must(u->k[i]->rope(u->d[i], &r));
    }
    duo_same(u, y, "rope");
    duo_clear(u);
}

void family_rope(Duo *u, bool small)
{
    for (int which = 0; which < 8; which++)
        rope_case(u, (Rope){.rows = small ? 6 : 30,
                            .len = 15,
                            .pos = which == 3 ? 1000003 : 2,
                            .heads = 1 + 2 * (which % 2),
                            .d = 7,
                            .rot = which == 5 ? 0 : 6,
                            .base = 10000,
                            .half = which & 1,
                            .inverse = which & 2,
                            .add = which & 4});
}

/* ---- language ---- */
static void embed_case(Duo *u, int64_t rows, int width, int vocab)
{
    Arr ids = duo_random_ids(u, rows, vocab, 1),
        table = duo_random(u, (int64_t)vocab * width, 1, 2);
    Arr y = duo_nans(u, rows * width), dy = duo_random(u, rows * width, 1, 3);
    Arr dtable = duo_random(u, (int64_t)vocab * width, 1, 4);
    for (int i = 0; i < 2; i++) {
        Embed a = {.rows = rows,
                   .width = width,
                   .vocab = vocab,
                   .ids = at(ids, i),
                   .table = at(table, i),
                   .y = at(y, i),
                   .dy = at(dy, i),
                   .dtable = at(dtable, i)};
        duo_must(u->k[i]->embed_fwd(u->d[i], &a));
        duo_must(u->k[i]->embed_bwd(u->d[i], &a));
    }
    duo_same(u, y, "embed");
    duo_same(u, dtable, "embed: dtable");
    duo_clear(u);
}

/* Every fifth row does not count. */
static void xent_case(Duo *u, int64_t rows, int vocab, double mean, double sd)
{
    int32_t target[64];
    CHECK(rows <= COUNT(target));
    for (int r = 0; r < rows; r++)
        target[r] = r % 5 == 4 ? -1 : r * 7 % vocab;
    Arr logits = duo_shifted(u, rows * vocab, mean, sd, 1), ids = duo_ids(u, rows, target);
    Arr nll = duo_nans(u, rows), dloss = duo_random(u, 1, 1, 2);
    Arr dlogits = duo_random(u, rows * vocab, 1, 3);
    for (int i = 0; i < 2; i++) {
        Xent a = {.rows = rows,
                  .vocab = vocab,
                  .logits = at(logits, i),
                  .target = at(ids, i),
                  .nll = at(nll, i),
                  .weight = 0.3,
                  .dloss = at(dloss, i),
                  .dlogits = at(dlogits, i)};
        duo_must(u->k[i]->xent_fwd(u->d[i], &a));
        duo_must(u->k[i]->xent_bwd(u->d[i], &a));
    }
    duo_same(u, nll, "xent");
    duo_same(u, dlogits, "xent: dlogits");
    duo_clear(u);
}

void family_language(Duo *u, bool small)
{
    static const int vocabs[] = {1, 2, 31, 33, 256, 700};
    embed_case(u, 1, 1, 1);
    embed_case(u, 33, 5, 7);
    embed_case(u, small ? 40 : 200, 130, 9);
    for (int i = 0; i < COUNT(vocabs) - 2 * small; i++) {
        xent_case(u, 7, vocabs[i], 0, 2);
        xent_case(u, small ? 9 : 40, vocabs[i], 1000, 30);
    }
}

/* ---- the optimiser ---- */
static void adamw_case(Duo *u, int64_t n, int64_t step)
{
    Arr w = duo_random(u, n, 1, 1), m = duo_random(u, n, 0.1, 2), grad = duo_random(u, n, 1, 4);
    Arr v = duo_shifted(u, n, 1, 0.1, 3);
    for (int i = 0; i < 2; i++) {
        AdamW a = {.n = n,
                   .step = step,
                   .lr = 0.01,
                   .beta1 = 0.9,
                   .beta2 = 0.999,
                   .eps = 1e-8,
                   .decay = 0.1,
                   .grad_scale = 0.7,
                   .w = at(w, i),
                   .m = at(m, i),
                   .v = at(v, i),
                   .grad = at(grad, i)};
        duo_must(u->k[i]->adamw(u->d[i], &a));
    }
    duo_same(u, w, "adamw: w");
    duo_same(u, m, "adamw: m");
    duo_same(u, v, "adamw: v");
    duo_clear(u);
}

void family_adamw(Duo *u, bool small)
{
    adamw_case(u, 1, 1);
    adamw_case(u, 33, 2);
    adamw_case(u, small ? 65 : 3000, 1000);
}

/* ---- matrix products ---- */
static void gemm_case(Duo *u, int64_t m, int64_t n, int64_t k, int how)
{
    Gemm g = {.m = m, .n = n, .k = k, .ta = how & 1, .tb = how & 2, .beta = how & 4 ? 1 : 0};
    g.alpha = 1 / sqrt((double)k);
    g.lda = (g.ta ? m : k) + how % 3;
    g.ldb = (g.tb ? k : n) + how % 2;
    g.ldc = n + (how & 4 ? 3 : 0);
    Arr a = duo_random(u, (g.ta ? k : m) * g.lda, 1, 1);
    Arr b = duo_random(u, (g.tb ? n : k) * g.ldb, 1, 2);
    Arr bias = duo_random(u, how & 8 ? n : 0, 1, 3), c = duo_random(u, m * g.ldc, 1, 4);
    for (int i = 0; i < 2; i++) {
        g.a = at(a, i), g.b = at(b, i), g.bias = at(bias, i), g.c = at(c, i);
        duo_must(u->k[i]->gemm(u->d[i], &g));
    }
    duo_same(u, c, "gemm");
    duo_clear(u);
}

void family_gemm(Duo *u, bool small)
{
    static const int64_t shapes[][3] = {
        {1, 1, 1}, {3, 5, 7}, {17, 1, 33}, {1, 64, 40}, {33, 65, 31}};
    for (int i = 0; i < COUNT(shapes); i++)
        for (int how = 0; how < 16; how += small ? 3 : 1)
            gemm_case(u, shapes[i][0], shapes[i][1], shapes[i][2], how);
}
