/* test_gpu_bench.c - the whole program with the emulator in the place of a GPU: which device it
 * takes and says so, what its rows hold, and that ways to multiply stay apart. slow: runs several
 * small sweeps on the emulator. */
#include "report/results.h"
#include "report/validate.h"
#include "tests/program.h"
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The program beside the emulator, which is its "cuda" and its "emu", with NVML's stand-in. */
static void take_program(void)
{
    char dir[4096], path[4200];
    ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - 1);
    cr_assert(n > 0);
    dir[n] = '\0';
    *strrchr(dir, '/') = '\0';
    snprintf(path, sizeof path, "%s/gpu/longmix", dir);
    setenv("LONGMIX_BIN", path, 1);
    setenv("LD_LIBRARY_PATH", dir, 1);
    unsetenv("LONGMIX_CUDA_MATH");
}

TestSuite(gpu_bench, .init = take_program, .timeout = 240);

static Ended run_at(const Place *p, const char *args, const char *env)
{
    char all[600];
    snprintf(all, sizeof all, "%s --out %s", args, p->path);
    return program_run((Start){.args = all, .env = env}, 200);
}

#define SMALL                                                                                      \
    "bench --variants vanilla --n 16 --width 16 --heads 1 --level layer --pass fwd --time-limit "  \
    "4 "

static void expect_good(const Place *p)
{
    bool good = false;
    cr_assert_eq(report_validate(p->path, stdout, &good), ST_OK, "%s", status_reason());
    cr_expect(good);
}

static void expect_in(const char *path, const char *words)
{
    static char text[1 << 18];
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    cr_expect_not_null(strstr(text, words), "'%s' is not in %s", words, path);
}

/* Two ways to multiply, one of them under lowered clocks: two points, two checks, one page. */
Test(gpu_bench, rows_say_which_device_and_math)
{
    Place p = place_new();
    char md[96], plots[96];
    setenv("FAKE_NVML", "0x4", 1);
    Ended e = run_at(&p, SMALL "--backend emu", NULL);
    cr_assert_eq(e.code, 0, "%s", e.said);
    cr_expect_not_null(strstr(e.said, "backend emu, products in bf16"), "%s", e.said);
    setenv("FAKE_NVML", "0x1", 1);
    e = run_at(&p, SMALL "--backend emu --math f32", NULL);
    cr_assert_eq(e.code, 0, "%s", e.said);
    expect_good(&p);

    Rows r = rows_read(p.path);
    const Row *run = &r.row[0], *last = rows_find(&r, "vanilla", 16);
    cr_assert(rows_count(&r, ROW_RUN) == 2 && rows_count(&r, ROW_CHECK) == 2 &&
              rows_count(&r, ROW_CASE) == 2);
    cr_expect_str_eq(run->gpu.name, "emulated device");
    cr_expect_str_eq(run->gpu.math, "bf16");
    cr_expect_str_eq(run->gpu.ecc, "on");
    cr_expect_str_eq(run->gpu.throttle, "power");
    cr_expect_str_eq(run->isa, "sm_80");
    cr_expect(run->gpu.clock == 1410 && run->gpu.cache == 1 << 20);
    cr_assert_not_null(last);
    cr_expect_str_eq(last->c.dtype, "f32");
    cr_expect(last->c.mem_limit > INT64_C(3) << 30 && last->c.mem_limit < INT64_C(4) << 30,
              "the device's memory, not the host's");
    cr_expect_eq(last->gpu_use.flushed_bytes, 2 << 20);
    cr_expect_gt(last->gpu_use.pool_bytes, 0);
    for (int i = 0; i < r.n; i++) {
        const Row *c = &r.row[i];
        bool bf16 = strcmp(c->c.dtype, "bf16") == 0;
        if (c->kind == ROW_CHECK)
            cr_expect_float_eq(c->tolerance, bf16 ? 0.1 : 1e-3, 1e-12);
        if (c->kind == ROW_CASE)
            cr_expect_str_eq(c->timing.throttle, bf16 ? "power" : "");
        if (c->kind == ROW_CASE)
            cr_expect_eq(c->timing.n_throttled, bf16 ? c->timing.n : 0);
    }
    free(r.row);

    snprintf(md, sizeof md, "%s/R.md", p.folder);
    snprintf(plots, sizeof plots, "%s/plots", p.folder);
    cr_assert_eq(report_make(p.path, md, plots, NULL), ST_OK, "%s", status_reason());
    expect_in(md, "- GPU: emulated device, number 0");
    expect_in(md, "| vanilla | emu, bf16 | 1 |");
    expect_in(md, "| vanilla | emu, f32 | 1 |");
    expect_in(md, "vanilla (bf16)");
    expect_in(md, "† the GPU's clocks were lowered");
    place_leave(&p);
}

/* auto: a GPU where there is one, else the processor, and why is said once. */
Test(gpu_bench, auto_takes_what_there_is)
{
    Place p = place_new();
    Ended e = run_at(&p, SMALL "--dry-run", NULL);
    cr_expect_eq(e.code, 0, "%s", e.said);
    cr_expect_not_null(strstr(e.said, "backend cuda, products in bf16 (cuda: available: emulated"),
                       "%s", e.said);
    e = run_at(&p, SMALL "--dry-run", "EMU_DEVICES=0");
    cr_expect_eq(e.code, 0, "%s", e.said);
    cr_expect_not_null(strstr(e.said, "backend cpu, products in f32 (cuda: backend 'cuda' is not "
                                      "available"),
                       "%s", e.said);
    e = run_at(&p, SMALL "--dry-run --device 1", "EMU_DEVICES=2");
    cr_expect_eq(e.code, 0, "%s", e.said);
    place_leave(&p);
}

/* A device that failed stays failed for its process: what comes after gets a new one. */
Test(gpu_bench, a_device_that_failed_costs_one_row)
{
    Place p = place_new();
    char path[96];
    snprintf(path, sizeof path, "%s/fail", p.folder);
    place_write(path, "");
    setenv("EMU_FAIL_ONCE", path, 1);
    Ended e = run_at(&p, SMALL "--backend emu", NULL);
    unsetenv("EMU_FAIL_ONCE");
    cr_expect_eq(e.code, 0, "%s", e.said);
    cr_expect_not_null(strstr(e.said, "an illegal memory access"), "%s", e.said);
    Rows r = rows_read(p.path);
    const Row *last = rows_find(&r, "vanilla", 16);
    cr_assert_not_null(last);
    cr_expect_eq(last->status, ROW_OK, "%s", last->reason);
    free(r.row);
    place_leave(&p);
}

typedef struct Refusal {
    const char *args, *env, *words;
} Refusal;

Test(gpu_bench, what_is_asked_for_and_not_there_ends_with_2)
{
    Place p = place_new();
    char train[400], text[96];
    snprintf(text, sizeof text, "%s/text", p.folder);
    tiny_text(text, 6000);
    snprintf(train, sizeof train,
             "train --data %s --steps 1 --width 16 --context 16 --backend cuda", text);
    const Refusal bad[] = {
        {SMALL "--backend cuda", "EMU_DEVICES=0", "'cuda' is not available"},
        {SMALL "--backend cuda --device 1", NULL, "no CUDA device 1: there are 0 to 0"},
        {SMALL "--device 5", "EMU_DEVICES=2", "no CUDA device 5: there are 0 to 1"},
        {SMALL "--device 1", "EMU_DEVICES=0", "'cuda' is not available"},
        {SMALL "--backend cpu --math bf16", NULL, "computes in f32, not in 'bf16'"},
        {train, "EMU_DEVICES=0", "'cuda' is not available"},
    };
    for (int i = 0; i < COUNT(bad); i++) {
        bool sweeps = strncmp(bad[i].args, "bench", 5) == 0;
        Ended e = sweeps ? run_at(&p, bad[i].args, bad[i].env)
                         : program_run((Start){.args = bad[i].args, .env = bad[i].env}, 100);
        cr_expect_eq(e.code, 2, "%s: %s", bad[i].args, e.said);
        cr_expect_not_null(strstr(e.said, bad[i].words), "%s: %s", bad[i].args, e.said);
        cr_expect_null(strchr(strchr(e.said, '\n') + 1, '\n'), "one line: %s", e.said);
        cr_expect_neq(access(p.path, F_OK), 0, "%s wrote a journal", bad[i].args);
    }
    place_leave(&p);
}

/* Trained on the GPU that auto finds, and examined on the processor that is asked for. */
Test(gpu_bench, trains_and_evaluates_where_it_is_told)
{
    Place p = place_new();
    char args[600], text[96];
    snprintf(text, sizeof text, "%s/text", p.folder);
    tiny_text(text, 6000);
    snprintf(args, sizeof args,
             "train --data %s --steps 2 --width 16 --heads 1 --layers 1 --context 16 --batch 1 "
             "--math f32 --save %s/m.safetensors",
             text, p.folder);
    Ended e = program_run((Start){.args = args}, 200);
    cr_expect_eq(e.code, 0, "%s", e.said);
    cr_expect_null(strstr(e.said, "(cuda:"), "a GPU is used: %s", e.said);
    snprintf(args, sizeof args, "eval %s/m.safetensors --data %s --backend cpu", p.folder, text);
    e = program_run((Start){.args = args}, 100);
    cr_expect_eq(e.code, 0, "%s", e.said);
    snprintf(args, sizeof args, "eval %s/m.safetensors --data %s", p.folder, text);
    e = program_run((Start){.args = args, .env = "EMU_DEVICES=0"}, 100);
    cr_expect_eq(e.code, 0, "%s", e.said);
    cr_expect_not_null(strstr(e.said, "backend cpu (cuda: backend 'cuda' is not available"), "%s",
                       e.said);
    place_leave(&p);
}
