/* attention_naive.c - attention as the papers' baselines ran it: the matrix of scores in memory.
 *
 * Per batch row: scores of all heads (H, q_len, k_len) by full products, the masked half too, a
 * pass over their rows, and a second product. The weights stay in `matrix` for the backward pass,
 * which fills d_matrix, of the same size, on its way. */
#include "kernels/cpu/attention.h"

enum { BIAS_BLOCK = 64 };

/* An operand of a product: rows `row` floats apart, used transposed if t. */
typedef struct Mat {
    const float *p;
    int64_t row;
    bool t;
} Mat;

typedef struct Naive {
    const Attn *a;
    float *p, *dp; /* (heads, q_len, k_len) of the batch row at hand */
    float *gemm;   /* scratch of the products */
    double *flops;
} Naive;

static Gemm product(int64_t m, int64_t n, int64_t k, Mat a, Mat b)
{
    return (Gemm){.m = m,
                  .n = n,
                  .k = k,
                  .ta = a.t,
                  .tb = b.t,
                  .alpha = 1,
                  .a = a.p,
                  .lda = a.row,
                  .b = b.p,
                  .ldb = b.row};
}

static void run(const Naive *f, Gemm g, double alpha, float *c, int64_t row, bool add)
{
    if (c == NULL)
        return;
    g.alpha = alpha;
    g.beta = add ? 1.0 : 0.0;
    g.c = c;
    g.ldc = row;
    CPU(gemm_in)(&g, f->gemm);
    *f->flops += CPU(gemm_flops)(&g);
}

/* Head h of batch row b of each operand, and of gradients where they are wanted. */
typedef struct Head {
    Mat q, k, v, o, d_o, p, dp;
    float *dq, *dk, *dv;
} Head;

static Head head_of(const Naive *f, int64_t b, int64_t h)
{
    const Attn *a = f->a;
    const int64_t size = a->q_len * a->k_len, q = attn_q_at(a, b, h), k = attn_k_at(a, b, h);
    const int64_t v = attn_v_at(a, b, h), o = attn_o_at(a, b, h);
    Head x = {.q = {(const float *)a->q + q, a->q_row, false},
              .k = {(const float *)a->k + k, a->k_row, false},
              .v = {(const float *)a->v + v, a->v_row, false},
              .o = {(const float *)a->o + o, a->o_row, false},
              .p = {f->p + h * size, a->k_len, false}};
    if (f->dp == NULL)
        return x;
    x.d_o = (Mat){(const float *)a->d_o + o, a->o_row, false};
    x.dp = (Mat){f->dp + h * size, a->k_len, false};
    x.dq = a->dq != NULL ? (float *)a->dq + q : NULL;
    x.dk = a->dk != NULL ? (float *)a->dk + k : NULL;
    x.dv = a->dv_ != NULL ? (float *)a->dv_ + v : NULL;
    return x;
}

static Mat transposed(Mat x)
{
    x.t = !x.t;
    return x;
}

/* Scaled scores of all heads of a batch row. */
static void scores(const Naive *f, int64_t b)
{
    const Attn *a = f->a;
    for (int h = 0; h < a->heads; h++) {
        Head x = head_of(f, b, h);
        run(f, product(a->q_len, a->k_len, a->d, x.q, transposed(x.k)), a->scale, (float *)x.p.p,
            a->k_len, false);
    }
}

/* Up to VW scores, of which n > 0 are left; -inf behind them. */
static vf get(const float *s, int64_t n)
{
    if (n >= VW)
        return vload(s);
    return vselect(viota() < (vi){0} + (int)n, vload_n(s, (int)n), vset(-INFINITY));
}

/* Weights from the scores of one row, in place; zeros from key `seen` on. Returns lse. */
static float weigh_softmax(float *s, int64_t seen, int64_t n)
{
    vf max = vset(-INFINITY), sum = vset(0);
    for (int64_t j = seen; j < n; j++)
        s[j] = -INFINITY;
    for (int64_t j = 0; j < n; j += VW)
        max = vmax(max, get(s + j, n - j));
    const float m = vmax1(max);
    for (int64_t j = 0; j < n; j += VW) {
        const vf e = vexp(get(s + j, n - j) - m);
        sum += e;
        if (n - j >= VW)
            vstore(s + j, e);
        else
            vstore_n(s + j, e, (int)(n - j));
    }
    const float all = vsum(sum);
    for (int64_t j = 0; j < n; j++)
        s[j] /= all;
    return m + logf(all);
}

static void forward_row(const Naive *f, int64_t b, int64_t h, int64_t i)
{
    const Attn *a = f->a;
    const int64_t seen = attn_seen(a, attn_keys(a, b), i), n = a->k_len;
    const float post = attn_post(a, seen);
    float *p = f->p + (h * a->q_len + i) * n, *lse = a->lse;
    float row_lse = -INFINITY;
    const float own = attn_scale(a, seen) / (float)a->scale;
    for (int64_t j = 0; j < n && a->log_base != 0.0; j++)
        p[j] *= own;
    if (a->bias != NULL)
        CPU(attn_add_bias)(a, i, 0, (int)n, (float)a->bias_scale, p);
    if (a->kind == ATTN_SOFTMAX && seen > 0)
        row_lse = weigh_softmax(p, seen, n);
    else
        for (int64_t j = 0; j < n; j++) {
            float s = j < seen && p[j] > 0 ? p[j] : 0.0f;
            p[j] = post * s * s;
        }
    if (a->kind == ATTN_SOFTMAX && lse != NULL)
        lse[(b * a->heads + h) * a->q_len + i] = row_lse;
}

/* dp: do.v to ds. For relu2, p = post s^2 gives s back by a root. */
static void backward_row(const Naive *f, int64_t b, int64_t h, int64_t i)
{
    const Attn *a = f->a;
    const int64_t seen = attn_seen(a, attn_keys(a, b), i), n = a->k_len;
    const float post = attn_post(a, seen), scale = attn_scale(a, seen);
    const float *p = f->p + (h * a->q_len + i) * n;
    float *dp = f->dp + (h * a->q_len + i) * n, delta = 0;
    if (a->kind == ATTN_RELU2) {
        for (int64_t j = 0; j < n; j++)
            dp[j] *= 2.0f * scale * sqrtf(post * p[j]);
        return;
    }
    for (int64_t j = 0; j < seen; j++)
        delta += p[j] * dp[j];
    for (int64_t j = 0; j < n; j++)
        dp[j] = scale * p[j] * (dp[j] - delta);
}

/* Entries [e0, e0 + n) of the bias's gradient from ds, query after query. */
static void pull_bias(const Naive *f, int64_t e0, int64_t n)
{
    const Attn *a = f->a;
    const float factor = (float)(a->bias_scale / a->scale);
    float *sums = (float *)a->d_bias;
    for (int64_t t = 0; t < a->heads * a->q_len; t++) {
        const int64_t i = t % a->q_len, at = attn_bias_at(a, i, 0); /* of key 0 */
        const int64_t from = max64(e0, at), to = min64(e0 + n, at + a->k_len);
        for (int64_t e = from; e < to; e++)
            sums[e] += factor * f->dp[t * a->k_len + e - at];
    }
}

static void bias_bwd(const Naive *f)
{
    const int64_t size = f->a->d_bias != NULL ? attn_bias_size(f->a) : 0;
#pragma omp parallel for schedule(static) if (size >= BIAS_BLOCK)
    for (int64_t e = 0; e < size; e += BIAS_BLOCK)
        pull_bias(f, e, min64(BIAS_BLOCK, size - e));
}

static void rows(const Naive *f, int64_t b, void (*row)(const Naive *, int64_t, int64_t, int64_t))
{
    const int64_t n = f->a->q_len, all = f->a->heads * n;
#pragma omp parallel for schedule(static) if (all * f->a->k_len >= PARALLEL_FROM)
    for (int64_t t = 0; t < all; t++)
        row(f, b, t / n, t % n);
}

static void forward(const Naive *f, int64_t b)
{
    const Attn *a = f->a;
    scores(f, b);
    rows(f, b, forward_row);
    for (int h = 0; h < a->heads; h++) {
        Head x = head_of(f, b, h);
        run(f, product(a->q_len, a->dv, a->k_len, x.p, x.v), 1, (float *)x.o.p, a->o_row, false);
    }
}

static void backward(const Naive *f, int64_t b)
{
    const Attn *a = f->a;
    const int64_t nq = a->q_len, nk = a->k_len;
    for (int h = 0; h < a->heads; h++) {
        Head x = head_of(f, b, h);
        run(f, product(nq, nk, a->dv, x.d_o, transposed(x.v)), 1, (float *)x.dp.p, nk, false);
    }
    rows(f, b, backward_row);
    bias_bwd(f);
    for (int h = 0; h < a->heads; h++) {
        Head x = head_of(f, b, h);
        run(f, product(nk, a->dv, nq, transposed(x.p), x.d_o), 1, x.dv, a->v_row, true);
        run(f, product(nk, a->d, nq, transposed(x.dp), x.q), 1, x.dk, a->k_row, true);
        run(f, product(nq, a->d, nk, x.dp, x.k), 1, x.dq, a->q_row, true);
    }
}

/* The products above by their sizes: scratch for the largest. */
static size_t gemm_floats(const Attn *a, bool bwd)
{
    const Mat plain = {NULL, 0, false}, turned = {NULL, 0, true};
    const int64_t nq = a->q_len, nk = a->k_len;
    const Gemm all[] = {
        product(nq, nk, a->d, plain, turned),  product(nq, a->dv, nk, plain, plain),
        product(nq, nk, a->dv, plain, turned), product(nk, a->dv, nq, turned, plain),
        product(nk, a->d, nq, turned, plain),  product(nq, a->d, nk, plain, plain)};
    size_t most = 0;
    for (int i = 0; i < (bwd ? COUNT(all) : 2); i++) {
        size_t n = CPU(gemm_scratch)(&all[i]);
        most = n > most ? n : most;
    }
    return most;
}

static Status each_batch(Dev *d, const Attn *a, bool bwd)
{
    const int64_t size = a->heads * a->q_len * a->k_len;
    double flops = 0;
    void *scratch;
    CHECK(a->matrix != NULL && (!bwd || a->d_matrix != NULL));
    TRY(dev_scratch(d, gemm_floats(a, bwd) * sizeof(float), &scratch));
    for (int64_t b = 0; b < a->batch; b++) {
        Naive f = {a, (float *)a->matrix + b * size, bwd ? (float *)a->d_matrix + b * size : NULL,
                   scratch, &flops};
        bwd ? backward(&f, b) : forward(&f, b);
    }
    dev_count_flops(d, flops);
    return ST_OK;
}

Status CPU(attn_fwd_naive)(Dev *d, const Attn *a)
{
    return each_batch(d, a, false);
}

Status CPU(attn_bwd_naive)(Dev *d, const Attn *a)
{
    return each_batch(d, a, true);
}
