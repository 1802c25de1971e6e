/* check.c - see check.h. The error of a tensor is its largest absolute difference over its largest
 * value in ref; a gradient that should vanish is held against the largest of all gradients. */
#include "bench/check.h"

#include "bench/backend.h"
#include "bench/case.h"
#include "bench/fault.h"
#include "bench/kernel_case.h"
#include "bench/leak.h"
#include "bench/model.h"
#include "kernels/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double VANISHING = 1e-3, HELD = 1e-9;

/* Operands keep 24, 11 or 8 bits; a block is some ten products deep, and its gradients twice that,
 * with squares and normalisers that enlarge what came before. */
double check_tolerance(const Case *c)
{
    return strcmp(c->dtype, "bf16") == 0 ? 0.1 : strcmp(c->dtype, "tf32") == 0 ? 1e-2 : 1e-3;
}

/* ---- the small case ---- */

/* Options that set sizes, with the small values that make 101 tokens long. */
static const struct {
    const char *name;
    int value;
} small[] = {{"s", 8}, {"c", 16}, {"chunk", 16}, {"chunk_len", 16}, {"window", 16}};

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
    const Option *o;
    for (int at = 0; (o = variant_option_at(v, at)) != NULL; at++)
        for (int i = 0; i < COUNT(small); i++) {
            size_t used = strlen(set);
            if (strcmp(o->name, small[i].name) == 0 && !has_key(set, o->name))
                CHECK(snprintf(set + used, size - used, "%s%s=%d", used > 0 ? " " : "", o->name,
                               small[i].value) < (int)(size - used));
        }
}

Case check_case(const Case *c)
{
    if (c->level == LEVEL_KERNEL)
        return kernel_check_case(c);
    const Variant *v = variant_find(c->variant);
    Case s = *c;
    s.level = LEVEL_LAYER;
    s.pass = PASS_BWD;
    s.n = 96 + 5;
    s.batch = 2;
    s.heads = c->heads > 1 || c->width <= 0 ? 2 : 1;
    s.width = c->heads > 0 && c->width > 0 ? c->width / c->heads * s.heads : 32;
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

/* carried: from carried state, forward alone; else a whole pass with gradients. */
static Status spec_of(const Case *c, bool carried, ModelSpec *spec)
{
    const Variant *v = variant_find(c->variant);
    *spec = (ModelSpec){
        .variant = v, .layers = 1, .state = carried, .grads = !carried, .seed = c->seed};
    if (v == NULL)
        return FAIL(ST_USAGE, "there is no variant '%s'", c->variant);
    spec->ctx = (MixCtx){.batch = c->batch,
                         .q_len = c->n,
                         .cap = c->n,
                         .n_norm = c->n,
                         .width = c->width,
                         .heads = c->heads,
                         .causal = c->causal,
                         .training = !carried,
                         .naive = c->impl == IMPL_NAIVE,
                         .seed = c->seed};
    if (spec->ctx.naive && !(variant_caps(v) & CAP_NAIVE))
        return FAIL(ST_UNSUPPORTED, "%s has no naive implementation", c->variant);
    return mix_options(v, c->set, &spec->ctx);
}

static Status side_init(Side *s, bool ref, const Case *c, bool carried)
{
    const int64_t dim[] = {c->batch, c->n, c->width};
    ModelSpec spec;
    TRY(spec_of(c, carried, &spec));
    TRY(ref ? dev_open(&s->dev, "ref", 0, (size_t)c->mem_limit)
            : backend_open(&s->dev, c, (size_t)c->mem_limit));
    TRY(model_init(&s->m, s->dev, &spec));
    TRY(tensor_new(s->dev, &s->x, REAL, MEM_INPUT, 3, dim));
    s->x.needs_grad = !carried;
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
static Status side_fill(Side *s, uint64_t seed, double scale)
{
    int64_t n = tensor_size(&s->x);
    float *x = malloc((size_t)n * sizeof *x);
    CHECK(x != NULL);
    rng_fill_uniform(x, n, scale, seed, RNG_INPUT, 0);
    Status st = dev_write_f32(s->dev, s->x.buf, 0, x, n);
    rng_fill_uniform(x, n, 1.0, seed, RNG_GRAD, 0);
    if (st == ST_OK)
        st = dev_write_f32(s->dev, s->dy.buf, 0, x, n);
    free(x);
    return st;
}

static Status copy_weight(const Side *from, Side *to, int i)
{
    const Tensor *a = &from->m.param[i].t, *b = &to->m.param[i].t;
    int64_t n = tensor_size(a);
    double *w = malloc((size_t)n * sizeof *w);
    CHECK(w != NULL && n == tensor_size(b));
    Status st = dev_read_f64(from->dev, w, a->buf, 0, n);
    if (st == ST_OK)
        st = dev_write_f64(to->dev, b->buf, 0, w, n);
    free(w);
    return st;
}

static Status side_forward(Side *s, bool grad)
{
    tape_reset(s->m.tape);
    tape_grad(s->m.tape, grad);
    s->y = model_blocks(&s->m, &s->x);
    return tape_status(s->m.tape);
}

/* ---- comparing ---- */
typedef struct Gap {
    double worst, size; /* largest difference, largest value of ref */
} Gap;

static void widen(Gap *g, double value, double ref)
{
    double d = fabs(value - ref);
    g->worst = isnan(d) ? (double)INFINITY : fmax(g->worst, d);
    g->size = fmax(g->size, fabs(ref));
}

static Status compare(const Side *a, Buf x, const Side *b, Buf ref, int64_t n, Gap *out)
{
    double *u = malloc((size_t)n * sizeof *u), *v = malloc((size_t)n * sizeof *v);
    CHECK(u != NULL && v != NULL);
    *out = (Gap){0};
    Status st = dev_read_f64(a->dev, u, x, 0, n);
    if (st == ST_OK)
        st = dev_read_f64(b->dev, v, ref, 0, n);
    for (int64_t i = 0; i < n && st == ST_OK; i++)
        widen(out, u[i], v[i]);
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
    TRY(side_init(a, false, c, false));
    TRY(side_init(b, true, c, false));
    TRY(side_fill(a, c->seed, fault_of(c) == FAULT_WRONG ? 1.01 : 1.0));
    TRY(side_fill(b, c->seed, 1.0));
    for (int i = 0; i < a->m.n_params; i++)
        TRY(copy_weight(a, b, i));
    TRY(side_forward(a, true));
    TRY(side_forward(b, true));
    TRY(compare(a, a->y->buf, b, b->y->buf, tensor_size(a->y), &gap));
    *error = relative(gap, 0);
    TRY(tape_backward(a->m.tape, a->y, &a->dy));
    TRY(tape_backward(b->m.tape, b->y, &b->dy));
    return compare_gradients(a, b, error);
}

/* ---- from carried state ---- */

/* x[:,at:at+len] forward; its output goes to the same rows of y. */
static Status run_piece(Side *s, int64_t all, const double *x, int64_t at, int64_t len, double *y)
{
    const int64_t batch = s->x.dim[0], width = s->x.dim[2], n = len * width;
    s->x.dim[1] = s->m.ctx.q_len = len;
    s->m.ctx.pos = at;
    for (int64_t i = 0; i < batch; i++)
        TRY(dev_write_f64(s->dev, s->x.buf, i * n, x + (i * all + at) * width, n));
    TRY(side_forward(s, false));
    for (int64_t i = 0; i < batch; i++)
        TRY(dev_read_f64(s->dev, y + (i * all + at) * width, s->y->buf, i * n, n));
    return ST_OK;
}

/* Two segments, then token by token: y of x, both (B,all,D). */
static Status run_pieces(Side *s, const Side *like, bool on_ref, const Case *c, const double *x,
                         double *y)
{
    enum { SEGMENT = 37, SEGMENTS = 2 };
    const int64_t all = like->x.dim[1];
    TRY(side_init(s, on_ref, c, true));
    for (int i = 0; i < like->m.n_params; i++)
        TRY(copy_weight(like, s, i));
    for (int64_t at = 0, len = SEGMENT; at < all; at += len) {
        len = at < SEGMENT * SEGMENTS ? SEGMENT : 1;
        TRY(run_piece(s, all, x, at, len, y));
    }
    return ST_OK;
}

/* y of ref: its whole pass, or where decode is another thing by definition, the same pieces. */
static Status ref_pieces(Side *own, Side *b, const Case *c, const double *x, double *y)
{
    if (variant_caps(b->m.spec.variant) & CAP_OWN_DECODE)
        return run_pieces(own, b, true, c, x, y);
    TRY(side_forward(b, false));
    return dev_read_f64(b->dev, y, b->y->buf, 0, tensor_size(&b->x));
}

static Status check_carried(Side *b, const Case *c, double *error)
{
    Side a = {0}, own = {0};
    Gap gap = {0};
    const int64_t n = tensor_size(&b->x);
    if (!c->causal || !(variant_caps(b->m.spec.variant) & CAP_STATEFUL))
        return ST_OK;
    const size_t size = (size_t)n * sizeof(double);
    double *x = malloc(size), *y = malloc(size), *ref = malloc(size);
    Status st = x != NULL && y != NULL && ref != NULL
                    ? dev_read_f64(b->dev, x, b->x.buf, 0, n)
                    : FAIL(ST_OOM, "no memory for %zu bytes of output", size);
    if (st == ST_OK)
        st = run_pieces(&a, b, false, c, x, y);
    if (st == ST_OK)
        st = ref_pieces(&own, b, c, x, ref);
    for (int64_t i = 0; i < n && st == ST_OK; i++)
        widen(&gap, y[i], ref[i]);
    if (st == ST_OK)
        *error = fmax(*error, relative(gap, 0));
    free(x);
    free(y);
    free(ref);
    side_free(&a);
    side_free(&own);
    return st;
}

static void judge(Row *row)
{
    if (!(row->error <= row->tolerance))
        snprintf(row->reason, sizeof row->reason, "differs from ref by %.3g, allowed is %.3g",
                 row->error, row->tolerance);
    else if (!(row->leak.held <= HELD))
        snprintf(row->reason, sizeof row->reason,
                 "ref: a later position changes earlier rows by %.3g with its choices held fixed, "
                 "allowed is %.3g",
                 row->leak.held, HELD);
    else
        return;
    row->status = ROW_FAILED_CHECK;
}

void check_run(const Case *c, Row *row)
{
    Side a = {0}, b = {0};
    if (c->level == LEVEL_KERNEL) {
        kernel_check(c, row);
        return;
    }
    Case s = check_case(c);
    *row = (Row){.kind = ROW_CHECK, .c = s, .tolerance = check_tolerance(c)};
    Status st = check_sides(&a, &b, &s, &row->error);
    b.m.ctx.training = false; /* nor is what follows */
    if (st == ST_OK)
        st = check_carried(&b, &s, &row->error);
    if (st == ST_OK && leak_possible(&b.m))
        st = leak_measure(&b.m, &b.x, &row->leak);
    row_fail(row, st);
    if (row->status == ROW_OK)
        judge(row);
    side_free(&a);
    side_free(&b);
}
