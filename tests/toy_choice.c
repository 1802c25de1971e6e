/* toy_choice.c - see toy_choice.h. Brings its own ops, on the host, as a variant may. */
#include "tests/toy_choice.h"

#include <math.h>
#include <string.h>

enum { W_Q, W_K, W_V, N_PARAMS };
enum { Q, K, V, PICK, N_PARTS };

static double real_at(const Call *c, const void *p, int64_t i)
{
    return dev_real(c->dev) == sizeof(double) ? ((const double *)p)[i]
                                              : (double)((const float *)p)[i];
}

static void real_add(const Call *c, void *p, int64_t i, double x)
{
    if (p != NULL && dev_real(c->dev) == sizeof(double))
        ((double *)p)[i] += x;
    else if (p != NULL)
        ((float *)p)[i] += (float)x;
}

static double score(const Call *c, int64_t b, int64_t i, int64_t j)
{
    int64_t T = c->in[Q]->dim[1], w = tensor_width(c->in[Q]);
    double s = 0;
    for (int64_t a = 0; a < w; a++)
        s += real_at(c, call_ptr(c->in[Q]), (b * T + i) * w + a) *
             real_at(c, call_ptr(c->in[K]), (b * T + j) * w + a);
    return s;
}

/* ---- choosing: in q, k; out I32 (B,T) ---- */
static Status pick_forward(const Call *c)
{
    int64_t B = c->in[Q]->dim[0], T = c->in[Q]->dim[1];
    double sign = c->arg[0];
    int32_t *out = call_ptr(c->out[0]);
    for (int64_t b = 0; b < B; b++)
        for (int64_t i = 0; i < T; i++) {
            int64_t best = 0;
            for (int64_t j = 1; j <= i; j++)
                if (sign * score(c, b, i, j) > sign * score(c, b, i, best))
                    best = j;
            out[b * T + i] = (int32_t)best;
        }
    return ST_OK;
}

static const Op pick = {"pick", pick_forward, NULL, NULL};

static void choose(Tape *t, const MixIn *in, Parts *parts)
{
    double sign = in->ctx->seed % 2 == 0 ? 1 : -1;
    Call c = call_new(t, &sign, sizeof sign);
    bool grad = tape_has_grad(t);
    call_in(&c, parts->p[Q]);
    call_in(&c, parts->p[K]);
    call_out(&c, t, I32, 2, parts->p[Q]->dim);
    tape_grad(t, false); /* a choice has no gradient */
    parts->p[PICK] = tape_run(t, &pick, &c);
    tape_grad(t, grad);
}

/* ---- mixing: in q, k, v, choice ---- */
static Status take_forward(const Call *c)
{
    int64_t B = c->in[Q]->dim[0], T = c->in[Q]->dim[1], w = tensor_width(c->in[V]);
    const int32_t *at = call_ptr(c->in[PICK]);
    memset(c->out[0]->buf.ptr, 0, c->out[0]->buf.size);
    for (int64_t r = 0; r < B * T; r++) {
        int64_t b = r / T, j = at[r];
        double s = score(c, b, r % T, j);
        for (int64_t a = 0; a < w; a++)
            real_add(c, call_ptr(c->out[0]), r * w + a,
                     s * real_at(c, call_ptr(c->in[V]), (b * T + j) * w + a));
    }
    return ST_OK;
}

static Status take_backward(const Call *c)
{
    int64_t B = c->in[Q]->dim[0], T = c->in[Q]->dim[1], w = tensor_width(c->in[V]);
    const int32_t *at = call_ptr(c->in[PICK]);
    for (int64_t r = 0; r < B * T; r++) {
        int64_t row = (r / T) * T + at[r];
        double s = score(c, r / T, r % T, at[r]), ds = 0;
        for (int64_t a = 0; a < w; a++) {
            double dy = real_at(c, c->out[0]->grad.ptr, r * w + a);
            ds += dy * real_at(c, call_ptr(c->in[V]), row * w + a);
            real_add(c, call_grad(c, V), row * w + a, s * dy);
        }
        for (int64_t a = 0; a < w; a++) {
            real_add(c, call_grad(c, Q), r * w + a,
                     ds * real_at(c, call_ptr(c->in[K]), row * w + a));
            real_add(c, call_grad(c, K), row * w + a,
                     ds * real_at(c, call_ptr(c->in[Q]), r * w + a));
        }
    }
    return ST_OK;
}

static const Op take = {"take", take_forward, take_backward, NULL};

static Tensor *mix(Tape *t, const MixIn *in, const Parts *parts)
{
    (void)in;
    Call c = call_new(t, NULL, 0);
    for (int i = 0; i < N_PARTS; i++)
        call_in(&c, parts->p[i]);
    call_out_like(&c, t, parts->p[V]);
    return tape_run(t, &take, &c);
}

static void params(Slot s[], const MixCtx *c)
{
    s[W_Q] = slot_matrix("w_q", c->width, c->width);
    s[W_K] = slot_matrix("w_k", c->width, c->width);
    s[W_V] = slot_matrix("w_v", c->width, c->width);
}

static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    for (int i = 0; i < PICK; i++)
        out->p[i] = op_linear(t, x, in->w[i], NULL);
}

static Tensor *finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x)
{
    (void)t, (void)in, (void)parts, (void)x;
    return mixed;
}

static int groups(const MixCtx *c)
{
    (void)c;
    return 1;
}

/* P_ij = q_i.k_j where j is the choice of i, read as a part. */
static void matrix(double *P, const HostParts *h, int g, const MixCtx *c)
{
    (void)g;
    for (int64_t i = 0; i < h->len * h->len; i++)
        P[i] = 0;
    for (int64_t i = 0; i < h->len; i++) {
        int64_t j = (int64_t)h->part[PICK][i];
        for (int a = 0; a < c->width; a++)
            P[i * h->len + j] += h->part[Q][i * c->width + a] * h->part[K][j * c->width + a];
    }
}

static double flops(const MixCtx *c)
{
    return 6.0 * (double)c->batch * (double)c->q_len * c->width * c->width;
}

static const Mixer mixer = {
    .name = "toy_choice",
    .caps = CAP_CAUSAL | CAP_CHOICES,
    .n_params = N_PARAMS,
    .n_parts = N_PARTS,
    .v_part = V,
    .params = params,
    .project = project,
    .choose = choose,
    .choice_parts = 1u << PICK,
    .mix = mix,
    .finish = finish,
    .groups = groups,
    .matrix = matrix,
    .flops = flops,
};

static int width_itself(int width)
{
    return width;
}

const Variant toy_choice = {
    .name = "toy_choice",
    .title = "one key each",
    .mixer = &mixer,
    .norm = NORM_RMS,
    .norm_eps = 1e-6,
    .blocks_per_layer = 1,
    .default_ffn = width_itself,
};
