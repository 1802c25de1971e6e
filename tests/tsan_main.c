/* tsan_main.c - a training step, a pass in segments and a decode step of every variant on the CPU
 * backend with several threads: what the thread sanitizer watches (Criterion does not run under
 * it). */
#include "bench/model.h"

#include <omp.h>
#include <stdio.h>

static ModelSpec spec_of(const Variant *v, bool state)
{
    MixCtx c = {.batch = 2,
                .q_len = 300,
                .cap = 300,
                .n_norm = 300,
                .width = 64,
                .heads = 2,
                .causal = true};
    CHECK(mix_options(v, "", &c) == ST_OK);
    return (ModelSpec){
        .variant = v, .layers = 1, .ctx = c, .state = state, .grads = !state, .seed = 1};
}

static Status step(Model *m, Tensor *x)
{
    const Optim o = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = 1};
    tape_grad(m->tape, true);
    Tensor *y = model_blocks(m, x);
    TRY(tape_status(m->tape));
    TRY(tape_backward(m->tape, y, NULL));
    return model_adamw(m, &o, 1, NULL);
}

static Status segments(Model *m, Tensor *x)
{
    const int64_t cuts[] = {170, 129, 1};
    for (int i = 0; i < COUNT(cuts); i++) {
        Tensor part = *x;
        part.dim[1] = m->ctx.q_len = cuts[i];
        tape_reset(m->tape);
        model_blocks(m, &part);
        TRY(tape_status(m->tape));
        m->ctx.pos += cuts[i];
    }
    return ST_OK;
}

static Status run(Dev *d, const Variant *v, bool state)
{
    Model m;
    Tensor x = {0};
    ModelSpec spec = spec_of(v, state);
    Status st = model_init(&m, d, &spec);
    if (st == ST_OK)
        st = tensor_new(d, &x, REAL, MEM_INPUT, 3, (int64_t[]){2, 300, 64});
    if (st == ST_OK)
        st = tensor_fill(d, &x, 0.5);
    if (st == ST_OK)
        st = state ? segments(&m, &x) : step(&m, &x);
    model_free(&m);
    tensor_free(d, &x);
    return st;
}

int main(void)
{
    Dev *d;
    omp_set_num_threads(4);
    CHECK(dev_open(&d, "cpu", 0, 0) == ST_OK);
    for (int i = 0; variant_table[i] != NULL; i++)
        for (int state = 0; state < 2; state++) {
            Status st = run(d, variant_table[i], state != 0);
            printf("%s %s: %s\n", variant_table[i]->name, state ? "segments" : "step",
                   status_name(st));
            CHECK(st == ST_OK);
        }
    dev_close(d);
    return 0;
}
