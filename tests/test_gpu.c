/* test_gpu.c - the host's side of a GPU, on the emulator: nothing waits inside of a step, nothing
 * is allocated after the first, caches are emptied outside of the times, and slow clocks are seen.
 */
#include "bench/backend.h"
#include "bench/case.h"
#include "bench/rig.h"
#include "bench/trainer.h"
#include "datasets/text.h"
#include "tests/cuda_emu/trace.h"
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the emulator ---- */
static void *library(const char *name)
{
    char path[4200];
    ssize_t n = readlink("/proc/self/exe", path, 4096);
    cr_assert(n > 0);
    path[n] = '\0';
    strcpy(strrchr(path, '/') + 1, name);
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(lib, "%s", dlerror());
    return lib;
}

static void settings(void)
{
    setenv("LONGMIX_CUDA_MATH", "f32", 1);
    setenv("EMU_LAZY", "1", 1);
    unsetenv("LONGMIX_DEVICE");
    unsetenv("FAKE_NVML");
}

TestSuite(gpu, .init = settings, .timeout = 120);

static const EmuTrace *tracer(void)
{
    const EmuTrace *t = dlsym(library("liblongmix_emu.so"), "emu_trace");
    cr_assert_not_null(t, "%s", dlerror());
    return t;
}

/* What is asked of the device from now on. */
static void trace_begin(void)
{
    tracer()->begin();
}

static const char *trace(void)
{
    return tracer()->letters();
}

static int counted(const char *letters)
{
    int n = 0;
    for (const char *t = trace(); *t != '\0'; t++)
        n += strchr(letters, *t) != NULL;
    return n;
}

static Case small(const char *variant, Pass pass)
{
    Case c = {.backend = "emu",
              .dtype = "f32",
              .level = pass == PASS_TRAIN ? LEVEL_MODEL : LEVEL_LAYER,
              .pass = pass,
              .n = 24,
              .batch = 1,
              .width = 32,
              .heads = 2,
              .layers = 1,
              .segment = 8,
              .threads = 1,
              .causal = true,
              .hot = true,
              .seed = 1,
              .time_limit = 20};
    snprintf(c.variant, sizeof c.variant, "%s", variant);
    return c;
}

/* ---- waiting and allocating ---- */

/* Steps that are watched, after one that asked for no memory: where a variant chooses, a step may
 * take another branch than those before, and then needs other blocks once. */
static Status watched_steps(Rig *r, int steps)
{
    double seconds = 0;
    bool chooses = (variant_caps(r->m.spec.variant) & CAP_CHOICES) != 0;
    Status st = rig_run(r, 1, &seconds);
    for (int i = 0; i < (chooses ? 8 : 1) && st == ST_OK; i++) {
        st = rig_run(r, 1, &seconds);
        trace_begin();
        if (st == ST_OK)
            st = rig_run(r, steps, &seconds);
        if (counted("a") == 0)
            break;
    }
    return st;
}

/* Waits of so many steps; -1: the device lacks a kernel. */
static int waits_of(const char *variant, Pass pass, int steps)
{
    Rig r = {0};
    Dev *d = NULL;
    Case c = small(variant, pass);
    int waits = -1;
    cr_assert_eq(backend_open(&d, &c, 0), ST_OK, "%s", status_reason());
    Status st = rig_init(&r, d, &c);
    if (st == ST_OK)
        st = watched_steps(&r, steps);
    if (st == ST_OK) {
        waits = counted("wv");
        cr_expect_gt(counted("kg"), steps);
        cr_expect_eq(counted("a"), 0, "%s %s asks for memory", variant, pass_names[pass]);
        cr_expect_eq(counted("ph"), 0, "%s %s pins memory or chooses an algorithm again", variant,
                     pass_names[pass]);
    }
    cr_expect(st == ST_OK || st == ST_UNSUPPORTED, "%s %s: %s", variant, pass_names[pass],
              status_reason());
    rig_free(&r);
    dev_close(d);
    return waits;
}

static void expect_no_waits(Pass pass, int steps)
{
    int seen = 0;
    for (int i = 0; variant_table[i] != NULL; i++) {
        const char *name = variant_table[i]->name;
        if (pass == PASS_DECODE && !(variant_caps(variant_table[i]) & CAP_STATEFUL))
            continue;
        int one = waits_of(name, pass, 1), many = one < 0 ? -1 : waits_of(name, pass, steps);
        printf("%-16s %-7s %s\n", name, pass_names[pass], one < 0 ? "n/a (a kernel)" : "ok");
        cr_expect_eq(one, many, "%s: %d waits in 1 step, %d in %d", name, one, many, steps);
        cr_expect_leq(one, 1, "%s: the timer's is one, there are %d", name, one);
        seen += one >= 0;
    }
    cr_expect_gt(seen, 0);
}

Test(gpu, training_steps_wait_for_nothing)
{
    expect_no_waits(PASS_TRAIN, 3);
}

Test(gpu, decode_waits_for_nothing)
{
    expect_no_waits(PASS_DECODE, 64);
}

/* A training reads its loss and norm when all of the step is queued. */
Test(gpu, a_training_reads_its_loss_at_the_end_of_the_step)
{
    char path[] = "/tmp/longmix-text-XXXXXX";
    Text text;
    Trainer t;
    Dev *d = NULL;
    double loss = 0, norm = 0;
    close(mkstemp(path));
    tiny_text(path, 6000);
    cr_assert_eq(text_load(path, &text), ST_OK);
    unlink(path);
    TrainSpec s = tiny_training(variant_find("vanilla"));
    cr_assert_eq(dev_open(&d, "emu", 0, 0), ST_OK, "%s", status_reason());
    cr_assert_eq(trainer_init(&t, d, &s, &text), ST_OK, "%s", status_reason());
    for (int i = 0; i < 3; i++) {
        trace_begin();
        cr_assert_eq(trainer_step(&t, &loss, &norm), ST_OK, "%s", status_reason());
    }
    const char *first = strchr(trace(), 'w');
    cr_assert_not_null(first);
    cr_expect_null(strpbrk(first, "kg"), "work is queued behind a wait: %s", trace());
    cr_expect_eq(counted("a"), 0);
    trainer_free(&t);
    dev_close(d);
    text_free(&text);
}

/* Steps with clipped gradients, and one whose gradients are no numbers: weights as on the CPU. */
static void train_on(const char *backend, const Text *text, double loss[4], double norm[4],
                     double *weight)
{
    Trainer t;
    Dev *d = NULL;
    const double nan = (double)NAN;
    TrainSpec s = tiny_training(variant_find("vanilla"));
    s.clip = 0.3;
    cr_assert_eq(dev_open(&d, backend, 0, 0), ST_OK, "%s", status_reason());
    cr_assert_eq(trainer_init(&t, d, &s, text), ST_OK, "%s", status_reason());
    for (int i = 0; i < 4; i++)
        cr_assert_eq(trainer_step(&t, &loss[i], &norm[i]), ST_OK, "%s", status_reason());
    Buf w = t.model.param[1].t.buf;
    cr_assert_eq(dev_read_f64(d, weight, w, 0, 1), ST_OK);
    cr_assert_eq(dev_write_f64(d, t.model.param[0].t.buf, 0, &nan, 1), ST_OK);
    for (int64_t i = 0; i < TEXT_VOCAB; i++)
        cr_assert_eq(dev_write_f64(d, t.model.param[0].t.buf, i * 16, &nan, 1), ST_OK);
    double none = 0, after = 0;
    cr_expect_eq(trainer_step(&t, &none, NULL), ST_NONFINITE);
    cr_assert_eq(dev_read_f64(d, &after, w, 0, 1), ST_OK);
    cr_expect_eq(after, *weight, "%s: a step without a finite norm changes nothing", backend);
    trainer_free(&t);
    dev_close(d);
}

Test(gpu, trains_as_the_processor_does)
{
    char path[] = "/tmp/longmix-text-XXXXXX";
    Text text;
    double loss[2][4], norm[2][4], weight[2];
    close(mkstemp(path));
    tiny_text(path, 6000);
    cr_assert_eq(text_load(path, &text), ST_OK);
    unlink(path);
    train_on("cpu", &text, loss[0], norm[0], &weight[0]);
    train_on("emu", &text, loss[1], norm[1], &weight[1]);
    for (int i = 0; i < 4; i++) {
        cr_expect_float_eq(loss[1][i], loss[0][i], 1e-4, "step %d", i);
        cr_expect_float_eq(norm[1][i], norm[0][i], 1e-3 * norm[0][i], "step %d", i);
        cr_expect_gt(norm[0][i], 0.3, "the gradient is clipped");
    }
    cr_expect_float_eq(weight[1], weight[0], 1e-4);
    text_free(&text);
}

/* ---- products ---- */
Test(gpu, an_algorithm_is_chosen_once_and_its_workspace_is_counted)
{
    Dev *d = NULL;
    Buf x;
    cr_assert_eq(dev_open(&d, "emu", 0, 0), ST_OK, "%s", status_reason());
    cr_assert_eq(dev_alloc(d, 3 * 64 * 64 * sizeof(float), MEM_ACT, &x), ST_OK);
    cr_assert_eq(dev_kernels(d)->fill(d, 3 * 64 * 64, 0.5, x.ptr), ST_OK);
    trace_begin();
    for (int i = 0; i < 6; i++) { /* two shapes in turn */
        Gemm g = {.m = i % 2 != 0 ? 64 : 32, .n = 64, .k = 64, .alpha = 1};
        g.a = x.ptr, g.b = (float *)x.ptr + 64 * 64, g.c = (float *)x.ptr + 2 * 64 * 64;
        g.lda = g.ldb = g.ldc = 64;
        cr_assert_eq(dev_kernels(d)->gemm(d, &g), ST_OK, "%s", status_reason());
    }
    cr_expect_eq(counted("h"), 2);
    cr_expect_eq(counted("g"), 6);
    cr_expect_geq(dev_mem(d).peak[MEM_WORK], 4096, "the emulated library asks for as much");
    dev_free(d, &x);
    dev_close(d);
}

/* ---- cold caches ---- */
Test(gpu, the_cache_is_emptied_before_each_step_and_not_timed)
{
    for (int hot = 0; hot < 2; hot++) {
        Rig r = {0};
        Dev *d = NULL;
        Case c = small("vanilla", PASS_FWD);
        double seconds = 0;
        c.hot = hot != 0;
        cr_assert_eq(backend_open(&d, &c, 0), ST_OK, "%s", status_reason());
        cr_assert_eq(rig_init(&r, d, &c), ST_OK, "%s", status_reason());
        cr_assert_eq(rig_run(&r, 1, &seconds), ST_OK);
        rig_rotate(&r, 1 << 20);
        cr_assert_eq(rig_run(&r, 1, &seconds), ST_OK);
        trace_begin();
        cr_assert_eq(rig_run(&r, 2, &seconds), ST_OK);
        cr_expect_eq(rig_rotated_bytes(&r), 0);
        cr_expect_eq(r.flushed, hot ? 0 : 2 << 20, "%d", (int)r.flushed); /* twice the L2 */
        cr_expect_eq(strncmp(trace(), hot ? "e" : "ke", hot ? 1 : 2), 0, "%s", trace());
        cr_expect_eq(counted("e"), hot ? 2 : 4, "%s", trace());
        cr_expect_eq(counted("v"), hot ? 1 : 2, "%s", trace());
        rig_free(&r);
        dev_close(d);
    }
}

/* ---- clocks ---- */
Test(gpu, says_how_it_does)
{
    static const struct {
        const char *bits, *words;
    } known[] = {{"0x0", ""},         {"0x1", ""},
                 {"0x2", ""},         {"0x4", "power"},
                 {"0x20", "heat"},    {"0x40", "heat"},
                 {"0x8", "hardware"}, {"0x80", "hardware"},
                 {"0x10", ""},        {"0x44", "power heat"},
                 {"0x400", "other"}};
    Dev *d = NULL;
    DevAbout a;
    char words[40], text[160];
    library("libnvidia-ml.so.1"); /* the backend finds it by its name from here on */
    cr_assert_eq(dev_open(&d, "emu", 0, 0), ST_OK, "%s", status_reason());
    dev_about(d, &a);
    cr_expect_str_eq(a.name, "emulated device");
    cr_expect_str_eq(a.driver, "13.0");
    cr_expect_str_eq(a.ecc, "on");
    cr_expect(a.clock == 1410 && a.memory_clock == 1593);
    cr_expect(a.memory == INT64_C(4) << 30 && a.cache == 1 << 20);
    for (int i = 0; i < COUNT(known); i++) {
        setenv("FAKE_NVML", known[i].bits, 1);
        strain_words(dev_strain(d), words, sizeof words);
        cr_expect_str_eq(words, known[i].words, "%s", known[i].bits);
    }
    dev_describe(d, text, sizeof text);
    cr_expect_not_null(strstr(text, "1410/1593 MHz, ECC on, lowered clocks: other"), "%s", text);
    dev_close(d);
}

Test(gpu, samples_under_lowered_clocks_are_marked)
{
    Case c = small("vanilla", PASS_FWD);
    Row row;
    library("libnvidia-ml.so.1");
    setenv("FAKE_NVML", "0x40/3", 1); /* of two questions a sample, not always one */
    c.n = 8;
    case_run(&c, &row);
    cr_assert_eq(row.status, ROW_OK, "%s", row.reason);
    cr_expect_str_eq(row.timing.throttle, "heat");
    cr_expect(row.timing.n_throttled > 0 && row.timing.n_throttled < row.timing.n);
    cr_expect_gt(row.gpu_use.pool_bytes, row.memory.param);
    setenv("FAKE_NVML", "0x1", 1);
    case_run(&c, &row);
    cr_expect_eq(row.timing.n_throttled, 0);
    cr_expect_str_eq(row.timing.throttle, "");
}

/* The accounts of the door and of the driver agree but for free lists and roundings. */
Test(gpu, the_drivers_own_figure_stands_beside_ours)
{
    Dev *d = NULL;
    DevAbout a;
    Buf x, y;
    cr_assert_eq(dev_open(&d, "emu", 0, 0), ST_OK, "%s", status_reason());
    cr_assert(dev_alloc(d, 1 << 20, MEM_ACT, &x) == ST_OK &&
              dev_alloc(d, 3 << 20, MEM_ACT, &y) == ST_OK);
    dev_about(d, &a);
    cr_expect(a.pool_peak >= 4 << 20 && a.pool_peak < 5 << 20, "%lld", (long long)a.pool_peak);
    dev_free(d, &x);
    dev_free(d, &y);
    dev_close(d);
}

/* ---- which device ---- */
Test(gpu, wrong_wishes_are_refused)
{
    static const struct {
        DevSpec s;
        Status st;
        const char *words;
    } bad[] = {
        {{"emu", 7, NULL, 0}, ST_USAGE, "no CUDA device 7"},
        {{"emu", -1, NULL, 0}, ST_USAGE, "no CUDA device -1"},
        {{"emu", 0, "fp8", 0}, ST_USAGE, "bf16, tf32 or f32"},
        {{"cpu", 0, "bf16", 0}, ST_USAGE, "'cpu' computes in f32, not in 'bf16'"},
        {{"ref", 0, "f32", 0}, ST_USAGE, "'ref' computes in f64"},
        {{"cpu", 1, NULL, 0}, ST_USAGE, "one cpu device, number 0, not 1"},
        {{"ref", 1, NULL, 0}, ST_USAGE, "one ref device, number 0, not 1"},
        {{"dry", 1, NULL, 0}, ST_USAGE, "one dry device, number 0, not 1"},
    };
    for (int i = 0; i < COUNT(bad); i++) {
        Dev *d = (Dev *)&d;
        cr_expect_eq(dev_open_as(&d, &bad[i].s), bad[i].st, "%s", bad[i].words);
        cr_expect_null(d);
        cr_expect_not_null(strstr(status_reason(), bad[i].words), "%s", status_reason());
    }
}

Test(gpu, math_is_what_was_asked_for)
{
    static const char *const maths[] = {"bf16", "tf32", "f32"};
    for (int i = 0; i < COUNT(maths); i++) {
        Dev *d = NULL;
        cr_assert_eq(dev_open_as(&d, &(DevSpec){"emu", 0, maths[i], 0}), ST_OK, "%s",
                     status_reason());
        cr_expect_str_eq(dev_math(d), maths[i]);
        dev_close(d);
    }
}
