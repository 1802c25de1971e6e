/* test_cost.c - what a step costs is the same on every backend, and is what was done: memory by tag
 * on dry, cpu and ref, the tape's flops and bytes, and the flops that ref counts in its loops. */
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void must(Status st)
{
    cr_assert_eq(st, ST_OK, "%s", status_reason());
}

/* ---- a training step ---- */
typedef struct Bill {
    MemUse mem;
    Cost cost;
    int64_t n_ops, backend_later; /* asked of the backend by steps after the first */
} Bill;

/* How a step is run. */
typedef struct Way {
    Strategy strategy;
    bool naive;
} Way;

static Bill training(const Variant *v, const char *backend, Way way)
{
    Dev *d;
    Model m;
    Tokens k;
    Bill out;
    ModelSpec spec = tiny_model(v);
    spec.ctx.naive = way.naive;
    must(dev_open(&d, backend, 0, 0));
    must(model_init(&m, d, &spec));
    must(tokens_init(&k, d));
    must(model_moments(&m));
    tape_strategy(m.tape, way.strategy);
    must(tiny_backward(&m, &k, NULL));
    out.cost = tape_cost(m.tape);
    out.n_ops = tape_n_ops(m.tape);
    must(tiny_step(&m, &k, 1));
    out.mem = dev_mem(d);
    must(tiny_step(&m, &k, 2));
    must(tiny_step(&m, &k, 3));
    out.backend_later = dev_mem(d).n_backend - out.mem.n_backend;
    tokens_free(&k, d);
    model_free(&m);
    dev_close(d);
    return out;
}

/* Integers take four bytes everywhere, reals `ratio` times those of dry. */
static void expect_memory(const char *what, const Bill *got, const Bill *dry, size_t ratio)
{
    for (int i = 0; i < MEM_WORK; i++) {
        size_t times = i == MEM_INPUT ? 1 : ratio;
        cr_expect_eq(got->mem.peak[i], times * dry->mem.peak[i],
                     "%s: peak of %s is %zu, dry says %zu", what, mem_tag_names[i],
                     got->mem.peak[i], dry->mem.peak[i]);
        cr_expect_eq(got->mem.live[i], times * dry->mem.live[i], "%s: %s", what, mem_tag_names[i]);
    }
    size_t ids = dry->mem.peak[MEM_INPUT];
    cr_expect_eq(got->mem.peak_counted - ids, ratio * (dry->mem.peak_counted - ids), "%s", what);
}

static void check_training(const Variant *v, Way way)
{
    char what[64];
    Bill dry = training(v, "dry", way), cpu = training(v, "cpu", way);
    Bill ref = training(v, "ref", way);
    snprintf(what, sizeof what, "%s, %s%s", v->name,
             way.strategy == TAPE_STORE ? "store" : "recompute", way.naive ? ", naive" : "");
    for (int i = 0; i < MEM_WORK; i++)
        cr_expect_eq(dry.mem.peak[i] > 0, i != MEM_STATE, "%s: %s", what, mem_tag_names[i]);
    expect_memory(what, &cpu, &dry, 1);
    bool choices = (variant_caps(v) & CAP_CHOICES) != 0; /* integers among the activations */
    if (!choices)
        expect_memory(what, &ref, &dry, 2);
    cr_expect(dry.cost.flops > 0 && dry.cost.flops == cpu.cost.flops &&
              dry.cost.flops == ref.cost.flops);
    cr_expect(dry.n_ops > 0 && dry.n_ops == cpu.n_ops && dry.n_ops == ref.n_ops);
    cr_expect_eq(dry.cost.bytes, cpu.cost.bytes, "%s", what);
    double targets = 4.0 * TINY_BATCH * TINY_LEN; /* the integers that are in the sum */
    if (!choices)
        cr_expect_eq(ref.cost.bytes - targets, 2 * (dry.cost.bytes - targets), "%s: %.0f and %.0f",
                     what, ref.cost.bytes, dry.cost.bytes);
    cr_expect(dry.backend_later == 0 && cpu.backend_later == 0 && ref.backend_later == 0,
              "%s: later steps asked the backend for memory", what);
    cr_expect_eq(dry.mem.peak[MEM_WORK], 0);
}

Test(cost, a_training_step_is_predicted_by_dry)
{
    for (int i = 0; variant_table[i] != NULL; i++)
        for (int way = 0; way < 4; way++)
            if (way < 2 || variant_table[i]->mixer->caps & CAP_NAIVE)
                check_training(variant_table[i],
                               (Way){way & 1 ? TAPE_RECOMPUTE : TAPE_STORE, way & 2});
}

Test(cost, recompute_needs_fewer_activations_and_counts_no_work_twice)
{
    for (int i = 0; variant_table[i] != NULL; i++) {
        const Variant *v = variant_table[i];
        Bill store = training(v, "dry", (Way){TAPE_STORE, false});
        Bill again = training(v, "dry", (Way){TAPE_RECOMPUTE, false});
        cr_expect_eq(store.cost.flops, again.cost.flops);
        cr_expect_eq(store.n_ops, again.n_ops);
        cr_expect_lt(again.mem.peak[MEM_ACT], store.mem.peak[MEM_ACT], "%s", v->name);
    }
}

/* The whole matrix of every head is kept for the backward pass, where its gradient joins it. */
Test(cost, naive_attention_pays_for_its_matrix)
{
    const Variant *v = variant_find("gau");
    Bill tiled = training(v, "dry", (Way){TAPE_STORE, false});
    Bill naive = training(v, "dry", (Way){TAPE_STORE, true});
    size_t matrix = 4 * (size_t)TINY_BATCH * TINY_LEN * TINY_LEN, blocks = 4;
    cr_expect_geq(naive.mem.peak[MEM_ACT], tiled.mem.peak[MEM_ACT] + blocks * matrix);
    cr_expect_eq(naive.cost.flops, tiled.cost.flops, "the useful work is the same");
}

/* ---- prefill by segments ---- */
static Bill prefill(const Variant *v, const char *backend)
{
    Dev *d;
    Model m;
    Tokens k;
    Bill out = {.n_ops = 0};
    ModelSpec spec = tiny_model(v);
    spec.grads = false;
    spec.state = true;
    spec.ctx.cap = 3 * TINY_LEN;
    must(dev_open(&d, backend, 0, 0));
    must(model_init(&m, d, &spec));
    must(tokens_init(&k, d));
    for (int i = 0; i < 3; i++) {
        m.ctx.pos = i * TINY_LEN;
        tape_reset(m.tape);
        model_logits(&m, &k.ids);
        must(tape_status(m.tape));
        out.cost = cost_add(out.cost, tape_cost(m.tape));
        out.n_ops += tape_n_ops(m.tape);
    }
    out.mem = dev_mem(d);
    tokens_free(&k, d);
    model_free(&m);
    dev_close(d);
    return out;
}

Test(cost, a_prefill_is_predicted_by_dry)
{
    for (int i = 0; variant_table[i] != NULL; i++) {
        const Variant *v = variant_table[i];
        Bill dry = prefill(v, "dry"), cpu = prefill(v, "cpu"), ref = prefill(v, "ref");
        expect_memory(v->name, &cpu, &dry, 1);
        if (!(variant_caps(v) & CAP_CHOICES)) /* integers among the activations */
            expect_memory(v->name, &ref, &dry, 2);
        cr_expect(dry.mem.peak[MEM_STATE] > 0 && dry.mem.peak[MEM_GRAD] == 0);
        cr_expect(dry.cost.flops == cpu.cost.flops && dry.cost.flops == ref.cost.flops);
        cr_expect(dry.cost.bytes == cpu.cost.bytes && dry.n_ops == cpu.n_ops);
    }
}

/* ---- formulas against ref's loops ---- */
typedef struct Room {
    Dev *d;
    Tape *t;
    double counted;
} Room;

static Tensor zeros(Room *r, int64_t b, int64_t n, int64_t width)
{
    Tensor x;
    must(tensor_new(r->d, &x, REAL, MEM_INPUT, 3, (int64_t[]){b, n, width}));
    must(tensor_fill(r->d, &x, 0));
    return x;
}

static Room room_open(void)
{
    Room r = {0};
    must(dev_open(&r.d, "ref", 0, 0));
    must(tape_new(&r.t, r.d));
    return r;
}

/* After an op: its formula, and the work done since. */
static void expect_counted(Room *r, const char *what)
{
    must(tape_status(r->t));
    double done = dev_counted_flops(r->d) - r->counted, said = tape_cost(r->t).flops;
    cr_expect(done > 0 && done == said, "%s: %g flops done, %g by the formula", what, done, said);
    r->counted += done;
    tape_reset(r->t);
}

static void room_close(Room *r)
{
    tape_free(r->t);
    dev_close(r->d);
}

Test(cost, linear_counts_what_it_does)
{
    Room r = room_open();
    Tensor x = zeros(&r, 2, 3, 5), w;
    must(tensor_new(r.d, &w, REAL, MEM_PARAM, 2, (int64_t[]){5, 7}));
    must(tensor_fill(r.d, &w, 0));
    op_linear(r.t, &x, &w, NULL);
    cr_expect_eq(tape_cost(r.t).bytes, 8.0 * (30 + 35 + 42));
    expect_counted(&r, "linear");
    tensor_free(r.d, &x);
    tensor_free(r.d, &w);
    room_close(&r);
}

Test(cost, attend_counts_what_it_does)
{
    static const struct {
        int64_t q_len, k_len, q_pos;
    } cases[] = {{1, 1, 0}, {7, 7, 0}, {3, 9, 6}, {1, 9, 8},
                 {3, 9, 2}, {5, 9, 0}, {4, 3, 0}, {3, 5, 10}};
    for (int i = 0; i < 2 * COUNT(cases); i++) {
        char what[64];
        bool causal = i & 1;
        int64_t q_len = cases[i / 2].q_len, k_len = cases[i / 2].k_len, q_pos = cases[i / 2].q_pos;
        Room r = room_open();
        Tensor q = zeros(&r, 2, q_len, 6), k = zeros(&r, 2, 10, 6), v = zeros(&r, 2, 10, 4);
        snprintf(what, sizeof what, "attend %d of %d at %d%s", (int)q_len, (int)k_len, (int)q_pos,
                 causal ? ", causal" : "");
        AttendOpt o = {.kind = ATTN_SOFTMAX,
                       .causal = causal,
                       .heads = 2,
                       .q_pos = q_pos,
                       .k_len = k_len,
                       .scale = 1};
        op_attend(r.t, &q, &k, &v, NULL, o);
        double numbers = (double)(2 * (q_len * 10 + k_len * 10));
        cr_expect_eq(tape_cost(r.t).bytes, 8 * numbers, "%s", what);
        expect_counted(&r, what);
        tensor_free(r.d, &q);
        tensor_free(r.d, &k);
        tensor_free(r.d, &v);
        room_close(&r);
    }
}

/* Segments of a stateful call, or one whole pass. */
static void check_chunks(int64_t pos, int64_t len, int chunk, bool causal)
{
    enum { S = 3, E = 5, B = 2 };
    char what[64];
    Room r = room_open();
    Tensor qk = zeros(&r, B, len, S), v = zeros(&r, B, len, E);
    Tensor state[4] = {zeros(&r, B, S, E), zeros(&r, B, S, E), zeros(&r, B, chunk, S),
                       zeros(&r, B, chunk, E)};
    Tensor *heads[4] = {&qk, &qk, &qk, &qk}, *st[4] = {&state[0], &state[1], &state[2], &state[3]};
    snprintf(what, sizeof what, "chunks of %d, %d from %d%s", chunk, (int)len, (int)pos,
             causal ? ", causal" : "");
    ChunksOpt o = {.chunk = chunk,
                   .causal = causal,
                   .pos = pos,
                   .local_scale = 1,
                   .local_post = 1,
                   .lin_scale = 1};
    op_chunks(r.t, heads, &v, NULL, pos > 0 ? st : NULL, o);
    expect_counted(&r, what);
    for (int i = 0; i < 4; i++)
        tensor_free(r.d, st[i]);
    tensor_free(r.d, &qk);
    tensor_free(r.d, &v);
    room_close(&r);
}

Test(cost, chunks_count_what_they_do)
{
    static const int64_t len[] = {1, 2, 3, 4, 5, 8, 11, 13, 27};
    for (int i = 0; i < COUNT(len); i++)
        for (int chunk = 1; chunk <= 16; chunk *= 2) {
            check_chunks(0, len[i], chunk, false);
            check_chunks(0, len[i], chunk, true);
            for (int64_t pos = 1; pos < 14; pos += 2)
                check_chunks(pos, len[i], chunk, true);
        }
}

/* A token of decode on cpu: what the kernel says it did is what the formula asks for. */
static void check_chunks_token(int64_t pos, int chunk)
{
    enum { S = 3, E = 5, B = 2 };
    Room r = {0};
    must(dev_open(&r.d, "cpu", 0, 0));
    must(tape_new(&r.t, r.d));
    Tensor qk = zeros(&r, B, 1, S), v = zeros(&r, B, 1, E);
    Tensor state[4] = {zeros(&r, B, S, E), zeros(&r, B, S, E), zeros(&r, B, chunk, S),
                       zeros(&r, B, chunk, E)};
    Tensor *heads[4] = {&qk, &qk, &qk, &qk}, *st[4] = {&state[0], &state[1], &state[2], &state[3]};
    ChunksOpt o = {.chunk = chunk,
                   .causal = true,
                   .pos = pos,
                   .local_scale = 1,
                   .local_post = 1,
                   .lin_scale = 1};
    op_chunks(r.t, heads, &v, NULL, st, o);
    must(tape_status(r.t));
    const double said = dev_counted_flops(r.d), asked = tape_cost(r.t).flops;
    cr_expect_eq(said, asked, "token %d, chunk %d: %g flops done, %g by the formula", (int)pos,
                 chunk, said, asked);
    tape_reset(r.t);
    for (int i = 0; i < 4; i++)
        tensor_free(r.d, st[i]);
    tensor_free(r.d, &qk);
    tensor_free(r.d, &v);
    room_close(&r);
}

Test(cost, a_token_of_chunks_counts_what_it_does)
{
    for (int64_t pos = 0; pos < 14; pos++)
        check_chunks_token(pos, 4);
}

/* Two sequences, three heads, two rounds: every bucket so far is compared, and `window` keys of 4
 * and values of 5 columns are read. */
static void check_lsh_decode(int64_t pos, int64_t len, int64_t window)
{
    enum { B = 2, H = 3, ROUNDS = 2, D = 4, DV = 5, CAP = 20 };
    Room r = room_open();
    char what[48];
    Tensor q = zeros(&r, B, len, H * D), keys = zeros(&r, B, CAP, H * D);
    Tensor v = zeros(&r, B, CAP, H * DV), bucket = zeros(&r, B, H * ROUNDS, CAP), fresh;
    must(tensor_new(r.d, &fresh, I32, MEM_INPUT, 4, (int64_t[]){B, H, ROUNDS, len}));
    must(dev_write(r.d, fresh.buf, (int32_t[B * H * ROUNDS * CAP]){0}, fresh.buf.size));
    snprintf(what, sizeof what, "lsh decode of %d at %d, window %d", (int)len, (int)pos,
             (int)window);
    double numbers = (double)(B * len * H * (D + DV));
    for (int64_t i = pos; i < pos + len; i++)
        numbers += B * H * (double)(min64(window, i + 1) * (D + DV) + (i + 1) * ROUNDS);
    op_lsh_decode(r.t, &q, &keys, &v, &fresh, &bucket, NULL, H, pos, window);
    cr_expect_eq(tape_cost(r.t).bytes, 8 * numbers, "%s", what);
    expect_counted(&r, what);
    Tensor *all[] = {&q, &keys, &v, &bucket, &fresh};
    for (int i = 0; i < COUNT(all); i++)
        tensor_free(r.d, all[i]);
    room_close(&r);
}

Test(cost, lsh_decode_counts_what_it_does)
{
    static const int64_t at[][3] = {{0, 1, 1}, {0, 5, 3}, {7, 1, 4}, {7, 1, 100}, {12, 8, 6}};
    for (int i = 0; i < COUNT(at); i++)
        check_lsh_decode(at[i][0], at[i][1], at[i][2]);
}
