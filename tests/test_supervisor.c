/* test_supervisor.c - a sweep loses no point and has none twice, whatever its worker does. Runs the
 * program itself, on tiny cases.
 *
 * slow: it waits for time limits. */
#include "bench/limits.h"

#include "tests/small_sweep.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a good day ---- */
Test(supervisor, runs_every_point)
{
    Place p = place_new();
    Ended e = run_sweep(&p, "", NULL);
    cr_assert_eq(e.code, 0, "%s", e.said);
    Rows r = rows_read(p.path);
    expect_complete(&r);
    cr_expect_eq(r.row[0].kind, ROW_RUN);
    cr_expect_eq(rows_count(&r, ROW_ROOF), 1);
    for (int v = 0; v < SWEEP_VARIANTS; v++)
        for (int i = 0; i < SWEEP_LENGTHS; i++) {
            const Row *row = rows_find(&r, sweep_variants[v], sweep_lengths[i]);
            cr_expect_eq(status_of(&r, sweep_variants[v], sweep_lengths[i]), ROW_OK, "%s",
                         row->reason);
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
    Ended e = program_run((Start){.args = args, .env = "OMP_PROC_BIND=true"}, SWEEP_LIMIT);
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
    Ended e =
        program_run((Start){.args = args, .env = "LONGMIX_FAULT=affine:8192:abort"}, SWEEP_LIMIT);
    cr_expect_eq(e.code, 1, "%s", e.said);
    Rows r = rows_read(p.path);
    cr_expect_eq(rows_count(&r, ROW_CASE), 2);
    cr_expect_eq(rows_count(&r, ROW_CHECK), 2);
    cr_expect_eq(status_of(&r, "affine", 8192), ROW_CRASH);
    const Row *row = rows_find(&r, "gemm", 4);
    cr_assert_eq(status_of(&r, "gemm", 4), ROW_OK, "%s", row->reason);
    cr_expect(row->c.level == LEVEL_KERNEL && row->roof != ROOF_NONE && row->roof_fraction > 0);
    free(r.row);
    e = program_run((Start){.args = args}, SWEEP_LIMIT);
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
    Ended e = run_sweep(&p, "", env);
    cr_expect_eq(e.code, code, "%s: exit code %d: %s", kind, e.code, e.said);
    Rows r = rows_read(p.path);
    expect_complete(&r);
    cr_expect_eq(status_of(&r, "flash_linear", 64), ROW_OK);
    cr_expect_eq(status_of(&r, "flash_linear", 128), want, "%s",
                 rows_find(&r, "flash_linear", 128)->reason);
    cr_expect_eq(status_of(&r, "flash_linear", 256), longer);
    for (int i = 0; i < SWEEP_LENGTHS; i++)
        cr_expect_eq(status_of(&r, "gau", sweep_lengths[i]), ROW_OK);
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
    Ended e = run_sweep(&p, "", "LONGMIX_FAULT=flash_linear:101:wrong");
    cr_expect_eq(e.code, 1, "%s", e.said);
    Rows r = rows_read(p.path);
    expect_complete(&r);
    for (int i = 0; i < SWEEP_LENGTHS; i++) {
        cr_expect_eq(status_of(&r, "flash_linear", sweep_lengths[i]), ROW_FAILED_CHECK);
        cr_expect_eq(rows_find(&r, "flash_linear", sweep_lengths[i])->timing.n, 0);
        cr_expect_eq(status_of(&r, "gau", sweep_lengths[i]), ROW_OK);
    }
    free(r.row);
    place_leave(&p);
}

Test(supervisor, a_crash_is_named)
{
    Place p = place_new();
    run_sweep(&p, "", "LONGMIX_FAULT=gau:64:abort");
    Rows r = rows_read(p.path);
    cr_expect(strstr(rows_find(&r, "gau", 64)->reason, "SIGABRT") != NULL, "%s",
              rows_find(&r, "gau", 64)->reason);
    free(r.row);
    place_leave(&p);
}
