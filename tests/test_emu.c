/* test_emu.c - the CUDA sources on the CPU: every kernel against ref under several schedules and
 * under sanitizers, and mistakes planted on purpose, each of which must be noticed.
 * slow: has builds under the sanitizers of its own, which it runs. */
#include "kernels/kernels.h"
#include "kernels/rng.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- running the programs that stand beside the three emulators ---- */
static void folder_of_builds(char *dir, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", dir, size - 1);
    cr_assert(n > 0);
    dir[n] = '\0';
    for (int up = 0; up < 2; up++) /* build/tests/test_emu */
        *strrchr(dir, '/') = '\0';
}

/* Output (both streams) and exit status of "SETTINGS emu-BUILD/COMMAND"; 139 for a crash. */
static int run(const char *settings, const char *build, const char *command, char *out, size_t size)
{
    char dir[2048], line[4096];
    folder_of_builds(dir, sizeof dir);
    snprintf(line, sizeof line,
             "OMP_NUM_THREADS=1 LONGMIX_CUDA_POISON=1 ASAN_OPTIONS=detect_leaks=0:exitcode=66 "
             "TSAN_OPTIONS=exitcode=66 %s '%s/emu-%s'/%s 2>&1",
             settings, dir, build, command);
    FILE *p = popen(line, "r");
    cr_assert_not_null(p);
    size_t n = fread(out, 1, size - 1, p);
    out[n] = '\0';
    char rest[512];
    while (fread(rest, 1, sizeof rest, p) > 0)
        continue;
    int status = pclose(p);
    return (status >> 8) & 0xff;
}

/* ---- every kernel ---- */
typedef struct Way {
    char settings[96], build[8], size[8];
} Way;

ParameterizedTestParameters(emu, kernels)
{
    static Way ways[] = {
        {"LONGMIX_CUDA_MATH=float32 EMU_ORDER=0 EMU_GUARD=1", "plain", "all"},
        {"LONGMIX_CUDA_MATH=float32 EMU_ORDER=1 EMU_LAZY=1", "plain", "all"},
        {"LONGMIX_CUDA_MATH=float32 EMU_ORDER=2 EMU_LAZY=1", "plain", "small"},
        {"LONGMIX_CUDA_MATH=float32 EMU_ORDER=3 EMU_LAZY=1", "plain", "small"},
        {"LONGMIX_CUDA_MATH=float32 EMU_ORDER=5 EMU_LAZY=1", "plain", "small"},
        {"LONGMIX_CUDA_MATH=float32 EMU_ORDER=7 EMU_LAZY=1", "plain", "small"},
        {"LONGMIX_CUDA_MATH=float32 EMU_ORDER=9 EMU_LAZY=1", "plain", "small"},
        {"LONGMIX_CUDA_MATH=tf32 EMU_ORDER=0", "plain", "small"},
        {"LONGMIX_CUDA_MATH=tf32 EMU_ORDER=3", "plain", "small"},
        {"LONGMIX_CUDA_MATH=bf16 EMU_ORDER=0", "plain", "small"},
        {"LONGMIX_CUDA_MATH=bf16 EMU_ORDER=5", "plain", "small"},
        {"LONGMIX_CUDA_MATH=float32", "asan", "small"},
        {"LONGMIX_CUDA_MATH=bf16 EMU_ORDER=3", "asan", "small"},
        {"LONGMIX_CUDA_MATH=float32", "tsan", "small"},
        {"LONGMIX_CUDA_MATH=bf16", "tsan", "small"},
        {"LONGMIX_CUDA_MATH=tf32", "tsan", "small"},
    };
    return cr_make_param_array(Way, ways, COUNT(ways));
}

ParameterizedTest(Way *w, emu, kernels, .timeout = 300)
{
    char out[16384], command[64];
    snprintf(command, sizeof command, "emu_main emu %s", w->size);
    int status = run(w->settings, w->build, command, out, sizeof out);
    printf("-- %s %s\n%s", w->build, w->settings, out);
    cr_assert_eq(status, 0, "%s %s: exit status %d", w->build, w->settings, status);
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
        int status = run(lazy, "plain", command, out, sizeof out);
        bool result = status == RESULT, emulator = status == EMULATOR || status > 128;
        run("", "asan", command, out, sizeof out);
        bool asan = strstr(out, "ERROR: AddressSanitizer") != NULL;
        run("", "tsan", command, out, sizeof out);
        bool tsan = strstr(out, "ThreadSanitizer: data race") != NULL;
        printf("%-24s %-8s %-8s %-8s %-8s\n", f->name, mark_of(result), mark_of(emulator),
               mark_of(asan), mark_of(tsan));
        cr_expect((strcmp(f->by, "result") == 0 && result) ||
                      (strcmp(f->by, "emulator") == 0 && emulator) ||
                      (strcmp(f->by, "asan") == 0 && asan) || (strcmp(f->by, "tsan") == 0 && tsan),
                  "%s went unnoticed by %s", f->name, f->by);
        const char *const builds[] = {"plain", "asan", "tsan"};
        for (int b = 0; b < COUNT(builds); b++)
            cr_expect_eq(run(b == 0 ? lazy : "", builds[b], fixed, out, sizeof out), 0,
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
