/* test_model.c - declarations become memory: names, counts, weights, state, shapes. */
#include "kernels/rng.h"
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
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

/* In place: a model must not move. */
static void build(Model *m, const char *backend, const ModelSpec *s)
{
    must(model_init(m, open_dev(backend), s));
}

static void done(Model *m)
{
    Dev *d = m->dev;
    model_free(m);
    dev_close(d);
}

/* ---- names and counts ---- */
Test(model, parameters_have_names_in_order)
{
    static const char *const want[] = {
        "embed",
        "norm.gain",
        "norm.bias",
        "head",
        "block0.norm1.gain",
        "block0.norm1.bias",
        "block0.mixer.w_q",
        "block0.mixer.w_k",
        "block0.mixer.w_v",
        "block0.mixer.w_o",
        "block0.norm2.gain",
        "block0.norm2.bias",
        "block0.ffn.w_in",
        "block0.ffn.b_in",
        "block0.ffn.w_out",
        "block0.ffn.b_out",
        "block1.norm1.gain",
    };
    ModelSpec s = tiny_model(variant_find("vanilla"));
    Model m;
    build(&m, "ref", &s);
    cr_assert_eq(m.n_params, 4 + 2 * 12);
    for (int i = 0; i < COUNT(want); i++)
        cr_expect_str_eq(m.param[i].name, want[i]);
    done(&m);
}

Test(model, names_differ_and_only_matrices_decay)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        ModelSpec s = tiny_model(variant_table[v]);
        Model m;
        build(&m, "dry", &s);
        for (int i = 0; i < m.n_params; i++) {
            const ModelParam *p = &m.param[i];
            for (int j = 0; j < i; j++)
                cr_expect_str_neq(p->name, m.param[j].name);
            bool taps = strstr(p->name, ".conv_") != NULL;
            bool matrix =
                ((p->t.rank == 2 && !taps) || p->t.rank == 4) && strcmp(p->name, "embed") != 0;
            cr_expect_eq(p->decay, matrix, "%s: %s", variant_table[v]->name, p->name);
            cr_expect(p->t.needs_grad && p->t.grad.size == p->t.buf.size);
        }
        done(&m);
    }
}

/* D width, F channel width or E, S shared keys, from the papers' formulas. */
static int64_t formula(const char *name, int64_t D, int64_t F, int64_t S)
{
    if (strcmp(name, "vanilla") == 0)
        return 2 * (4 * D * D + 2 * D * F + F + D + 4 * D) + 2 * D;
    if (strcmp(name, "transformer_pp") == 0)
        return 2 * (4 * D * D + 3 * D * F + 2 * D) + D;
    int64_t heads = strcmp(name, "gau") == 0 ? 2 : 4;
    return 4 * (3 * D * F + 2 * F + D * S + S + 2 * heads * S + D + 1) + 1;
}

Test(model, counts_are_those_of_the_formulas)
{
    static const char *const names[] = {"vanilla", "transformer_pp", "gau", "flash_linear"};
    for (int i = 0; i < COUNT(names); i++) {
        ModelSpec s = tiny_model(variant_find(names[i]));
        Model m;
        build(&m, "dry", &s);
        int64_t all = 0;
        for (int j = 0; j < m.n_params; j++)
            all += tensor_size(&m.param[j].t);
        cr_expect_eq(model_n_params(&m, false), formula(names[i], 8, s.ctx.ffn, 6), "%s", names[i]);
        cr_expect_eq(model_n_params(&m, true), 2 * 8 * TINY_VOCAB);
        cr_expect_eq(all, model_n_params(&m, false) + model_n_params(&m, true));
        cr_expect_eq(dev_mem(m.dev).live[MEM_PARAM], (size_t)all * 4);
        cr_expect_eq(dev_mem(m.dev).live[MEM_GRAD], (size_t)all * 4);
        cr_expect_eq(m.n_blocks, 2 * s.variant->blocks_per_layer);
        done(&m);
    }
}

Test(model, blocks_alone_have_no_ends)
{
    ModelSpec s = tiny_model(variant_find("gau"));
    s.vocab = 0;
    s.blocks = 3;
    s.grads = false;
    Model m;
    build(&m, "ref", &s);
    cr_expect(m.n_blocks == 3 && m.n_params == 3 * 13 && model_n_params(&m, true) == 0);
    cr_expect_eq(dev_mem(m.dev).live[MEM_GRAD], 0);
    Tensor x;
    must(tensor_new(m.dev, &x, REAL, MEM_INPUT, 3, (int64_t[]){2, 9, 8}));
    must(tensor_fill(m.dev, &x, 0.5));
    Tensor *y = model_blocks(&m, &x);
    must(tape_status(m.tape));
    cr_expect(y->rank == 3 && y->dim[0] == 2 && y->dim[1] == 9 && y->dim[2] == 8);
    cr_expect_eq(dev_mem(m.dev).live[MEM_ACT], y->buf.size, "only the result is left");
    tensor_free(m.dev, &x);
    done(&m);
}

/* ---- weights ---- */
Test(model, a_seed_gives_the_same_weights_everywhere)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        int64_t n;
        ModelSpec s = tiny_model(variant_table[v]), other = s;
        other.seed++;
        Model ref, cpu;
        build(&ref, "ref", &s);
        build(&cpu, "cpu", &s);
        Model else_;
        build(&else_, "cpu", &other);
        double *a = tiny_weights(&ref, &n), *b = tiny_weights(&cpu, &n),
               *c = tiny_weights(&else_, &n);
        cr_expect_eq(memcmp(a, b, (size_t)n * sizeof *a), 0, "%s", variant_table[v]->name);
        cr_expect_neq(memcmp(b, c, (size_t)n * sizeof *a), 0);
        free(a);
        free(b);
        free(c);
        done(&ref);
        done(&cpu);
        done(&else_);
    }
}

static void spread_of(const Model *m, const ModelParam *p, double *mean, double *sd)
{
    int64_t n = tensor_size(&p->t);
    double *x = malloc((size_t)n * sizeof *x), sum = 0, two = 0;
    must(dev_read_f64(m->dev, x, p->t.buf, 0, n));
    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
        two += x[i] * x[i];
    }
    *mean = sum / (double)n;
    *sd = sqrt(two / (double)n - *mean * *mean);
    free(x);
}

/* Matrices: sd 1/sqrt(rows), each its own numbers; gains 1, biases 0; embedding sd 0.02. */
Test(model, weights_begin_as_declared)
{
    ModelSpec s = tiny_model(variant_find("vanilla"));
    s.ctx.width = 64;
    s.ctx.ffn = 256;
    Model m;
    build(&m, "cpu", &s);
    double last = 0;
    for (int i = 0; i < m.n_params; i++) {
        const ModelParam *p = &m.param[i];
        double mean, sd, n = (double)tensor_size(&p->t);
        spread_of(&m, p, &mean, &sd);
        if (p->t.rank == 1) {
            cr_expect(sd == 0 && mean == (strstr(p->name, "gain") != NULL ? 1 : 0), "%s", p->name);
            continue;
        }
        double want = strcmp(p->name, "embed") == 0 ? 0.02 : 1 / sqrt((double)p->t.dim[0]);
        cr_expect_lt(fabs(sd / want - 1), 5 / sqrt(2 * n), "%s: sd %g, not %g", p->name, sd, want);
        cr_expect_lt(fabs(mean), 5 * want / sqrt(n), "%s: mean %g", p->name, mean);
        cr_expect_neq(mean / want, last, "%s repeats the numbers before it", p->name);
        last = mean / want;
    }
    done(&m);
}

/* ---- state ---- */
static double *state_of(const Model *m, int64_t *n)
{
    *n = 0;
    for (int i = 0; i < m->n_state; i++)
        *n += tensor_size(&m->state[i]);
    double *x = malloc((size_t)*n * sizeof *x), *at = x;
    for (int i = 0; i < m->n_state; at += tensor_size(&m->state[i++]))
        must(dev_read_f64(m->dev, at, m->state[i].buf, 0, tensor_size(&m->state[i])));
    return x;
}

static double largest(const double *x, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

Test(model, state_is_zero_or_small_random_numbers)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        int64_t n;
        ModelSpec s = tiny_model(variant_table[v]);
        s.grads = false;
        s.state = true;
        Model ref, cpu;
        build(&ref, "ref", &s);
        build(&cpu, "cpu", &s);
        double *x = state_of(&ref, &n);
        int in_block = s.variant->mixer->n_state;
        if (s.variant->channel != NULL)
            in_block += s.variant->channel->n_state;
        cr_expect(ref.n_state == ref.n_blocks * in_block && n > 0);
        cr_expect_eq(largest(x, n), 0);
        cr_expect_eq(dev_mem(ref.dev).live[MEM_STATE], (size_t)n * 8);
        free(x);
        must(model_random_state(&ref, 4));
        must(model_random_state(&cpu, 4));
        x = state_of(&ref, &n);
        double *y = state_of(&cpu, &n);
        cr_expect(largest(x, n) > 0.02 && largest(x, n) < 0.04);
        cr_expect_neq(x[0], x[tensor_size(&ref.state[0])], "two states of the same numbers");
        cr_expect_eq(memcmp(x, y, (size_t)n * sizeof *x), 0);
        free(x);
        free(y);
        must(model_zero_state(&ref));
        x = state_of(&ref, &n);
        cr_expect_eq(largest(x, n), 0);
        free(x);
        done(&ref);
        done(&cpu);
    }
}

Test(model, state_is_refused_to_those_without)
{
    Mixer mixer = mixer_attention;
    Variant v = *variant_find("vanilla");
    Model m;
    Dev *d = open_dev("ref");
    ModelSpec s = tiny_model(&v);
    mixer.caps &= ~(unsigned)CAP_STATEFUL;
    v.mixer = &mixer;
    s.state = true;
    cr_expect_eq(model_init(&m, d, &s), ST_UNSUPPORTED);
    cr_expect_not_null(strstr(status_reason(), "vanilla cannot continue"), "%s", status_reason());
    done(&m);
}

Test(model, what_a_variant_does_not_accept_allocates_nothing)
{
    Model m;
    Dev *d = open_dev("ref");
    ModelSpec s = tiny_model(variant_find("vanilla"));
    s.ctx.heads = 3;
    cr_expect_eq(model_init(&m, d, &s), ST_SHAPE);
    cr_expect_eq(dev_mem(d).n_allocs, 0);
    done(&m);
    model_free(&(Model){0}); /* zero is fine */
}

/* ---- shapes ---- */
Test(model, logits_have_a_row_for_every_position)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        Tokens k;
        ModelSpec s = tiny_model(variant_table[v]);
        Model m;
        build(&m, "ref", &s);
        must(tokens_init(&k, m.dev));
        for (int grad = 0; grad < 2; grad++) {
            tape_reset(m.tape);
            tape_grad(m.tape, grad != 0);
            Tensor *y = model_logits(&m, &k.ids);
            must(tape_status(m.tape));
            cr_expect(y->rank == 3 && y->dim[0] == TINY_BATCH && y->dim[1] == TINY_LEN &&
                      y->dim[2] == TINY_VOCAB);
            size_t live = dev_mem(m.dev).live[MEM_ACT];
            bool more =
                grad != 0 || variant_caps(variant_table[v]) & CAP_CHOICES; /* it keeps them */
            cr_expect(more ? live > y->buf.size : live == y->buf.size, "%s",
                      variant_table[v]->name);
        }
        tokens_free(&k, m.dev);
        done(&m);
    }
}
