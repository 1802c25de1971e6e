/* laws.c - the battery's laws, each a short function over test stands. */
#include "tests/laws.h"

#include "tests/stand.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *room(int64_t n)
{
    double *x = calloc((size_t)n, sizeof *x);
    CHECK(x != NULL);
    return x;
}

/* The lengths at which seams show: one row, less than a chunk, whole chunks, a rest. */
static const int64_t lengths[] = {1, 2, 3, 4, 5, 8, 12, 13};

/* ---- every option value of a small range, one at a time, on top of the small sizes ---- */
typedef double SettingFn(const Setting *s);

static double over_options(const Setting *base, SettingFn *fn)
{
    double most = fn(base);
    const Option *o = base->v->mixer->options;
    for (int i = 0; i < option_count(o); i++)
        for (double value = o[i].lo; o[i].whole && o[i].hi - o[i].lo <= 8 && value <= o[i].hi;
             value++) {
            Setting s = *base;
            MixCtx c = {.batch = 1,
                        .q_len = s.len,
                        .cap = s.len,
                        .n_norm = s.n_norm,
                        .width = s.width,
                        .heads = s.heads,
                        .ffn = s.ffn,
                        .causal = s.causal};
            size_t at = strlen(s.set);
            snprintf(s.set + at, sizeof s.set - at, "%s=%g ", o[i].name, value);
            CHECK(mix_options(s.v, s.set, &c) == ST_OK);
            if (mix_accepts(s.v, &c) == ST_OK)
                most = fmax(most, fn(&s));
        }
    return most;
}

/* Causal and bidirectional, as far as the variant has them. */
static double both_ways(const Variant *v, const char *backend, SettingFn *fn)
{
    double most = 0;
    for (int causal = 0; causal < 2; causal++) {
        Setting s = setting_small(v, backend);
        s.causal = causal != 0;
        if (v->mixer->caps & (causal ? CAP_CAUSAL : CAP_BIDIRECTIONAL))
            most = fmax(most, fn(&s));
    }
    return most;
}

/* ---- mix equals matrix times V ---- */
static void host_parts(Stand *r, const Parts *p, int64_t b, HostParts *h, double *hold[])
{
    for (int i = 0; i < r->s.v->mixer->n_parts; i++) {
        const Tensor *part = p->p[i];
        int64_t n = tensor_size(part) / r->s.batch;
        hold[i] = room(n);
        for (int64_t j = 0; part->dtype == I32 && j < n; j++)
            hold[i][j] = ((const int32_t *)part->buf.ptr)[b * n + j];
        if (part->dtype == REAL)
            CHECK(dev_read_f64(r->d, hold[i], part->buf, b * n, n) == ST_OK);
        h->part[i] = hold[i];
    }
}

/* o = P V of every group, by the definition. */
static void by_matrix(Stand *r, const HostParts *h, int width, double *o)
{
    const Mixer *m = r->s.v->mixer;
    int groups = m->groups(&r->m.ctx), slice = width / groups;
    double *P = room(h->len * h->len);
    const double *v = h->part[m->v_part];
    for (int g = 0; g < groups; g++) {
        m->matrix(P, h, g, &r->m.ctx);
        for (int64_t i = 0; i < h->len; i++)
            for (int c = g * slice; c < (g + 1) * slice; c++)
                for (int64_t j = 0; j < h->len; j++)
                    o[i * width + c] += P[i * h->len + j] * v[j * width + c];
    }
    free(P);
}

static double matrix_at(const Setting *s)
{
    Stand r;
    Parts parts = {{0}};
    double most = 0;
    stand_open(&r, s);
    const Mixer *m = s->v->mixer;
    MixIn in = {r.m.block[0].w + block_norm_params(s->v), NULL, &r.m.ctx};
    m->project(r.m.tape, &in, &r.x, &parts);
    if (m->choose != NULL)
        m->choose(r.m.tape, &in, &parts);
    Tensor *mixed = m->mix(r.m.tape, &in, &parts);
    CHECK(tape_status(r.m.tape) == ST_OK);
    int width = tensor_width(mixed);
    for (int64_t b = 0; b < s->batch; b++) {
        HostParts h = {.len = s->len, .valid = s->lens != NULL ? s->lens[b] : s->len};
        double *hold[MIX_MAX_PARTS], *o = room(s->len * width), *y = room(s->len * width);
        host_parts(&r, &parts, b, &h, hold);
        by_matrix(&r, &h, width, o);
        CHECK(dev_read_f64(r.d, y, mixed->buf, b * s->len * width, s->len * width) == ST_OK);
        most = fmax(most, worst(y, o, h.valid * width));
        for (int i = 0; i < m->n_parts; i++)
            free(hold[i]);
        free(o);
        free(y);
    }
    tape_reset(r.m.tape);
    stand_close(&r);
    return most;
}

static double matrix_all_lengths(const Setting *base)
{
    double most = 0;
    for (int i = 0; i < COUNT(lengths); i++) {
        Setting s = *base;
        s.len = lengths[i];
        most = fmax(most, over_options(&s, matrix_at));
    }
    return most;
}

static double law_matrix_ref(const Variant *v)
{
    return both_ways(v, "ref", matrix_all_lengths);
}
static double law_matrix_cpu(const Variant *v)
{
    return both_ways(v, "cpu", matrix_all_lengths);
}

static double matrix_ragged_at(const Setting *base)
{
    static const int32_t lens[][2] = {{13, 6}, {9, 4}, {1, 13}, {8, 5}};
    double most = 0;
    for (int i = 0; i < COUNT(lens); i++) {
        Setting s = *base;
        s.lens = lens[i];
        most = fmax(most, over_options(&s, matrix_at));
    }
    return most;
}
static double law_ragged_ref(const Variant *v)
{
    return both_ways(v, "ref", matrix_ragged_at);
}
static double law_ragged_cpu(const Variant *v)
{
    return both_ways(v, "cpu", matrix_ragged_at);
}

/* ---- two stands side by side: outputs and all gradients ---- */
static double compare(const Setting *a, const Setting *b)
{
    Stand r[2];
    double *y[2], *dx[2], *dw[2], most = 0;
    for (int i = 0; i < 2; i++) {
        Setting s = i == 0 ? *a : *b;
        s.grads = true;
        stand_open(&r[i], &s);
        int64_t n = stand_size(&r[i]);
        double *dy = numbers(n, 1, 9);
        y[i] = room(n);
        dx[i] = room(n);
        dw[i] = room(stand_n_params(&r[i]));
        stand_backward(&r[i], dy, y[i], dx[i], dw[i]);
        free(dy);
    }
    most = fmax(worst(y[0], y[1], stand_size(&r[0])), worst(dx[0], dx[1], stand_size(&r[0])));
    most = fmax(most, worst(dw[0], dw[1], stand_n_params(&r[0])));
    for (int i = 0; i < 2; i++) {
        free(y[i]);
        free(dx[i]);
        free(dw[i]);
        stand_close(&r[i]);
    }
    return most;
}

static double against_ref_at(const Setting *s)
{
    Setting ref = *s;
    ref.backend = "ref";
    return compare(s, &ref);
}

static double against_ref(const Setting *base)
{
    double most = 0;
    for (int i = 0; i < COUNT(lengths); i++) {
        Setting s = *base;
        s.len = lengths[i];
        most = fmax(most, over_options(&s, against_ref_at));
    }
    Setting big = *base; /* several tiles of everything */
    big.len = 150;
    big.width = 36;
    big.heads = 3;
    big.ffn = 70;
    big.n_norm = 40;
    snprintf(big.set, sizeof big.set, "%s",
             strstr(base->set, "c=")   ? "s=20 c=32"
             : strstr(base->set, "s=") ? "s=20"
                                       : "");
    return fmax(most, against_ref_at(&big));
}
static double law_against_ref(const Variant *v)
{
    return both_ways(v, "cpu", against_ref);
}

static double naive_at(const Setting *base)
{
    Setting tiled = *base, naive;
    double small = 0;
    for (int i = 0; i < 2; i++) {
        naive = tiled;
        naive.naive = true;
        small = fmax(small, compare(&tiled, &naive));
        tiled.len = 300; /* several tiles, an odd rest */
        tiled.n_norm = 50;
    }
    return small;
}
static double law_naive(const Variant *v)
{
    return both_ways(v, "cpu", naive_at);
}

static double recompute_at(const Setting *base)
{
    Setting s = *base, again = *base;
    s.blocks = again.blocks = 3;
    again.recompute = true;
    return compare(&s, &again);
}
static double law_recompute(const Variant *v)
{
    return fmax(both_ways(v, "cpu", recompute_at), both_ways(v, "ref", recompute_at));
}

/* ---- one pass = segments = token by token ---- */
static double segments_at(const Setting *base)
{
    static const int64_t cuts[][16] = {{13},
                                       {1, 12},
                                       {3, 1, 4, 5},
                                       {4, 4, 4, 1},
                                       {6, 7},
                                       {9, 2, 2},
                                       {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};
    double most = 0;
    Setting s = *base;
    Stand whole, parts;
    s.blocks = 2;
    stand_open(&whole, &s);
    s.state = true;
    stand_open(&parts, &s);
    double *y = room(stand_size(&whole)), *z = room(stand_size(&whole));
    stand_forward(&whole, y);
    for (int i = 0; i < COUNT(cuts); i++) {
        stand_segments(&parts, cuts[i], z);
        most = fmax(most, worst(z, y, stand_size(&whole)));
    }
    free(y);
    free(z);
    stand_close(&whole);
    stand_close(&parts);
    return most;
}
static double segments_on(const Variant *v, const char *backend)
{
    Setting s = setting_small(v, backend);
    return over_options(&s, segments_at);
}
static double law_segments_ref(const Variant *v)
{
    return segments_on(v, "ref");
}
static double law_segments_cpu(const Variant *v)
{
    return segments_on(v, "cpu");
}

/* Long enough for many tiles, and for decode kernels to split their keys. */
static double law_segments_long(const Variant *v)
{
    static const int64_t cuts[][8] = {{700}, {256, 256, 188}, {699, 1}, {1, 300, 1, 397, 1}};
    double most = 0;
    Setting s = setting_small(v, "cpu");
    s.len = 700;
    s.batch = 1;
    s.width = 32;
    s.ffn = 48;
    s.n_norm = 100;
    snprintf(s.set, sizeof s.set, "%s",
             strstr(s.set, "c=")   ? "s=16 c=64"
             : strstr(s.set, "s=") ? "s=16"
                                   : "");
    Stand whole, parts;
    stand_open(&whole, &s);
    s.state = true;
    stand_open(&parts, &s);
    double *y = room(stand_size(&whole)), *z = room(stand_size(&whole));
    stand_forward(&whole, y);
    for (int i = 0; i < COUNT(cuts); i++) {
        stand_segments(&parts, cuts[i], z);
        most = fmax(most, worst(z, y, stand_size(&whole)));
    }
    free(y);
    free(z);
    stand_close(&whole);
    stand_close(&parts);
    return most;
}

/* ---- nothing leaks from the future ---- */
static double causal_at(const Setting *base)
{
    double most = 0;
    Setting s = *base;
    s.blocks = 2;
    Stand r;
    stand_open(&r, &s);
    int64_t n = stand_size(&r), w = s.width;
    double *x = numbers(n, 1, 1), *y = room(n), *z = room(n);
    stand_forward(&r, y);
    for (int64_t t = 0; t + 1 < s.len; t++) { /* change all that comes after t */
        double *x2 = numbers(n, 1, 1);
        for (int64_t b = 0; b < s.batch; b++)
            for (int64_t i = (b * s.len + t + 1) * w; i < (b + 1) * s.len * w; i++)
                x2[i] = 5 - x[i];
        stand_set_input(&r, x2);
        stand_forward(&r, z);
        for (int64_t b = 0; b < s.batch; b++)
            most = fmax(most, worst(z + b * s.len * w, y + b * s.len * w, (t + 1) * w));
        free(x2);
    }
    free(x);
    free(y);
    free(z);
    stand_close(&r);
    return most;
}
static double law_causal(const Variant *v)
{
    Setting ref = setting_small(v, "ref"), cpu = setting_small(v, "cpu");
    return fmax(over_options(&ref, causal_at), over_options(&cpu, causal_at));
}

/* ---- gradients against four-point differences, on ref ---- */
static double loss_of(Stand *r, const double *dy, double *y)
{
    double sum = 0;
    stand_forward(r, y);
    for (int64_t i = 0; i < stand_size(r); i++)
        sum += dy[i] * y[i];
    return sum;
}

typedef void Setter(Stand *r, const double *x);

/* Largest error over every `step`-th of n numbers that set(x) puts in place. */
static double differences(Stand *r, Setter *set, double *x, const double *grad, int64_t n,
                          int64_t step, const double *dy, double *y)
{
    const double h = 1e-3;
    double most = 0, scale = 0;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(grad[i]));
    for (int64_t i = 0; i < n; i += step) {
        double keep = x[i], f[4];
        const double at[4] = {2 * h, h, -h, -2 * h};
        for (int k = 0; k < 4; k++) {
            x[i] = keep + at[k];
            set(r, x);
            f[k] = loss_of(r, dy, y);
        }
        x[i] = keep;
        double slope = (8 * (f[1] - f[2]) - (f[0] - f[3])) / (12 * h);
        most = fmax(most, fabs(slope - grad[i]));
    }
    set(r, x);
    return most / (scale > 0 ? scale : 1);
}

static double gradients_at(const Setting *base)
{
    Setting s = *base;
    s.grads = true;
    s.len = 9;
    Stand r;
    stand_open(&r, &s);
    int64_t n = stand_size(&r), n_w = stand_n_params(&r);
    double *dy = numbers(n, 1, 9), *y = room(n), *dx = room(n), *dw = room(n_w), *w = room(n_w);
    double *x = numbers(n, 1, 1);
    stand_backward(&r, dy, y, dx, dw);
    stand_get_params(&r, w);
    double most = differences(&r, stand_set_input, x, dx, n, 1, dy, y);
    most = fmax(most, differences(&r, stand_set_params, w, dw, n_w, 3, dy, y));
    free(dy);
    free(y);
    free(dx);
    free(dw);
    free(w);
    free(x);
    stand_close(&r);
    return most;
}
static double gradients_all(const Setting *s)
{
    return over_options(s, gradients_at);
}
static double law_gradients(const Variant *v)
{
    return both_ways(v, "ref", gradients_all);
}

/* ---- permutations ---- */
static double batch_at(const Setting *base)
{
    Setting s = *base;
    s.batch = 3;
    Stand r;
    stand_open(&r, &s);
    int64_t n = stand_size(&r), one = n / 3;
    double *x = numbers(n, 1, 1), *x2 = room(n), *y = room(n), *z = room(n), most = 0;
    stand_forward(&r, y);
    for (int64_t b = 0; b < 3; b++)
        memcpy(x2 + b * one, x + (b + 1) % 3 * one, (size_t)one * sizeof *x);
    stand_set_input(&r, x2);
    stand_forward(&r, z);
    for (int64_t b = 0; b < 3; b++)
        most = fmax(most, worst(z + b * one, y + (b + 1) % 3 * one, one));
    free(x);
    free(x2);
    free(y);
    free(z);
    stand_close(&r);
    return most;
}
static double law_batch(const Variant *v)
{
    return both_ways(v, "cpu", batch_at);
}

/* Turns the heads' columns of every (D,D) mixer matrix but the last, and the rows of the last. */
static void turn_heads(Stand *r, double *w)
{
    int64_t D = r->s.width, d = D / r->s.heads;
    for (int i = 0; i < r->m.n_params; i++) {
        const Tensor *t = &r->m.param[i].t;
        int64_t n = tensor_size(t);
        bool mixer = strstr(r->m.param[i].name, ".mixer.") != NULL;
        bool last = strstr(r->m.param[i].name, ".w_o") != NULL;
        double *old = room(n);
        memcpy(old, w, (size_t)n * sizeof *w);
        for (int64_t k = 0; mixer && t->rank == 2 && k < n; k++) {
            int64_t row = k / D, col = k % D;
            w[k] = last ? old[(row + d) % D * D + col] : old[row * D + (col + d) % D];
        }
        free(old);
        w += n;
    }
}

static double heads_at(const Setting *s)
{
    Stand r;
    stand_open(&r, s);
    int64_t n = stand_size(&r), n_w = stand_n_params(&r);
    double *w = room(n_w), *y = room(n), *z = room(n);
    stand_forward(&r, y);
    stand_get_params(&r, w);
    turn_heads(&r, w);
    stand_set_params(&r, w);
    stand_forward(&r, z);
    double most = worst(z, y, n);
    free(w);
    free(y);
    free(z);
    stand_close(&r);
    return most;
}
static double law_heads(const Variant *v)
{
    return both_ways(v, "cpu", heads_at);
}

/* ---- the same bits for any number of threads, and from run to run ---- */
static double threads_at(const Setting *base)
{
    Setting s = *base;
    Stand r;
    s.grads = true;
    s.len = 150;
    s.width = 64;
    s.ffn = 96;
    s.n_norm = 40;
    snprintf(s.set, sizeof s.set, "%s",
             strstr(base->set, "c=")   ? "s=32 c=32"
             : strstr(base->set, "s=") ? "s=32"
                                       : "");
    stand_open(&r, &s);
    int64_t n = stand_size(&r), n_w = stand_n_params(&r), all = 2 * n + n_w;
    double *dy = numbers(n, 1, 9), *first = room(all), *other = room(all), most = 0;
    int before = omp_get_max_threads();
    for (int threads = 1; threads <= 5; threads++) {
        double *to = threads == 1 ? first : other;
        omp_set_num_threads(threads == 5 ? 1 : threads);
        stand_backward(&r, dy, to, to + n, to + 2 * n);
        if (threads > 1 && memcmp(first, other, (size_t)all * sizeof *first) != 0)
            most = fmax(most, fmax(worst(other, first, all), 1e-300));
    }
    omp_set_num_threads(before);
    free(dy);
    free(first);
    free(other);
    stand_close(&r);
    return most;
}
static double law_threads(const Variant *v)
{
    return both_ways(v, "cpu", threads_at);
}

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
        most = fmax(most, off(tape_cost(r.m.tape).flops, formula));
        most = fmax(most, off(dev_counted_flops(r.d), formula));
        tape_reset(r.m.tape);
        stand_close(&r);
    }
    return most;
}
static double law_cost(const Variant *v)
{
    return both_ways(v, "ref", cost_at);
}

/* The formula at every step of a decode, too. */
static double law_cost_decode(const Variant *v)
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
        most = fmax(most, off(tape_cost(r.m.tape).flops, formula));
        most = fmax(most, off(dev_counted_flops(r.d) - before, formula));
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
    MemUse dry = step_memory(s, "dry"), cpu = step_memory(s, "cpu");
    double most = off((double)dry.peak_counted, (double)cpu.peak_counted);
    for (int tag = 0; tag < MEM_WORK; tag++)
        most = fmax(most, off((double)dry.peak[tag], (double)cpu.peak[tag]));
    return most;
}
static double law_memory(const Variant *v)
{
    return both_ways(v, "cpu", memory_at);
}

/* ---- a failing allocation is a clean error, whichever it is, and leaves nothing behind ---- */
static Status try_step(Dev *d, const Setting *s)
{
    Model m;
    Tensor x = {0};
    const int64_t dim[] = {s->batch, s->len, s->width};
    MixCtx c = {.batch = s->batch,
                .q_len = s->len,
                .cap = s->len,
                .n_norm = s->n_norm,
                .width = s->width,
                .heads = s->heads,
                .ffn = s->ffn,
                .causal = s->causal};
    CHECK(mix_options(s->v, s->set, &c) == ST_OK);
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
static double law_failing(const Variant *v)
{
    return both_ways(v, "cpu", failing_at);
}

/* ---- with these options, that other mixer ---- */
static const Variant *variant_of(const Mixer *m)
{
    for (const Variant *const *v = variant_table; *v != NULL; v++)
        if ((*v)->mixer == m)
            return *v;
    CHECK(false);
    return NULL;
}

/* Name under which the other mixer has my parameter. */
static void mapped(const char *map, const char *mine, char *theirs, size_t size)
{
    const char *dot = strrchr(mine, '.') + 1, *hit = map != NULL ? strstr(map, dot) : NULL;
    size_t len = strlen(dot);
    snprintf(theirs, size, "%s", mine);
    if (hit == NULL || hit[len] != '=')
        return;
    int n = (int)strcspn(hit + len + 1, " ");
    snprintf(theirs, size, "%.*s%.*s", (int)(dot - mine), mine, n, hit + len + 1);
}

static void copy_params(const Stand *from, Stand *to, const char *map)
{
    for (int i = 0; i < from->m.n_params; i++) {
        char name[PARAM_NAME];
        Tensor *a = &from->m.param[i].t;
        double *x = room(tensor_size(a));
        mapped(map, from->m.param[i].name, name, sizeof name);
        CHECK(dev_read_f64(from->d, x, a->buf, 0, tensor_size(a)) == ST_OK);
        for (int j = 0; j < to->m.n_params; j++)
            if (strcmp(to->m.param[j].name, name) == 0)
                CHECK(dev_write_f64(to->d, to->m.param[j].t.buf, 0, x, tensor_size(a)) == ST_OK);
        free(x);
    }
}

static double equal_at(const Variant *v, const Equal *e, const char *backend)
{
    Stand a, b;
    Setting s = setting_small(v, backend), o = setting_small(variant_of(e->other), backend);
    s.len = o.len = e->len;
    s.n_norm = o.n_norm = e->n_norm;
    s.causal = o.causal = e->causal;
    snprintf(s.set, sizeof s.set, "%s", e->set);
    snprintf(o.set, sizeof o.set, "%s", e->other_set);
    stand_open(&a, &s);
    stand_open(&b, &o);
    copy_params(&a, &b, e->map);
    double *y = room(stand_size(&a)), *z = room(stand_size(&a));
    stand_forward(&a, y);
    stand_forward(&b, z);
    double most = worst(y, z, stand_size(&a));
    free(y);
    free(z);
    stand_close(&a);
    stand_close(&b);
    return most;
}

static double law_equals(const Variant *v)
{
    double most = 0;
    for (const Equal *e = v->mixer->equals; e != NULL && e->set != NULL; e++)
        most = fmax(most, fmax(equal_at(v, e, "ref"), equal_at(v, e, "cpu")));
    return most;
}

/* ---- the table ---- */
const Law laws[] = {
    {"mix = matrix V (ref)", 1e-11, 0, 0, law_matrix_ref},
    {"mix = matrix V (cpu)", 2e-5, 0, 0, law_matrix_cpu},
    {"ragged lengths (ref)", 1e-11, 0, 0, law_ragged_ref},
    {"ragged lengths (cpu)", 2e-5, 0, 0, law_ragged_cpu},
    {"cpu = ref, with gradients", 5e-5, 0, 0, law_against_ref},
    {"naive = tiled, with gradients", 5e-5, CAP_NAIVE, 0, law_naive},
    {"recompute = store, with gradients", 0, 0, 0, law_recompute},
    {"no leak from the future", 1e-12, CAP_CAUSAL, CAP_CHOICES, law_causal},
    {"segments = one pass (ref)", 1e-11, CAP_STATEFUL, CAP_OWN_DECODE, law_segments_ref},
    {"segments = one pass (cpu)", 5e-5, CAP_STATEFUL, CAP_OWN_DECODE, law_segments_cpu},
    {"long segments = one pass (cpu)", 5e-5, CAP_STATEFUL, CAP_OWN_DECODE, law_segments_long},
    {"gradients = differences (ref)", 1e-6, 0, 0, law_gradients},
    {"batch permutation", 0, 0, 0, law_batch},
    {"head permutation", 2e-5, CAP_HEADS_EXCHANGEABLE, 0, law_heads},
    {"same bits for any threads", 0, 0, 0, law_threads},
    {"cost formula = work counted", 1e-12, 0, 0, law_cost},
    {"cost of decode = work counted", 1e-12, CAP_STATEFUL, CAP_OWN_DECODE, law_cost_decode},
    {"memory predicted = used", 0, 0, 0, law_memory},
    {"any failing allocation is clean", 0, 0, 0, law_failing},
    {"equals", 2e-5, 0, 0, law_equals},
};
const int n_laws = COUNT(laws);

const char *law_off(const Law *l, const Variant *v)
{
    static _Thread_local char why[64];
    if (l->measure == law_equals && v->mixer->equals == NULL)
        return "n/a (states no equal)";
    for (int i = 0; i < N_CAPS; i++) {
        unsigned bit = 1u << i;
        bool lacks = l->needs & bit && !(v->mixer->caps & bit);
        if (!lacks && !(l->without & bit && v->mixer->caps & bit))
            continue;
        snprintf(why, sizeof why, "n/a (%s %s)", lacks ? "not" : "is", cap_names[i]);
        return why;
    }
    return NULL;
}
