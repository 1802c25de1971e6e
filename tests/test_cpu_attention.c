/* test_cpu_attention.c - the cpu backend's pairwise attention against plain loops in double. */
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is tried; zero is one batch row, one head, square. */
typedef struct Case {
    AttnKind kind;
    bool naive, causal, post_rows, with_lens, biased;
    bool set; /* gradients hold garbage and are overwritten */
    int64_t batch, q_len, k_len, q_pos;
    int heads, d, dv;
    double logit;    /* size of scaled scores; 0: 1 */
    double log_base; /* 0: one scale for all */
} Case;

enum { GAP = 3 }; /* elements behind every row, which stay as they are */

typedef struct Problem {
    Attn a;
    int64_t q_n, k_n, v_n, o_n; /* elements of the arrays, gaps and all */
    int64_t bias_n;
    float *q, *k, *v, *d_o, *bias, *o, *lse, *dq, *dk, *dv, *d_bias;
    double *want_o, *want_lse, *want_dq, *want_dk, *want_dv, *want_db;
} Problem;

static int64_t seen_by(const Attn *a, int64_t b, int64_t i)
{
    int64_t n = a->lens != NULL ? a->lens[b] : a->k_len;
    return a->causal ? min64(n, a->q_pos + i + 1) : n;
}

static double dot(const float *x, const float *y, int n)
{
    double s = 0;
    for (int c = 0; c < n; c++)
        s += (double)x[c] * (double)y[c];
    return s;
}

static double scale_of(const Attn *a, int64_t n)
{
    return a->log_base > 0 ? a->scale * log(fmax(a->log_floor, (double)n)) / log(a->log_base)
                           : a->scale;
}

/* Where the bias of key 0 for query i is. */
static int64_t bias_at(const Attn *a, int64_t i)
{
    return a->bias_zero - a->q_pos - i;
}

/* Weights p of query i and their derivatives by the scores, dp/ds for relu2; returns lse. */
static double weights(const Problem *x, int64_t i, const float *qi, const float *k, int64_t n,
                      double *p, double *slope)
{
    const Attn *a = &x->a;
    double max = (double)-INFINITY, sum = 0;
    const double post = a->post / (a->post_rows && n > 0 ? (double)n : 1.0);
    for (int64_t j = 0; j < n; j++) {
        p[j] = scale_of(a, n) * dot(qi, k + j * a->k_row, a->d);
        if (x->bias != NULL)
            p[j] += a->bias_scale * (double)x->bias[bias_at(a, i) + j];
        max = fmax(max, p[j]);
    }
    for (int64_t j = 0; j < n; j++) {
        double r = fmax(0, p[j]), e = exp(p[j] - max);
        slope[j] = 2 * post * r;
        p[j] = a->kind == ATTN_RELU2 ? post * r * r : e;
        sum += e;
    }
    for (int64_t j = 0; j < n && a->kind == ATTN_SOFTMAX; j++)
        p[j] /= sum;
    return n > 0 ? max + log(sum) : (double)-INFINITY;
}

/* Output row i of head (b,h), and what it adds to the gradients. */
static void plain_row(Problem *x, int64_t b, int64_t h, int64_t i, double *p, double *slope)
{
    const Attn *a = &x->a;
    const int64_t q_at = (b * a->q_len + i) * a->q_row + h * a->d, k_at = b * a->k_batch + h * a->d;
    const int64_t o_at = (b * a->q_len + i) * a->o_row + h * a->dv,
                  v_at = b * a->v_batch + h * a->dv;
    const int64_t n = seen_by(a, b, i);
    double *o = x->want_o + o_at, delta = 0;
    x->want_lse[(b * a->heads + h) * a->q_len + i] =
        weights(x, i, x->q + q_at, x->k + k_at, n, p, slope);
    for (int c = 0; c < a->dv; c++) {
        o[c] = 0;
        for (int64_t j = 0; j < n; j++)
            o[c] += p[j] * (double)x->v[v_at + j * a->v_row + c];
        delta += o[c] * (double)x->d_o[o_at + c];
    }
    for (int64_t j = 0; j < n; j++) {
        const int64_t kj = k_at + j * a->k_row, vj = v_at + j * a->v_row;
        double dp = dot(x->d_o + o_at, x->v + vj, a->dv);
        double by_score = a->kind == ATTN_RELU2 ? slope[j] * dp : p[j] * (dp - delta);
        double ds = scale_of(a, n) * by_score;
        if (x->bias != NULL)
            x->want_db[bias_at(a, i) + j] += a->bias_scale * by_score;
        for (int c = 0; c < a->dv; c++)
            x->want_dv[vj + c] += p[j] * (double)x->d_o[o_at + c];
        for (int c = 0; c < a->d; c++) {
            x->want_dq[q_at + c] += ds * (double)x->k[kj + c];
            x->want_dk[kj + c] += ds * (double)x->q[q_at + c];
        }
    }
}

static void plain(Problem *x)
{
    const Attn *a = &x->a;
    double *p = pool_doubles(a->k_len + 1), *slope = pool_doubles(a->k_len + 1);
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t h = 0; h < a->heads; h++)
            for (int64_t i = 0; i < a->q_len; i++)
                plain_row(x, b, h, i, p, slope);
}

static float *nans(int64_t n)
{
    float *x = pool_zeros(n);
    for (int64_t i = 0; i < n; i++)
        x[i] = NAN;
    return x;
}

/* Every third batch row is full, empty, or half. */
static const int32_t *lens_of(const Case *c)
{
    int32_t *lens = pool_ids(c->batch, 1, 1);
    for (int64_t b = 0; b < c->batch; b++)
        lens[b] = (int32_t)(b % 3 == 0 ? c->k_len : b % 3 == 1 ? 0 : c->k_len / 2 + 1);
    return lens;
}

/* Scores have size c->logit; do is scaled so that do.v has size 1. */
static Problem problem(const Case *c)
{
    Problem x = {.a = {.kind = c->kind, .naive = c->naive, .causal = c->causal}};
    Attn *a = &x.a;
    a->post_rows = c->post_rows;
    a->batch = c->batch;
    a->q_len = c->q_len;
    a->k_len = c->k_len;
    a->q_pos = c->q_pos;
    a->heads = c->heads;
    a->d = c->d;
    a->dv = c->dv;
    a->scale = (c->logit > 0 ? c->logit : 1.0) / sqrt((double)c->d);
    a->log_base = c->log_base;
    a->log_floor = 4;
    a->post = c->post_rows ? 1.0 : 1.0 / (double)max64(1, c->k_len);
    a->lens = c->with_lens ? lens_of(c) : NULL;
    a->q_row = c->heads * c->d + GAP;
    a->k_row = a->q_row + 1;
    a->o_row = c->heads * c->dv + GAP;
    a->v_row = a->o_row + 2;
    a->k_batch = (c->k_len + 2) * a->k_row;
    a->v_batch = (c->k_len + 1) * a->v_row;
    x.q_n = c->batch * c->q_len * a->q_row;
    x.o_n = c->batch * c->q_len * a->o_row;
    x.k_n = c->batch * a->k_batch;
    x.v_n = c->batch * a->v_batch;
    a->q = x.q = pool_random(x.q_n, 1, 1);
    a->k = x.k = pool_random(x.k_n, 1, 2);
    a->v = x.v = pool_random(x.v_n, 1, 3);
    a->d_o = x.d_o = pool_random(x.o_n, 1 / sqrt((double)c->dv), 4);
    if (!c->biased)
        return x;
    a->bias_scale = 0.7;
    a->bias_zero = c->q_pos + c->q_len + 2; /* with room to spare */
    x.bias_n = a->bias_zero + c->k_len + 1;
    a->bias = x.bias = pool_random(x.bias_n, 1, 8);
    return x;
}

/* The rows of heads * width columns of a gradient become garbage, of which nothing is wanted. */
static void spoil(float *grad, double *want, int64_t n, int64_t row, int64_t width)
{
    for (int64_t i = 0; i < n; i++)
        if (i % row < width) {
            grad[i] = NAN;
            want[i] = 0;
        }
}

static void spoil_all(Problem *x)
{
    Attn *a = &x->a;
    a->set_dq = a->set_dk = a->set_dv = true;
    spoil(x->dq, x->want_dq, x->q_n, a->q_row, a->heads * a->d);
    for (int64_t b = 0; b < a->batch; b++) { /* behind a batch row lie rows of nobody */
        spoil(x->dk + b * a->k_batch, x->want_dk + b * a->k_batch, a->k_len * a->k_row, a->k_row,
              a->heads * a->d);
        spoil(x->dv + b * a->v_batch, x->want_dv + b * a->v_batch, a->k_len * a->v_row, a->v_row,
              a->heads * a->dv);
    }
}

/* Outputs and gradients, and what they are to become. */
static void make_outputs(Problem *x, bool set)
{
    Attn *a = &x->a;
    const int64_t lse_n = a->batch * a->heads * a->q_len;
    a->o = x->o = nans(x->o_n);
    a->lse = x->lse = nans(lse_n);
    a->matrix = a->naive ? nans(lse_n * a->k_len) : NULL;
    a->d_matrix = a->naive ? nans(lse_n * a->k_len) : NULL;
    a->dq = x->dq = pool_random(x->q_n, 1, 5);
    a->dk = x->dk = pool_random(x->k_n, 1, 6);
    a->dv_ = x->dv = pool_random(x->v_n, 1, 7);
    a->d_bias = x->d_bias = x->bias != NULL ? pool_random(x->bias_n, 1, 9) : NULL;
    x->want_db = x->bias != NULL ? pool_widen(x->d_bias, x->bias_n) : NULL;
    x->want_o = pool_widen(x->o, x->o_n);
    x->want_lse = pool_doubles(lse_n);
    x->want_dq = pool_widen(x->dq, x->q_n);
    x->want_dk = pool_widen(x->dk, x->k_n);
    x->want_dv = pool_widen(x->dv, x->v_n);
    if (set)
        spoil_all(x);
    plain(x);
}

static Status call_fwd(Dev *d, const void *args)
{
    return dev_kernels(d)->attn_fwd(d, args);
}
static Status call_bwd(Dev *d, const void *args)
{
    return dev_kernels(d)->attn_bwd(d, args);
}

/* An error of the score, eps |s| sqrt(d), is a relative error of its weight. Gradients have the
 * scale of the scores as a factor, and sums of q_len of them. */
static void check_made(Dev *d, Problem *x, double logit, bool bwd, const char *what)
{
    const Attn *a = &x->a;
    const bool soft = a->kind == ATTN_SOFTMAX;
    const int64_t lse_n = a->batch * a->heads * a->q_len;
    const double tol = sum_tol(a->d + a->k_len) * (1 + logit);
    const double grad_tol = sum_tol(a->d + a->k_len + a->q_len + a->dv) * (1 + logit * logit);
    const double bias_tol = grad_tol * sqrt((double)(a->batch * a->heads));
    const Out fwd[] = {{x->o, x->o_n, x->want_o, tol},
                       {soft ? x->lse : NULL, lse_n, x->want_lse, tol}};
    cpu_expect(d, call_fwd, a, fwd, COUNT(fwd), what);
    const Out grads[] = {{x->dq, x->q_n, x->want_dq, grad_tol},
                         {x->dk, x->k_n, x->want_dk, grad_tol},
                         {x->dv, x->v_n, x->want_dv, grad_tol},
                         {x->d_bias, x->bias_n, x->want_db, bias_tol}};
    if (bwd)
        cpu_expect(d, call_bwd, a, grads, COUNT(grads), what);
}

static void check(Dev *d, Case c, bool bwd)
{
    char what[160];
    c.batch = max64(1, c.batch);
    c.heads = c.heads > 0 ? c.heads : 1;
    c.k_len = c.k_len > 0 ? c.k_len : c.q_len;
    c.dv = c.dv > 0 ? c.dv : c.d;
    snprintf(what, sizeof what, "%s%s%s batch %ld q %ld k %ld pos %ld heads %d d %d dv %d",
             c.naive ? "naive " : "", c.kind == ATTN_RELU2 ? "relu2" : "softmax",
             c.causal ? " causal" : "", (long)c.batch, (long)c.q_len, (long)c.k_len, (long)c.q_pos,
             c.heads, c.d, c.dv);
    Problem x = problem(&c);
    make_outputs(&x, c.set);
    check_made(d, &x, c.logit, bwd, what);
    pool_free();
}

/* Lengths around the sizes of vectors, panels and tiles. */
static const int64_t lengths[] = {1, 2, 31, 32, 33, 64, 95, 96, 97, 128, 130, 257};

static void sweep(Dev *d, Case c)
{
    static const int widths[][3] = {{8, 8, 3},  {16, 64, 2}, {24, 130, 1}, {64, 64, 2},
                                    {64, 8, 1}, {8, 512, 1}, {128, 130, 1}};
    for (int i = 0; i < COUNT(lengths); i++) {
        const int *w = widths[(i + 2 * (c.kind == ATTN_RELU2) + 3 * c.causal) % COUNT(widths)];
        c.q_len = lengths[i];
        c.d = w[0];
        c.dv = w[1];
        c.heads = w[2];
        check(d, c, true);
        c.set = !c.naive && !c.set;
    }
}

static void tiled(Dev *d)
{
    sweep(d, (Case){.kind = ATTN_SOFTMAX, .causal = true});
    sweep(d, (Case){.kind = ATTN_SOFTMAX, .batch = 3, .with_lens = true});
    sweep(d, (Case){.kind = ATTN_RELU2, .causal = true, .post_rows = true});
    sweep(d, (Case){.kind = ATTN_RELU2, .batch = 3, .with_lens = true});
    sweep(d, (Case){.kind = ATTN_RELU2, .batch = 3, .with_lens = true, .causal = true});
}
Test(cpu_attention, tiled_against_plain_loops)
{
    each_isa(tiled);
}

static void naive(Dev *d)
{
    sweep(d, (Case){.kind = ATTN_SOFTMAX, .naive = true, .causal = true});
    sweep(d, (Case){.kind = ATTN_SOFTMAX, .naive = true, .batch = 3, .with_lens = true});
    sweep(d, (Case){.kind = ATTN_RELU2, .naive = true, .causal = true, .post_rows = true});
}
Test(cpu_attention, naive_against_plain_loops)
{
    each_isa(naive);
}

/* Queries behind a cache, which may be longer than what they see. */
static void segments(Dev *d)
{
    static const int64_t at[][3] = {{40, 140, 100}, {2, 300, 200}, {97, 200, 103},
                                    {96, 500, 96},  {33, 34, 1},   {5, 97, 92}};
    for (int i = 0; i < COUNT(at); i++)
        for (int kind = 0; kind < 2; kind++)
            for (int causal = 0; causal < 2; causal++) {
                Case c = {.kind = kind ? ATTN_RELU2 : ATTN_SOFTMAX, .causal = causal, .heads = 2};
                c.q_len = at[i][0];
                c.k_len = at[i][1];
                c.q_pos = at[i][2];
                c.d = 16;
                c.dv = i % 2 ? 40 : 16;
                c.batch = 2;
                c.set = i % 2 == 0;
                check(d, c, true);
                c.set = false;
                c.naive = true;
                check(d, c, true);
            }
}
Test(cpu_attention, segments_of_a_sequence)
{
    each_isa(segments);
}

static void decode(Dev *d)
{
    static const int64_t keys[] = {1, 5, 16, 255, 256, 257, 700, 1030};
    for (int i = 0; i < COUNT(keys); i++)
        for (int kind = 0; kind < 2; kind++) {
            Case c = {.kind = kind ? ATTN_RELU2 : ATTN_SOFTMAX, .q_len = 1, .k_len = keys[i]};
            c.batch = 3;
            c.heads = 1 + i % 3;
            c.d = i % 2 ? 64 : 19;
            c.dv = i % 2 ? 130 : 21;
            c.with_lens = true;
            check(d, c, false);
            c.causal = true;
            c.with_lens = false;
            c.q_pos = keys[i] / 2;
            c.post_rows = kind;
            check(d, c, false);
        }
}
Test(cpu_attention, one_query_over_a_cache)
{
    each_isa(decode);
}

/* Biases by distance, and scales by the logarithm of what a query sees. */
static void biased(Dev *d)
{
    sweep(d, (Case){.kind = ATTN_RELU2, .causal = true, .biased = true});
    sweep(d, (Case){.kind = ATTN_RELU2, .batch = 3, .with_lens = true, .biased = true});
    sweep(d, (Case){.kind = ATTN_SOFTMAX, .causal = true, .biased = true});
    sweep(d, (Case){.kind = ATTN_SOFTMAX, .batch = 3, .with_lens = true, .biased = true});
    sweep(d, (Case){.kind = ATTN_RELU2, .naive = true, .causal = true, .biased = true});
    sweep(d, (Case){.naive = true, .batch = 3, .with_lens = true, .biased = true});
    sweep(d, (Case){.causal = true, .log_base = 20});
    sweep(d, (Case){.batch = 3, .with_lens = true, .log_base = 20});
    sweep(d, (Case){.naive = true, .causal = true, .log_base = 20});
}
Test(cpu_attention, biases_and_scales_of_queries)
{
    each_isa(biased);
}

static void biased_segments(Dev *d)
{
    static const int64_t at[][3] = {{40, 140, 100}, {97, 200, 103}, {1, 700, 699}, {1, 3, 2}};
    for (int i = 0; i < COUNT(at); i++)
        for (int how = 0; how < 8; how++) {
            Case c = {.kind = how & 1 ? ATTN_RELU2 : ATTN_SOFTMAX, .causal = how & 2, .heads = 2};
            c.q_len = at[i][0];
            c.k_len = at[i][1];
            c.q_pos = at[i][2];
            c.d = 16;
            c.batch = 2;
            c.biased = how & 4;
            c.log_base = c.biased ? 0 : 30;
            check(d, c, c.q_len > 1);
        }
}
Test(cpu_attention, biases_of_segments)
{
    each_isa(biased_segments);
}

static void wide(Dev *d)
{
    Case c = {.kind = ATTN_RELU2, .causal = true, .q_len = 130, .d = 128, .dv = 1100};
    check(d, c, true);
    check(d, (Case){.q_len = 40, .batch = 26, .heads = 2, .d = 8, .dv = 2048}, false);
    check(d, (Case){.q_len = 33, .batch = 9, .heads = 4, .d = 16, .causal = true}, true);
    check(d, (Case){.q_len = 500, .heads = 1, .d = 8, .causal = true}, true);
    check(d, (Case){.q_len = 500, .heads = 1, .d = 8, .causal = true, .set = true}, true);
}
Test(cpu_attention, wide_values_many_heads_and_slabs)
{
    each_isa(wide);
}

/* Values so wide that a head is packed in spans of 384 keys, between which tasks rest. */
static void spans(Dev *d)
{
    for (int kind = 0; kind < 2; kind++) {
        Case c = {.kind = kind ? ATTN_RELU2 : ATTN_SOFTMAX, .d = 8, .dv = 8192, .heads = 1};
        c.causal = true;
        c.q_len = 40;
        c.q_pos = 345 + 15 * kind; /* some queries are done with the first span */
        c.k_len = 410;
        check(d, c, false);
        c.causal = false;
        c.with_lens = true;
        c.batch = 3;
        c.q_len = 5;
        c.k_len = 800;
        check(d, c, false);
    }
}
Test(cpu_attention, long_heads_are_packed_in_spans)
{
    each_isa(spans);
}

static void extremes(Dev *d)
{
    check(d, (Case){.q_len = 130, .heads = 2, .d = 16, .causal = true, .logit = 100}, true);
    check(d, (Case){.q_len = 130, .heads = 2, .d = 16, .naive = true, .logit = 100}, true);
    check(d, (Case){.q_len = 1, .k_len = 600, .heads = 2, .d = 16, .logit = 100}, false);

    /* Scores of -inf in float for all keys of the first tile, then usual ones; and all ties. */
    Case c = {.q_len = 50, .k_len = 230, .batch = 1, .heads = 1, .d = 8, .dv = 8};
    for (int same = 0; same < 2; same++) {
        Problem x = problem(&c);
        for (int64_t i = 0; i < x.q_n; i++)
            x.q[i] = same ? 1.0f : 1e20f * fabsf(x.q[i]);
        for (int64_t i = 0; i < x.k_n; i++)
            x.k[i] = same                  ? 1.0f
                     : i < 100 * x.a.k_row ? -1e20f * (1 + fabsf(x.k[i]))
                                           : 1e-20f * x.k[i];
        make_outputs(&x, false);
        check_made(d, &x, 4.0, same, same ? "ties" : "scores of -inf");
        pool_free();
    }
}
Test(cpu_attention, large_infinite_and_equal_scores)
{
    each_isa(extremes);
}
