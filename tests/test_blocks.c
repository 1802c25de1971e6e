/* test_blocks.c - blocks that are run again for their backward pass instead of keeping activations:
 * the same bits, less memory, no work counted twice. */
#include "kernels/ops.h"
#include "kernels/rng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { B = 2, T = 16, WIDTH = 12, N = B * T * WIDTH, DEPTH = 12 };

static void must(Status st)
{
    cr_assert_eq(st, ST_OK, "%s", status_reason());
}

/* One residual block of attention and a gate, with its own weights. */
typedef struct Layer {
    Tensor w[2];
    int nested; /* this many of its halves are blocks themselves */
} Layer;

typedef struct Stack {
    Dev *d;
    Tape *t;
    Tensor x, dy;
    Layer layer[DEPTH];
    int depth, passes; /* passes: of any half, to see what was run again */
} Stack;

typedef struct Half {
    Stack *s;
    Tensor *w;
} Half;

static Tensor *attention(Tape *t, void *ctx, Tensor *x)
{
    Half *h = ctx;
    h->s->passes++;
    Tensor *q = op_linear(t, x, h->w, NULL);
    AttendOpt o = {.kind = ATTN_SOFTMAX, .causal = true, .heads = 2, .scale = 0.5};
    Tensor *y = op_add(t, x, op_attend(t, q, q, x, NULL, o)); /* q is used twice */
    return op_norm(t, NORM_LAYER, 1e-5, y, NULL, NULL);
}

static Tensor *gated(Tape *t, void *ctx, Tensor *x)
{
    Half *h = ctx;
    h->s->passes++;
    Tensor *u = op_linear(t, x, h->w, NULL);
    return op_add(t, x, op_gate(t, ACT_SILU, u, x));
}

/* What a block is run with must outlive the forward pass. */
typedef struct Whole {
    Half half[2];
    int nested;
} Whole;

static Tensor *run_layer(Tape *t, void *ctx, Tensor *x)
{
    Whole *w = ctx;
    x = w->nested > 0 ? tape_block(t, attention, &w->half[0], x) : attention(t, &w->half[0], x);
    return w->nested > 1 ? tape_block(t, gated, &w->half[1], x) : gated(t, &w->half[1], x);
}

static void draw(Dev *d, Tensor *x, double sd, uint32_t stream)
{
    float value[N];
    rng_fill_normal(value, tensor_size(x), sd, 1, stream, 0);
    must(dev_write_f32(d, x->buf, 0, value, tensor_size(x)));
}

static void stack_open(Stack *s, const char *backend, int depth)
{
    *s = (Stack){.depth = depth};
    must(dev_open(&s->d, backend, 0, 0));
    must(tape_new(&s->t, s->d));
    must(tensor_new(s->d, &s->x, REAL, MEM_INPUT, 3, (int64_t[]){B, T, WIDTH}));
    must(tensor_new(s->d, &s->dy, REAL, MEM_INPUT, 3, (int64_t[]){B, T, WIDTH}));
    draw(s->d, &s->x, 1, 1);
    draw(s->d, &s->dy, 1, 2);
    for (int i = 0; i < 2 * depth; i++) {
        Tensor *w = &s->layer[i / 2].w[i % 2];
        must(tensor_new(s->d, w, REAL, MEM_PARAM, 2, (int64_t[]){WIDTH, WIDTH}));
        draw(s->d, w, 0.3, 10 + (uint32_t)i);
        w->needs_grad = true;
        must(dev_alloc(s->d, w->buf.size, MEM_GRAD, &w->grad));
    }
}

static void stack_close(Stack *s)
{
    tape_free(s->t);
    tensor_free(s->d, &s->x);
    tensor_free(s->d, &s->dy);
    for (int i = 0; i < 2 * s->depth; i++)
        tensor_free(s->d, &s->layer[i / 2].w[i % 2]);
    dev_close(s->d);
}

/* How a step goes. */
typedef struct Way {
    Strategy strategy;
    int nested;
    bool x_wants;      /* a gradient */
    bool switched_off; /* recording ends before the backward pass */
} Way;

/* What a step leaves: gradients of all weights and of x, costs, the peak of activations. */
typedef struct Result {
    double dw[2 * DEPTH * WIDTH * WIDTH], dx[N];
    Cost cost;
    int64_t n_ops;
    size_t peak;
    int passes;
} Result;

static void step(Stack *s, Way way, Result *out)
{
    Whole whole[DEPTH];
    memset(out, 0, sizeof *out);
    s->passes = 0;
    tape_reset(s->t);
    tape_strategy(s->t, way.strategy);
    tape_grad(s->t, true);
    dev_mem_reset_peak(s->d);
    s->x.needs_grad = way.x_wants;
    Tensor *y = &s->x;
    for (int i = 0; i < s->depth; i++) {
        for (int j = 0; j < 2; j++)
            must(dev_kernels(s->d)->fill(s->d, WIDTH * WIDTH, 0, s->layer[i].w[j].grad.ptr));
        whole[i] = (Whole){{{s, &s->layer[i].w[0]}, {s, &s->layer[i].w[1]}}, way.nested};
        y = tape_block(s->t, run_layer, &whole[i], y);
    }
    must(tape_status(s->t));
    if (way.switched_off)
        tape_grad(s->t, false);
    must(tape_backward(s->t, y, &s->dy));
    cr_assert_eq(tape_has_grad(s->t), !way.switched_off);
    for (int i = 0; i < 2 * s->depth; i++)
        must(dev_read_f64(s->d, out->dw + i * WIDTH * WIDTH, s->layer[i / 2].w[i % 2].grad, 0,
                          WIDTH * WIDTH));
    if (way.x_wants)
        must(dev_read_f64(s->d, out->dx, s->x.grad, 0, N));
    dev_free(s->d, &s->x.grad);
    out->cost = tape_cost(s->t);
    out->n_ops = tape_n_ops(s->t);
    out->peak = dev_mem(s->d).peak[MEM_ACT];
    out->passes = s->passes;
    tape_reset(s->t);
    cr_assert_eq(dev_mem(s->d).live[MEM_ACT], 0);
}

static const Way store = {.x_wants = true};

static void expect_same(const Result *a, const Result *b, const char *what)
{
    cr_expect_eq(memcmp(a->dw, b->dw, sizeof a->dw), 0, "%s: weights", what);
    cr_expect_eq(memcmp(a->dx, b->dx, sizeof a->dx), 0, "%s: input", what);
    cr_expect_eq(a->cost.flops, b->cost.flops, "%s: %g flops, not %g", what, a->cost.flops,
                 b->cost.flops);
    cr_expect_eq(a->cost.bytes, b->cost.bytes, "%s: bytes", what);
    cr_expect_eq(a->n_ops, b->n_ops, "%s: ops", what);
}

static bool any(const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0)
            return true;
    return false;
}

Test(blocks, recomputing_gives_the_same_bits)
{
    static const char *const backends[] = {"ref", "cpu"};
    static const Way ways[] = {
        {TAPE_STORE, 2, true, false},     {TAPE_RECOMPUTE, 0, true, false},
        {TAPE_RECOMPUTE, 1, true, false}, {TAPE_RECOMPUTE, 2, true, false},
        {TAPE_STORE, 0, true, true},      {TAPE_RECOMPUTE, 2, true, true},
    };
    static Result want, got;
    for (int i = 0; i < 2; i++) {
        Stack s;
        stack_open(&s, backends[i], 3);
        step(&s, store, &want);
        cr_expect(any(want.dw, 6 * WIDTH * WIDTH) && any(want.dx, N) && want.cost.flops > 0);
        for (int w = 0; w < COUNT(ways); w++) {
            char what[32];
            snprintf(what, sizeof what, "%s, way %d", backends[i], w);
            step(&s, ways[w], &got);
            expect_same(&got, &want, what);
        }
        stack_close(&s);
    }
}

/* The first block's input wants no gradient, its weights do. */
Test(blocks, weights_learn_though_the_input_does_not)
{
    static Result want, got;
    Stack s;
    stack_open(&s, "ref", 2);
    step(&s, (Way){.strategy = TAPE_STORE}, &want);
    step(&s, (Way){.strategy = TAPE_RECOMPUTE}, &got);
    cr_expect(any(want.dw, WIDTH * WIDTH));
    expect_same(&got, &want, "recompute");
    stack_close(&s);
}

Test(blocks, each_runs_once_again)
{
    static Result r;
    Stack s;
    stack_open(&s, "ref", 3);
    step(&s, store, &r);
    cr_expect_eq(r.passes, 6);
    step(&s, (Way){TAPE_RECOMPUTE, 0, true, false}, &r);
    cr_expect_eq(r.passes, 12);
    step(&s, (Way){TAPE_RECOMPUTE, 2, true, false}, &r);
    cr_expect_eq(r.passes, 18, "blocks in blocks run three times");
    stack_close(&s);
}

/* A deep stack keeps one tensor a block, and the inside of one block at a time. */
Test(blocks, recomputing_takes_less_memory)
{
    static const char *const backends[] = {"ref", "dry"};
    static Result keep, again, nested;
    for (int i = 0; i < 2; i++) {
        Stack s;
        stack_open(&s, backends[i], DEPTH);
        step(&s, store, &keep);
        step(&s, (Way){TAPE_RECOMPUTE, 0, true, false}, &again);
        step(&s, (Way){TAPE_RECOMPUTE, 2, true, false}, &nested);
        size_t one = s.x.buf.size, inside = keep.peak / DEPTH;
        cr_expect_leq(again.peak, DEPTH * one + 2 * inside, "%zu", again.peak);
        cr_expect_lt(2 * again.peak, keep.peak, "%zu against %zu", again.peak, keep.peak);
        cr_expect_leq(nested.peak, again.peak);
        stack_close(&s);
    }
}

Test(blocks, a_second_step_allocates_nothing)
{
    static Result r;
    for (int nested = 0; nested < 3; nested++) {
        Stack s;
        Way way = {nested > 0 ? TAPE_RECOMPUTE : TAPE_STORE, nested - 1, true, false};
        stack_open(&s, "cpu", 3);
        step(&s, way, &r);
        int64_t first = dev_mem(s.d).n_backend;
        step(&s, way, &r);
        step(&s, way, &r);
        cr_expect_eq(dev_mem(s.d).n_backend, first);
        stack_close(&s);
    }
}

Test(blocks, without_gradients_the_inside_is_freed)
{
    Stack s;
    stack_open(&s, "ref", 2);
    for (int strategy = TAPE_STORE; strategy <= TAPE_RECOMPUTE; strategy++) {
        Whole w = {{{&s, &s.layer[0].w[0]}, {&s, &s.layer[0].w[1]}}, 1};
        tape_grad(s.t, false);
        tape_strategy(s.t, (Strategy)strategy);
        Tensor *y = tape_block(s.t, run_layer, &w, &s.x);
        must(tape_status(s.t));
        cr_expect_not(y->needs_grad);
        cr_expect_eq(dev_mem(s.d).live[MEM_ACT], s.x.buf.size);
        cr_expect_not(tape_has_grad(s.t));
        tape_reset(s.t);
    }
    stack_close(&s);
}

/* What nobody wants a gradient of is recorded nowhere, and goes all the same. */
static Tensor *with_constant(Tape *t, void *ctx, Tensor *x)
{
    Stack *s = ctx;
    Tensor *c = op_act(t, ACT_SILU, &s->dy);
    return op_gate(t, ACT_SILU, x, op_add(t, c, c));
}

Test(blocks, a_second_run_leaves_nothing)
{
    Stack s;
    stack_open(&s, "ref", 1);
    s.x.needs_grad = true;
    tape_grad(s.t, true);
    tape_strategy(s.t, TAPE_RECOMPUTE);
    Tensor *y = &s.x;
    for (int i = 0; i < DEPTH; i++)
        y = tape_block(s.t, with_constant, &s, y);
    must(tape_backward(s.t, y, &s.dy));
    cr_expect_eq(dev_mem(s.d).live[MEM_ACT], s.x.grad.size);
    cr_expect_leq(dev_mem(s.d).peak[MEM_ACT], (DEPTH + 6) * s.x.buf.size);
    stack_close(&s);
}

/* tape_is_rerun tells the second run from the first. */
static Tensor *note_rerun(Tape *t, void *ctx, Tensor *x)
{
    int *seen = ctx;
    seen[tape_is_rerun(t)]++;
    return op_act(t, ACT_SILU, x);
}

Test(blocks, a_second_run_knows_that_it_is_one)
{
    Stack s;
    int seen[2] = {0, 0};
    stack_open(&s, "ref", 1);
    s.x.needs_grad = true;
    tape_grad(s.t, true);
    tape_strategy(s.t, TAPE_RECOMPUTE);
    Tensor *y = tape_block(s.t, note_rerun, seen, &s.x);
    cr_expect(seen[0] == 1 && seen[1] == 0);
    must(tape_backward(s.t, y, &s.dy));
    cr_expect(seen[0] == 1 && seen[1] == 1 && !tape_is_rerun(s.t));
    stack_close(&s);
}
