/* test_cpu_attention.c - the cpu backend's pairwise attention: every kind, mask and bias at lengths
 * around vectors, tiles and spans, segments, decode and extreme scores. */
#include "tests/cpu_attention.h"

#include <criterion/criterion.h>
#include <math.h>

/* Lengths around the sizes of vectors, panels and tiles. */
static const int64_t lengths[] = {1, 2, 31, 32, 33, 64, 95, 96, 97, 128, 130, 257};

static void sweep(Dev *d, AttnCase c)
{
    static const int widths[][3] = {{8, 8, 3},  {16, 64, 2}, {24, 130, 1}, {64, 64, 2},
                                    {64, 8, 1}, {8, 512, 1}, {128, 130, 1}};
    for (int i = 0; i < COUNT(lengths); i++) {
        const int *w = widths[(i + 2 * (c.kind == ATTN_RELU2) + 3 * c.causal) % COUNT(widths)];
        c.q_len = lengths[i];
        c.d = w[0];
        c.dv = w[1];
        c.heads = w[2];
        attention_check(d, c, true);
        c.set = !c.naive && !c.set;
    }
}

static void tiled(Dev *d)
{
    sweep(d, (AttnCase){.kind = ATTN_SOFTMAX, .causal = true});
    sweep(d, (AttnCase){.kind = ATTN_SOFTMAX, .batch = 3, .with_lens = true});
    sweep(d, (AttnCase){.kind = ATTN_RELU2, .causal = true, .post_rows = true});
    sweep(d, (AttnCase){.kind = ATTN_RELU2, .batch = 3, .with_lens = true});
    sweep(d, (AttnCase){.kind = ATTN_RELU2, .batch = 3, .with_lens = true, .causal = true});
}
Test(cpu_attention, tiled_against_plain_loops)
{
    each_isa(tiled);
}

static void naive(Dev *d)
{
    sweep(d, (AttnCase){.kind = ATTN_SOFTMAX, .naive = true, .causal = true});
    sweep(d, (AttnCase){.kind = ATTN_SOFTMAX, .naive = true, .batch = 3, .with_lens = true});
    sweep(d, (AttnCase){.kind = ATTN_RELU2, .naive = true, .causal = true, .post_rows = true});
}
Test(cpu_attention, naive_against_plain_loops)
{
    each_isa(naive);
}

/* Queries behind a cache, which may be longer than what they see. */
static void segments(Dev *d)
{
    static const int64_t at[][3] = {{40, 140, 100}, {2, 300, 200}, {97, 200, 103},
                                    {96, 500, 96},  {33, 34, 1},   {5, 97, 92}};
    for (int i = 0; i < COUNT(at); i++)
        for (int kind = 0; kind < 2; kind++)
            for (int causal = 0; causal < 2; causal++) {
                AttnCase c = {
                    .kind = kind ? ATTN_RELU2 : ATTN_SOFTMAX, .causal = causal, .heads = 2};
                c.q_len = at[i][0];
                c.k_len = at[i][1];
                c.q_pos = at[i][2];
                c.d = 16;
                c.dv = i % 2 ? 40 : 16;
                c.batch = 2;
                c.set = i % 2 == 0;
                attention_check(d, c, true);
                c.set = false;
                c.naive = true;
                attention_check(d, c, true);
            }
}
Test(cpu_attention, segments_of_a_sequence)
{
    each_isa(segments);
}

static void decode(Dev *d)
{
    static const int64_t keys[] = {1, 5, 16, 255, 256, 257, 700, 1030};
    for (int i = 0; i < COUNT(keys); i++)
        for (int kind = 0; kind < 2; kind++) {
            AttnCase c = {.kind = kind ? ATTN_RELU2 : ATTN_SOFTMAX, .q_len = 1, .k_len = keys[i]};
            c.batch = 3;
            c.heads = 1 + i % 3;
            c.d = i % 2 ? 64 : 19;
            c.dv = i % 2 ? 130 : 21;
            c.with_lens = true;
            attention_check(d, c, false);
            c.causal = true;
            c.with_lens = false;
            c.q_pos = keys[i] / 2;
            c.post_rows = kind;
            attention_check(d, c, false);
        }
}
Test(cpu_attention, one_query_over_a_cache)
{
    each_isa(decode);
}

/* Biases by distance, and scales by the logarithm of what a query sees. */
static void biased(Dev *d)
{
    sweep(d, (AttnCase){.kind = ATTN_RELU2, .causal = true, .biased = true});
    sweep(d, (AttnCase){.kind = ATTN_RELU2, .batch = 3, .with_lens = true, .biased = true});
    sweep(d, (AttnCase){.kind = ATTN_SOFTMAX, .causal = true, .biased = true});
    sweep(d, (AttnCase){.kind = ATTN_SOFTMAX, .batch = 3, .with_lens = true, .biased = true});
    sweep(d, (AttnCase){.kind = ATTN_RELU2, .naive = true, .causal = true, .biased = true});
    sweep(d, (AttnCase){.naive = true, .batch = 3, .with_lens = true, .biased = true});
    sweep(d, (AttnCase){.causal = true, .log_base = 20});
    sweep(d, (AttnCase){.batch = 3, .with_lens = true, .log_base = 20});
    sweep(d, (AttnCase){.naive = true, .causal = true, .log_base = 20});
}
Test(cpu_attention, biases_and_scales_of_queries)
{
    each_isa(biased);
}

static void biased_segments(Dev *d)
{
    static const int64_t at[][3] = {{40, 140, 100}, {97, 200, 103}, {1, 700, 699}, {1, 3, 2}};
    for (int i = 0; i < COUNT(at); i++)
        for (int how = 0; how < 8; how++) {
            AttnCase c = {
                .kind = how & 1 ? ATTN_RELU2 : ATTN_SOFTMAX, .causal = how & 2, .heads = 2};
            c.q_len = at[i][0];
            c.k_len = at[i][1];
            c.q_pos = at[i][2];
            c.d = 16;
            c.batch = 2;
            c.biased = how & 4;
            c.log_base = c.biased ? 0 : 30;
            attention_check(d, c, c.q_len > 1);
        }
}
Test(cpu_attention, biases_of_segments)
{
    each_isa(biased_segments);
}

static void wide(Dev *d)
{
    AttnCase c = {.kind = ATTN_RELU2, .causal = true, .q_len = 130, .d = 128, .dv = 1100};
    attention_check(d, c, true);
    attention_check(d, (AttnCase){.q_len = 40, .batch = 26, .heads = 2, .d = 8, .dv = 2048}, false);
    attention_check(d, (AttnCase){.q_len = 33, .batch = 9, .heads = 4, .d = 16, .causal = true},
                    true);
    attention_check(d, (AttnCase){.q_len = 500, .heads = 1, .d = 8, .causal = true}, true);
    attention_check(d, (AttnCase){.q_len = 500, .heads = 1, .d = 8, .causal = true, .set = true},
                    true);
}
Test(cpu_attention, wide_values_many_heads_and_slabs)
{
    each_isa(wide);
}

/* Values so wide that a head is packed in spans of 384 keys, between which tasks rest. */
static void spans(Dev *d)
{
    for (int kind = 0; kind < 2; kind++) {
        AttnCase c = {.kind = kind ? ATTN_RELU2 : ATTN_SOFTMAX, .d = 8, .dv = 8192, .heads = 1};
        c.causal = true;
        c.q_len = 40;
        c.q_pos = 345 + 15 * kind; /* some queries are done with the first span */
        c.k_len = 410;
        attention_check(d, c, false);
        c.causal = false;
        c.with_lens = true;
        c.batch = 3;
        c.q_len = 5;
        c.k_len = 800;
        attention_check(d, c, false);
    }
}
Test(cpu_attention, long_heads_are_packed_in_spans)
{
    each_isa(spans);
}

static void extremes(Dev *d)
{
    attention_check(d, (AttnCase){.q_len = 130, .heads = 2, .d = 16, .causal = true, .logit = 100},
                    true);
    attention_check(d, (AttnCase){.q_len = 130, .heads = 2, .d = 16, .naive = true, .logit = 100},
                    true);
    attention_check(d, (AttnCase){.q_len = 1, .k_len = 600, .heads = 2, .d = 16, .logit = 100},
                    false);

    /* Scores of -inf in float for all keys of the first tile, then usual ones; and all ties. */
    AttnCase c = {.q_len = 50, .k_len = 230, .batch = 1, .heads = 1, .d = 8, .dv = 8};
    for (int same = 0; same < 2; same++) {
        AttnProblem x = attention_problem(&c);
        for (int64_t i = 0; i < x.q_n; i++)
            x.q[i] = same ? 1.0f : 1e20f * fabsf(x.q[i]);
        for (int64_t i = 0; i < x.k_n; i++)
            x.k[i] = same                  ? 1.0f
                     : i < 100 * x.a.k_row ? -1e20f * (1 + fabsf(x.k[i]))
                                           : 1e-20f * x.k[i];
        attention_outputs(&x, false);
        attention_check_made(d, &x, 4.0, same, same ? "ties" : "scores of -inf");
        pool_free();
    }
}
Test(cpu_attention, large_infinite_and_equal_scores)
{
    each_isa(extremes);
}
