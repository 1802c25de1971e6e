/* check.c - see check.h. The error of a tensor is its largest absolute difference over its largest
 * value in ref; a gradient that should vanish is held against the largest of all gradients. */
#include "bench/check.h"

#include "bench/case.h"
#include "bench/model.h"
#include "kernels/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double TOLERANCE = 1e-3, VANISHING = 1e-3;

/* ---- the small case ---- */

/* Options that set sizes, with the small values that make 101 tokens long. */
static const struct {
    const char *name;
    int value;
} small[] = {{"s", 8}, {"c", 16}, {"chunk", 16}, {"window", 16}};

static bool has_key(const char *set, const char *key)
{
    size_t len = strlen(key);
    for (const char *at = set; (at = strstr(at, key)) != NULL; at++)
        if ((at == set || at[-1] == ' ') && at[len] == '=')
            return true;
    return false;
}

static void shrink(const Variant *v, char *set, size_t size)
{
    for (const Option *o = v->mixer->options; o != NULL && o->name != NULL; o++)
        for (int i = 0; i < COUNT(small); i++) {
            size_t used = strlen(set);
            if (strcmp(o->name, small[i].name) == 0 && !has_key(set, o->name))
                snprintf(set + used, size - used, "%s%s=%d", used > 0 ? " " : "", o->name,
                         small[i].value);
        }
}

Case check_case(const Case *c)
{
    const Variant *v = variant_find(c->variant);
    Case s = *c;
    s.level = LEVEL_LAYER;
    s.pass = PASS_BWD;
    s.n = 96 + 5;
    s.batch = 2;
    s.width = 32;
    s.heads = 2;
    s.layers = 1;
    s.segment = 0;
    s.hot = false;
    if (v != NULL)
        shrink(v, s.set, sizeof s.set);
    return s;
}

/* ---- one side ---- */
typedef struct Side {
    Dev *dev;
    Model m;
    Tensor x, dy;
    Tensor *y;
} Side;

static Status side_init(Side *s, const char *backend, const Case *c)
{
    const Variant *v = variant_find(c->variant);
    const int64_t dim[] = {c->batch, c->n, c->width};
    ModelSpec spec = {.variant = v, .layers = 1, .grads = true, .seed = c->seed};
    if (v == NULL)
        return FAIL(ST_USAGE, "there is no variant '%s'", c->variant);
    spec.ctx = (MixCtx){.batch = c->batch,
                        .q_len = c->n,
                        .cap = c->n,
                        .n_norm = c->n,
                        .width = c->width,
                        .heads = c->heads,
                        .causal = c->causal,
                        .training = true,
                        .naive = c->impl == IMPL_NAIVE,
                        .seed = c->seed};
    if (spec.ctx.naive && !(v->mixer->caps & CAP_NAIVE))
        return FAIL(ST_UNSUPPORTED, "%s has no naive implementation", c->variant);
    TRY(mix_options(v, c->set, &spec.ctx));
    TRY(dev_open(&s->dev, backend, 0, (size_t)c->mem_limit));
    TRY(model_init(&s->m, s->dev, &spec));
    TRY(tensor_new(s->dev, &s->x, REAL, MEM_INPUT, 3, dim));
    s->x.needs_grad = true;
    return tensor_new(s->dev, &s->dy, REAL, MEM_INPUT, 3, dim);
}

static void side_free(Side *s)
{
    if (s->dev == NULL)
        return;
    if (s->m.tape != NULL)
        tape_reset(s->m.tape);
    tensor_free(s->dev, &s->x);
    tensor_free(s->dev, &s->dy);
    model_free(&s->m);
    dev_close(s->dev);
}

/* All inputs and weights come from the same single-precision numbers. */
static Status side_fill(Side *s, uint64_t seed)
{
    int64_t n = tensor_size(&s->x);
    float *x = malloc((size_t)n * sizeof *x);
    CHECK(x != NULL);
    rng_fill_uniform(x, n, 1.0, seed, RNG_INPUT, 0);
    Status st = dev_write_f32(s->dev, s->x.buf, 0, x, n);
    rng_fill_uniform(x, n, 1.0, seed, RNG_GRAD, 0);
    if (st == ST_OK)
        st = dev_write_f32(s->dev, s->dy.buf, 0, x, n);
    free(x);
    return st;
}

static Status copy_weight(Side *from, Side *to, int i)
{
    Tensor *a = &from->m.param[i].t, *b = &to->m.param[i].t;
    int64_t n = tensor_size(a);
    double *w = malloc((size_t)n * sizeof *w);
    CHECK(w != NULL && n == tensor_size(b));
    Status st = dev_read_f64(from->dev, w, a->buf, 0, n);
    if (st == ST_OK)
        st = dev_write_f64(to->dev, b->buf, 0, w, n);
    free(w);
    return st;
}

static Status side_forward(Side *s)
{
    tape_reset(s->m.tape);
    tape_grad(s->m.tape, true);
    s->y = model_blocks(&s->m, &s->x);
    return tape_status(s->m.tape);
}

/* ---- comparing ---- */
typedef struct Gap {
    double worst, size; /* largest difference, largest value of ref */
} Gap;

static Status compare(const Side *a, Buf x, const Side *b, Buf ref, int64_t n, Gap *out)
{
    double *u = malloc((size_t)n * sizeof *u), *v = malloc((size_t)n * sizeof *v);
    CHECK(u != NULL && v != NULL);
    *out = (Gap){0};
    Status st = dev_read_f64(a->dev, u, x, 0, n);
    if (st == ST_OK)
        st = dev_read_f64(b->dev, v, ref, 0, n);
    for (int64_t i = 0; i < n && st == ST_OK; i++) {
        double d = fabs(u[i] - v[i]);
        out->worst = isnan(d) ? (double)INFINITY : fmax(out->worst, d);
        out->size = fmax(out->size, fabs(v[i]));
    }
    free(u);
    free(v);
    return st;
}

static double relative(Gap g, double floor)
{
    double size = fmax(g.size, floor);
    return g.worst == 0 ? 0 : isfinite(g.worst) && size > 0 ? g.worst / size : (double)INFINITY;
}

static Status compare_gradients(Side *a, Side *b, double *error)
{
    Gap gap[BLOCK_MAX_PARAMS * 4 + 1];
    int n = a->m.n_params;
    double largest = 0;
    CHECK(n < COUNT(gap) && n == b->m.n_params);
    TRY(compare(a, a->x.grad, b, b->x.grad, tensor_size(&a->x), &gap[n]));
    for (int i = 0; i < n; i++) {
        const Tensor *w = &a->m.param[i].t;
        TRY(compare(a, w->grad, b, b->m.param[i].t.grad, tensor_size(w), &gap[i]));
        largest = fmax(largest, gap[i].size);
    }
    for (int i = 0; i <= n; i++)
        *error = fmax(*error, relative(gap[i], VANISHING * largest));
    return ST_OK;
}

static Status check_sides(Side *a, Side *b, const Case *c, double *error)
{
    Gap gap;
    TRY(side_init(a, c->backend, c));
    TRY(side_init(b, "ref", c));
    TRY(side_fill(a, c->seed));
    TRY(side_fill(b, c->seed));
    for (int i = 0; i < a->m.n_params; i++)
        TRY(copy_weight(a, b, i));
    TRY(side_forward(a));
    TRY(side_forward(b));
    TRY(compare(a, a->y->buf, b, b->y->buf, tensor_size(a->y), &gap));
    *error = relative(gap, 0);
    TRY(tape_backward(a->m.tape, a->y, &a->dy));
    TRY(tape_backward(b->m.tape, b->y, &b->dy));
    return compare_gradients(a, b, error);
}

void check_run(const Case *c, Row *row)
{
    Side a = {0}, b = {0};
    Case s = check_case(c);
    *row = (Row){.kind = ROW_CHECK, .c = s, .tolerance = TOLERANCE};
    row_fail(row, check_sides(&a, &b, &s, &row->error));
    if (row->status == ROW_OK && !(row->error <= TOLERANCE)) {
        row->status = ROW_FAILED_CHECK;
        snprintf(row->reason, sizeof row->reason, "differs from ref by %.3g, allowed is %.3g",
                 row->error, TOLERANCE);
    }
    side_free(&a);
    side_free(&b);
}
