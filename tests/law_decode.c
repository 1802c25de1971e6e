/* law_decode.c - decode that is a definition of its own: by its matrix, and however it is cut. */
#include "tests/law.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEN = 13, MAX_CUTS = LEN + 1 };
static const int64_t cuts[][MAX_CUTS] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {13}, {1, 12}, {3, 1, 4, 5}, {12, 1}};

/* ---- mixing alone ---- */

/* Parts of the whole pass, and from them what decode should mix. */
static double *wanted(const Setting *s, int *width)
{
    Stand r;
    Parts parts = {{0}};
    const Mixer *m = s->v->mixer;
    stand_open(&r, s);
    MixIn in = {r.m.block[0].w + NORM_SLOTS, NULL, &r.m.ctx, 0};
    tape_grad(r.m.tape, false);
    m->project(r.m.tape, &in, &r.x, &parts);
    if (m->choose != NULL)
        m->choose(r.m.tape, &in, &parts);
    CHECK(tape_status(r.m.tape) == ST_OK);
    *width = tensor_width(parts.p[m->v_part]);
    double *o = by_definition(&r, &parts, m->decode_matrix, *width);
    tape_reset(r.m.tape);
    stand_close(&r);
    return o;
}

/* Positions at .. at + n - 1 through the stages, with carried state; their rows of y. */
static void mix_segment(Stand *r, const double *x, int64_t at, int64_t n, int width, double *y)
{
    const int64_t dim[] = {r->s.batch, n, r->s.width}, w = r->s.width;
    const Mixer *m = r->s.v->mixer;
    const MixIn in = {r->m.block[0].w + NORM_SLOTS, r->m.block[0].st, &r->m.ctx, 0};
    Parts parts = {{0}};
    Tensor piece;
    CHECK(tensor_new(r->d, &piece, REAL, MEM_INPUT, 3, dim) == ST_OK);
    for (int64_t b = 0; b < r->s.batch; b++)
        CHECK(dev_write_f64(r->d, piece.buf, b * n * w, x + (b * r->s.len + at) * w, n * w) ==
              ST_OK);
    r->m.ctx.pos = at;
    r->m.ctx.q_len = n;
    m->project(r->m.tape, &in, &piece, &parts);
    if (m->choose != NULL)
        m->choose(r->m.tape, &in, &parts);
    const Tensor *mixed = m->mix(r->m.tape, &in, &parts);
    CHECK(tape_status(r->m.tape) == ST_OK);
    for (int64_t b = 0; b < r->s.batch; b++)
        CHECK(dev_read_f64(r->d, y + (b * r->s.len + at) * width, mixed->buf, b * n * width,
                           n * width) == ST_OK);
    tape_reset(r->m.tape);
    tensor_free(r->d, &piece);
}

static double decode_at(const Setting *base)
{
    Setting s = *base;
    Stand r;
    int width = 0;
    double most = 0, *want = wanted(&s, &width);
    s.state = true;
    stand_open(&r, &s);
    int64_t n = s.batch * s.len * width;
    double *x = numbers(stand_size(&r), 1, 1), *y = room(n);
    tape_grad(r.m.tape, false);
    for (int i = 0; i < COUNT(cuts); i++) {
        CHECK(model_zero_state(&r.m) == ST_OK);
        for (int64_t at = 0, k = 0; at < s.len; at += cuts[i][k++])
            mix_segment(&r, x, at, cuts[i][k], width, y);
        most = worse(most, worst(y, want, n));
    }
    free(want);
    free(x);
    free(y);
    stand_close(&r);
    return most;
}

/* ---- whole blocks ---- */
static double cuts_at(const Setting *base)
{
    Setting s = *base;
    Stand r;
    double most = 0;
    s.blocks = 2;
    s.state = true;
    stand_open(&r, &s);
    double *y = room(stand_size(&r)), *z = room(stand_size(&r));
    stand_segments(&r, cuts[0], y);
    for (int i = 1; i < COUNT(cuts); i++) {
        stand_segments(&r, cuts[i], z);
        most = worse(most, worst(z, y, stand_size(&r)));
    }
    free(y);
    free(z);
    stand_close(&r);
    return most;
}

/* ---- over options ---- */

/* Beside the small options: windows that are shorter than the context, and one bucket for each. */
static double over_windows(const Variant *v, const char *backend, SettingFn *fn)
{
    static const char *const windows[] = {"",
                                          "chunk_len=2 before=0",
                                          "n_hashes=1 chunk_len=1 before=2",
                                          "n_hashes=3 chunk_len=3 before=0",
                                          "n_buckets=2 chunk_len=1",
                                          "n_buckets=130 chunk_len=2",
                                          "std_length=13"};
    double most = 0;
    if (v->mixer->decode_matrix == NULL) /* own, and not said what */
        return (double)NAN;
    for (int i = 0; i < COUNT(windows); i++) {
        Setting s = setting_small(v, backend);
        size_t at = strlen(s.set);
        CHECK(s.len == LEN);
        known_options(v, windows[i], s.set + at, sizeof s.set - at);
        most = worse(most, over_options(&s, fn));
    }
    return most;
}
double law_decode_ref(const Variant *v)
{
    return over_windows(v, "ref", decode_at);
}
double law_decode_cpu(const Variant *v)
{
    return over_windows(v, "cpu", decode_at);
}
double law_cuts_ref(const Variant *v)
{
    return over_windows(v, "ref", cuts_at);
}
double law_cuts_cpu(const Variant *v)
{
    return over_windows(v, "cpu", cuts_at);
}
