/* duo_chunks.c - cases of mixed chunk attention: whole sequences with gradients, and segments that
 * carry state. */
#include "tests/duo_ops.h"

#include <math.h>

typedef struct Case {
    int64_t batch, len;
    int chunk, s, e;
    bool causal, lin_mean, lens, bias;
} Case;

typedef struct Arrays {
    Arr qq, kq, ql, kl, v, o, d_o, dqq, dkq, dql, dkl, dv, lens, bias, d_bias;
} Arrays;

static Chunks shape_of(const Case *c)
{
    return (Chunks){.batch = c->batch,
                    .len = c->len,
                    .chunk = c->chunk,
                    .s = c->s,
                    .e = c->e,
                    .causal = c->causal,
                    .lin_mean = c->lin_mean,
                    .local_scale = 1 / sqrt(c->s),
                    .local_post = 1 / sqrt(c->chunk),
                    .lin_scale = 1 / sqrt((double)c->chunk * c->s),
                    .bias_scale = 0.7};
}

static Arrays arrays_of(Duo *u, const Case *c)
{
    const int64_t ns = c->batch * c->len * c->s, ne = c->batch * c->len * c->e;
    const int32_t lens[] = {(int32_t)(c->len / 2 + 1), (int32_t)c->len, 0};
    Arrays x = {.lens = duo_ids(u, c->lens ? c->batch : 0, lens)};
    CHECK(c->batch <= COUNT(lens));
    x.qq = duo_random(u, ns, 1, 1), x.kq = duo_random(u, ns, 1, 2);
    x.ql = duo_random(u, ns, 1, 3), x.kl = duo_random(u, ns, 1, 4);
    x.v = duo_random(u, ne, 1, 5), x.o = duo_nans(u, ne);
    x.d_o = duo_random(u, ne, 1 / sqrt(c->e), 6);
    x.dqq = duo_random(u, ns, 1, 7), x.dkq = duo_random(u, ns, 1, 8);
    x.dql = duo_random(u, ns, 1, 9), x.dkl = duo_random(u, ns, 1, 10);
    x.dv = duo_random(u, ne, 1, 11);
    x.bias = duo_random(u, c->bias ? 2 * c->chunk - 1 : 0, 1, 12);
    x.d_bias = duo_random(u, x.bias.n, 1, 13);
    return x;
}

static void whole_case(Duo *u, Case c)
{
    Arrays x = arrays_of(u, &c);
    for (int i = 0; i < 2; i++) {
        Chunks a = shape_of(&c);
        a.lens = at(x.lens, i), a.bias = at(x.bias, i), a.v = at(x.v, i), a.o = at(x.o, i);
        a.qq = at(x.qq, i), a.kq = at(x.kq, i), a.ql = at(x.ql, i), a.kl = at(x.kl, i);
        duo_must(u->k[i]->chunks_fwd(u->d[i], &a));
        a.d_o = at(x.d_o, i), a.dqq = at(x.dqq, i), a.dkq = at(x.dkq, i);
        a.dql = at(x.dql, i), a.dkl = at(x.dkl, i), a.dv = at(x.dv, i);
        a.d_bias = at(x.d_bias, i);
        duo_must(u->k[i]->chunks_bwd(u->d[i], &a));
    }
    duo_same(u, x.o, "chunks");
    duo_same(u, x.dqq, "chunks: dqq");
    duo_same(u, x.dkq, "chunks: dkq");
    duo_same(u, x.dql, "chunks: dql");
    duo_same(u, x.dkl, "chunks: dkl");
    duo_same(u, x.dv, "chunks: dv");
    duo_same(u, x.d_bias, "chunks: dbias");
    duo_clear(u);
}

/* One call a segment; inputs are drawn anew for each. */
static void segments_case(Duo *u, Case c, const int64_t *cuts, int n)
{
    const int64_t se = c.batch * c.s * c.e;
    Arr sum = duo_zeros(u, se), part = duo_zeros(u, se);
    Arr keys = duo_zeros(u, c.batch * c.chunk * c.s), vals = duo_zeros(u, c.batch * c.chunk * c.e);
    int64_t pos = 0;
    for (int k = 0; k < n; k++) {
        Case part_case = c;
        part_case.len = cuts[k], part_case.lens = false;
        Arrays x = arrays_of(u, &part_case);
        const int32_t lens[] = {(int32_t)(c.len / 2), (int32_t)c.len, 1};
        x.lens = duo_ids(u, c.lens ? c.batch : 0, lens);
        for (int i = 0; i < 2; i++) {
            Chunks a = shape_of(&part_case);
            a.pos = pos, a.lens = at(x.lens, i), a.bias = at(x.bias, i), a.o = at(x.o, i);
            a.qq = at(x.qq, i), a.kq = at(x.kq, i), a.ql = at(x.ql, i), a.kl = at(x.kl, i);
            a.v = at(x.v, i), a.sum = at(sum, i), a.part = at(part, i);
            a.keys = at(keys, i), a.vals = at(vals, i);
            duo_must(u->k[i]->chunks_fwd(u->d[i], &a));
        }
        pos += cuts[k];
        duo_same(u, x.o, "chunks with state");
        duo_same(u, sum, "chunks with state: sum");
        duo_same(u, part, "chunks with state: part");
        duo_drop(u, 4); /* all but the state */
    }
    duo_clear(u);
}

void family_chunks(Duo *u, bool small)
{
    static const int64_t cuts[] = {1, 3, 4, 1, 9, 12, 2}; /* 32 */
    Case c = {.batch = 2, .len = 13, .chunk = 4, .s = 6, .e = 10};
    for (int which = 0; which < 8; which++) {
        c.causal = which & 1, c.lin_mean = which & 2, c.lens = which & 4, c.bias = which >= 3;
        whole_case(u, c);
        if (c.causal)
            segments_case(u, c, cuts, COUNT(cuts));
    }
    whole_case(u, (Case){.batch = 1, .len = 1, .chunk = 4, .s = 1, .e = 1, .causal = true});
    whole_case(u, (Case){.batch = 1, .len = 40, .chunk = 32, .s = 8, .e = 9, .lens = true});
    whole_case(u, (Case){.batch = 1, .len = 9, .chunk = 4, .s = 20, .e = 3, .causal = true});
    if (small)
        return;
    c = (Case){.batch = 3, .len = 150, .chunk = 64, .s = 20, .e = 70, .causal = true, .bias = true};
    whole_case(u, c);
    c.causal = false, c.lens = true;
    whole_case(u, c);
}
