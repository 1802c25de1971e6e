/* small_sweep.c - see small_sweep.h. */
#include "tests/small_sweep.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define TINY                                                                                       \
    "bench --variants flash_linear,gau --n 64,128,256 --width 32 --heads 2 --set s=8 "             \
    "--time-limit 0.1 --mem-limit 256M --threads 1 --out "
const char *const sweep_variants[SWEEP_VARIANTS] = {"flash_linear", "gau"};
const int64_t sweep_lengths[SWEEP_LENGTHS] = {64, 128, 256};

Start small_sweep(const Place *p, const char *more, const char *env, char *args, size_t size)
{
    snprintf(args, size, "%s%s %s", TINY, p->path, more);
    return (Start){.args = args, .env = env};
}

Ended run_sweep(const Place *p, const char *more, const char *env)
{
    char args[512];
    return program_run(small_sweep(p, more, env, args, sizeof args), SWEEP_LIMIT);
}

RowStatus status_of(const Rows *r, const char *variant, int64_t n)
{
    const Row *row = rows_find(r, variant, n);
    cr_assert_not_null(row, "%s at %d has no row", variant, (int)n);
    if (row->status != ROW_OK)
        cr_expect_neq(row->reason[0], '\0', "%s without a reason", row_status_names[row->status]);
    else
        cr_expect(row->timing.n > 0 && row->timing.median > 0 && row->memory.counted > 0);
    return row->status;
}

void expect_no_doubles(const Rows *r)
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

void expect_complete(const Rows *r)
{
    cr_expect_eq(rows_count(r, ROW_CASE), SWEEP_VARIANTS * SWEEP_LENGTHS);
    cr_expect_eq(rows_count(r, ROW_CHECK), SWEEP_VARIANTS);
    for (int v = 0; v < SWEEP_VARIANTS; v++)
        for (int i = 0; i < SWEEP_LENGTHS; i++)
            cr_expect_not_null(rows_find(r, sweep_variants[v], sweep_lengths[i]));
    cr_expect_eq(r->row[r->n - 1].kind, ROW_END);
    expect_no_doubles(r);
}
