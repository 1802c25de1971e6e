/* test_kernels.c - level "kernel": every kernel against ref, its work against the tape's, which
 * cases there are, and what is timed in turn. */
#include "bench/kernel_case.h"
#include "bench/kernel_rig.h"
#include "bench/pair.h"
#include "bench/roof.h"
#include "bench/sweep.h"
#include "kernels/ops.h"
#include "kernels/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Case case_of(const KernelCase *k)
{
    Case c = {.backend = "cpu",
              .dtype = "f32",
              .level = LEVEL_KERNEL,
              .pass = k->pass,
              .n = k->n,
              .batch = k->batch,
              .heads = k->heads,
              .width = k->width,
              .layers = 1,
              .threads = 2,
              .causal = true,
              .seed = 1,
              .time_limit = 10,
              .mem_limit = INT64_C(4) << 30};
    snprintf(c.variant, sizeof c.variant, "%s", k->kernel);
    snprintf(c.set, sizeof c.set, "%s", k->set);
    return c;
}

/* ---- against ref ---- */
Test(kernels, every_listed_case_passes_its_check)
{
    for (const KernelCase *k = kernel_cases; k->kernel != NULL; k++) {
        Row row;
        Case c = case_of(k), s = kernel_check_case(&c);
        kernel_check(&c, &row);
        cr_expect_eq(row.status, ROW_OK, "%s %s at %d: %s", k->kernel, pass_names[k->pass],
                     (int)k->n, row.reason);
        cr_expect_eq(row.kind, ROW_CHECK);
        cr_expect(row.tolerance > 0 && row.error <= row.tolerance);
        cr_expect(strcmp(row.c.variant, k->kernel) == 0 && row.c.n == s.n && s.n <= 101);
    }
}

Test(kernels, what_cannot_be_has_a_reason)
{
    Row row;
    Case c = case_of(&(KernelCase){"attention", PASS_FWD, 64, 1, 3, 64, "", 0, false});
    kernel_check(&c, &row);
    cr_expect(row.status == ROW_OK, "the check has as many columns for each of two heads: %s",
              row.reason);
    kernel_predict(&c, &row);
    cr_expect_eq(row.status, ROW_UNSUPPORTED);
    cr_expect(strstr(row.reason, "3 heads do not divide the width 64") != NULL, "%s", row.reason);
    snprintf(c.variant, sizeof c.variant, "attenshun");
    kernel_predict(&c, &row);
    cr_expect(strstr(row.reason, "there is no kernel 'attenshun'") != NULL, "%s", row.reason);
    c = case_of(&(KernelCase){"gemm", PASS_FWD, 64, 1, 1, 64, "form=3", 0, false});
    kernel_predict(&c, &row);
    cr_expect(strstr(row.reason, "form") != NULL, "%s", row.reason);
}

/* ---- work ---- */
static Row predicted(const char *kernel, Pass pass, int64_t n, int64_t batch, int heads, int width,
                     const char *set)
{
    Row row;
    Case c = case_of(&(KernelCase){kernel, pass, n, batch, heads, width, set, 0, false});
    kernel_predict(&c, &row);
    cr_assert_eq(row.status, ROW_OK, "%s", row.reason);
    return row;
}

typedef struct Bench {
    Dev *dev;
    Tape *tape;
} Bench;

static Tensor *input(Bench *b, Tensor *x, int64_t batch, int64_t n, int64_t width)
{
    cr_assert_eq(tensor_new(b->dev, x, REAL, MEM_INPUT, 3, (int64_t[]){batch, n, width}), ST_OK);
    return x;
}

static void expect_tape(Bench *b, const Row *row, const char *what)
{
    Cost cost = tape_cost(b->tape);
    cr_expect_eq(row->flops, cost.flops, "%s: %g flops, the tape has %g", what, row->flops,
                 cost.flops);
    cr_expect_eq(row->bytes, cost.bytes, "%s: %g bytes, the tape has %g", what, row->bytes,
                 cost.bytes);
    tape_reset(b->tape);
}

Test(kernels, forward_work_is_what_the_tape_counts)
{
    enum { N = 300, BATCH = 2, WIDTH = 48, HEADS = 3, S = 16, C = 64, K = 40 };
    Bench b;
    Tensor q, k, v, z[4], w;
    Tensor *heads[4];
    cr_assert_eq(dev_open(&b.dev, "dry", 0, 0), ST_OK);
    cr_assert_eq(tape_new(&b.tape, b.dev), ST_OK);
    input(&b, &q, BATCH, N, WIDTH);
    input(&b, &k, BATCH, N, WIDTH);
    input(&b, &v, BATCH, N, WIDTH);
    for (int i = 0; i < 4; i++)
        heads[i] = input(&b, &z[i], BATCH, N, S);

    Row row = predicted("attention", PASS_FWD, N, BATCH, HEADS, WIDTH, "");
    op_attend(b.tape, &q, &k, &v, NULL, (AttendOpt){.causal = true, .heads = HEADS});
    expect_tape(&b, &row, "attention");

    row = predicted("relu2", PASS_FWD, N, BATCH, 1, WIDTH, "s=16");
    op_attend(b.tape, &z[0], &z[1], &v, NULL,
              (AttendOpt){.kind = ATTN_RELU2, .causal = true, .heads = 1});
    expect_tape(&b, &row, "relu2");

    row = predicted("chunks", PASS_FWD, N, BATCH, 1, WIDTH, "s=16 c=64");
    op_chunks(b.tape, heads, &v, NULL, NULL, (ChunksOpt){.chunk = C, .causal = true});
    expect_tape(&b, &row, "chunks");

    cr_assert_eq(tensor_new(b.dev, &w, REAL, MEM_PARAM, 2, (int64_t[]){S, K}), ST_OK);
    row = predicted("gemm", PASS_FWD, N, BATCH, 1, K, "k=16");
    op_linear(b.tape, &z[0], &w, NULL);
    expect_tape(&b, &row, "gemm");

    row = predicted("gate", PASS_FWD, N, BATCH, 1, WIDTH, "");
    op_gate(b.tape, ACT_SILU, &q, &k);
    expect_tape(&b, &row, "gate");
    row = predicted("rope", PASS_FWD, N, BATCH, HEADS, WIDTH, "");
    op_rope(b.tape, &q, (RopeOpt){.heads = HEADS, .base = 10000, .half = true});
    expect_tape(&b, &row, "rope");

    Tensor taps;
    cr_assert_eq(tensor_new(b.dev, &taps, REAL, MEM_PARAM, 2, (int64_t[]){3, WIDTH}), ST_OK);
    row = predicted("conv", PASS_FWD, N, BATCH, 1, WIDTH, "k=3");
    op_conv(b.tape, &q, &taps, NULL, NULL);
    expect_tape(&b, &row, "conv");

    Tensor *all[] = {&taps, &q, &k, &v, &z[0], &z[1], &z[2], &z[3], &w};
    tape_free(b.tape);
    for (int i = 0; i < COUNT(all); i++)
        tensor_free(b.dev, all[i]);
    dev_close(b.dev);
}

Test(kernels, other_work_by_hand)
{
    Row fwd = predicted("attention", PASS_FWD, 100, 1, 2, 8, ""),
        bwd = predicted("attention", PASS_BWD, 100, 1, 2, 8, "");
    cr_expect_eq(fwd.flops, 2.0 * 5050 * 2 * 8);
    cr_expect_eq(bwd.flops, 2.5 * fwd.flops);
    /* q k v o do: 5 operands read; dq dk dv: written; lse of two heads */
    cr_expect_eq(bwd.bytes, 4.0 * (8 * 800 + 200));
    Row decode = predicted("attention", PASS_DECODE, 100, 1, 2, 8, "");
    cr_expect_eq(decode.flops, 2.0 * 100 * 2 * 8);
    cr_expect_eq(decode.bytes, 4.0 * (2 * 8 + 2 * 800));
    cr_expect_eq(decode.tokens, 1);
    Row adamw = predicted("adamw", PASS_TRAIN, 10, 1, 1, 7, "");
    cr_expect_eq(adamw.bytes, 4.0 * 7 * 70);
    Row dw = predicted("gemm", PASS_FWD, 64, 1, 1, 16, "k=8 form=1");
    cr_expect_eq(dw.flops, 2.0 * 64 * 16 * 8);
    cr_expect_eq(dw.bytes, 4.0 * (64 * 8 + 64 * 16 + 2 * 8 * 16));
    Row xent = predicted("cross_entropy", PASS_BWD, 10, 1, 1, 1, "vocab=256");
    cr_expect_eq(xent.bytes, 4.0 * (2560 + 10 + 1 + 2 * 2560));
}

/* 6 flops a parameter and token but for the embedding, and attention's two products three times. */
Test(kernels, a_training_step_is_6P_and_attention)
{
    Row row = predicted("lm_step", PASS_TRAIN, 512, 4, 4, 256, "layers=4");
    double matrices = 4 * 12 * 256.0 * 256 + 256.0 * 256, tokens = 4 * 512;
    double attention = 3 * 4 * 4.0 * 256 * 4 * (512 * 513 / 2);
    cr_expect_float_eq(row.flops, 6 * matrices * tokens + attention, 1e-9 * row.flops);
    cr_expect_float_eq(row.bar, 0.65, 1e-9);
}

/* ---- which cases ---- */
static int count_cases(Group g, const char *kernel)
{
    Sweep s = {.backend = "cpu", .n_groups = 1, .threads = 1, .time_limit = 1};
    SweepCase *cases = NULL;
    int n = 0, of = 0;
    KernelNames names = kernel_names();
    cr_assert_eq(parse_names(kernel, "kernel", names.name, &g.kernels), ST_OK);
    g.levels = 1 << LEVEL_KERNEL;
    s.group[0] = g;
    cr_assert_eq(sweep_cases(&s, &cases, &n), ST_OK);
    for (int i = 0; i < n; i++)
        of += strcmp(kernel, "all") == 0 || strcmp(cases[i].c.variant, kernel) == 0;
    cr_expect_eq(of, n);
    free(cases);
    return n;
}

Test(kernels, names_lengths_and_passes_choose_among_the_list)
{
    int all = 0;
    for (const KernelCase *k = kernel_cases; k->kernel != NULL; k++) {
        cr_expect_not_null(kernel_find(k->kernel), "%s", k->kernel);
        all++;
    }
    cr_expect_eq(count_cases((Group){.asked = true}, "all"), all, "each once");
    int attention = count_cases((Group){.asked = true}, "attention");
    int fwd = count_cases((Group){.some_passes = true, .passes = 1 << PASS_FWD}, "attention");
    int at_512 = count_cases((Group){.some_n = true, .n = {1, {512}}}, "attention");
    cr_expect(attention > fwd && fwd > at_512 && at_512 > 0, "%d %d %d", attention, fwd, at_512);
    cr_expect_eq(count_cases((Group){.some_n = true, .n = {1, {513}}}, "attention"), 0);
}

Test(kernels, a_bar_belongs_to_one_shape)
{
    Case c = case_of(&(KernelCase){"attention", PASS_FWD, 512, 1, 8, 512, "", 0, false});
    cr_expect_float_eq(kernel_bar(&c), 0.60, 1e-9);
    c.n = 2048;
    cr_expect_eq(kernel_bar(&c), 0);
}

/* ---- in turn ---- */
typedef struct Fake {
    double seconds, spread; /* of a step */
    uint64_t calls;
} Fake;
static double fake_clock;

static double fake_now(void)
{
    return fake_clock;
}
/* A machine that gets slower all the time, for both alike. */
static Status fake_run(void *ctx, int steps, double *seconds)
{
    Fake *f = ctx;
    double noise = 1 + f->spread * rng_uniform(3, 0, f->calls++);
    *seconds = steps * f->seconds * noise * (1 + fake_clock);
    fake_clock += *seconds;
    return ST_OK;
}

/* Another machine that takes a part of the time. */
static double taken_part;
static double fake_stolen(void)
{
    return taken_part * fake_clock;
}

static PairResult duel(double a, double b, double spread, double share, double deadline)
{
    Fake fa = {a, spread, 0}, fb = {b, spread, 1000};
    Runner subject = {&fa, fake_run, 6}, base = {&fb, fake_run, 2};
    PairPlan plan = {fake_now, share, deadline, 1, fake_stolen, NULL, NULL};
    PairResult out;
    fake_clock = 0;
    cr_assert_eq(measure_pair(&subject, &base, &plan, &out), ST_OK);
    cr_expect(out.lo <= out.ratio && out.ratio <= out.hi);
    cr_expect(out.timing.n >= 1 && out.timing.min > 0);
    return out;
}

Test(pair, the_ratio_survives_a_machine_that_slows_down)
{
    PairResult r = duel(1e-4, 2e-3, 0.01, 10, 100);
    cr_expect_float_eq(r.ratio, 60, 2, "%g", r.ratio);
    cr_expect_str_eq(r.timing.stop_reason, "interval");
    cr_expect(r.timing.quiet && r.timing.n >= 8 && r.timing.inner >= 20);
}

Test(pair, says_when_other_machines_took_the_time)
{
    taken_part = 0.04;
    cr_expect(duel(1e-4, 2e-3, 0.01, 10, 100).timing.quiet);
    taken_part = 0.06;
    PairResult r = duel(1e-4, 2e-3, 0.01, 10, 100);
    cr_expect(!r.timing.quiet);
    cr_expect_str_eq(r.timing.stop_reason, "stolen");
    taken_part = 0;
}

Test(pair, stops_at_its_limits)
{
    PairResult r = duel(1e-3, 1e-3, 0.5, 1e9, 1e9);
    cr_expect_str_eq(r.timing.stop_reason, "samples");
    cr_expect_eq(r.timing.n, 100);
    r = duel(1e-3, 1e-3, 0.5, 0.01, 1e9);
    cr_expect_str_eq(r.timing.stop_reason, "time");
    cr_expect(r.timing.n == 8 && !r.timing.quiet);
    r = duel(1, 1, 0.5, 0.01, 0.02);
    cr_expect_eq(r.timing.n, 1, "the deadline counts more than the number of pairs");
}

/* ---- which roof ---- */
Test(roof, is_what_takes_longer)
{
    Rates machine = {1e11, 1e10}; /* balance: 10 flops a byte */
    cr_expect_eq(roof_of(1000, 99, machine), ROOF_SGEMM);
    cr_expect_eq(roof_of(1000, 101, machine), ROOF_BANDWIDTH);
    cr_expect_eq(roof_of(0, 1, machine), ROOF_BANDWIDTH);
    cr_expect_eq(roof_of(1000, 1e9, (Rates){1e11, 0}), ROOF_SGEMM, "bandwidth not measured");
    cr_expect_eq(roof_of(1000, 1e9, (Rates){0, 0}), ROOF_NONE);
    Row row = {.roof = ROOF_BANDWIDTH, .flops = 3, .bytes = 4};
    cr_expect_eq(roof_work(&row), 4);
    cr_expect_eq(roof_rate(machine, ROOF_BANDWIDTH), 1e10);
}

Test(kernels, a_small_one_is_measured_beside_its_roof)
{
    Row row;
    Case c = case_of(&(KernelCase){"gemm", PASS_FWD, 64, 1, 1, 64, "k=64", 0, false});
    c.time_limit = 0.2;
    kernel_predict(&c, &row);
    kernel_measure(&c, &row);
    cr_assert_eq(row.status, ROW_OK, "%s", row.reason);
    cr_expect(row.roof != ROOF_NONE && row.roof_rate > 0);
    cr_expect(row.fraction_lo <= row.roof_fraction && row.roof_fraction <= row.fraction_hi);
    cr_expect_eq(row.memory.counted, row.predicted.counted);
}
