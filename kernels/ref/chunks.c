/* chunks.c - mixed chunk attention of FLASH (Hua 2022, section 3.2), position by position.
 *
 * Position i of chunk g = i / C sees two spans of earlier or all positions:
 *   o_i = sum_{j in local(i)}  local_post relu(local_scale qq_i.kq_j + bias_ij)^2 v_j
 *       + sum_{j in linear(i)} c_g (ql_i.kl_j) v_j
 *   causal:        local = [g C, i], linear = [0, g C)
 *   bidirectional: local = the whole chunk, linear = every position
 * both cut at the valid length. M_g is never formed. Only state carries sums, token by token. */
#include "kernels/ref/ref.h"

#include <string.h>

typedef struct Span {
    int64_t begin, end;
} Span;

/* End of the valid positions; absolute, so with state it may lie before or behind this call. */
static int64_t valid_end(const Chunks *a, int64_t b)
{
    return a->lens != NULL ? min64(a->lens[b], a->pos + a->len) : a->pos + a->len;
}

static Span local_span(const Chunks *a, int64_t b, int64_t i)
{
    const int64_t begin = i / a->chunk * a->chunk;
    return (Span){begin, min64(a->causal ? i + 1 : begin + a->chunk, valid_end(a, b))};
}

static Span linear_span(const Chunks *a, int64_t b, int64_t i)
{
    const int64_t end = valid_end(a, b);
    return (Span){0, a->causal ? min64(i / a->chunk * a->chunk, end) : end};
}

/* c_g: the divisor is the number of earlier chunks, or of chunks with a valid position. */
static double linear_factor(const Chunks *a, int64_t b, int64_t i)
{
    const int64_t n = a->causal ? i / a->chunk : ceil_div(valid_end(a, b), a->chunk);
    if (n == 0)
        return 0.0;
    return a->lin_mean ? a->lin_scale / (double)n : a->lin_scale;
}

/* The bias of a key `distance` positions behind the query. */
static double bias_of(const Chunks *a, int64_t distance)
{
    const double *bias = a->bias;
    return bias != NULL ? a->bias_scale * bias[a->chunk - 1 + distance] : 0.0;
}

static double local_weight(const Chunks *a, const double *qq, const double *kq, int64_t distance)
{
    const double relu = ref_relu(a->local_scale * ref_dot(qq, kq, a->s) + bias_of(a, distance));
    return a->local_post * relu * relu;
}

/* Places of position i of batch b in the arrays of width S and of width E. */
static int64_t at_s(const Chunks *a, int64_t b, int64_t i)
{
    return (b * a->len + i) * a->s;
}
static int64_t at_e(const Chunks *a, int64_t b, int64_t i)
{
    return (b * a->len + i) * a->e;
}

static void position_fwd(const Chunks *a, int64_t b, int64_t i)
{
    const double *qq = (const double *)a->qq + at_s(a, b, i), *kq = a->kq;
    const double *ql = (const double *)a->ql + at_s(a, b, i), *kl = a->kl, *v = a->v;
    double *o = (double *)a->o + at_e(a, b, i);
    const Span local = local_span(a, b, i), linear = linear_span(a, b, i);
    const double c = linear_factor(a, b, i);

    for (int64_t n = 0; n < a->e; n++)
        o[n] = 0.0;
    for (int64_t j = local.begin; j < local.end; j++)
        ref_add_scaled(o, local_weight(a, qq, kq + at_s(a, b, j), j - i), v + at_e(a, b, j), a->e);
    for (int64_t j = linear.begin; j < linear.end; j++)
        ref_add_scaled(o, c * ref_dot(ql, kl + at_s(a, b, j), a->s), v + at_e(a, b, j), a->e);
}

/* ---- with state: batch b's share of the four tensors ---- */
typedef struct State {
    double *sum, *part;  /* (S,E): kl_j' v_j summed over the finished chunks and the open one */
    double *keys, *vals; /* (C,S), (C,E): rows 0 .. pos mod C - 1 are of the open chunk */
} State;

static State state_of(const Chunks *a, int64_t b)
{
    const int64_t se = (int64_t)a->s * a->e;
    return (State){
        .sum = (double *)a->sum + b * se,
        .part = (double *)a->part + b * se,
        .keys = (double *)a->keys + b * a->chunk * a->s,
        .vals = (double *)a->vals + b * a->chunk * a->e,
    };
}

static void close_chunk(const Chunks *a, State st)
{
    for (int64_t n = 0; n < (int64_t)a->s * a->e; n++) {
        st.sum[n] += st.part[n];
        st.part[n] = 0.0;
    }
}

/* Row i of this call is absolute position t, row r of chunk g. A position beyond the valid length
 * takes its place in keys and vals but is never summed or seen. */
static void state_step(const Chunks *a, int64_t b, int64_t i)
{
    const int64_t t = a->pos + i, r = t % a->chunk;
    const State st = state_of(a, b);
    const double *kl = (const double *)a->kl + at_s(a, b, i);
    const double *v = (const double *)a->v + at_e(a, b, i);
    memcpy(st.keys + r * a->s, (const double *)a->kq + at_s(a, b, i), (size_t)a->s * sizeof *v);
    memcpy(st.vals + r * a->e, v, (size_t)a->e * sizeof *v);
    for (int64_t m = 0; m < a->s && t < valid_end(a, b); m++)
        ref_add_scaled(st.part + m * a->e, kl[m], v, a->e);
}

static void state_fwd(const Chunks *a, int64_t b, int64_t i)
{
    const int64_t t = a->pos + i, first = t / a->chunk * a->chunk;
    const State st = state_of(a, b);
    const Span local = local_span(a, b, t);
    const double *qq = (const double *)a->qq + at_s(a, b, i);
    const double *ql = (const double *)a->ql + at_s(a, b, i);
    double *o = (double *)a->o + at_e(a, b, i);

    state_step(a, b, i);
    for (int64_t n = 0; n < a->e; n++)
        o[n] = 0.0;
    for (int64_t j = local.begin - first; j < local.end - first; j++)
        ref_add_scaled(o, local_weight(a, qq, st.keys + j * a->s, j - (t - first)),
                       st.vals + j * a->e, a->e);
    for (int64_t m = 0; m < a->s; m++)
        ref_add_scaled(o, linear_factor(a, b, t) * ql[m], st.sum + m * a->e, a->e);
    if (t + 1 == first + a->chunk)
        close_chunk(a, st);
}

/* ---- backward: the same pairs ---- */

/* Pair (i,j) of the local part: with r = relu(local_scale qq_i.kq_j + bias_ij) and da = local_post
 * do_i.v_j the gradient of the product qq_i.kq_j is 2 r da local_scale, of the bias 2 r da. */
static void local_pair_bwd(const Chunks *a, int64_t b, int64_t i, int64_t j)
{
    const int64_t qi = at_s(a, b, i), kj = at_s(a, b, j), vj = at_e(a, b, j);
    const double *qq = (const double *)a->qq + qi, *kq = (const double *)a->kq + kj;
    const double *d_o = (const double *)a->d_o + at_e(a, b, i), *v = (const double *)a->v + vj;
    const double relu = ref_relu(a->local_scale * ref_dot(qq, kq, a->s) + bias_of(a, j - i));
    const double slope = 2.0 * relu * a->local_post * ref_dot(d_o, v, a->e);
    ref_add_scaled(ref_grad(a->dv, vj), local_weight(a, qq, kq, j - i), d_o, a->e);
    ref_add_scaled(ref_grad(a->dqq, qi), slope * a->local_scale, kq, a->s);
    ref_add_scaled(ref_grad(a->dkq, kj), slope * a->local_scale, qq, a->s);
    if (a->d_bias != NULL)
        ((double *)a->d_bias)[a->chunk - 1 + j - i] += a->bias_scale * slope;
}

static void linear_pair_bwd(const Chunks *a, int64_t b, int64_t i, int64_t j)
{
    const int64_t qi = at_s(a, b, i), kj = at_s(a, b, j), vj = at_e(a, b, j);
    const double *ql = (const double *)a->ql + qi, *kl = (const double *)a->kl + kj;
    const double *d_o = (const double *)a->d_o + at_e(a, b, i), *v = (const double *)a->v + vj;
    const double c = linear_factor(a, b, i), slope = c * ref_dot(d_o, v, a->e);
    ref_add_scaled(ref_grad(a->dv, vj), c * ref_dot(ql, kl, a->s), d_o, a->e);
    ref_add_scaled(ref_grad(a->dql, qi), slope, kl, a->s);
    ref_add_scaled(ref_grad(a->dkl, kj), slope, ql, a->s);
}

static void position_bwd(const Chunks *a, int64_t b, int64_t i)
{
    const Span local = local_span(a, b, i), linear = linear_span(a, b, i);
    for (int64_t j = local.begin; j < local.end; j++)
        local_pair_bwd(a, b, i, j);
    for (int64_t j = linear.begin; j < linear.end; j++)
        linear_pair_bwd(a, b, i, j);
}

/* Local part: q.k and a.v of every visible pair, as the loops run. Linear part: what its recurrent
 * form needs, since the pairwise sums here are a definition and nobody's cost: 2 S E for ql M
 * (causal: from chunk 1 on) and 2 S E for adding kl'v, for every valid position whose sum somebody
 * reads: without state a causal pass has no use for that of its last chunk. */
static double flops_of(const Chunks *a)
{
    const int64_t last = (a->len - 1) / a->chunk * a->chunk;
    const int64_t added = a->causal && a->sum == NULL ? last : a->pos + a->len;
    double pairs = 0.0, updates = 0.0;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t t = a->pos; t < a->pos + a->len; t++) {
            const Span local = local_span(a, b, t);
            pairs += (double)max64(0, local.end - local.begin);
            if (t < valid_end(a, b))
                updates += (a->causal && t < a->chunk ? 0.0 : 1.0) + (t < added ? 1.0 : 0.0);
        }
    return 2.0 * pairs * (a->s + a->e) + 2.0 * updates * a->s * a->e;
}

/* Positions of one batch row follow one another only where they carry state. */
static void fwd_with_state(const Chunks *a, bool threads)
{
#pragma omp parallel for if (threads)
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t i = 0; i < a->len; i++)
            state_fwd(a, b, i);
}

Status ref_chunks_fwd(Dev *d, const Chunks *a)
{
    const bool state = a->sum != NULL;
    const double flops = flops_of(a);
    CHECK(state == (a->part != NULL) && state == (a->keys != NULL) && state == (a->vals != NULL));
    CHECK(state ? a->causal : a->pos == 0);
    dev_count_flops(d, flops);
    if (state) {
        fwd_with_state(a, flops > REF_PARALLEL_WORK);
        return ST_OK;
    }
#pragma omp parallel for collapse(2) if (flops > REF_PARALLEL_WORK)
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t i = 0; i < a->len; i++)
            position_fwd(a, b, i);
    return ST_OK;
}

/* Positions add into the same dkq, dkl and dv, in their order: batch rows run in parallel, unless
 * all add into one bias. */
Status ref_chunks_bwd(Dev *d, const Chunks *a)
{
    (void)d;
    CHECK(a->sum == NULL && a->pos == 0);
#pragma omp parallel for if (flops_of(a) > REF_PARALLEL_WORK && a->d_bias == NULL)
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t i = 0; i < a->len; i++)
            position_bwd(a, b, i);
    return ST_OK;
}
