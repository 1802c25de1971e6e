/* test_emu.c - the CUDA sources on the CPU: every kernel against ref under several schedules and
 * under sanitizers, and mistakes planted on purpose, each of which must be noticed.
 * slow: has builds under the sanitizers of its own, which it runs. */
#include "kernels/kernels.h"
#include "kernels/rng.h"
#include "tests/emulators.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- every kernel ---- */
typedef struct Way {
    const char *math, *settings, *build, *size;
} Way;

static const Way ways[] = {
    {"float32", "EMU_GUARD=1", "plain", "all"},
    {"float32", "", "asan", "small"},
    {"tf32", "", "asan", "small"},
    {"bf16", "EMU_ORDER=3", "asan", "small"},
    {"float32", "", "tsan", "small"},
    {"tf32", "", "tsan", "small"},
    {"bf16", "", "tsan", "small"},
};

ParameterizedTestParameters(emu, kernels)
{
    static int which[COUNT(ways)];
    for (int i = 0; i < COUNT(ways); i++)
        which[i] = i;
    return cr_make_param_array(int, which, COUNT(ways));
}

ParameterizedTest(int *which, emu, kernels, .timeout = 300)
{
    const Way *w = &ways[*which];
    char out[16384], command[64], settings[128];
    snprintf(command, sizeof command, "emu_main emu %s", w->size);
    snprintf(settings, sizeof settings, "LONGMIX_CUDA_MATH=%s %s", w->math, w->settings);
    int status = emulate(settings, w->build, command, out, sizeof out);
    printf("-- %s %s\n%s", w->build, settings, out);
    cr_assert_eq(status, 0, "%s %s: exit status %d", w->build, settings, status);
}

/* Every sum has one order, whichever thread comes first: the same bits under any schedule. */
static const int orders[] = {0, 1, 2, 3, 5, 7, 9};
static const char *const maths[] = {"float32", "tf32", "bf16"};

ParameterizedTestParameters(emu, schedules)
{
    static int which[] = {0, 1, 2};
    return cr_make_param_array(int, which, COUNT(which));
}

ParameterizedTest(int *which, emu, schedules, .timeout = 300)
{
    static char first[16384], out[16384];
    char settings[128];
    for (int i = 0; i < COUNT(orders); i++) {
        snprintf(settings, sizeof settings, "LONGMIX_CUDA_MATH=%s EMU_LAZY=%d EMU_ORDER=%d",
                 maths[*which], i > 0, orders[i]);
        int status =
            emulate(settings, "plain", "emu_main emu small", i == 0 ? first : out, sizeof out);
        cr_expect_eq(status, 0, "%s: exit status %d:\n%s", settings, status, i == 0 ? first : out);
        cr_expect(i == 0 || strcmp(first, out) == 0, "%s: other bits:\n%s", settings, out);
    }
    printf("-- schedules 0, 1, 2, 3, 5, 7, 9, the same bits in each:\n%s", first);
}

/* ---- planted mistakes ---- */
typedef struct Fault {
    const char *name;
    const char *by; /* who must notice, whatever else does: "result", "emulator", "tsan", "asan" */
} Fault;

static const Fault faults[] = {
    {"read_before_barrier", "tsan"},   {"write_before_barrier", "tsan"},
    {"missing_warp_fence", "tsan"},    {"two_blocks_one_place", "tsan"},
    {"device_overrun", "emulator"},    {"shared_overrun", "emulator"},
    {"use_after_free", "asan"},        {"missing_copy_wait", "result"},
    {"missing_stream_wait", "result"}, {"host_touches_device", "emulator"},
    {"divergent_barrier", "emulator"}, {"shuffle_in_half_a_warp", "emulator"},
    {"wrong_epilogue", "result"},      {"stale_workspace", "result"}};

enum { RESULT = 1, EMULATOR = 2 };

static const char *mark_of(bool seen)
{
    return seen ? "seen" : "-";
}

Test(emu, planted_faults_are_noticed, .timeout = 300)
{
    static const char lazy[] = "EMU_LAZY=1 EMU_GUARD=1 EMU_ORDER=0";
    char out[8192], fixed[80];
    printf("%-24s %-8s %-8s %-8s %-8s\n", "planted fault", "result", "emulator", "asan", "tsan");
    for (int i = 0; i < COUNT(faults); i++) {
        const Fault *f = &faults[i];
        char command[64];
        snprintf(command, sizeof command, "faults %s", f->name);
        snprintf(fixed, sizeof fixed, "%s fixed", command);
        int status = emulate(lazy, "plain", command, out, sizeof out);
        bool result = status == RESULT, emulator = status == EMULATOR || status > 128;
        emulate("", "asan", command, out, sizeof out);
        bool asan = strstr(out, "ERROR: AddressSanitizer") != NULL;
        emulate("", "tsan", command, out, sizeof out);
        bool tsan = strstr(out, "ThreadSanitizer: data race") != NULL;
        printf("%-24s %-8s %-8s %-8s %-8s\n", f->name, mark_of(result), mark_of(emulator),
               mark_of(asan), mark_of(tsan));
        cr_expect((strcmp(f->by, "result") == 0 && result) ||
                      (strcmp(f->by, "emulator") == 0 && emulator) ||
                      (strcmp(f->by, "asan") == 0 && asan) || (strcmp(f->by, "tsan") == 0 && tsan),
                  "%s went unnoticed by %s", f->name, f->by);
        const char *const builds[] = {"plain", "asan", "tsan"};
        for (int b = 0; b < COUNT(builds); b++)
            cr_expect_eq(emulate(b == 0 ? lazy : "", builds[b], fixed, out, sizeof out), 0,
                         "without the mistake %s (%s) should pass: %s", f->name, builds[b], out);
    }
}

/* ---- the backend's host side ---- */
static Dev *open_emu(void)
{
    Dev *d = NULL;
    setenv("LONGMIX_CUDA_MATH", "float32", 1);
    setenv("EMU_LAZY", "1", 1);
    cr_assert_eq(dev_open(&d, "emu", 0, 0), ST_OK, "%s", status_reason());
    return d;
}

Test(emu, says_what_it_is)
{
    char text[160];
    Dev *d = open_emu();
    cr_expect_str_eq(dev_name(d), "emu");
    cr_expect_str_eq(dev_kernels(d)->isa, "sm_80 float32");
    dev_describe(d, text, sizeof text);
    cr_expect_not_null(strstr(text, "emulated device"), "%s", text);
    dev_close(d);
}

Test(emu, wrong_wishes_are_refused)
{
    Dev *d = NULL;
    cr_expect_eq(dev_open(&d, "emu", 7, 0), ST_USAGE);
    cr_expect_not_null(strstr(status_reason(), "no CUDA device 7"), "%s", status_reason());
    setenv("LONGMIX_CUDA_MATH", "fp8", 1);
    cr_expect_eq(dev_open(&d, "emu", 0, 0), ST_USAGE);
    cr_expect_not_null(strstr(status_reason(), "fp8"), "%s", status_reason());
    cr_expect_null(d);
}

/* Streams are the same bits on every backend; the emulator has the host's logarithm and sine. */
Test(emu, random_numbers_are_the_hosts)
{
    enum { N = 1000 };
    float want[N], got[N];
    Buf y;
    Dev *d = open_emu();
    cr_assert_eq(dev_alloc(d, sizeof got, MEM_ACT, &y), ST_OK);
    for (uint64_t offset = 0; offset < (uint64_t)1 << 40; offset = 9 * offset + 1) {
        rng_fill_normal(want, N, 1.0, offset * 0x9e3779b97f4a7c15u, RNG_DRAW + 3, offset);
        cr_assert_eq(
            dev_kernels(d)->normal(d, N, offset * 0x9e3779b97f4a7c15u, RNG_DRAW + 3, offset, y.ptr),
            ST_OK);
        cr_assert_eq(dev_read(d, got, y, sizeof got), ST_OK);
        cr_expect_eq(memcmp(want, got, sizeof got), 0, "from %llu on", (unsigned long long)offset);
    }
    dev_free(d, &y);
    dev_close(d);
}

/* Sizes below, at and above the pinned pieces. */
Test(emu, copies_of_any_size_arrive)
{
    static const size_t sizes[] = {1, 4097, (1 << 20) - 1, 1 << 20, (3 << 20) + 5};
    Dev *d = open_emu();
    for (int i = 0; i < COUNT(sizes); i++) {
        Buf a, b;
        unsigned char *x = malloc(sizes[i]), *y = calloc(1, sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++)
            x[j] = (unsigned char)(j * 7 + j / 251);
        cr_assert(dev_alloc(d, sizes[i], MEM_INPUT, &a) == ST_OK &&
                  dev_alloc(d, sizes[i], MEM_INPUT, &b) == ST_OK);
        cr_assert(dev_write(d, a, x, sizes[i]) == ST_OK);
        cr_assert(dev_copy(d, b, a, sizes[i]) == ST_OK && dev_read(d, y, b, sizes[i]) == ST_OK);
        cr_expect_eq(memcmp(x, y, sizes[i]), 0, "%zu bytes", sizes[i]);
        dev_free(d, &a);
        dev_free(d, &b);
        free(x);
        free(y);
    }
    dev_close(d);
}

/* A timer's marks enclose the work that was queued between them. */
Test(emu, timers_mark_the_stream)
{
    Timer *t;
    double seconds = -1;
    Buf y;
    Dev *d = open_emu();
    cr_assert(dev_alloc(d, 1 << 20, MEM_ACT, &y) == ST_OK && timer_new(d, &t) == ST_OK);
    cr_assert_eq(timer_start(t), ST_OK);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(dev_kernels(d)->fill(d, 1 << 18, 1.0, y.ptr), ST_OK);
    cr_assert_eq(timer_stop(t, &seconds), ST_OK);
    cr_expect(seconds > 0 && seconds < 100, "%g s", seconds);
    timer_free(t);
    dev_free(d, &y);
    dev_close(d);
}

/* An error of queued work shows at the next wait, with the names of the ops it may be in. */
Test(emu, late_errors_name_their_op)
{
    Buf y;
    Dev *d = open_emu();
    cr_assert_eq(dev_alloc(d, 4096, MEM_ACT, &y), ST_OK);
    cr_assert_eq(dev_kernels(d)->fill(d, 1024 + 4, 1.0, y.ptr), ST_OK); /* 16 bytes too many */
    cr_expect_eq(dev_sync(d), ST_DEVICE);
    cr_expect_not_null(strstr(status_reason(), "fill"), "%s", status_reason());
    cr_expect_not_null(strstr(status_reason(), "illegal memory access"), "%s", status_reason());
}
