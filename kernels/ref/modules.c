/* modules.c - multiplicative layer and convolution over positions and modules, as sums. */
#include "kernels/ref/ref.h"

/* ---- y[r, s M + m] = bias + sum_i x[r,i] g[i,s] e[i,m] ---- */
static double mult_at(const Mult *a, int64_t r, int s, int m)
{
    const double *x = (const double *)a->x + r * a->in, *g = a->g, *e = a->e, *bias = a->bias;
    double sum = bias != NULL ? bias[s * a->m + m] : 0.0;
    for (int64_t i = 0; i < a->in; i++)
        sum += x[i] * g[i * a->modules + s] * e[i * a->m + m];
    return sum;
}

Status ref_mult_fwd(Dev *d, const Mult *a)
{
    double flops = 2.0 * (double)a->rows * a->in * a->modules * a->m;
#pragma omp parallel for if (flops > REF_PARALLEL_WORK)
    for (int64_t r = 0; r < a->rows; r++)
        for (int s = 0; s < a->modules; s++)
            for (int m = 0; m < a->m; m++)
                ((double *)a->y)[(r * a->modules + s) * a->m + m] = mult_at(a, r, s, m);
    dev_count_flops(d, flops);
    return ST_OK;
}

/* dx_i = sum g e dy,  dg_is = sum x e dy,  de_im = sum x g dy. */
static void mult_bwd_row(const Mult *a, int64_t r, int64_t i)
{
    const int S = a->modules, M = a->m;
    const double x = ((const double *)a->x)[r * a->in + i], *dy = a->dy;
    const double *g = (const double *)a->g + i * S, *e = (const double *)a->e + i * M;
    double *dg = ref_grad(a->dg, i * S), *de = ref_grad(a->de, i * M), dx = 0.0;
    for (int s = 0; s < S; s++)
        for (int m = 0; m < M; m++) {
            const double pull = dy[(r * S + s) * M + m];
            dx += g[s] * e[m] * pull;
            if (dg != NULL)
                dg[s] += x * e[m] * pull;
            if (de != NULL)
                de[m] += x * g[s] * pull;
        }
    if (a->dx != NULL)
        ((double *)a->dx)[r * a->in + i] += dx;
}

Status ref_mult_bwd(Dev *d, const Mult *a)
{
    (void)d;
    for (int64_t r = 0; r < a->rows; r++) {
        for (int64_t i = 0; i < a->in; i++)
            mult_bwd_row(a, r, i);
        ref_add_scaled(a->dbias, 1.0, (const double *)a->dy + r * a->modules * a->m,
                       (int64_t)a->modules * a->m);
    }
    return ST_OK;
}

/* ---- y[b,t,s,o] = bias[o] + sum x[b, t - (taps-1) + k, s - (side-1)/2 + j, i] w[k,j,i,o] ---- */

/* Where the vector of position t, module s begins; NULL outside. */
static const double *vector(const ModConv *a, int64_t b, int64_t t, int64_t s)
{
    const int64_t before = a->taps - 1;
    if (s < 0 || s >= a->modules || (t < 0 && (a->halo == NULL || t < -before)))
        return NULL;
    if (t >= 0)
        return (const double *)a->x + ((b * a->len + t) * a->modules + s) * a->in;
    return (const double *)a->halo + ((b * before + before + t) * a->modules + s) * a->in;
}

static void modconv_at(const ModConv *a, int64_t b, int64_t t, int s, double *y)
{
    const double *bias = a->bias, *w = a->w;
    for (int o = 0; o < a->out; o++)
        y[o] = bias != NULL ? bias[o] : 0.0;
    for (int k = 0; k < a->taps; k++)
        for (int j = 0; j < a->side; j++) {
            const double *x = vector(a, b, t - (a->taps - 1) + k, s - (a->side - 1) / 2 + j);
            for (int i = 0; i < a->in && x != NULL; i++)
                ref_add_scaled(y, x[i], w + ((int64_t)(k * a->side + j) * a->in + i) * a->out,
                               a->out);
        }
}

Status ref_modconv_fwd(Dev *d, const ModConv *a)
{
    const int64_t rows = a->batch * a->len * a->modules;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t t = r / a->modules;
        modconv_at(a, t / a->len, t % a->len, (int)(r % a->modules), (double *)a->y + r * a->out);
    }
    dev_count_flops(d, 2.0 * (double)rows * a->taps * a->side * a->in * a->out);
    return ST_OK;
}

static void modconv_bwd_at(const ModConv *a, int64_t b, int64_t t, int s, const double *dy)
{
    for (int k = 0; k < a->taps; k++)
        for (int j = 0; j < a->side; j++) {
            const double *x = vector(a, b, t - (a->taps - 1) + k, s - (a->side - 1) / 2 + j);
            const int64_t at = (int64_t)(k * a->side + j) * a->in * a->out;
            for (int64_t i = 0; i < a->in && x != NULL; i++) {
                if (a->dx != NULL)
                    ((double *)a->dx)[x - (const double *)a->x + i] +=
                        ref_dot(dy, (const double *)a->w + at + i * a->out, a->out);
                ref_add_scaled(ref_grad(a->dw, at + i * a->out), x[i], dy, a->out);
            }
        }
    ref_add_scaled(a->dbias, 1.0, dy, a->out);
}

Status ref_modconv_bwd(Dev *d, const ModConv *a)
{
    (void)d;
    CHECK(a->halo == NULL);
    for (int64_t r = 0; r < a->batch * a->len * a->modules; r++) {
        const int64_t t = r / a->modules;
        modconv_bwd_at(a, t / a->len, t % a->len, (int)(r % a->modules),
                       (const double *)a->dy + r * a->out);
    }
    return ST_OK;
}
