/* loss.c - both ends of a language model: rows of the embedding table, and cross entropy. */
#include "kernels/ref/ref.h"

Status ref_embed_fwd(Dev *d, const Embed *a)
{
    const double *table = a->table;
    double *y = a->y;
    (void)d;
    for (int64_t r = 0; r < a->rows; r++) {
        CHECK(a->ids[r] >= 0 && a->ids[r] < a->vocab);
        for (int64_t c = 0; c < a->width; c++)
            y[r * a->width + c] = table[(int64_t)a->ids[r] * a->width + c];
    }
    return ST_OK;
}

Status ref_embed_bwd(Dev *d, const Embed *a)
{
    const double *dy = a->dy;
    (void)d;
    for (int64_t r = 0; r < a->rows; r++) {
        CHECK(a->ids[r] >= 0 && a->ids[r] < a->vocab);
        ref_add_scaled(ref_grad(a->dtable, (int64_t)a->ids[r] * a->width), 1.0, dy + r * a->width,
                       a->width);
    }
    return ST_OK;
}

Status ref_xent_fwd(Dev *d, const Xent *a)
{
    double *nll = a->nll;
    (void)d;
    for (int64_t r = 0; r < a->rows; r++) {
        const double *x = (const double *)a->logits + r * a->vocab;
        CHECK(a->target[r] < a->vocab);
        nll[r] = a->target[r] < 0 ? 0.0 : ref_log_sum_exp(x, a->vocab) - x[a->target[r]];
    }
    return ST_OK;
}

Status ref_xent_bwd(Dev *d, const Xent *a)
{
    const double scale = a->weight * *(const double *)a->dloss;
    (void)d;
    for (int64_t r = 0; r < a->rows && a->dlogits != NULL; r++) {
        const double *x = (const double *)a->logits + r * a->vocab;
        double *dx = (double *)a->dlogits + r * a->vocab;
        CHECK(a->target[r] < a->vocab);
        if (a->target[r] < 0)
            continue;
        const double lse = ref_log_sum_exp(x, a->vocab);
        for (int c = 0; c < a->vocab; c++)
            dx[c] += scale * (exp(x[c] - lse) - (c == a->target[r] ? 1.0 : 0.0));
    }
    return ST_OK;
}
