/* test_supervisor.c - a sweep loses no point and has none twice: whatever its worker does, whatever
 * is done to it, and however often it is begun again. Runs the program itself, on tiny cases.
 *
 * slow: it waits for time limits. */
#include "bench/limits.h"

#include "tests/program.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Six points of a tenth of a second. */
#define TINY                                                                                       \
    "bench --variants flash_linear,gau --n 64,128,256 --width 32 --heads 2 --set s=8 "             \
    "--time-limit 0.1 --mem-limit 256M --threads 1 --out "
static const char *const variants[] = {"flash_linear", "gau"};
static const int64_t lengths[] = {64, 128, 256};
static const double LIMIT = 60; /* seconds for one sweep; it takes two */

static Start tiny(const Place *p, const char *more, const char *env, char *args, size_t size)
{
    snprintf(args, size, "%s%s %s", TINY, p->path, more);
    return (Start){.args = args, .env = env};
}

static Ended run_tiny(const Place *p, const char *more, const char *env)
{
    char args[512];
    return program_run(tiny(p, more, env, args, sizeof args), LIMIT);
}

static Running start_tiny(const Place *p, const char *env)
{
    char args[512];
    return program_start(tiny(p, "", env, args, sizeof args));
}

static void wait_for(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    nanosleep(&t, NULL);
}

/* Until the journal holds the first row of a case. */
static void wait_for_case(const Place *p)
{
    for (int i = 0; i < 600; i++) {
        char line[8192];
        bool found = false;
        FILE *f = fopen(p->path, "r");
        while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
            found = strstr(line, "\"kind\":\"case\"") != NULL;
        if (f != NULL)
            fclose(f);
        if (found)
            return;
        wait_for(0.05);
    }
    cr_assert(false, "no case within 30 s");
}

static RowStatus status_of(const Rows *r, const char *variant, int64_t n)
{
    const Row *row = rows_find(r, variant, n);
    cr_assert_not_null(row, "%s at %d has no row", variant, (int)n);
    if (row->status != ROW_OK)
        cr_expect_neq(row->reason[0], '\0', "%s without a reason", row_status_names[row->status]);
    else
        cr_expect(row->timing.n > 0 && row->timing.median > 0 && row->memory.counted > 0);
    return row->status;
}

/* No key of a check or case twice; but for what a short budget left out. */
static void expect_no_doubles(const Rows *r)
{
    char key[ROW_KEY_SIZE], other[ROW_KEY_SIZE];
    for (int i = 0; i < r->n; i++)
        for (int k = 0; k < i; k++) {
            if ((r->row[i].kind != ROW_CASE && r->row[i].kind != ROW_CHECK) ||
                r->row[k].status == ROW_SKIPPED_BUDGET)
                continue;
            row_key(&r->row[i], key, sizeof key);
            row_key(&r->row[k], other, sizeof other);
            cr_expect_str_neq(key, other);
        }
}

static void expect_complete(const Rows *r)
{
    cr_expect_eq(rows_count(r, ROW_CASE), COUNT(variants) * COUNT(lengths));
    cr_expect_eq(rows_count(r, ROW_CHECK), COUNT(variants));
    for (int v = 0; v < COUNT(variants); v++)
        for (int i = 0; i < COUNT(lengths); i++)
            cr_expect_not_null(rows_find(r, variants[v], lengths[i]));
    cr_expect_eq(r->row[r->n - 1].kind, ROW_END);
    expect_no_doubles(r);
}

/* ---- a good day ---- */
Test(supervisor, runs_every_point)
{
    Place p = place_new();
    Ended e = run_tiny(&p, "", NULL);
    cr_assert_eq(e.code, 0, "%s", e.said);
    Rows r = rows_read(p.path);
    expect_complete(&r);
    cr_expect_eq(r.row[0].kind, ROW_RUN);
    cr_expect_eq(rows_count(&r, ROW_ROOF), 1);
    for (int v = 0; v < COUNT(variants); v++)
        for (int i = 0; i < COUNT(lengths); i++) {
            const Row *row = rows_find(&r, variants[v], lengths[i]);
            cr_expect_eq(status_of(&r, variants[v], lengths[i]), ROW_OK, "%s", row->reason);
            cr_expect_eq(row->memory.counted, row->predicted.counted);
            cr_expect(row->flops > 0 && row->roof_fraction > 0 && row->predicted_seconds > 0);
        }
    free(r.row);
    place_leave(&p);
}

Test(supervisor, forgets_the_openmp_settings_of_its_caller)
{
    Place p = place_new();
    char args[512];
    snprintf(args, sizeof args,
             "bench --variants gau --n 64 --width 32 --heads 2 --set s=8 --time-limit 0.1 --out %s",
             p.path);
    Ended e = program_run((Start){.args = args, .env = "OMP_PROC_BIND=true"}, LIMIT);
    cr_assert_eq(e.code, 0, "%s", e.said);
    Rows r = rows_read(p.path);
    cr_expect_eq(r.row[0].n_threads, limits_threads());
    free(r.row);
    place_leave(&p);
}

Test(supervisor, kernels_are_points_like_others_and_a_crash_costs_one)
{
    Place p = place_new();
    char args[512];
    snprintf(args, sizeof args,
             "bench --kernels gemm,affine --n 4,8192 --time-limit 0.1 --threads 1 --out %s",
             p.path);
    Ended e = program_run((Start){.args = args, .env = "LONGMIX_FAULT=affine:8192:abort"}, LIMIT);
    cr_expect_eq(e.code, 1, "%s", e.said);
    Rows r = rows_read(p.path);
    cr_expect_eq(rows_count(&r, ROW_CASE), 2);
    cr_expect_eq(rows_count(&r, ROW_CHECK), 2);
    cr_expect_eq(status_of(&r, "affine", 8192), ROW_CRASH);
    const Row *row = rows_find(&r, "gemm", 4);
    cr_assert_eq(status_of(&r, "gemm", 4), ROW_OK, "%s", row->reason);
    cr_expect(row->c.level == LEVEL_KERNEL && row->roof != ROOF_NONE && row->roof_fraction > 0);
    free(r.row);
    e = program_run((Start){.args = args}, LIMIT);
    cr_expect_eq(e.code, 0, "%s", e.said);
    r = rows_read(p.path);
    cr_expect_eq(rows_count(&r, ROW_CASE), 3, "the crash is tried again, the other is not");
    free(r.row);
    place_leave(&p);
}

/* ---- accidents ---- */
static void expect_accident(const char *kind, RowStatus want, RowStatus longer, int code)
{
    char env[64];
    Place p = place_new();
    snprintf(env, sizeof env, "LONGMIX_FAULT=flash_linear:128:%s", kind);
    Ended e = run_tiny(&p, "", env);
    cr_expect_eq(e.code, code, "%s: exit code %d: %s", kind, e.code, e.said);
    Rows r = rows_read(p.path);
    expect_complete(&r);
    cr_expect_eq(status_of(&r, "flash_linear", 64), ROW_OK);
    cr_expect_eq(status_of(&r, "flash_linear", 128), want, "%s",
                 rows_find(&r, "flash_linear", 128)->reason);
    cr_expect_eq(status_of(&r, "flash_linear", 256), longer);
    for (int i = 0; i < COUNT(lengths); i++)
        cr_expect_eq(status_of(&r, "gau", lengths[i]), ROW_OK);
    free(r.row);
    place_leave(&p);
}

Test(supervisor, a_crash_costs_one_row)
{
    expect_accident("abort", ROW_CRASH, ROW_SKIPPED_AFTER, 1);
}
Test(supervisor, a_case_that_never_ends_costs_one_row)
{
    expect_accident("spin", ROW_TIMEOUT, ROW_SKIPPED_AFTER, 0);
}
Test(supervisor, a_case_that_eats_memory_costs_one_row)
{
    expect_accident("bomb", ROW_OOM, ROW_SKIPPED_AFTER, 0);
}
Test(supervisor, a_wrong_result_costs_one_row)
{
    expect_accident("nan", ROW_FAILED_CHECK, ROW_OK, 1);
}

/* What is finite and wrong shows against ref, and then nothing of the variant is timed. */
Test(supervisor, a_variant_that_computes_wrong_gets_no_number)
{
    Place p = place_new();
    Ended e = run_tiny(&p, "", "LONGMIX_FAULT=flash_linear:101:wrong");
    cr_expect_eq(e.code, 1, "%s", e.said);
    Rows r = rows_read(p.path);
    expect_complete(&r);
    for (int i = 0; i < COUNT(lengths); i++) {
        cr_expect_eq(status_of(&r, "flash_linear", lengths[i]), ROW_FAILED_CHECK);
        cr_expect_eq(rows_find(&r, "flash_linear", lengths[i])->timing.n, 0);
        cr_expect_eq(status_of(&r, "gau", lengths[i]), ROW_OK);
    }
    free(r.row);
    place_leave(&p);
}

Test(supervisor, a_crash_is_named)
{
    Place p = place_new();
    run_tiny(&p, "", "LONGMIX_FAULT=gau:64:abort");
    Rows r = rows_read(p.path);
    cr_expect(strstr(rows_find(&r, "gau", 64)->reason, "SIGABRT") != NULL, "%s",
              rows_find(&r, "gau", 64)->reason);
    free(r.row);
    place_leave(&p);
}

/* ---- being stopped ---- */

/* Kills a sweep somewhere on its way; its worker must not outlive it. */
static void run_and_kill(const Place *p, double seconds)
{
    Running s = start_tiny(p, NULL);
    wait_for(seconds);
    pid_t worker = program_child(s.pid);
    kill(s.pid, SIGKILL);
    program_end(s, 10);
    for (int k = 0; k < 100 && program_runs(worker); k++)
        wait_for(0.01);
    cr_expect_not(program_runs(worker), "the worker outlives its supervisor");
}

static int copies_of(const Row *row, const Rows *in)
{
    char key[ROW_KEY_SIZE], other[ROW_KEY_SIZE];
    int n = 0;
    row_key(row, key, sizeof key);
    for (int k = 0; k < in->n; k++) {
        row_key(&in->row[k], other, sizeof other);
        n += strcmp(key, other) == 0;
    }
    return n;
}

/* Fifty moments; a journal that is whole is begun again, so that no moment comes too late. */
Test(supervisor, kill_9_at_any_moment_loses_nothing, .timeout = 240)
{
    enum { KILLS = 50 };
    Place p = place_new(), whole = place_new();
    Ended e = run_tiny(&whole, "", NULL);
    cr_assert_eq(e.code, 0, "%s", e.said);
    Rows all = rows_read(whole.path);
    srand(20);
    for (int i = 0; i < KILLS; i++) {
        run_and_kill(&p, 0.02 + 0.3 * e.seconds * (double)rand() / RAND_MAX);
        if (access(p.path, F_OK) != 0)
            continue;
        Rows r = rows_read(p.path);
        expect_no_doubles(&r);
        if (r.n > 0 && r.row[r.n - 1].kind == ROW_END)
            remove(p.path);
        free(r.row);
    }
    Ended last = run_tiny(&p, "", NULL);
    cr_assert_eq(last.code, 0, "%s", last.said);
    Rows r = rows_read(p.path);
    expect_complete(&r);
    for (int i = 0; i < all.n; i++)
        if (all.row[i].kind == ROW_CASE || all.row[i].kind == ROW_CHECK)
            cr_expect_eq(copies_of(&all.row[i], &r), 1, "row %d", i);
    free(r.row);
    free(all.row);
    place_leave(&p);
    place_leave(&whole);
}

/* A wall clock that goes back an hour every time it is looked at. */
static const char backwards[] = "#include <sys/syscall.h>\n"
                                "#include <time.h>\n"
                                "#include <unistd.h>\n"
                                "static long looks;\n"
                                "int clock_gettime(clockid_t c, struct timespec *t)\n"
                                "{\n"
                                "    int r = (int)syscall(SYS_clock_gettime, c, t);\n"
                                "    if (c == CLOCK_REALTIME)\n"
                                "        t->tv_sec -= 3600 * looks++;\n"
                                "    return r;\n"
                                "}\n"
                                "time_t time(time_t *out)\n"
                                "{\n"
                                "    struct timespec t;\n"
                                "    clock_gettime(CLOCK_REALTIME, &t);\n"
                                "    return out != 0 ? (*out = t.tv_sec) : t.tv_sec;\n"
                                "}\n";

Test(supervisor, a_clock_that_steps_back_changes_nothing)
{
    Place p = place_new();
    char source[64], command[256], env[96];
    snprintf(source, sizeof source, "%s/back.c", p.folder);
    snprintf(env, sizeof env, "LD_PRELOAD=%s/back.so", p.folder);
    snprintf(command, sizeof command, "cc -D_GNU_SOURCE -shared -fPIC %s -o %s/back.so", source,
             p.folder);
    place_write(source, backwards);
    cr_assert_eq(system(command), 0);
    Ended e = run_tiny(&p, "", env);
    cr_assert_eq(e.code, 0, "%s", e.said);
    Rows r = rows_read(p.path);
    expect_complete(&r);
    cr_expect_lt(r.row[r.n - 1].time, r.row[1].time);
    for (int i = 0; i < r.n; i++)
        for (int k = 0; k < r.row[i].timing.n; k++)
            cr_expect_gt(r.row[i].timing.seconds[k], 0);
    free(r.row);
    Ended again = run_tiny(&p, "", env);
    r = rows_read(p.path);
    cr_expect_eq(again.code, 0, "%s", again.said);
    expect_no_doubles(&r);
    free(r.row);
    place_leave(&p);
}

Test(supervisor, an_interrupt_ends_it_within_a_second)
{
    static const int signals[] = {SIGINT, SIGTERM};
    for (int i = 0; i < COUNT(signals); i++) {
        Place p = place_new();
        Running s = start_tiny(&p, "LONGMIX_FAULT=gau:128:spin");
        wait_for_case(&p);
        pid_t worker = program_child(s.pid);
        cr_assert_gt(worker, 0);
        kill(s.pid, signals[i]);
        Ended e = program_end(s, 10);
        cr_expect_eq(e.code, 128 + signals[i], "%d: %s", e.code, e.said);
        cr_expect_lt(e.seconds, 1);
        cr_expect_not(program_runs(worker));
        Rows r = rows_read(p.path);
        expect_no_doubles(&r);
        cr_expect_gt(rows_count(&r, ROW_CASE), 0);
        cr_expect_eq(rows_count(&r, ROW_END), 0);
        free(r.row);
        place_leave(&p);
    }
}

Test(supervisor, two_sweeps_do_not_share_a_journal)
{
    Place p = place_new();
    Running first = start_tiny(&p, "LONGMIX_FAULT=gau:128:spin");
    wait_for_case(&p);
    Ended second = run_tiny(&p, "", NULL);
    cr_expect_eq(second.code, 2);
    cr_expect(strstr(second.said, "is being written") != NULL, "%s", second.said);
    kill(first.pid, SIGKILL);
    program_end(first, 10);
    place_leave(&p);
}

/* ---- going on ---- */
Test(supervisor, what_is_there_is_not_measured_again)
{
    Place p = place_new();
    cr_assert_eq(run_tiny(&p, "", NULL).code, 0);
    Rows before = rows_read(p.path);
    Ended e = run_tiny(&p, "", NULL);
    cr_expect_eq(e.code, 0);
    cr_expect(strstr(e.said, "already") != NULL, "%s", e.said);
    Rows after = rows_read(p.path);
    cr_expect_eq(after.n, before.n);
    cr_expect_eq(run_tiny(&p, "--fresh", NULL).code, 0);
    Rows fresh = rows_read(p.path);
    expect_complete(&fresh);
    cr_expect_gt(fresh.row[0].time, before.row[0].time);
    free(before.row);
    free(after.row);
    free(fresh.row);
    place_leave(&p);
}

Test(supervisor, what_a_budget_left_out_comes_later)
{
    Place p = place_new();
    cr_assert_eq(run_tiny(&p, "--budget 0.001", NULL).code, 0);
    Rows r = rows_read(p.path);
    cr_expect_eq(status_of(&r, "gau", 256), ROW_SKIPPED_BUDGET);
    free(r.row);
    cr_assert_eq(run_tiny(&p, "", NULL).code, 0);
    r = rows_read(p.path);
    cr_expect_eq(status_of(&r, "gau", 256), ROW_OK);
    expect_no_doubles(&r);
    free(r.row);
    place_leave(&p);
}

Test(supervisor, more_memory_is_tried)
{
    Place p = place_new();
    cr_assert_eq(run_tiny(&p, "--mem-limit 1M --width 256 --time-limit 2", NULL).code, 0);
    Rows r = rows_read(p.path);
    cr_expect_eq(status_of(&r, "gau", 256), ROW_OOM_PREDICTED);
    free(r.row);
    cr_assert_eq(run_tiny(&p, "--width 256 --time-limit 2", NULL).code, 0);
    r = rows_read(p.path);
    cr_expect_eq(status_of(&r, "gau", 256), ROW_OK);
    free(r.row);
    place_leave(&p);
}

/* And what was skipped after it. */
Test(supervisor, a_crash_is_tried_again)
{
    Place p = place_new();
    cr_assert_eq(run_tiny(&p, "", "LONGMIX_FAULT=gau:128:abort").code, 1);
    cr_expect_eq(run_tiny(&p, "", "LONGMIX_FAULT=gau:128:abort").code, 1);
    Ended e = run_tiny(&p, "", NULL);
    cr_expect_eq(e.code, 0, "%s", e.said);
    Rows r = rows_read(p.path);
    cr_expect_eq(status_of(&r, "gau", 128), ROW_OK);
    cr_expect_eq(status_of(&r, "gau", 256), ROW_OK);
    free(r.row);
    place_leave(&p);
}

Test(supervisor, a_full_disk_keeps_the_rows_before)
{
    Place p = place_new();
    char args[512];
    Start s = tiny(&p, "", NULL, args, sizeof args);
    s.file_limit = 6000;
    Ended e = program_run(s, LIMIT);
    cr_expect_eq(e.code, 2, "%d: %s", e.code, e.said);
    cr_expect(strstr(e.said, p.path) != NULL, "%s", e.said);
    Rows r = rows_read(p.path);
    cr_expect_gt(r.n, 2);
    free(r.row);
    cr_assert_eq(run_tiny(&p, "", NULL).code, 0);
    r = rows_read(p.path);
    expect_complete(&r);
    free(r.row);
    place_leave(&p);
}

Test(supervisor, a_dry_run_writes_nothing)
{
    Place p = place_new();
    Ended e = run_tiny(&p, "--dry-run", NULL);
    cr_expect_eq(e.code, 0, "%s", e.said);
    cr_expect(strstr(e.said, "flash_linear") != NULL && strstr(e.said, "6 of 6 points") != NULL,
              "%s", e.said);
    cr_expect_neq(access(p.path, F_OK), 0);
    place_leave(&p);
}
