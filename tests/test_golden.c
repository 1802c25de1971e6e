/* test_golden.c - whole blocks against golden vectors (tests/golden/README.md): outputs and all
 * gradients, written by an independent float64 script from the papers' formulas. */
#include "datasets/safetensors.h"
#include "tests/stand.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t number(const StFile *f, const char *key)
{
    const char *text = st_meta(f, key);
    cr_assert(text != NULL, "%s: no %s in the metadata", f->path, key);
    return strtoll(text, NULL, 10);
}

/* "f=32" or "e=10" is the channel width of the harness; the rest are the variant's options. */
static void options(const StFile *f, Setting *s)
{
    char text[256], *save = NULL;
    snprintf(text, sizeof text, "%s", st_meta(f, "options"));
    s->set[0] = '\0';
    for (char *item = strtok_r(text, " ", &save); item != NULL; item = strtok_r(NULL, " ", &save)) {
        size_t at = strlen(s->set);
        if (item[0] == 'f' || item[0] == 'e')
            s->ffn = atoi(item + 2);
        else
            snprintf(s->set + at, sizeof s->set - at, "%s ", item);
    }
}

static Setting setting_of(const StFile *f, const char *backend)
{
    Setting s = {.v = variant_find(st_meta(f, "variant")), .backend = backend, .grads = true};
    cr_assert(s.v != NULL);
    s.blocks = st_meta(f, "blocks") != NULL ? (int)number(f, "blocks") : 1;
    s.batch = number(f, "batch");
    s.len = number(f, "len");
    s.width = (int)number(f, "width");
    s.heads = (int)number(f, "heads");
    s.n_norm = number(f, "n_norm");
    s.causal = number(f, "causal") != 0;
    options(f, &s);
    s.training = st_find(f, "draw.noise") != NULL;
    const StTensor *lens = st_find(f, "lens");
    s.lens = lens != NULL ? lens->data : NULL;
    return s;
}

static const double *reals(const StFile *f, const char *name, int64_t n)
{
    const StTensor *t = st_find(f, name);
    cr_assert(t != NULL && t->dtype == SAFE_F64 && t->size == (size_t)n * sizeof(double), "%s: %s",
              f->path, name);
    return t->data;
}

/* One block has no prefix. */
static const char *short_name(const Stand *r, int i)
{
    return r->m.param[i].name + (r->s.blocks == 1 ? strlen("block0.") : 0);
}

static void load(Stand *r, const StFile *f)
{
    for (int i = 0; i < r->m.n_params; i++) {
        Tensor *t = &r->m.param[i].t;
        const double *w = reals(f, short_name(r, i), tensor_size(t));
        cr_assert(dev_write_f64(r->d, t->buf, 0, w, tensor_size(t)) == ST_OK);
    }
    stand_set_input(r, reals(f, "x", stand_size(r)));
}

static double gradient_error(Stand *r, const StFile *f, const double *dw)
{
    double most = 0;
    for (int i = 0; i < r->m.n_params; i++) {
        char name[PARAM_NAME + 8];
        int64_t n = tensor_size(&r->m.param[i].t);
        snprintf(name, sizeof name, "grad.%s", short_name(r, i));
        most = worse(most, worst(dw, reals(f, name, n), n));
        dw += n;
    }
    return most;
}

static double output_error(const Stand *r, const double *y, const double *want)
{
    double most = 0;
    int64_t one = r->s.len * r->s.width;
    for (int64_t b = 0; b < r->s.batch; b++) /* rows beyond the valid length are unspecified */
        most = worse(most, worst(y + b * one, want + b * one,
                                 (r->s.lens != NULL ? r->s.lens[b] : r->s.len) * r->s.width));
    return most;
}

/* What is drawn at random, from the file. */
static void give_draws(Stand *r, const StFile *f, Tensor draw[BLOCK_MAX_DRAWS])
{
    BlockSlot slot[BLOCK_MAX_DRAWS];
    MixCtx *c = &r->m.ctx;
    int n = block_draws(r->s.v, c, slot), of_mixer = r->s.v->mixer->n_draws;
    for (int i = 0; i < n; i++) {
        const Slot *s = &slot[i].slot;
        if (st_find(f, slot[i].name) == NULL)
            continue;
        const double *x = reals(f, slot[i].name, slot_size(s));
        cr_assert(tensor_new(r->d, &draw[i], REAL, MEM_INPUT, s->rank, s->dim) == ST_OK &&
                  dev_write_f64(r->d, draw[i].buf, 0, x, slot_size(s)) == ST_OK);
        *(i < of_mixer ? &c->draw[i] : &c->ffn_draw[i - of_mixer]) = &draw[i];
    }
}

/* A stand with the weights, input and draws of the file. */
static void open_file(Stand *r, const StFile *f, const Setting *s, Tensor draw[BLOCK_MAX_DRAWS])
{
    stand_open(r, s);
    load(r, f);
    give_draws(r, f, draw);
}

static void close_file(Stand *r, Tensor draw[BLOCK_MAX_DRAWS])
{
    for (int i = 0; i < BLOCK_MAX_DRAWS; i++)
        tensor_free(r->d, &draw[i]);
    stand_close(r);
}

/* Outputs and gradients of the whole pass. */
static double whole_error(const StFile *f, const char *backend)
{
    Stand r;
    Tensor draw[BLOCK_MAX_DRAWS] = {{.rank = 0}};
    Setting s = setting_of(f, backend);
    open_file(&r, f, &s, draw);
    int64_t n = stand_size(&r);
    double *y = calloc((size_t)n, sizeof *y), *dx = calloc((size_t)n, sizeof *dx);
    double *dw = calloc((size_t)stand_n_params(&r), sizeof *dw);
    stand_backward(&r, reals(f, "dy", n), y, dx, dw);
    double most = worse(output_error(&r, y, reals(f, "y", n)), worst(dx, reals(f, "grad.x", n), n));
    most = worse(most, gradient_error(&r, f, dw));
    free(y);
    free(dx);
    free(dw);
    close_file(&r, draw);
    return most;
}

/* decode.y, from carried state: token by token, and in pieces. */
static double decode_error(const StFile *f, const char *backend)
{
    enum { MOST = 64 };
    int64_t ones[MOST + 1] = {0}, pieces[MOST + 1] = {0};
    Stand r;
    Tensor draw[BLOCK_MAX_DRAWS] = {{.rank = 0}};
    Setting s = setting_of(f, backend);
    s.grads = false;
    s.state = true;
    cr_assert(s.len <= MOST);
    for (int64_t at = 0, i = 0; at < s.len; at += pieces[i++])
        pieces[i] = at % 3 == 0 ? min64(4, s.len - at) : 1;
    for (int64_t i = 0; i < s.len; i++)
        ones[i] = 1;
    open_file(&r, f, &s, draw);
    int64_t n = stand_size(&r);
    double *y = calloc((size_t)n, sizeof *y);
    const double *want = reals(f, "decode.y", n);
    stand_segments(&r, ones, y);
    double most = worst(y, want, n);
    stand_segments(&r, pieces, y);
    most = worse(most, worst(y, want, n));
    free(y);
    close_file(&r, draw);
    return most;
}

static double file_error(const char *path, const char *backend)
{
    StFile f;
    cr_assert(st_open(path, &f) == ST_OK, "%s", status_reason());
    double most = whole_error(&f, backend);
    if (st_find(&f, "decode.y") != NULL)
        most = worse(most, decode_error(&f, backend));
    st_close(&f);
    return most;
}

static void all_files(const char *backend, double bound)
{
    glob_t g;
    double most = 0;
    cr_assert(glob("tests/golden/*.safetensors", 0, NULL, &g) == 0 && g.gl_pathc >= 20);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        double error = file_error(g.gl_pathv[i], backend);
        cr_expect(error <= bound, "%s: %s: error %g, allowed %g", backend, g.gl_pathv[i], error,
                  bound);
        most = worse(most, error);
    }
    printf("%zu golden files, %s: largest relative error %.2g (allowed %.2g)\n", g.gl_pathc,
           backend, most, bound);
    globfree(&g);
}

Test(golden, ref)
{
    all_files("ref", 1e-12);
}

Test(golden, cpu)
{
    all_files("cpu", 1e-4);
}
