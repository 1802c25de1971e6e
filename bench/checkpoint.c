/* checkpoint.c - see checkpoint.h. One table of settings serves writing and reading. */
#include "bench/checkpoint.h"

#include "bench/parse.h"
#include "bench/solve.h"
#include "kernels/build_id.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings ---- */
typedef enum Kind { INT, INT64, UINT64, DOUBLE, FLAG } Kind;
typedef struct Field {
    const char *name;
    Kind kind;
    size_t offset; /* in TrainSpec */
    double lo, hi;
} Field;

#define AT(member) offsetof(TrainSpec, member)
static const Field fields[] = {
    {"layers", INT, AT(model.layers), 1, 1024},
    {"width", INT, AT(model.ctx.width), 1, 1 << 16},
    {"heads", INT, AT(model.ctx.heads), 1, 1 << 12},
    {"ffn", INT, AT(model.ctx.ffn), 1, 1 << 20},
    {"vocab", INT, AT(model.vocab), TEXT_VOCAB, TEXT_VOCAB},
    {"batch", INT64, AT(model.ctx.batch), 1, 1 << 20},
    {"len", INT64, AT(model.ctx.q_len), 1, 1 << 30},
    {"n_norm", INT64, AT(model.ctx.n_norm), 1, 1 << 30},
    {"steps", INT64, AT(steps), 1, 1e15},
    {"seed", UINT64, AT(seed), 0, 0x1p64},
    {"recompute", FLAG, AT(recompute), 0, 1},
    {"lr", DOUBLE, AT(lr), 0, 1e3},
    {"warmup", DOUBLE, AT(warmup), 0, 1},
    {"floor", DOUBLE, AT(floor), 0, 1},
    {"beta1", DOUBLE, AT(beta1), 0, 1},
    {"beta2", DOUBLE, AT(beta2), 0, 1},
    {"eps", DOUBLE, AT(eps), 0, 1},
    {"decay", DOUBLE, AT(decay), 0, 1e3},
    {"clip", DOUBLE, AT(clip), 0, 1e9},
    {"blocks", INT, AT(model.blocks), 0, 2048},
    {"causal", FLAG, AT(model.ctx.causal), 0, 1},
    {"naive", FLAG, AT(model.ctx.naive), 0, 1},
};

/* A file of before there were such settings has what train_defaults says. */
static bool is_newer(const Field *f)
{
    return f->offset == AT(model.blocks) || f->offset == AT(model.ctx.causal) ||
           f->offset == AT(model.ctx.naive);
}
#undef AT

static void field_print(const Field *f, const TrainSpec *s, char *out, size_t size)
{
    const void *p = (const char *)s + f->offset;
    if (f->kind == DOUBLE)
        snprintf(out, size, "%.17g", *(const double *)p);
    else if (f->kind == UINT64)
        snprintf(out, size, "%llu", (unsigned long long)*(const uint64_t *)p);
    else
        snprintf(out, size, "%lld",
                 f->kind == INT    ? (long long)*(const int *)p
                 : f->kind == FLAG ? (long long)*(const bool *)p
                                   : (long long)*(const int64_t *)p);
}

/* False where text is no number of the field's range. */
static bool field_set(const Field *f, const char *text, TrainSpec *s)
{
    char *end;
    void *p = (char *)s + f->offset;
    double value = strtod(text, &end);
    if (f->kind == UINT64)
        return parse_u64(text, f->name, p) == ST_OK;
    if (end == text || *end != '\0' || !(value >= f->lo && value <= f->hi))
        return false;
    if (f->kind == DOUBLE)
        *(double *)p = value;
    else if (f->kind == INT64)
        *(int64_t *)p = (int64_t)value;
    else if (f->kind == FLAG)
        *(bool *)p = value != 0;
    else
        *(int *)p = (int)value;
    return f->kind == DOUBLE || value == floor(value);
}

/* ---- saving ---- */
enum { COPIES = 3 }; /* weight and two moments */
static const char *const prefixes[COPIES] = {"", "optim.m.", "optim.v."};

static Tensor *copy_of(ModelParam *p, int which)
{
    return which == 0 ? &p->t : which == 1 ? &p->m : &p->v;
}

typedef struct Image { /* what goes to the file, with the memory it needs */
    StTensor *tensor;
    char (*name)[PARAM_NAME + 16];
    float *data;
    int n;
} Image;

static Status narrow(Dev *d, const Tensor *x, float *out)
{
    enum { PIECE = 4096 };
    double wide[PIECE];
    int64_t n = tensor_size(x);
    for (int64_t at = 0; at < n; at += PIECE) {
        int64_t m = min64(PIECE, n - at);
        TRY(dev_read_f64(d, wide, x->buf, at, m));
        for (int64_t i = 0; i < m; i++)
            out[at + i] = (float)wide[i];
    }
    return ST_OK;
}

static Status image_fill(Image *im, const Model *m)
{
    int64_t at = 0;
    for (int which = 0; which < COPIES; which++)
        for (int i = 0; i < m->n_params; i++) {
            Tensor *x = copy_of(&m->param[i], which);
            if (x->buf.ptr == NULL)
                continue;
            char *name = im->name[im->n];
            snprintf(name, sizeof im->name[0], "%s%s", prefixes[which], m->param[i].name);
            StTensor *out = &im->tensor[im->n++];
            *out =
                (StTensor){.name = name, .dtype = SAFE_F32, .rank = x->rank, .data = im->data + at};
            memcpy(out->dim, x->dim, sizeof(int64_t) * (size_t)x->rank);
            TRY(narrow(m->dev, x, im->data + at));
            at += tensor_size(x);
        }
    return ST_OK;
}

static Status write_image(const Trainer *t, const Image *im, const char *path)
{
    enum { EXTRA = 5, N = COUNT(fields) + EXTRA };
    char text[COUNT(fields)][40], step[24];
    StMeta meta[N];
    snprintf(step, sizeof step, "%lld", (long long)t->step);
    for (int i = 0; i < COUNT(fields); i++) {
        field_print(&fields[i], &t->spec, text[i], sizeof text[i]);
        meta[i] = (StMeta){fields[i].name, text[i]};
    }
    StMeta *more = meta + COUNT(fields);
    more[0] = (StMeta){"variant", t->spec.model.variant->name};
    more[1] = (StMeta){"set", t->spec.set};
    more[2] = (StMeta){"step", step};
    more[3] = (StMeta){"text_sha256", t->text != NULL ? t->text->sha256 : ""};
    more[4] = (StMeta){"build", longmix_build_id};
    return st_write(path, im->tensor, im->n, meta, N);
}

Status checkpoint_save(const Trainer *t, const char *path)
{
    const Model *m = &t->model;
    int64_t numbers = model_n_params(m, true) + model_n_params(m, false);
    size_t n = (size_t)m->n_params * COPIES;
    Image im = {calloc(n, sizeof *im.tensor), calloc(n, sizeof *im.name),
                malloc((size_t)numbers * COPIES * sizeof(float)), 0};
    Status st = im.tensor != NULL && im.name != NULL && im.data != NULL
                    ? image_fill(&im, m)
                    : FAIL(ST_OOM, "no memory to write %s", path);
    if (st == ST_OK)
        st = write_image(t, &im, path);
    free(im.tensor);
    free(im.name);
    free(im.data);
    return st;
}

/* ---- reading ---- */
/* Copies a setting, which must be there as printable ASCII that fits. */
static Status read_text(const Checkpoint *c, const char *key, char *out, size_t size)
{
    const char *text = st_meta(c->file, key);
    if (text == NULL)
        return FAIL(ST_USAGE, "%s: setting %s is missing; is this a checkpoint?", c->path, key);
    for (size_t i = 0; text[i] != '\0'; i++)
        if (i + 1 >= size || text[i] < ' ' || text[i] > '~')
            return FAIL(ST_USAGE, "%s: setting %s: at most %zu printable characters", c->path, key,
                        size - 1);
    memcpy(out, text, strlen(text) + 1);
    return ST_OK;
}

static Status read_fields(const Checkpoint *c, TrainSpec *s)
{
    char text[40];
    for (int i = 0; i < COUNT(fields); i++) {
        const Field *f = &fields[i];
        if (is_newer(f) && st_meta(c->file, f->name) == NULL)
            continue;
        TRY(read_text(c, f->name, text, sizeof text));
        if (!field_set(f, text, s))
            return FAIL(ST_USAGE, "%s: setting %s is '%s' (a %s from %.10g to %.10g)", c->path,
                        f->name, text, f->kind == DOUBLE ? "number" : "whole number", f->lo, f->hi);
    }
    return ST_OK;
}

static Status read_step(Checkpoint *c)
{
    char text[24], *end;
    TRY(read_text(c, "step", text, sizeof text));
    c->step = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || c->step < 0 || c->step > c->spec.steps)
        return FAIL(ST_USAGE, "%s: step '%s' (0 to %lld)", c->path, text, (long long)c->spec.steps);
    return ST_OK;
}

/* Puts the file's name before the reason of a failure. */
static Status in_file(const Checkpoint *c, Status st)
{
    char why[256];
    if (st == ST_OK)
        return ST_OK;
    snprintf(why, sizeof why, "%s", status_reason());
    return FAIL(st, "%s: %s", c->path, why);
}

/* Before anybody allocates what the settings ask for. */
static Status check_size(const Checkpoint *c)
{
    const ModelSpec *m = &c->spec.model;
    int64_t n = solve_count(m) + solve_ends(m);
    if ((size_t)n > c->file->data_size / sizeof(float))
        return FAIL(ST_USAGE, "%s: its settings make %lld weights, which do not fit in %zu bytes",
                    c->path, (long long)n, c->file->data_size);
    return ST_OK;
}

static Status read_settings(Checkpoint *c)
{
    char name[PARAM_NAME];
    TrainSpec *s = &c->spec;
    TRY(read_text(c, "variant", name, sizeof name));
    const Variant *v = variant_find(name);
    if (v == NULL)
        return FAIL(ST_USAGE, "%s: unknown variant '%s'; see `longmix list`", c->path, name);
    *s = train_defaults(v);
    TRY(read_fields(c, s));
    TRY(read_step(c));
    TRY(read_text(c, "set", s->set, sizeof s->set));
    TRY(read_text(c, "text_sha256", c->sha256, sizeof c->sha256));
    s->model.ctx.cap = s->model.ctx.q_len;
    s->model.ctx.vocab = s->model.vocab;
    c->has_moments = st_find(c->file, "optim.m.embed") != NULL;
    TRY(in_file(c, mix_options(v, s->set, &s->model.ctx)));
    TRY(in_file(c, mix_accepts(v, &s->model.ctx)));
    return check_size(c);
}

Status checkpoint_open(const char *path, Checkpoint *out)
{
    *out = (Checkpoint){.path = strdup(path), .file = calloc(1, sizeof(StFile))};
    CHECK(out->path != NULL && out->file != NULL);
    Status st = st_open(path, out->file);
    if (st == ST_OK)
        st = st_check_finite(out->file);
    if (st == ST_OK)
        st = read_settings(out);
    if (st != ST_OK)
        checkpoint_close(out);
    return st;
}

void checkpoint_close(Checkpoint *c)
{
    if (c->file != NULL)
        st_close(c->file);
    free(c->file);
    free(c->path);
    *c = (Checkpoint){0};
}

static Status load_copy(const Checkpoint *c, Model *m, int which)
{
    for (int i = 0; i < m->n_params; i++) {
        char name[PARAM_NAME + 16];
        const void *data;
        Tensor *x = copy_of(&m->param[i], which);
        snprintf(name, sizeof name, "%s%s", prefixes[which], m->param[i].name);
        TRY(st_get(c->file, name, SAFE_F32, x->rank, x->dim, &data));
        TRY(dev_write_f32(m->dev, x->buf, 0, data, tensor_size(x)));
    }
    return ST_OK;
}

Status checkpoint_load(const Checkpoint *c, Model *m, bool want_moments)
{
    TRY(load_copy(c, m, 0));
    if (!want_moments)
        return ST_OK;
    TRY(model_moments(m));
    TRY(load_copy(c, m, 1));
    return load_copy(c, m, 2);
}
