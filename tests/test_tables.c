/* test_tables.c - tables of RESULTS.md from rows by hand: what steps spend their time on, what
 * keeps a decode from the byte model, operations executed for one that is useful. */
#include "report/tables.h"
#include "tests/fixtures/rows.h"

#include <criterion/criterion.h>
#include <stdlib.h>

typedef Status Table(FILE *f, const Rows *rows);

static char *written(Table *table, Row *row, int n)
{
    char *text = NULL;
    size_t size = 0;
    const Rows rows = {.row = row, .n = n};
    FILE *f = open_memstream(&text, &size);
    cr_assert_eq(table(f, &rows), ST_OK, "%s", status_reason());
    fclose(f);
    return text;
}

static void expect(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no '%s' in:\n%s", part, text);
}

static OpShare share(const char *op, double seconds, double flops, double bytes)
{
    OpShare s = {.calls = 1, .seconds = seconds, .flops = flops, .bytes = bytes};
    snprintf(s.op, sizeof s.op, "%s", op);
    return s;
}

/* ---- what steps spend their time on ---- */
Test(tables, three_costs_of_each_step_and_bold_below_half)
{
    Row rows[4] = {sample_row(ROW_CASE), sample_row(ROW_OPS), sample_row(ROW_CASE),
                   sample_row(ROW_OPS)};
    snprintf(rows[0].c.variant, sizeof rows[0].c.variant, "lsh");
    rows[1].c = rows[0].c;
    rows[0].roof_fraction = 0.49;
    rows[2].roof_fraction = 0.51;
    rows[1].n_ops = 4;
    rows[1].op[0] = share("lsh", 0.5, 0, 0);
    rows[1].op[1] = share("linear", 0.25, 0, 0);
    rows[1].op[1].roof = ROOF_SGEMM;
    rows[1].op[1].roof_fraction = 0.9;
    rows[1].op[2] = share("norm", 0.125, 0, 0);
    rows[1].op[3] = share("add", 0.125, 0, 0);
    char *text = written(table_largest, rows, 4);
    expect(text, "| **lsh** | layer fwd, 4k | 49 % of sgemm | lsh 50 % | linear 25 %, at 90 % of "
                 "sgemm | norm 12 % |\n");
    expect(text, "| gau | layer fwd, 4k | 51 % of sgemm | linear bwd 75 %, at 40 % of sgemm | tape "
                 "25 % | |\n");
    cr_expect(strstr(text, "| gau") < strstr(text, "| **lsh**"), "in the order of the legends");
    expect(text, "<details><summary>Op by op</summary>\n\n## Where the time of a step goes");
    expect(text, "| add                  |");
    free(text);
    text = written(table_largest, rows, 0);
    cr_expect_str_eq(text, "");
    free(text);
}

/* ---- decode and the byte model ---- */
static Row token(const char *variant, RowKind kind)
{
    Row r = sample_row(kind);
    snprintf(r.c.variant, sizeof r.c.variant, "%s", variant);
    snprintf(r.c.size, sizeof r.c.size, "d2048");
    r.c.pass = PASS_DECODE;
    r.c.width = 2048;
    r.c.evict = true;
    return r;
}

/* Bandwidth 1e10 bytes/s and 1e12 flop/s: the dense token is at the bandwidth, the sparse one has a
 * tenth of its bytes and takes a fifth of its time. */
Test(tables, a_decode_that_falls_short_has_its_costs)
{
    Row rows[4] = {token("vanilla", ROW_CASE), token("scaling", ROW_CASE),
                   token("scaling", ROW_OPS), sample_row(ROW_ROOF)};
    rows[0].bytes = 1e9;
    rows[0].timing = (Timing){.n = 1, .median = 0.1, .seconds = {0.1}};
    rows[1].bytes = 1e8;
    rows[1].timing = (Timing){.n = 1, .median = 0.02, .seconds = {0.02}};
    rows[2].n_ops = 3;
    rows[2].watched_seconds = 0.02;
    rows[2].op[0] = share("mult", 0.01, 4e9, 2e7);
    rows[2].op[1] = share("sparse_ff", 0.008, 1e8, 8e7);
    rows[2].op[2] = share("tape", 0.002, 0, 0);
    rows[3].sgemm_own = rows[3].sgemm_blas = 1e12;
    rows[3].read_bandwidth = 1e10;
    char *text = written(table_decode, rows, 4);
    expect(text, "| 5.00 | 10.0 | 0.500 |");
    expect(text, "reach less than 0.7 of the byte model's speed-up");
    expect(text,
           "| d2048 | scaling | 50 % | mult 50 %: 0.200, 0.600 | sparse_ff 40 %: 1.00, 1.01 | "
           "tape 10 %: 0.00, 0.00 |\n");
    free(text);
    rows[1].timing.median = 0.013; /* 0.77 of the model's */
    text = written(table_decode, rows, 4);
    cr_expect(strstr(text, "reach less than") == NULL, "%s", text);
    free(text);
}

/* ---- executed and useful ---- */
Test(tables, executed_operations_stand_beside_useful_ones)
{
    Row rows[2] = {sample_kernel("attention", PASS_FWD, 0.8, 0.7), sample_row(ROW_CASE)};
    rows[0].flops = rows[1].flops = 1e9;
    rows[0].executed = 1.23e9;
    rows[1].executed = 0;
    char *text = written(table_kernels, rows, 2);
    expect(text, "| holds     |     1.23 |\n");
    free(text);
    text = written(table_costs, rows, 2);
    expect(text, " - | - |\n");
    free(text);
    rows[1].executed = 1.5e9;
    text = written(table_costs, rows, 2);
    expect(text, " - | 1.50 |\n");
    free(text);
}
