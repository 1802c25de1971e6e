/* law_cost.c - work by formula = work counted, memory predicted = memory used. */
#include "tests/law.h"

#include <math.h>
#include <stdlib.h>

/* ---- cost and memory ---- */
static double off(double a, double b)
{
    return fabs(a - b) / fmax(1, fabs(b));
}

/* Formula = what the tape adds up = what ref's loops did. */
static double cost_at(const Setting *base)
{
    double most = 0;
    for (int i = 0; i < COUNT(lengths); i++) {
        Setting s = *base;
        s.len = lengths[i];
        Stand r;
        stand_open(&r, &s);
        tape_grad(r.m.tape, false);
        model_blocks(&r.m, &r.x);
        double formula = block_flops(s.v, &r.m.ctx);
        most = worse(most, off(tape_cost(r.m.tape).flops, formula));
        most = worse(most, off(dev_counted_flops(r.d), formula));
        tape_reset(r.m.tape);
        stand_close(&r);
    }
    return most;
}
double law_cost(const Variant *v)
{
    return all_ways(v, "ref", cost_at);
}

/* The formula at every step of a decode, too. */
double law_cost_decode(const Variant *v)
{
    double most = 0;
    Setting s = setting_small(v, "ref");
    Stand r;
    s.state = true;
    stand_open(&r, &s);
    Tensor row;
    const int64_t dim[] = {s.batch, 1, s.width};
    CHECK(tensor_new(r.d, &row, REAL, MEM_INPUT, 3, dim) == ST_OK &&
          tensor_fill(r.d, &row, 1) == ST_OK);
    for (int64_t t = 0; t < s.len; t++) {
        double before = dev_counted_flops(r.d);
        r.m.ctx.pos = t;
        r.m.ctx.q_len = 1;
        tape_reset(r.m.tape);
        model_blocks(&r.m, &row);
        CHECK(tape_status(r.m.tape) == ST_OK);
        double formula = block_flops(v, &r.m.ctx);
        most = worse(most, off(tape_cost(r.m.tape).flops, formula));
        most = worse(most, off(dev_counted_flops(r.d) - before, formula));
    }
    tape_reset(r.m.tape);
    tensor_free(r.d, &row);
    stand_close(&r);
    return most;
}

/* A training step on one backend: its memory. */
static MemUse step_memory(const Setting *base, const char *backend)
{
    Setting s = *base;
    Stand r;
    s.backend = backend;
    s.grads = true;
    s.blocks = 2;
    stand_open(&r, &s);
    int64_t n = stand_size(&r), n_w = stand_n_params(&r);
    double *dy = numbers(n, 1, 9), *y = room(n), *dx = room(n), *dw = room(n_w);
    stand_backward(&r, dy, y, dx, dw);
    MemUse m = dev_mem(r.d);
    free(dy);
    free(y);
    free(dx);
    free(dw);
    stand_close(&r);
    return m;
}

static double memory_at(const Setting *s)
{
    MemUse dry = step_memory(s, "dry"), used = step_memory(s, s->backend);
    double most = off((double)dry.peak_counted, (double)used.peak_counted);
    for (int tag = 0; tag < MEM_WORK; tag++)
        most = worse(most, off((double)dry.peak[tag], (double)used.peak[tag]));
    return most;
}
double memory_on(const Variant *v, const char *backend)
{
    return all_ways(v, backend, memory_at);
}
double law_memory(const Variant *v)
{
    return memory_on(v, "cpu");
}
