/* attn.c - softmax and squared-ReLU attention from the explicit weights of every row.
 *
 * A row (b,h,i) has n visible keys 0 .. n-1, scores s_j = scale_i q_i.k_j + bias, and weights
 *   softmax: p_j = exp(s_j) / sum_m exp(s_m)        relu2: p_j = post_i relu(s_j)^2
 * and o_i = sum_j p_j v_j. With do_i given and dp_j = do_i.v_j the scores' gradients are
 *   softmax: ds_j = p_j (dp_j - sum_m p_m dp_m)     relu2: ds_j = 2 post_i relu(s_j) dp_j
 * and dq_i = scale_i sum_j ds_j k_j, dk_j += scale_i ds_j q_i, dv_j += p_j do_i, and the bias of
 * the pair's distance gets bias_scale ds_j. The weights are recomputed from q and k; lse and o are
 * not read. */
#include "kernels/ref/ref.h"

#include <omp.h>

/* One query of one head, with the places of its slices in elements. */
typedef struct Row {
    int64_t b, h, i;
    int64_t n;          /* visible keys */
    int64_t q, o, k, v; /* of q_i and o_i; of k_0 and v_0 of the head */
} Row;

static int64_t visible_keys(const Attn *a, int64_t b, int64_t i)
{
    const int64_t n = a->lens != NULL ? min64(a->k_len, a->lens[b]) : a->k_len;
    return a->causal ? min64(n, a->q_pos + i + 1) : n;
}

/* The rows are numbered as in lse (B,H,q_len). */
static Row row_at(const Attn *a, int64_t number)
{
    const int64_t i = number % a->q_len, h = number / a->q_len % a->heads;
    const int64_t b = number / a->q_len / a->heads;
    return (Row){
        .b = b,
        .h = h,
        .i = i,
        .n = visible_keys(a, b, i),
        .q = (b * a->q_len + i) * a->q_row + h * a->d,
        .o = (b * a->q_len + i) * a->o_row + h * a->dv,
        .k = b * a->k_batch + h * a->d,
        .v = b * a->v_batch + h * a->dv,
    };
}

static double post_of(const Attn *a, Row r)
{
    return a->post_rows ? a->post / (double)r.n : a->post;
}

static double scale_of(const Attn *a, Row r)
{
    if (a->log_base == 0.0)
        return a->scale;
    return a->scale * log(fmax((double)r.n, a->log_floor)) / log(a->log_base);
}

/* Where the bias of key 0 is. */
static int64_t bias_at(const Attn *a, Row r)
{
    return a->bias_zero - (a->q_pos + r.i);
}

static void scores(const Attn *a, Row r, double *s)
{
    const double *q = (const double *)a->q + r.q, *k = (const double *)a->k + r.k, *bias = a->bias;
    for (int64_t j = 0; j < r.n; j++)
        s[j] = scale_of(a, r) * ref_dot(q, k + j * a->k_row, a->d) +
               (bias != NULL ? a->bias_scale * bias[bias_at(a, r) + j] : 0.0);
}

static void weights(const Attn *a, Row r, const double *s, double *p)
{
    const double lse = a->kind == ATTN_SOFTMAX ? ref_log_sum_exp(s, r.n) : 0.0;
    for (int64_t j = 0; j < r.n; j++) {
        const double relu = ref_relu(s[j]);
        p[j] = a->kind == ATTN_SOFTMAX ? exp(s[j] - lse) : post_of(a, r) * relu * relu;
    }
}

/* s_j becomes ds_j. */
static void score_gradients(const Attn *a, Row r, const double *p, double *s)
{
    const double *d_o = (const double *)a->d_o + r.o, *v = (const double *)a->v + r.v;
    double mean = 0.0;
    for (int64_t j = 0; j < r.n; j++)
        mean += p[j] * ref_dot(d_o, v + j * a->v_row, a->dv);
    for (int64_t j = 0; j < r.n; j++) {
        double dp = ref_dot(d_o, v + j * a->v_row, a->dv);
        s[j] = a->kind == ATTN_SOFTMAX ? p[j] * (dp - mean)
                                       : 2.0 * post_of(a, r) * ref_relu(s[j]) * dp;
    }
}

/* s and p: room for k_len numbers each. */
static void row_fwd(const Attn *a, Row r, double *s, double *p)
{
    const double *v = (const double *)a->v + r.v;
    double *o = (double *)a->o + r.o;
    scores(a, r, s);
    weights(a, r, s, p);
    for (int c = 0; c < a->dv; c++)
        o[c] = 0.0;
    for (int64_t j = 0; j < r.n; j++)
        ref_add_scaled(o, p[j], v + j * a->v_row, a->dv);
    if (a->kind == ATTN_SOFTMAX && a->lse != NULL)
        ((double *)a->lse)[(r.b * a->heads + r.h) * a->q_len + r.i] = ref_log_sum_exp(s, r.n);
}

static void row_bwd(const Attn *a, Row r, double *s, double *p)
{
    const double *q = (const double *)a->q + r.q, *k = (const double *)a->k + r.k;
    const double *d_o = (const double *)a->d_o + r.o;
    scores(a, r, s);
    weights(a, r, s, p);
    score_gradients(a, r, p, s);
    const double scale = scale_of(a, r);
    for (int64_t j = 0; j < r.n; j++) {
        ref_add_scaled(ref_grad(a->dq, r.q), scale * s[j], k + j * a->k_row, a->d);
        ref_add_scaled(ref_grad(a->dk, r.k + j * a->k_row), scale * s[j], q, a->d);
        ref_add_scaled(ref_grad(a->dv_, r.v + j * a->v_row), p[j], d_o, a->dv);
    }
    if (a->d_bias != NULL)
        ref_add_scaled((double *)a->d_bias + bias_at(a, r), a->bias_scale, s, r.n);
}

/* Multiply-adds of q.k and p.v over the pairs that see each other. */
static double flops_of(const Attn *a)
{
    double pairs = 0.0;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t i = 0; i < a->q_len; i++)
            pairs += (double)visible_keys(a, b, i);
    return 2.0 * pairs * a->heads * (a->d + a->dv);
}

/* A row of scores and one of weights for every thread. */
static Status scratch_of(Dev *d, const Attn *a, double **out)
{
    void *ptr = NULL;
    size_t numbers = 2 * (size_t)omp_get_max_threads() * (size_t)a->k_len;
    TRY(dev_scratch(d, numbers * sizeof(double), &ptr));
    *out = ptr;
    return ST_OK;
}

Status ref_attn_fwd(Dev *d, const Attn *a)
{
    const double flops = flops_of(a);
    double *room = NULL;
    TRY(scratch_of(d, a, &room));
#pragma omp parallel for if (flops > REF_PARALLEL_WORK)
    for (int64_t number = 0; number < a->batch * a->heads * a->q_len; number++) {
        double *s = room + 2 * omp_get_thread_num() * a->k_len;
        row_fwd(a, row_at(a, number), s, s + a->k_len);
    }
    dev_count_flops(d, flops);
    return ST_OK;
}

/* Rows of one head add into the same dk and dv, in their order: heads are what runs in parallel,
 * and not even these where all add into one bias. */
Status ref_attn_bwd(Dev *d, const Attn *a)
{
    double *room = NULL;
    TRY(scratch_of(d, a, &room));
#pragma omp parallel for if (flops_of(a) > REF_PARALLEL_WORK && a->d_bias == NULL)
    for (int64_t head = 0; head < a->batch * a->heads; head++) {
        double *s = room + 2 * omp_get_thread_num() * a->k_len;
        for (int64_t i = 0; i < a->q_len; i++)
            row_bwd(a, row_at(a, head * a->q_len + i), s, s + a->k_len);
    }
    return ST_OK;
}
