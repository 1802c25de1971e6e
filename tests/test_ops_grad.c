/* test_ops_grad.c - the gradients of every op of ops.h, in all its forms. */
#include "tests/grads.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void must(Status st)
{
    cr_assert_eq(st, ST_OK, "%s", status_reason());
}

/* ---- linear, add, affine ---- */
static Tensor *linear(Tape *t, Tensor *const x[], const void *arg)
{
    (void)arg;
    return op_linear(t, x[0], x[1], x[2]);
}

Test(ops_grad, linear)
{
    Problem p = {"linear",      linear, NULL, 2, {{3, {2, 3, 4}}, {2, {4, 5}}, {1, {5}}},
                 {3, {2, 3, 5}}};
    grads_check(&p);
    p.n_in = 3;
    p.name = "linear with bias";
    grads_check(&p);
}

static Tensor *add(Tape *t, Tensor *const x[], const void *arg)
{
    (void)arg;
    return op_add(t, x[0], x[1]);
}

Test(ops_grad, add)
{
    grads_check(&(Problem){"add", add, NULL, 2, {{2, {5, 7}}, {2, {5, 7}}}, {2, {5, 7}}});
}

static Tensor *blend(Tape *t, Tensor *const x[], const void *arg)
{
    (void)arg;
    return op_blend(t, 0.5, op_copy(t, x[0]), -3, x[1]);
}

Test(ops_grad, blend_and_copy)
{
    grads_check(&(Problem){"blend", blend, NULL, 2, {{2, {5, 7}}, {2, {5, 7}}}, {2, {5, 7}}});
}

static Tensor *affine(Tape *t, Tensor *const x[], const void *arg)
{
    const char *which = arg; /* 'g': x[1] is the gain; 'b': the bias */
    Tensor *const *next = x + 1;
    Tensor *gain = strchr(which, 'g') != NULL ? *next++ : NULL;
    return op_affine(t, x[0], gain, strchr(which, 'b') != NULL ? *next : NULL);
}

Test(ops_grad, affine)
{
    static const char *const names[] = {"affine: neither", "affine: gain", "affine: bias",
                                        "affine"};
    static const char *const which[] = {"", "g", "b", "gb"};
    for (int i = 0; i < 4; i++)
        grads_check(&(Problem){names[i],
                               affine,
                               which[i],
                               1 + (int)strlen(which[i]),
                               {{3, {2, 3, 5}}, {1, {5}}, {1, {5}}},
                               {3, {2, 3, 5}}});
}

/* ---- activations and gates ---- */
static Tensor *gate(Tape *t, Tensor *const x[], const void *arg)
{
    Act act = *(const Act *)arg;
    return x[1] != NULL ? op_gate(t, act, x[0], x[1]) : op_act(t, act, x[0]);
}

Test(ops_grad, gate)
{
    static const char *const names[][2] = {
        {"gate: none", "gate: none, b"},   {"gate: relu", "gate: relu, b"},
        {"gate: relu2", "gate: relu2, b"}, {"gate: silu", "gate: silu, b"},
        {"gate: gelu", "gate: gelu, b"},   {"gate: sigmoid", "gate: sigmoid, b"},
    };
    for (Act act = ACT_NONE; act <= ACT_SIGMOID; act++)
        for (int two = 0; two < 2; two++)
            grads_check(&(Problem){
                names[act][two], gate, &act, 1 + two, {{2, {8, 5}}, {2, {8, 5}}}, {2, {8, 5}}});
}

/* ---- norms ---- */
typedef struct NormCase {
    NormKind kind;
    const char *name, *which; /* as in affine */
} NormCase;

static Tensor *norm(Tape *t, Tensor *const x[], const void *arg)
{
    const NormCase *c = arg;
    Tensor *const *next = x + 1;
    Tensor *gain = strchr(c->which, 'g') != NULL ? *next++ : NULL;
    return op_norm(t, c->kind, 1e-3, x[0], gain, strchr(c->which, 'b') != NULL ? *next : NULL);
}

Test(ops_grad, norm)
{
    static const NormCase cases[] = {
        {NORM_LAYER, "layer norm, plain", ""}, {NORM_LAYER, "layer norm, gain", "g"},
        {NORM_LAYER, "layer norm", "gb"},      {NORM_RMS, "rms norm, plain", ""},
        {NORM_RMS, "rms norm, gain", "g"},     {NORM_RMS, "rms norm, bias", "b"},
        {NORM_RMS, "rms norm", "gb"},          {NORM_SCALE, "scale norm, plain", ""},
        {NORM_SCALE, "scale norm, gain", "g"}, {NORM_SCALE, "scale norm", "gb"},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        const NormCase *c = &cases[i];
        Problem p = {c->name,
                     norm,
                     c,
                     1 + (int)strlen(c->which),
                     {{3, {2, 3, 5}}, {1, {c->kind == NORM_SCALE ? 1 : 5}}, {1, {5}}},
                     {3, {2, 3, 5}}};
        if (strcmp(c->which, "b") == 0)
            p.in[1].dim[0] = 5;
        grads_check(&p);
    }
}

/* No norm at all is the tensor itself, and costs nothing. */
Test(ops_grad, no_norm_is_x)
{
    Dev *d;
    Tape *t;
    Tensor x = {.rank = 1, .dim = {3}};
    must(dev_open(&d, "ref", 0, 0));
    must(tape_new(&t, d));
    cr_expect_eq(op_norm(t, NORM_NONE, 1e-5, &x, NULL, NULL), &x);
    cr_expect_eq(tape_n_ops(t), 0);
    tape_free(t);
    dev_close(d);
}

/* ---- rotary positions ---- */
static Tensor *rope(Tape *t, Tensor *const x[], const void *arg)
{
    return op_rope(t, x[0], *(const RopeOpt *)arg);
}

Test(ops_grad, rope)
{
    static const struct {
        const char *name;
        RopeOpt o;
    } cases[] = {
        {"rope: half", {0, 2, 0, 10000, true}},
        {"rope: interleaved", {0, 2, 0, 10000, false}},
        {"rope: half, 4 of 6 columns", {0, 2, 4, 100, true}},
        {"rope: interleaved, 2 of 6", {0, 2, 2, 100, false}},
        {"rope: half, pos 1000", {1000, 2, 0, 10000, true}},
        {"rope: interleaved, pos 7", {7, 1, 10, 10000, false}},
    };
    for (int i = 0; i < COUNT(cases); i++)
        grads_check(
            &(Problem){cases[i].name, rope, &cases[i].o, 1, {{3, {2, 4, 12}}}, {3, {2, 4, 12}}});
}

/* ---- the ends of a language model: one operand is integer ---- */
static Tensor ints(Dev *d, int rank, const int64_t dim[], const int32_t *value)
{
    Tensor x;
    must(tensor_new(d, &x, I32, MEM_INPUT, rank, dim));
    must(dev_write(d, x.buf, value, x.buf.size));
    return x;
}

static Tensor *embed(Tape *t, Tensor *const x[], const void *arg)
{
    return op_embed(t, x[0], grads_ints(t, 2, (int64_t[]){2, 3}, arg));
}

Test(ops_grad, embed)
{
    static const int32_t ids[] = {3, 0, 3, 1, 3, 4}; /* 2 is never read */
    grads_check(&(Problem){"embed", embed, ids, 1, {{2, {5, 4}}}, {3, {2, 3, 4}}});
}

typedef struct Targets {
    int32_t id[6];
    int64_t counted;
} Targets;

static Tensor *cross_entropy(Tape *t, Tensor *const x[], const void *arg)
{
    const Targets *a = arg;
    return op_cross_entropy(t, x[0], grads_ints(t, 2, (int64_t[]){2, 3}, a->id), a->counted, NULL);
}

Test(ops_grad, cross_entropy)
{
    static const Targets all = {{2, 5, 0, 6, 2, 2}, 6}, some = {{2, -1, 0, 6, -1, -1}, 3};
    grads_check(&(Problem){"cross entropy", cross_entropy, &all, 1, {{3, {2, 3, 7}}}, {1, {1}}});
    grads_check(&(Problem){
        "cross entropy, ignored targets", cross_entropy, &some, 1, {{3, {2, 3, 7}}}, {1, {1}}});
}

/* Rows that do not count leave no trace in the loss or in the gradient. */
Test(ops_grad, ignored_targets_count_for_nothing)
{
    static const int32_t target[] = {1, -1};
    const double logits[] = {0, log(3.0), 5, 5};
    Dev *d;
    Tape *t;
    Tensor x, *nll;
    must(dev_open(&d, "ref", 0, 0));
    must(tape_new(&t, d));
    must(tensor_new(d, &x, REAL, MEM_INPUT, 2, (int64_t[]){2, 2}));
    must(dev_write_f64(d, x.buf, 0, logits, 4));
    x.needs_grad = true;
    Tensor ids = ints(d, 1, (int64_t[]){2}, target);
    tape_grad(t, true);
    Tensor *mean = op_cross_entropy(t, &x, &ids, 1, &nll);
    must(tape_status(t));
    const double *rows = nll->buf.ptr, *loss = mean->buf.ptr;
    cr_expect(fabs(*loss - log(4.0 / 3.0)) < 1e-15 && rows[0] == *loss && rows[1] == 0);
    must(tape_backward(t, mean, NULL));
    const double *dx = x.grad.ptr;
    cr_expect(fabs(dx[0] - 0.25) < 1e-15 && fabs(dx[1] + 0.25) < 1e-15 && dx[2] == 0 && dx[3] == 0);
    tape_free(t);
    tensor_free(d, &x);
    tensor_free(d, &ids);
    dev_close(d);
}

/* ---- attention ---- */
typedef struct AttendCase {
    AttendOpt o;
    const int32_t *lens;
} AttendCase;

static Tensor *attend(Tape *t, Tensor *const x[], const void *arg)
{
    const AttendCase *c = arg;
    Tensor *lens = c->lens != NULL ? grads_ints(t, 1, (int64_t[]){2}, c->lens) : NULL;
    return op_attend(t, x[0], x[1], x[2], lens, c->o);
}

/* Bits of `which`: relu2, causal, post_rows, two heads. */
static void check_attend(int which, const int32_t *lens)
{
    enum { B = 2, T = 5, WIDTH = 6, V_WIDTH = 4 };
    char name[64];
    int heads = which & 8 ? 2 : 1;
    AttendCase c = {{.kind = which & 1 ? ATTN_RELU2 : ATTN_SOFTMAX,
                     .causal = which & 2,
                     .post_rows = which & 4,
                     .heads = heads,
                     .scale = 0.8,
                     .post = 1.3},
                    lens};
    snprintf(name, sizeof name, "%s%s%s, %d head%s%s", which & 1 ? "relu2" : "softmax",
             which & 2 ? " causal" : "", which & 4 ? " post_rows" : "", heads, heads > 1 ? "s" : "",
             lens != NULL ? ", lens" : "");
    grads_check(&(Problem){name,
                           attend,
                           &c,
                           3,
                           {{3, {B, T, WIDTH}}, {3, {B, T, WIDTH}}, {3, {B, T, V_WIDTH}}},
                           {3, {B, T, V_WIDTH}}});
}

Test(ops_grad, attend)
{
    static const int32_t lens[][2] = {{5, 2}, {3, 0}};
    for (int which = 0; which < 16; which++) {
        if ((which & 5) == 4)
            continue; /* post_rows is of relu2 */
        check_attend(which, NULL);
        check_attend(which, lens[0]);
        check_attend(which, lens[1]);
    }
}

/* Two queries that continue at position 3 of five keys. */
Test(ops_grad, attend_with_offset_and_naive)
{
    for (int i = 0; i < 4; i++) {
        AttendCase c = {{.kind = i & 1 ? ATTN_RELU2 : ATTN_SOFTMAX,
                         .naive = i & 2,
                         .causal = true,
                         .heads = 2,
                         .q_pos = 3,
                         .scale = 0.8,
                         .post = 1.3},
                        NULL};
        grads_check(&(Problem){i & 1 ? "relu2, q_pos 3" : "softmax, q_pos 3",
                               attend,
                               &c,
                               3,
                               {{3, {2, 2, 6}}, {3, {2, 5, 6}}, {3, {2, 5, 4}}},
                               {3, {2, 2, 4}}});
    }
}

/* x[3]: a bias for every distance, or none. Rows of the matrix with scales of their own. */
static Tensor *attend_biased(Tape *t, Tensor *const x[], const void *arg)
{
    AttendCase c = *(const AttendCase *)arg;
    c.o.bias = x[3];
    return attend(t, x, &c);
}

Test(ops_grad, attend_with_bias)
{
    for (int i = 0; i < 8; i++) {
        AttendCase c = {{.kind = i & 1 ? ATTN_RELU2 : ATTN_SOFTMAX,
                         .naive = i & 2,
                         .causal = i & 4,
                         .heads = 2,
                         .q_pos = 3,
                         .scale = 0.8,
                         .post = 1.3,
                         .bias_zero = 4,
                         .bias_scale = 0.6},
                        NULL};
        grads_check(&(Problem){i & 1 ? "relu2, bias" : "softmax, bias",
                               attend_biased,
                               &c,
                               4,
                               {{3, {2, 2, 6}}, {3, {2, 5, 6}}, {3, {2, 5, 4}}, {1, {9}}},
                               {3, {2, 2, 4}}});
    }
}

Test(ops_grad, attend_with_log_scale)
{
    static const int32_t lens[] = {5, 3};
    for (int i = 0; i < 4; i++) {
        AttendCase c = {{.naive = i & 1,
                         .causal = i & 2,
                         .heads = 2,
                         .scale = 0.8,
                         .log_base = 4,
                         .log_floor = 2},
                        lens};
        grads_check(&(Problem){"softmax, log scale",
                               attend,
                               &c,
                               3,
                               {{3, {2, 5, 6}}, {3, {2, 5, 6}}, {3, {2, 5, 4}}},
                               {3, {2, 5, 4}}});
    }
}

/* ---- tables of biases ---- */
static Tensor *rel_rope(Tape *t, Tensor *const x[], const void *arg)
{
    return op_rel_rope(t, x[0], x[1], *(const RelOpt *)arg);
}
static Tensor *rel_buckets(Tape *t, Tensor *const x[], const void *arg)
{
    return op_rel_buckets(t, x[0], *(const RelOpt *)arg);
}

Test(ops_grad, rel)
{
    for (int half = 0; half < 2; half++)
        grads_check(&(Problem){half ? "rel rope, half" : "rel rope",
                               rel_rope,
                               &(RelOpt){.first = -5, .n = 11, .half = half, .base = 100},
                               2,
                               {{1, {6}}, {1, {6}}},
                               {1, {11}}});
    for (int causal = 0; causal < 2; causal++)
        grads_check(&(Problem){causal ? "rel buckets, causal" : "rel buckets",
                               rel_buckets,
                               &(RelOpt){.first = -130, .n = 200, .causal = causal, .scale = 1.7},
                               1,
                               {{1, {REL_BUCKETS}}},
                               {1, {200}}});
}

/* ---- mixed chunk attention ---- */
typedef struct ChunksCase {
    ChunksOpt o;
    const int32_t *lens;
} ChunksCase;

static Tensor *chunks(Tape *t, Tensor *const x[], const void *arg)
{
    const ChunksCase *c = arg;
    Tensor *lens = c->lens != NULL ? grads_ints(t, 1, (int64_t[]){2}, c->lens) : NULL;
    ChunksOpt o = c->o;
    o.bias = x[5];
    return op_chunks(t, x, x[4], lens, NULL, o);
}

static void check_chunks(bool causal, bool lin_mean, bool bias, const int32_t *lens)
{
    enum { B = 2, T = 10, S = 3, E = 5 }; /* chunks of four, the last one is short */
    char name[64];
    const Shape s = {3, {B, T, S}}, e = {3, {B, T, E}};
    ChunksCase c = {{.chunk = 4,
                     .causal = causal,
                     .lin_mean = lin_mean,
                     .local_scale = 0.7,
                     .local_post = 1.3,
                     .lin_scale = 0.4,
                     .bias_scale = 0.6},
                    lens};
    snprintf(name, sizeof name, "chunks%s%s%s%s", causal ? " causal" : "",
             lin_mean ? " lin_mean" : "", bias ? " bias" : "", lens != NULL ? ", lens" : "");
    grads_check(&(Problem){name, chunks, &c, bias ? 6 : 5, {s, s, s, s, e, {1, {2 * 4 - 1}}}, e});
}

Test(ops_grad, chunks)
{
    static const int32_t lens[][2] = {{9, 5}, {6, 0}};
    for (int i = 0; i < 24; i++)
        check_chunks(i & 1, i & 2, i >= 12, i % 12 < 4 ? NULL : lens[i % 12 / 4 - 1]);
}

/* ---- several ops: a tensor used twice, and branches that lead nowhere ---- */
static Tensor *fan_out(Tape *t, Tensor *const x[], const void *arg)
{
    (void)arg;
    Tensor *h = op_linear(t, x[0], x[1], NULL);
    AttendOpt o = {.kind = ATTN_SOFTMAX, .causal = true, .heads = 2, .scale = 0.5};
    op_act(t, ACT_SILU, h); /* nobody reads it */
    Tensor *y = op_attend(t, h, h, h, NULL, o);
    y = op_gate(t, ACT_SILU, y, y);
    y = op_add(t, op_add(t, y, y), op_linear(t, h, x[1], NULL));
    return op_add(t, y, x[0]);
}

Test(ops_grad, fan_out)
{
    grads_check(
        &(Problem){"fan-out", fan_out, NULL, 2, {{3, {2, 4, 6}}, {2, {6, 6}}}, {3, {2, 4, 6}}});
}
