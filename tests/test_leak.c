/* test_leak.c - what choices let through from the future: measured as it is, put back as it was,
 * and a check that notices when even held choices leak. */
#include "bench/check.h"
#include "bench/leak.h"
#include "tests/stand.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static Row check_of(const char *variant)
{
    Row row;
    Case c = {.level = LEVEL_LAYER,
              .pass = PASS_FWD,
              .n = 512,
              .batch = 1,
              .width = 32,
              .heads = 2,
              .layers = 1,
              .threads = 1,
              .causal = true,
              .backend = "cpu",
              .seed = 1,
              .mem_limit = INT64_C(4) << 30};
    strcpy(c.variant, variant);
    check_run(&c, &row);
    cr_assert_eq(row.status, ROW_OK, "%s: %s", variant, row.reason);
    return row;
}

/* 2 sequences of 101 positions. Sorting leaks; a pick of one position alone does not. */
Test(leak, stands_in_the_check)
{
    static const char *const sorted[] = {"lsh", "terraformer"};
    for (int i = 0; i < COUNT(sorted); i++) {
        Leak l = check_of(sorted[i]).leak;
        cr_expect(l.of == 200 && l.rows > 10 && l.rows <= 200, "%s: %ld of %ld", sorted[i],
                  (long)l.rows, (long)l.of);
        cr_expect(l.largest > 1e-3 && l.largest < 2 && l.held <= 1e-12, "%s: %g, held %g",
                  sorted[i], l.largest, l.held);
    }
    Leak none = check_of("scaling_ff").leak, cannot = check_of("vanilla").leak;
    cr_expect(none.of == 200 && none.rows == 0 && none.largest == 0, "%ld rows", (long)none.rows);
    cr_expect(cannot.of == 0 && cannot.rows == 0);
}

/* Rows that change are those that differ: counted again, by hand. x comes back as it was. */
static void expect_counted(const Setting *s, bool held)
{
    Stand r;
    Leak l;
    stand_open(&r, s);
    const int64_t n = stand_size(&r), w = s->width;
    double *x = numbers(n, 1, 1), *y = malloc((size_t)n * sizeof *y),
           *z = malloc((size_t)n * sizeof *z);
    int64_t rows = 0;
    stand_forward(&r, y);
    cr_assert_eq(leak_measure(&r.m, &r.x, &l), ST_OK, "%s", status_reason());
    stand_forward(&r, z);
    cr_expect_arr_eq(y, z, (size_t)n * sizeof *y, "the input has changed");
    stand_freeze(&r, held);
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t i = 0; i < w; i++)
            x[((b + 1) * s->len - 1) * w + i] *= -1;
    stand_set_input(&r, x);
    stand_forward(&r, z);
    for (int64_t t = 0; t < s->batch * s->len; t++)
        rows += t % s->len < s->len - 1 && worst(z + t * w, y + t * w, w) > 1e-8;
    if (held)
        cr_expect(l.held > 1e-3 && rows > 0, "held %g, %ld rows", l.held, (long)rows);
    else
        cr_expect(l.rows == rows && rows > 0, "%ld rows, counted %ld", (long)l.rows, (long)rows);
    free(x);
    free(y);
    free(z);
    stand_close(&r);
}

Test(leak, counts_rows_that_change)
{
    Setting s = setting_small(variant_find("lsh"), "ref");
    expect_counted(&s, false);
    s.blocks = 2;
    expect_counted(&s, false);
    s.causal = false; /* what held choices must not do */
    expect_counted(&s, true);
}
