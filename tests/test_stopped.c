/* test_stopped.c - a sweep loses no point and has none twice, however it is stopped and however
 * often it is begun again. Runs the program itself, on tiny cases.
 *
 * slow: it runs many sweeps. */
#include "tests/small_sweep.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static Running start_sweep(const Place *p, const char *env)
{
    char args[512];
    return program_start(small_sweep(p, "", env, args, sizeof args));
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

/* ---- being stopped ---- */

/* Kills a sweep somewhere on its way; its worker must not outlive it. */
static void run_and_kill(const Place *p, double seconds)
{
    Running s = start_sweep(p, NULL);
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
Test(stopped, kill_9_at_any_moment_loses_nothing, .timeout = 240)
{
    enum { KILLS = 50 };
    Place p = place_new(), whole = place_new();
    Ended e = run_sweep(&whole, "", NULL);
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
    Ended last = run_sweep(&p, "", NULL);
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

Test(stopped, a_clock_that_steps_back_changes_nothing)
{
    Place p = place_new();
    char source[64], command[256], env[96];
    snprintf(source, sizeof source, "%s/back.c", p.folder);
    snprintf(env, sizeof env, "LD_PRELOAD=%s/back.so", p.folder);
    snprintf(command, sizeof command, "cc -D_GNU_SOURCE -shared -fPIC %s -o %s/back.so", source,
             p.folder);
    place_write(source, backwards);
    cr_assert_eq(system(command), 0);
    Ended e = run_sweep(&p, "", env);
    cr_assert_eq(e.code, 0, "%s", e.said);
    Rows r = rows_read(p.path);
    expect_complete(&r);
    cr_expect_lt(r.row[r.n - 1].time, r.row[1].time);
    for (int i = 0; i < r.n; i++)
        for (int k = 0; k < r.row[i].timing.n; k++)
            cr_expect_gt(r.row[i].timing.seconds[k], 0);
    free(r.row);
    Ended again = run_sweep(&p, "", env);
    r = rows_read(p.path);
    cr_expect_eq(again.code, 0, "%s", again.said);
    expect_no_doubles(&r);
    free(r.row);
    place_leave(&p);
}

Test(stopped, an_interrupt_ends_it_within_a_second)
{
    static const int signals[] = {SIGINT, SIGTERM};
    for (int i = 0; i < COUNT(signals); i++) {
        Place p = place_new();
        Running s = start_sweep(&p, "LONGMIX_FAULT=gau:128:spin");
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

Test(stopped, two_sweeps_do_not_share_a_journal)
{
    Place p = place_new();
    Running first = start_sweep(&p, "LONGMIX_FAULT=gau:128:spin");
    wait_for_case(&p);
    Ended second = run_sweep(&p, "", NULL);
    cr_expect_eq(second.code, 2);
    cr_expect(strstr(second.said, "is being written") != NULL, "%s", second.said);
    kill(first.pid, SIGKILL);
    program_end(first, 10);
    place_leave(&p);
}

/* ---- going on ---- */
Test(stopped, what_is_there_is_not_measured_again)
{
    Place p = place_new();
    cr_assert_eq(run_sweep(&p, "", NULL).code, 0);
    Rows before = rows_read(p.path);
    Ended e = run_sweep(&p, "", NULL);
    cr_expect_eq(e.code, 0);
    cr_expect(strstr(e.said, "already") != NULL, "%s", e.said);
    Rows after = rows_read(p.path);
    cr_expect_eq(after.n, before.n);
    cr_expect_eq(run_sweep(&p, "--fresh", NULL).code, 0);
    Rows fresh = rows_read(p.path);
    expect_complete(&fresh);
    cr_expect_gt(fresh.row[0].time, before.row[0].time);
    free(before.row);
    free(after.row);
    free(fresh.row);
    place_leave(&p);
}

Test(stopped, what_a_budget_left_out_comes_later)
{
    Place p = place_new();
    cr_assert_eq(run_sweep(&p, "--budget 0.001", NULL).code, 0);
    Rows r = rows_read(p.path);
    cr_expect_eq(status_of(&r, "gau", 256), ROW_SKIPPED_BUDGET);
    free(r.row);
    cr_assert_eq(run_sweep(&p, "", NULL).code, 0);
    r = rows_read(p.path);
    cr_expect_eq(status_of(&r, "gau", 256), ROW_OK);
    expect_no_doubles(&r);
    free(r.row);
    place_leave(&p);
}

Test(stopped, more_memory_is_tried)
{
    Place p = place_new();
    cr_assert_eq(run_sweep(&p, "--mem-limit 1M --width 256 --time-limit 2", NULL).code, 0);
    Rows r = rows_read(p.path);
    cr_expect_eq(status_of(&r, "gau", 256), ROW_OOM_PREDICTED);
    free(r.row);
    cr_assert_eq(run_sweep(&p, "--width 256 --time-limit 2", NULL).code, 0);
    r = rows_read(p.path);
    cr_expect_eq(status_of(&r, "gau", 256), ROW_OK);
    free(r.row);
    place_leave(&p);
}

/* And what was skipped after it. */
Test(stopped, a_crash_is_tried_again)
{
    Place p = place_new();
    cr_assert_eq(run_sweep(&p, "", "LONGMIX_FAULT=gau:128:abort").code, 1);
    cr_expect_eq(run_sweep(&p, "", "LONGMIX_FAULT=gau:128:abort").code, 1);
    Ended e = run_sweep(&p, "", NULL);
    cr_expect_eq(e.code, 0, "%s", e.said);
    Rows r = rows_read(p.path);
    cr_expect_eq(status_of(&r, "gau", 128), ROW_OK);
    cr_expect_eq(status_of(&r, "gau", 256), ROW_OK);
    free(r.row);
    place_leave(&p);
}

Test(stopped, a_full_disk_keeps_the_rows_before)
{
    Place p = place_new();
    char args[512];
    Start s = small_sweep(&p, "", NULL, args, sizeof args);
    s.file_limit = 6000;
    Ended e = program_run(s, SWEEP_LIMIT);
    cr_expect_eq(e.code, 2, "%d: %s", e.code, e.said);
    cr_expect(strstr(e.said, p.path) != NULL, "%s", e.said);
    Rows r = rows_read(p.path);
    cr_expect_gt(r.n, 2);
    free(r.row);
    cr_assert_eq(run_sweep(&p, "", NULL).code, 0);
    r = rows_read(p.path);
    expect_complete(&r);
    free(r.row);
    place_leave(&p);
}

Test(stopped, a_dry_run_writes_nothing)
{
    Place p = place_new();
    Ended e = run_sweep(&p, "--dry-run", NULL);
    cr_expect_eq(e.code, 0, "%s", e.said);
    cr_expect(strstr(e.said, "flash_linear") != NULL && strstr(e.said, "6 of 6 points") != NULL,
              "%s", e.said);
    cr_expect_neq(access(p.path, F_OK), 0);
    place_leave(&p);
}
