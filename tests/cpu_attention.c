/* cpu_attention.c - see cpu_attention.h. */
#include "tests/cpu_attention.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 3 }; /* elements behind every row, which stay as they are */

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
static double weights(const AttnProblem *x, int64_t i, const float *qi, const float *k, int64_t n,
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
static void plain_row(AttnProblem *x, int64_t b, int64_t h, int64_t i, double *p, double *slope)
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

static void plain(AttnProblem *x)
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
static const int32_t *lens_of(const AttnCase *c)
{
    int32_t *lens = pool_ids(c->batch, 1, 1);
    for (int64_t b = 0; b < c->batch; b++)
        lens[b] = (int32_t)(b % 3 == 0 ? c->k_len : b % 3 == 1 ? 0 : c->k_len / 2 + 1);
    return lens;
}

/* Scores have size c->logit; do is scaled so that do.v has size 1. */
AttnProblem attention_problem(const AttnCase *c)
{
    AttnProblem x = {.a = {.kind = c->kind, .naive = c->naive, .causal = c->causal}};
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

static void spoil_all(AttnProblem *x)
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
void attention_outputs(AttnProblem *x, bool set)
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
void attention_check_made(Dev *d, AttnProblem *x, double logit, bool bwd, const char *what)
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

void attention_check(Dev *d, AttnCase c, bool bwd)
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
    AttnProblem x = attention_problem(&c);
    attention_outputs(&x, c.set);
    attention_check_made(d, &x, c.logit, bwd, what);
    pool_free();
}
