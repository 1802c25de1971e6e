/* test_sparse.c - Scaling Transformers' layers by hand, on ref and cpu: which unit a tie picks,
 * what units that were not picked get, the order of a multiplicative layer, and what lies outside
 * of the modules. */
#include "tests/stand.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 32 };

typedef struct Lab {
    Dev *d;
    Tape *t;
    Tensor x[8];
    int n;
} Lab;

static Lab lab_open(const char *backend)
{
    Lab l = {0};
    cr_assert_eq(dev_open(&l.d, backend, 0, 0), ST_OK);
    cr_assert_eq(tape_new(&l.t, l.d), ST_OK);
    return l;
}

static void lab_close(Lab *l)
{
    tape_free(l->t);
    for (int i = 0; i < l->n; i++)
        tensor_free(l->d, &l->x[i]);
    dev_close(l->d);
}

static Tensor *given(Lab *l, int rank, const int64_t *dim, const double *value)
{
    Tensor *x = &l->x[l->n++];
    cr_assert_eq(tensor_new(l->d, x, REAL, MEM_INPUT, rank, dim), ST_OK);
    cr_assert_eq(dev_write_f64(l->d, x->buf, 0, value, tensor_size(x)), ST_OK);
    return x;
}

static void expect_numbers(const Lab *l, const char *what, Buf data, const double *want, int64_t n)
{
    double got[MOST];
    cr_assert_eq(tape_status(l->t), ST_OK, "%s", status_reason());
    cr_assert_eq(dev_read_f64(l->d, got, data, 0, n), ST_OK);
    for (int64_t i = 0; i < n; i++)
        cr_expect(fabs(got[i] - want[i]) < 1e-6, "%s: %s[%d] is %g, not %g", dev_name(l->d), what,
                  (int)i, got[i], want[i]);
}

static void each_backend(void (*test)(Lab *l))
{
    static const char *const names[] = {"ref", "cpu"};
    for (int i = 0; i < COUNT(names); i++) {
        Lab l = lab_open(names[i]);
        test(&l);
        lab_close(&l);
    }
}

/* ---- choosing ---- */
static void ties(Lab *l)
{
    static const double z[] = {0, 0, 0, 1, 1, 0, 0, 2, 2, -3, -4, -3};
    static const int32_t want[] = {0, 0, 1, 0};
    int32_t pick[4];
    Tensor *p = op_pick(l->t, given(l, 3, (int64_t[]){1, 2, 6}, z), NULL, (PickOpt){.block = 3});
    cr_assert_eq(tape_status(l->t), ST_OK, "%s", status_reason());
    cr_assert_eq(dev_read(l->d, pick, p->buf, sizeof pick), ST_OK);
    cr_expect(memcmp(pick, want, sizeof want) == 0, "%s: %d %d %d %d", dev_name(l->d), pick[0],
              pick[1], pick[2], pick[3]);
}
Test(sparse, a_tie_goes_to_the_first_unit)
{
    each_backend(ties);
}

/* ---- the layer: D = 2, one block of three units, the second is picked ---- */
static void hard_branch(Lab *l)
{
    static const double x[] = {1, 2}, dy[] = {1, 10}, z[] = {0, 1, 0};
    static const double w1[] = {5, 5, 3, -1, 7, 7}, w2[] = {4, 4, 2, 6, 9, 9}, bias[] = {100, 200};
    /* u = 3 - 2 = 1, y = u w2, du = dy.w2 = 62 */
    static const double y[] = {102, 206}, dx[] = {186, -62}, dw1[] = {0, 0, 62, 124, 0, 0},
                        dw2[] = {0, 0, 1, 10, 0, 0};
    Tensor *in = given(l, 3, (int64_t[]){1, 1, 2}, x), *a = given(l, 2, (int64_t[]){3, 2}, w1),
           *b = given(l, 2, (int64_t[]){3, 2}, w2), *c = given(l, 1, (int64_t[]){2}, bias);
    Tensor *logits = given(l, 3, (int64_t[]){1, 1, 3}, z);
    Tensor *seed = given(l, 3, (int64_t[]){1, 1, 2}, dy);
    Tensor *pick = op_pick(l->t, logits, NULL, (PickOpt){.block = 3});
    in->needs_grad = a->needs_grad = b->needs_grad = true;
    tape_grad(l->t, true);
    Tensor *out = op_sparse_ff(l->t, in, NULL, pick, a, b, c, (SparseFfOpt){.block = 3});
    expect_numbers(l, "y", out->buf, y, 2);
    cr_assert_eq(tape_backward(l->t, out, seed), ST_OK);
    expect_numbers(l, "dx", in->grad, dx, 2);
    expect_numbers(l, "dw1", a->grad, dw1, 6);
    expect_numbers(l, "dw2", b->grad, dw2, 6);
}
Test(sparse, units_that_were_not_picked_get_no_gradient)
{
    each_backend(hard_branch);
}

/* ---- modules ---- */
static void product(Lab *l)
{
    static const double x[] = {1, 2}, g[] = {1, 10, 3, 5}, e[] = {1, 2, 3, 4, 5, 6};
    /* y[s 3 + m] = 1 g[0,s] e[0,m] + 2 g[1,s] e[1,m] */
    static const double want[] = {25, 32, 39, 50, 70, 90};
    Tensor *y = op_mult(l->t, given(l, 3, (int64_t[]){1, 1, 2}, x),
                        given(l, 2, (int64_t[]){2, 2}, g), given(l, 2, (int64_t[]){2, 3}, e), NULL);
    expect_numbers(l, "y", y->buf, want, 6);
}
Test(sparse, a_multiplicative_layer_is_module_by_module)
{
    each_backend(product);
}

/* Beside the first and last module lie zeros, and before the first position, too. */
static void edges(Lab *l)
{
    static const double x[] = {1, 2, 3, 4}, w[] = {1000, 2000, 3000, 10, 20, 30};
    static const double want[] = {80, 50, 20 * 3 + 30 * 4 + 8000, 10 * 3 + 20 * 4 + 5000};
    Tensor *y = op_modconv(l->t, given(l, 3, (int64_t[]){1, 2, 2}, x),
                           given(l, 4, (int64_t[]){2, 3, 1, 1}, w), NULL, NULL);
    expect_numbers(l, "y", y->buf, want, 4);
}
Test(sparse, outside_of_the_modules_there_is_nothing)
{
    each_backend(edges);
}

/* ---- the mixer's first layer: G is D, (width, modules); E is (width, columns of a module) ---- */
static double *param(Stand *r, const char *name)
{
    for (int i = 0; i < r->m.n_params; i++)
        if (strcmp(strrchr(r->m.param[i].name, '.') + 1, name) == 0) {
            Tensor *t = &r->m.param[i].t;
            double *x = calloc((size_t)tensor_size(t), sizeof *x);
            cr_assert(x != NULL && dev_read_f64(r->d, x, t->buf, 0, tensor_size(t)) == ST_OK);
            return x;
        }
    cr_assert_fail("no parameter %s", name);
    return NULL;
}

/* With convolutions that copy, queries are sum_i x_i g[i,s] e[i,m] + b. */
Test(sparse, queries_are_the_product_of_g_and_e)
{
    enum { D = 8, S = 4, M = 2 };
    Stand r;
    Setting set = setting_small(variant_find("scaling_qkv"), "ref");
    snprintf(set.set, sizeof set.set, "modules=4 rope=0 taps=1 side=1");
    stand_open(&r, &set);
    double *g = param(&r, "g"), *e = param(&r, "e"), *b = param(&r, "b");
    double *conv = param(&r, "conv_q"), *bias = param(&r, "b_q"),
           *x = numbers(stand_size(&r), 1, 1);
    double *got = calloc((size_t)stand_size(&r), sizeof *got), most = 0;
    Parts parts = {{NULL}};
    MixIn in = {.w = r.m.block[0].w + NORM_SLOTS, .ctx = &r.m.ctx};
    set.v->mixer->project(r.m.tape, &in, &r.x, &parts);
    cr_assert_eq(dev_read_f64(r.d, got, parts.p[0]->buf, 0, stand_size(&r)), ST_OK);
    for (int64_t row = 0; row < set.batch * set.len; row++)
        for (int s = 0; s < S; s++)
            for (int o = 0; o < M; o++) { /* a 1 x 1 convolution mixes the columns of a module */
                double want = bias[o];
                for (int m = 0; m < M; m++) {
                    double y = b[s * M + m];
                    for (int i = 0; i < D; i++)
                        y += x[row * D + i] * g[i * S + s] * e[i * M + m];
                    want += y * conv[m * M + o];
                }
                most = fmax(most, fabs(want - got[row * D + s * M + o]));
            }
    cr_expect(most < 1e-12, "%g", most);
    double *all[] = {g, e, b, conv, bias, x, got};
    for (int i = 0; i < COUNT(all); i++)
        free(all[i]);
    stand_close(&r);
}
