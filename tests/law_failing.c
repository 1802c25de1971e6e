/* law_failing.c - a failing allocation is a clean error, whichever it is. */
#include "tests/law.h"

/* ---- a failing allocation is a clean error, whichever it is, and leaves nothing behind ---- */
static Status try_step(Dev *d, const Setting *s)
{
    Model m;
    Tensor x = {0};
    const int64_t dim[] = {s->batch, s->len, s->width};
    MixCtx c;
    CHECK(setting_ctx(s, &c) == ST_OK);
    Status st =
        model_init(&m, d, &(ModelSpec){.variant = s->v, .blocks = 1, .ctx = c, .grads = true});
    if (st == ST_OK)
        st = tensor_new(d, &x, REAL, MEM_INPUT, 3, dim);
    if (st == ST_OK)
        st = tensor_fill(d, &x, 0.5);
    if (st == ST_OK) {
        tape_grad(m.tape, true);
        Tensor *y = model_blocks(&m, &x);
        st = tape_status(m.tape);
        if (st == ST_OK)
            st = tape_backward(m.tape, y, NULL);
    }
    model_free(&m);
    tensor_free(d, &x);
    return st;
}

static double failing_at(const Setting *s)
{
    Status st = ST_OOM;
    for (int64_t n = 1; st != ST_OK && n < 500; n++) {
        Dev *d;
        CHECK(dev_open(&d, s->backend, 0, 0) == ST_OK);
        dev_fail_alloc(d, n);
        st = try_step(d, s);
        dev_close(d); /* aborts if anything is left */
        if (st != ST_OK && st != ST_OOM)
            return 1;
    }
    return st == ST_OK ? 0 : 1;
}
double failing_on(const Variant *v, const char *backend)
{
    return all_ways(v, backend, failing_at);
}
double law_failing(const Variant *v)
{
    return failing_on(v, "cpu");
}
