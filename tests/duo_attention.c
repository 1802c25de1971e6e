/* duo_attention.c - cases of pairwise attention: masks, ragged lengths, wide values, gaps. */
#include "tests/duo_ops.h"

#include <math.h>

enum { GAP = 3 };

typedef struct Case {
    AttnKind kind;
    bool causal, post_rows, lens, naive, bias, log_scale, set;
    int64_t batch, q_len, k_len, q_pos;
    int heads, d, dv, gap;
    double logit;
    int64_t far; /* entries of the bias for distances that there are not */
} Case;

/* Arrays of a case, with `gap` unused elements behind every row. A case that overwrites gradients
 * has nothing unused in them. */
typedef struct Arrays {
    Arr q, k, v, o, lse, matrix, d_matrix, d_o, dq, dk, dv, lens, bias, d_bias;
} Arrays;

static Attn shape_of(const Case *c)
{
    Attn a = {.kind = c->kind, .naive = c->naive, .causal = c->causal, .post_rows = c->post_rows};
    a.batch = c->batch, a.q_len = c->q_len, a.k_len = c->k_len, a.q_pos = c->q_pos;
    a.heads = c->heads, a.d = c->d, a.dv = c->dv;
    a.scale = (c->logit > 0 ? c->logit : 1) / sqrt((double)c->d);
    a.post = c->post_rows ? 1.0 : 1.0 / (double)c->k_len;
    a.q_row = c->heads * c->d + c->gap, a.k_row = a.q_row + c->gap;
    a.o_row = c->heads * c->dv + c->gap, a.v_row = a.o_row + c->gap;
    a.k_batch = (c->k_len + !c->set) * a.k_row, a.v_batch = (c->k_len + 2 * !c->set) * a.v_row;
    a.set_dq = a.set_dk = a.set_dv = c->set;
    if (c->log_scale)
        a.log_base = 512, a.log_floor = 2;
    a.bias_zero = c->q_pos + c->q_len + 1 + c->far, a.bias_scale = 0.7;
    return a;
}

static Arr lens_of(Duo *u, const Case *c)
{
    int32_t lens[8];
    CHECK(c->batch <= COUNT(lens));
    for (int b = 0; b < c->batch; b++)
        lens[b] = (int32_t)(b % 3 == 0 ? c->k_len / 2 + 1 : b % 3 == 1 ? 0 : c->k_len);
    return duo_ids(u, c->lens ? c->batch : 0, lens);
}

static Arrays arrays_of(Duo *u, const Case *c, const Attn *a)
{
    const int64_t rows = c->batch * c->q_len, pairs = rows * c->heads * c->k_len;
    Arrays x = {.lens = lens_of(u, c)};
    x.q = duo_random(u, rows * a->q_row, 1, 1);
    x.k = duo_random(u, c->batch * a->k_batch, 1, 2);
    x.v = duo_random(u, c->batch * a->v_batch, 1, 3);
    x.o = duo_random(u, rows * a->o_row, 1, 4);
    x.lse = duo_nans(u, c->kind == ATTN_SOFTMAX ? rows * c->heads : 0);
    x.matrix = duo_nans(u, c->naive ? pairs : 0);
    x.d_matrix = duo_nans(u, c->naive ? pairs : 0);
    x.d_o = duo_random(u, rows * a->o_row, 1 / sqrt((double)c->dv), 5);
    x.dq = c->set ? duo_unset(u, x.q.n) : duo_random(u, x.q.n, 1, 6);
    x.dk = c->set ? duo_unset(u, x.k.n) : duo_random(u, x.k.n, 1, 7);
    x.dv = c->set ? duo_unset(u, x.v.n) : duo_random(u, x.v.n, 1, 8);
    x.bias = duo_random(u, c->bias ? a->bias_zero + c->k_len : 0, 1, 9);
    x.d_bias = duo_random(u, x.bias.n, 1, 10);
    return x;
}

static void attention_case(Duo *u, Case c)
{
    Attn a = shape_of(&c);
    Arrays x = arrays_of(u, &c, &a);
    for (int i = 0; i < 2; i++) {
        a.lens = at(x.lens, i), a.bias = at(x.bias, i), a.d_bias = at(x.d_bias, i);
        a.q = at(x.q, i), a.k = at(x.k, i), a.v = at(x.v, i), a.o = at(x.o, i);
        a.lse = at(x.lse, i), a.matrix = at(x.matrix, i), a.d_matrix = at(x.d_matrix, i);
        duo_must(u->k[i]->attn_fwd(u->d[i], &a));
        a.d_o = at(x.d_o, i), a.dq = at(x.dq, i), a.dk = at(x.dk, i), a.dv_ = at(x.dv, i);
        duo_must(u->k[i]->attn_bwd(u->d[i], &a));
    }
    duo_same(u, x.o, "attention");
    duo_same(u, x.lse, "attention: lse");
    duo_same(u, x.dq, "attention: dq");
    duo_same(u, x.dk, "attention: dk");
    duo_same(u, x.dv, "attention: dv");
    duo_same(u, x.d_bias, "attention: dbias");
    duo_clear(u);
}

/* Every kind of mask, on one shape. */
static void every_mask(Duo *u, Case c)
{
    for (int which = 0; which < 8; which++) {
        c.kind = which & 1 ? ATTN_RELU2 : ATTN_SOFTMAX;
        c.causal = which & 2;
        c.lens = which & 4;
        c.post_rows = which == 3 || which == 5;
        c.bias = which >= 3;
        c.log_scale = which == 2 || which == 5;
        attention_case(u, c);
    }
}

void family_attention(Duo *u, bool small)
{
    const Case one = {.batch = 1, .q_len = 1, .k_len = 1, .heads = 1, .d = 1, .dv = 1};
    Case c = {.batch = 3, .q_len = 13, .k_len = 13, .heads = 2, .d = 4, .dv = 5, .gap = GAP};
    every_mask(u, one);
    every_mask(u, c);
    c = (Case){.batch = 1, .q_len = 17, .k_len = 33, .q_pos = 16, .heads = 1, .d = 33, .dv = 70};
    every_mask(u, c);
    c.logit = 40; /* large scores: the maximum is taken out */
    attention_case(u, c);
    c = (Case){.batch = 3, .q_len = 21, .k_len = 21, .heads = 2, .d = 4, .dv = 6, .set = true};
    every_mask(u, c);
    c = (Case){.batch = 4, .q_len = 80, .k_len = 80, .heads = 4, .d = 4, .dv = 4, .bias = true};
    c.causal = true, c.far = 70000; /* the rows of its bias' gradient are made in two launches */
    attention_case(u, c);
    c = (Case){.batch = 1, .q_len = 18, .k_len = 18, .heads = 1, .d = 72, .dv = 6, .causal = true};
    attention_case(u, c); /* keys in the wide tile, too */
    if (small)
        return;
    c = (Case){.batch = 2, .q_len = 131, .k_len = 131, .heads = 3, .d = 20, .dv = 24, .gap = 4};
    every_mask(u, c);
    c = (Case){.batch = 1, .q_len = 66, .k_len = 66, .heads = 1, .d = 64, .dv = 140};
    every_mask(u, c);
}

void family_naive(Duo *u, bool small)
{
    every_mask(
        u, (Case){.naive = true, .batch = 1, .q_len = 1, .k_len = 1, .heads = 1, .d = 1, .dv = 1});
    every_mask(u, (Case){.naive = true,
                         .batch = 3,
                         .q_len = 13,
                         .k_len = 19,
                         .q_pos = 6,
                         .heads = 2,
                         .d = 4,
                         .dv = 6,
                         .gap = GAP});
    if (!small)
        every_mask(u, (Case){.naive = true,
                             .batch = 1,
                             .q_len = 140,
                             .k_len = 140,
                             .heads = 2,
                             .d = 8,
                             .dv = 8});
}

/* Few queries, many keys: they are split over the device. */
void family_decode(Duo *u, bool small)
{
    Case c = {.batch = 2, .q_len = 1, .k_len = small ? 600 : 2000, .heads = 2, .d = 8, .dv = 9};
    for (int which = 0; which < 4; which++) {
        c.kind = which & 1 ? ATTN_RELU2 : ATTN_SOFTMAX;
        c.lens = which & 2;
        c.causal = true;
        c.q_len = 1 + 2 * (which / 2);
        c.q_pos = c.k_len - c.q_len;
        Attn a = shape_of(&c);
        Arrays x = arrays_of(u, &c, &a);
        for (int i = 0; i < 2; i++) {
            a.lens = at(x.lens, i);
            a.q = at(x.q, i), a.k = at(x.k, i), a.v = at(x.v, i), a.o = at(x.o, i);
            a.lse = at(x.lse, i);
            duo_must(u->k[i]->attn_fwd(u->d[i], &a));
        }
        duo_same(u, x.o, "decode");
        duo_same(u, x.lse, "decode: lse");
        duo_clear(u);
    }
}
