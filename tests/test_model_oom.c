/* test_model_oom.c - memory that runs out at every place in turn: a clean failure, nothing left
 * behind, and a model that works again afterwards. */
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static void must(Status st)
{
    cr_assert_eq(st, ST_OK, "%s", status_reason());
}

static Dev *open_dev(const char *backend)
{
    Dev *d;
    must(dev_open(&d, backend, 0, 0));
    return d;
}

typedef struct Trial {
    Model m;
    Tokens k;
    bool state, recompute, naive;
} Trial;

static Status prefill(Trial *t)
{
    tape_grad(t->m.tape, false);
    for (int i = 0; i < 2; i++) {
        t->m.ctx.pos = i * TINY_LEN;
        tape_reset(t->m.tape);
        model_logits(&t->m, &t->k.ids);
        TRY(tape_status(t->m.tape));
    }
    return ST_OK;
}

static Status attempt(Trial *t)
{
    tape_strategy(t->m.tape, t->recompute ? TAPE_RECOMPUTE : TAPE_STORE);
    return t->state ? prefill(t) : tiny_step(&t->m, &t->k, 1);
}

static Status start(Trial *t, Dev *d, const Variant *v)
{
    ModelSpec s = tiny_model(v);
    s.layers = 1;
    s.state = t->state;
    s.grads = !t->state;
    s.ctx.naive = t->naive && (v->mixer->caps & CAP_NAIVE) != 0;
    s.ctx.cap = 2 * TINY_LEN;
    TRY(model_init(&t->m, d, &s));
    TRY(tokens_init(&t->k, d));
    return attempt(t);
}

/* The n-th allocation fails. Whatever was built before is given back, or can be used again: then
 * the weights become those of a run that was not disturbed. False when nothing failed. */
static bool survive(const Variant *v, const char *backend, Trial t, int64_t n, const double *want)
{
    int64_t size;
    Dev *d = open_dev(backend);
    dev_fail_alloc(d, n);
    Status st = start(&t, d, v);
    cr_assert(st == ST_OK || st == ST_OOM, "%s, allocation %d: %s", v->name, (int)n,
              status_name(st));
    if (st == ST_OOM) {
        cr_expect_not_null(strstr(status_reason(), "on request"), "%s", status_reason());
        dev_fail_alloc(d, 0);
    }
    if (st == ST_OOM && t.m.tape != NULL && t.k.targets.buf.ptr != NULL) {
        must(attempt(&t));
        double *w = tiny_weights(&t.m, &size);
        cr_assert_eq(memcmp(w, want, (size_t)size * sizeof *w), 0, "%s, allocation %d", v->name,
                     (int)n);
        free(w);
    }
    tokens_free(&t.k, d);
    model_free(&t.m);
    dev_close(d); /* CHECKs that nothing is left */
    return st != ST_OK;
}

static void run_out(const Variant *v, const char *backend, Trial t)
{
    int64_t size, n = 1;
    Trial whole = t;
    omp_set_num_threads(1); /* hundreds of tiny runs */
    Dev *d = open_dev(backend);
    must(start(&whole, d, v));
    double *want = tiny_weights(&whole.m, &size);
    tokens_free(&whole.k, d);
    model_free(&whole.m);
    dev_close(d);
    while (survive(v, backend, t, n, want))
        cr_assert_lt(++n, 2000);
    cr_expect_gt(n, 30, "only %d allocations?", (int)n);
    free(want);
}

Test(model_oom, training_survives_every_failed_allocation)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        run_out(variant_table[v], "ref", (Trial){.recompute = false});
        run_out(variant_table[v], "ref", (Trial){.recompute = true});
        run_out(variant_table[v], "cpu", (Trial){.recompute = false});
        run_out(variant_table[v], "cpu", (Trial){.naive = true});
    }
}

Test(model_oom, prefill_survives_every_failed_allocation)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        run_out(variant_table[v], "ref", (Trial){.state = true});
        run_out(variant_table[v], "cpu", (Trial){.state = true});
        run_out(variant_table[v], "cpu", (Trial){.state = true, .naive = true});
    }
}
