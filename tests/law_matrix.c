/* law_matrix.c - mix equals the mixing matrix times V, for every option, length and raggedness. */
#include "tests/law.h"

#include <math.h>
#include <stdlib.h>

/* ---- mix equals matrix times V ---- */
static void host_parts(Stand *r, const Parts *p, int64_t b, HostParts *h, double *hold[])
{
    for (int i = 0; i < r->s.v->mixer->n_parts; i++) {
        const Tensor *part = p->p[i];
        int64_t n = tensor_size(part) / r->s.batch;
        hold[i] = room(n);
        for (int64_t j = 0; part->dtype == I32 && j < n; j++)
            hold[i][j] = ((const int32_t *)part->buf.ptr)[b * n + j];
        if (part->dtype == REAL)
            CHECK(dev_read_f64(r->d, hold[i], part->buf, b * n, n) == ST_OK);
        h->part[i] = hold[i];
    }
}

/* The mixer's weights that are there. */
static void host_weights(Stand *r, HostParts *h, double *hold[])
{
    for (int i = 0; i < r->s.v->mixer->n_params; i++) {
        const Tensor *w = r->m.block[0].w[NORM_SLOTS + i];
        hold[i] = w != NULL ? room(tensor_size(w)) : NULL;
        if (w != NULL)
            CHECK(dev_read_f64(r->d, hold[i], w->buf, 0, tensor_size(w)) == ST_OK);
        h->w[i] = hold[i];
    }
}

/* o = P V of every group, of one sequence. */
static void by_matrix(Stand *r, const HostParts *h, MatrixFn *matrix, int width, double *o)
{
    const Mixer *m = r->s.v->mixer;
    int groups = m->groups(&r->m.ctx), slice = width / groups;
    double *P = room(h->len * h->len);
    const double *v = h->part[m->v_part];
    for (int g = 0; g < groups; g++) {
        matrix(P, h, g, &r->m.ctx);
        for (int64_t i = 0; i < h->len; i++)
            for (int c = g * slice; c < (g + 1) * slice; c++)
                for (int64_t j = 0; j < h->len; j++)
                    o[i * width + c] += P[i * h->len + j] * v[j * width + c];
    }
    free(P);
}

double *by_definition(Stand *r, const Parts *parts, MatrixFn *matrix, int width)
{
    const Setting *s = &r->s;
    const Mixer *m = s->v->mixer;
    double *o = room(s->batch * s->len * width);
    for (int64_t b = 0; b < s->batch; b++) {
        HostParts h = {.len = s->len, .valid = s->lens != NULL ? s->lens[b] : s->len};
        double *hold[MIX_MAX_PARTS], *weights[MIX_MAX_PARAMS];
        host_parts(r, parts, b, &h, hold);
        host_weights(r, &h, weights);
        by_matrix(r, &h, matrix, width, o + b * s->len * width);
        for (int i = 0; i < m->n_parts; i++)
            free(hold[i]);
        for (int i = 0; i < m->n_params; i++)
            free(weights[i]);
    }
    return o;
}

static double matrix_at(const Setting *s)
{
    Stand r;
    Parts parts = {{0}};
    double most = 0;
    stand_open(&r, s);
    const Mixer *m = s->v->mixer;
    MixIn in = {r.m.block[0].w + NORM_SLOTS, NULL, &r.m.ctx, 0};
    m->project(r.m.tape, &in, &r.x, &parts);
    if (m->choose != NULL)
        m->choose(r.m.tape, &in, &parts);
    Tensor *mixed = m->mix(r.m.tape, &in, &parts);
    CHECK(tape_status(r.m.tape) == ST_OK);
    int width = tensor_width(mixed);
    int64_t one = s->len * width;
    double *y = room(s->batch * one), *o = by_definition(&r, &parts, m->matrix, width);
    CHECK(dev_read_f64(r.d, y, mixed->buf, 0, s->batch * one) == ST_OK);
    for (int64_t b = 0; b < s->batch; b++) {
        int64_t valid = s->lens != NULL ? s->lens[b] : s->len;
        most = worse(most, worst(y + b * one, o + b * one, valid * width));
    }
    free(o);
    free(y);
    tape_reset(r.m.tape);
    stand_close(&r);
    return most;
}

static double matrix_all_lengths(const Setting *base)
{
    double most = 0;
    for (int i = 0; i < COUNT(lengths); i++) {
        Setting s = *base;
        s.len = lengths[i];
        most = worse(most, over_options(&s, matrix_at));
    }
    return most;
}

double law_matrix_ref(const Variant *v)
{
    return both_ways(v, "ref", matrix_all_lengths);
}
double law_matrix_cpu(const Variant *v)
{
    return both_ways(v, "cpu", matrix_all_lengths);
}

static double matrix_ragged_at(const Setting *base)
{
    static const int32_t lens[][2] = {{13, 6}, {9, 4}, {1, 13}, {8, 5}};
    double most = 0;
    for (int i = 0; i < COUNT(lens); i++) {
        Setting s = *base;
        s.lens = lens[i];
        most = worse(most, over_options(&s, matrix_at));
    }
    return most;
}
double law_ragged_ref(const Variant *v)
{
    return both_ways(v, "ref", matrix_ragged_at);
}
double law_ragged_cpu(const Variant *v)
{
    return both_ways(v, "cpu", matrix_ragged_at);
}
