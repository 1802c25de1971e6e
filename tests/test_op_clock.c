/* test_op_clock.c - watching a device: nobody is told when nobody watches, pieces nest, and the ops
 * of a step add up to it. */
#include "bench/op_clock.h"

#include "kernels/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the hooks ---- */
typedef struct Seen {
    int n, depth, deepest;
    char what[64][24];
    bool backward[64];
    double flops, bytes;
} Seen;

static void enter(void *ctx, const char *what, bool backward)
{
    Seen *s = ctx;
    s->backward[s->n] = backward;
    snprintf(s->what[s->n++], sizeof s->what[0], "%s", what);
    s->deepest = ++s->depth > s->deepest ? s->depth : s->deepest;
}

static void leave(void *ctx, double flops, double bytes)
{
    Seen *s = ctx;
    s->depth--;
    s->flops += flops;
    s->bytes += bytes;
}

static int count(const Seen *s, const char *what, bool backward)
{
    int n = 0;
    for (int i = 0; i < s->n; i++)
        n += s->backward[i] == backward && strcmp(s->what[i], what) == 0;
    return n;
}

/* y = x w, forward and backward, on ref. */
static void run_linear(Dev *d, Tensor *x, Tensor *w)
{
    Tape *t = NULL;
    cr_assert_eq(tape_new(&t, d), ST_OK);
    tape_grad(t, true);
    cr_assert_eq(tape_backward(t, op_linear(t, x, w, NULL), NULL), ST_OK);
    tape_free(t);
}

Test(watch, sees_each_op_once_and_only_while_it_watches)
{
    enum { ROWS = 3, IN = 5, OUT = 2 };
    Dev *d = NULL;
    Tensor x, w;
    Seen s = {.n = 0};
    const Watch watch = {&s, enter, leave};
    cr_assert_eq(dev_open(&d, "ref", 0, 0), ST_OK);
    cr_assert_eq(tensor_new(d, &x, REAL, MEM_INPUT, 2, (int64_t[]){ROWS, IN}), ST_OK);
    cr_assert_eq(tensor_new(d, &w, REAL, MEM_PARAM, 2, (int64_t[]){IN, OUT}), ST_OK);
    tensor_fill(d, &x, 1);
    tensor_fill(d, &w, 1);
    w.needs_grad = true;
    run_linear(d, &x, &w);
    cr_expect_eq(s.n, 0);
    cr_expect_not(dev_is_watched(d));
    dev_watch(d, &watch);
    run_linear(d, &x, &w);
    dev_watch(d, NULL);
    run_linear(d, &x, &w);
    cr_expect_eq(count(&s, "linear", false), 1);
    cr_expect_eq(count(&s, "linear", true), 1);
    cr_expect_eq(s.flops, 3 * 2.0 * ROWS * IN * OUT, "once forward, twice backward");
    cr_expect(count(&s, "allocation", false) >= 2);
    cr_expect_eq(s.depth, 0);
    tensor_free(d, &x);
    tensor_free(d, &w);
    dev_close(d);
}

/* ---- a step ---- */
static Case small_step(void)
{
    return (Case){.variant = "vanilla",
                  .backend = "cpu",
                  .dtype = "f32",
                  .level = LEVEL_MODEL,
                  .pass = PASS_TRAIN,
                  .n = 64,
                  .batch = 1,
                  .width = 16,
                  .heads = 2,
                  .layers = 2,
                  .threads = 2,
                  .causal = true,
                  .seed = 1,
                  .time_limit = 1,
                  .mem_limit = INT64_C(1) << 30};
}

static const OpShare *find(const Row *r, const char *op, bool backward)
{
    for (int i = 0; i < r->n_ops; i++)
        if (r->op[i].backward == backward && strcmp(r->op[i].op, op) == 0)
            return &r->op[i];
    return NULL;
}

Test(op_clock, the_ops_of_a_step_add_up)
{
    static Row row;
    Case c = small_step();
    ops_run(&c, &row);
    cr_assert_eq(row.status, ROW_OK, "%s", row.reason);
    double sum = 0;
    int64_t allocs = 0;
    for (int i = 0; i < row.n_ops; i++) {
        sum += row.op[i].seconds;
        allocs += row.op[i].allocs;
        cr_expect_geq(row.op[i].seconds, 0);
        cr_expect(i == 0 || row.op[i].seconds <= row.op[i - 1].seconds, "the longest first");
    }
    cr_expect_float_eq(sum, row.watched_seconds, 1e-9 * sum);
    cr_expect(row.step_seconds > 0 && row.region_seconds > 0);
    cr_expect_eq(row.system_allocs, 0, "a step after the first asks the system for nothing");
    cr_expect_gt(allocs, 0);
    const OpShare *linear = find(&row, "linear", false), *back = find(&row, "linear", true),
                  *tape = find(&row, "tape", false);
    cr_assert(linear != NULL && back != NULL && tape != NULL);
    cr_expect_eq(linear->calls, 2 * 6 + 1, "q k v o and two of the feed-forward layer; the head");
    cr_expect_eq(back->calls, linear->calls);
    cr_expect_eq(back->flops, 2 * linear->flops);
    cr_expect_eq(tape->calls, 1);
    cr_expect_not_null(find(&row, "adamw", false));
}

/* Drawing the token and emptying the caches take longer than the token, and do not count. */
Test(op_clock, a_cold_token_is_its_ops_alone)
{
    static Row row;
    Case c = small_step();
    c.level = LEVEL_LAYER;
    c.pass = PASS_DECODE;
    c.layers = 1;
    c.evict = true;
    ops_run(&c, &row);
    cr_assert_eq(row.status, ROW_OK, "%s", row.reason);
    double sum = 0;
    for (int i = 0; i < row.n_ops; i++)
        sum += row.op[i].seconds;
    cr_expect_float_eq(sum, row.watched_seconds, 1e-9 * sum);
    const OpShare *linear = find(&row, "linear", false), *tape = find(&row, "tape", false);
    cr_assert(linear != NULL && tape != NULL);
    cr_expect_eq(linear->calls, 6);
    cr_expect_geq(tape->seconds, 0);
}

Test(op_clock, what_has_no_ops_has_a_reason)
{
    static Row row;
    Case c = small_step();
    c.level = LEVEL_KERNEL;
    ops_run(&c, &row);
    cr_expect_eq(row.status, ROW_UNSUPPORTED);
    cr_expect_str_eq(row.reason, "a kernel has no ops inside");
}
