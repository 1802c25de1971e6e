/* test_reversible.c - two streams: memory does not grow with depth, but for the choices that are
 * kept; it is predicted exactly; a failing allocation in either direction is clean; remembered
 * choices are what the backward pass uses. */
#include "tests/stand.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Setting reversible(const char *name, const char *backend, int blocks)
{
    Setting s = setting_small(variant_find(name), backend);
    size_t at = strlen(s.set);
    snprintf(s.set + at, sizeof s.set - at, "reversible=1 ");
    s.blocks = blocks;
    s.grads = true;
    return s;
}

static double *room(int64_t n)
{
    return calloc((size_t)n, sizeof(double));
}

/* Peak of activations in a forward and backward pass. */
static MemUse peak(const Setting *s)
{
    Stand r;
    stand_open(&r, s);
    int64_t n = stand_size(&r);
    double *dy = numbers(n, 1, 9), *y = room(n), *dx = room(n), *dw = room(stand_n_params(&r));
    stand_backward(&r, dy, y, dx, dw);
    MemUse m = dev_mem(r.d);
    free(dy);
    free(y);
    free(dx);
    free(dw);
    stand_close(&r);
    return m;
}

static int64_t activations(const char *name, int blocks, bool store)
{
    Setting s = reversible(name, "cpu", blocks);
    s.store = store;
    return (int64_t)peak(&s).peak[MEM_ACT];
}

Test(reversible, memory_does_not_grow_with_depth)
{
    int64_t few = activations("vanilla", 3, false), many = activations("vanilla", 12, false);
    cr_assert_eq(few, many, "%ld bytes with 3 blocks, %ld with 12", (long)few, (long)many);
    cr_assert_gt(activations("vanilla", 12, true), 3 * many);
}

/* batch 2, 2 heads, 2 rounds, 13 positions: 104 bucket numbers a block. */
Test(reversible, only_choices_grow)
{
    int64_t few = activations("lsh", 3, false), many = activations("lsh", 12, false);
    cr_assert_eq(many - few, 9 * 104 * 4, "%ld bytes", (long)(many - few));
}

Test(reversible, memory_is_predicted)
{
    for (const Variant *const *v = variant_table; *v != NULL; v++) {
        Setting s = reversible((*v)->name, "cpu", 3), dry = reversible((*v)->name, "dry", 3);
        MixCtx c;
        cr_assert(setting_ctx(&s, &c) == ST_OK);
        if (mix_accepts(*v, &c) != ST_OK)
            continue;
        MemUse used = peak(&s), told = peak(&dry);
        for (int tag = 0; tag < MEM_WORK; tag++)
            cr_assert_eq(used.peak[tag], told.peak[tag], "%s: %s", (*v)->name, mem_tag_names[tag]);
        cr_assert_eq(used.peak_counted, told.peak_counted, "%s", (*v)->name);
    }
}

/* ---- failing allocations ---- */
static Status step(Dev *d, const Setting *s)
{
    const int64_t dim[] = {s->batch, s->len, s->width};
    Model m = {0};
    Tensor x = {0};
    MixCtx c;
    cr_assert(setting_ctx(s, &c) == ST_OK);
    Status st =
        model_init(&m, d, &(ModelSpec){.variant = s->v, .blocks = 2, .ctx = c, .grads = true});
    st = st == ST_OK ? tensor_new(d, &x, REAL, MEM_INPUT, 3, dim) : st;
    st = st == ST_OK ? tensor_fill(d, &x, 0.5) : st;
    if (st == ST_OK) {
        tape_grad(m.tape, true);
        Tensor *y = model_blocks(&m, &x);
        st = tape_backward(m.tape, y, NULL);
    }
    model_free(&m);
    tensor_free(d, &x);
    return st;
}

Test(reversible, failing_allocations_are_clean)
{
    Setting s = reversible("lsh", "cpu", 2);
    Status st = ST_OOM;
    int64_t n = 0;
    while (st != ST_OK && ++n < 500) {
        Dev *d;
        cr_assert(dev_open(&d, "cpu", 0, 0) == ST_OK);
        dev_fail_alloc(d, n);
        st = step(d, &s);
        dev_close(d); /* aborts if anything is left */
        cr_assert(st == ST_OK || st == ST_OOM, "allocation %ld: %s", (long)n, status_reason());
    }
    cr_assert(st == ST_OK && n > 50, "%ld allocations", (long)n);
}

/* ---- remembered choices ---- */

/* Overwritten between the passes, they change the gradients: the backward pass reads them. */
Test(reversible, the_backward_pass_replays_choices)
{
    Setting s = reversible("lsh", "ref", 2);
    double *dx[2];
    int64_t n = 0;
    for (int i = 0; i < 2; i++) {
        Stand r;
        stand_open(&r, &s);
        n = stand_size(&r);
        dx[i] = room(n);
        r.x.needs_grad = true;
        tape_reset(r.m.tape);
        tape_grad(r.m.tape, true);
        Tensor *y = model_blocks(&r.m, &r.x);
        Tensor *bucket = &r.m.block[0].choices.part[3];
        int32_t *id = bucket->buf.ptr;
        cr_assert(bucket->dtype == I32 && tensor_size(bucket) == 104);
        for (int64_t k = 0; i == 1 && k < 104; k++)
            id[k] = id[k] == 0;
        cr_assert(tape_backward(r.m.tape, y, NULL) == ST_OK);
        cr_assert(dev_read_f64(r.d, dx[i], r.x.grad, 0, n) == ST_OK);
        dev_free(r.d, &r.x.grad);
        stand_close(&r);
    }
    cr_assert_gt(worst(dx[1], dx[0], n), 1e-3);
    free(dx[0]);
    free(dx[1]);
}
