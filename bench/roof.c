/* roof.c - see roof.h. */
#include "bench/roof.h"

#include "bench/case.h"
#include "bench/clock.h"
#include "bench/yardstick.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double PATIENCE = 0.25; /* seconds a product */
static const double GLANCE = 4e-3;   /* seconds of half a sample */
static const double SLOW = 1;        /* seconds after which no product is begun, as on ref */
static const double DRIFT = 0.1;
enum { ROUNDS = 40, READS = 5, FEW_READS = 2 };

/* ---- measuring ---- */

/* Own kernel and BLAS in turn, at least once each. */
static Status multiply(Yard *y, int product, double patience, Row *row)
{
    double end = clock_now() + patience, flops = yard_flops(product), seconds = 0;
    for (int i = 0; i < ROUNDS && (i < 1 || clock_now() < end); i++) {
        TRY(yard_multiply(y, product, false, &seconds));
        row->sgemm_own = fmax(row->sgemm_own, flops / seconds);
        if (!y->host)
            continue;
        TRY(yard_multiply(y, product, true, &seconds));
        row->sgemm_blas = fmax(row->sgemm_blas, flops / seconds);
    }
    return ST_OK;
}

static Status read_memory(Yard *y, int rounds, Row *row)
{
    double seconds = 0;
    TRY(yard_lines(y));
    for (int i = 0; i < rounds; i++) {
        TRY(yard_read(y, &seconds));
        row->read_bandwidth = fmax(row->read_bandwidth, yard_bytes(y) / seconds);
    }
    return ST_OK;
}

static Status measure_roof(const Case *c, Row *row)
{
    Yard y;
    Status st = yard_open(&y, c);
    double end = clock_now() + SLOW;
    for (int i = 0; i < y.products && st == ST_OK && clock_now() < end; i++)
        st = multiply(&y, i, PATIENCE, row);
    if (st == ST_OK)
        st = read_memory(&y, READS, row);
    yard_free(&y);
    return st;
}

void roof_run(const Case *c, Row *row)
{
    *row = (Row){.kind = ROW_ROOF, .c = *c};
    snprintf(row->blas_core, sizeof row->blas_core, "%s", openblas_get_corename());
    row_fail(row, measure_roof(c, row));
}

static Status glance(const Case *c, Roof roof, Row *row)
{
    Yard y;
    Status st = yard_open(&y, c);
    const int product = y.products > YARD_HOST_PRODUCTS ? YARD_HOST_PRODUCTS : 0;
    if (st == ST_OK && roof == ROOF_BANDWIDTH)
        st = read_memory(&y, FEW_READS, row);
    for (int i = 0; i < 2 && st == ST_OK && roof == ROOF_SGEMM; i++) /* the first may be cold */
        st = multiply(&y, product, GLANCE, row);
    yard_free(&y);
    return st;
}

static double sample(const Case *c, Roof roof)
{
    Row row = {0};
    bool real = strcmp(c->backend, "cpu") == 0 || strcmp(c->backend, "cuda") == 0;
    if (!real || glance(c, roof, &row) != ST_OK)
        return 0;
    return roof == ROOF_SGEMM ? fmax(row.sgemm_own, row.sgemm_blas) : row.read_bandwidth;
}

Rates roof_sample(const Case *c)
{
    return (Rates){sample(c, ROOF_SGEMM), sample(c, ROOF_BANDWIDTH)};
}

Rates roof_around(const Case *c)
{
    return strcmp(c->backend, "cpu") == 0 ? roof_sample(c) : (Rates){0};
}

/* ---- which roof ---- */
Roof roof_of(double flops, double bytes, Rates machine)
{
    if (machine.bytes > 0 && bytes / machine.bytes > flops / fmax(machine.flops, 1))
        return ROOF_BANDWIDTH;
    return machine.flops > 0 && flops > 0 ? ROOF_SGEMM : ROOF_NONE;
}

double roof_rate(Rates machine, Roof roof)
{
    return roof == ROOF_SGEMM ? machine.flops : roof == ROOF_BANDWIDTH ? machine.bytes : 0;
}

double roof_work(const Row *row)
{
    return row->roof == ROOF_SGEMM ? row->flops : row->roof == ROOF_BANDWIDTH ? row->bytes : 0;
}

void roof_note(const Case *c, Rates before, Row *row)
{
    row->roof = roof_of(row->flops, row->bytes, before);
    if (row->roof == ROOF_NONE)
        return;
    double first = roof_rate(before, row->roof), after = sample(c, row->roof);
    row->roof_rate = fmax(first, after);
    if (fmin(first, after) < (1 - DRIFT) * row->roof_rate)
        row->timing.quiet = false;
}
