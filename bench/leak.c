/* leak.c - see leak.h. */
#include "bench/leak.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool leak_possible(const Model *m)
{
    return m->ctx.causal && (variant_caps(m->spec.variant) & CAP_CHOICES) != 0;
}

static Status run(Model *m, Tensor *x, double *y)
{
    tape_reset(m->tape);
    tape_grad(m->tape, false);
    const Tensor *out = model_blocks(m, x);
    TRY(tape_status(m->tape));
    TRY(dev_read_f64(m->dev, y, out->buf, 0, tensor_size(x)));
    tape_reset(m->tape);
    return ST_OK;
}

/* The last position of every sequence, negative. */
static Status turn_last(Dev *d, Tensor *x, double *row)
{
    const int64_t width = x->dim[2];
    for (int64_t b = 0; b < x->dim[0]; b++) {
        const int64_t at = ((b + 1) * x->dim[1] - 1) * width;
        TRY(dev_read_f64(d, row, x->buf, at, width));
        for (int64_t i = 0; i < width; i++)
            row[i] = -row[i];
        TRY(dev_write_f64(d, x->buf, at, row, width));
    }
    return ST_OK;
}

/* Largest difference in a row. */
static double row_change(const double *a, const double *b, int64_t width)
{
    double most = 0;
    for (int64_t i = 0; i < width; i++) {
        const double change = fabs(a[i] - b[i]);
        most = change > most || isnan(change) ? change : most;
    }
    return most;
}

/* How many rows but the last of every sequence differ, and by how much at most; y: (B,T,D). */
static void count_rows(const Tensor *x, const double *y, const double *z, int64_t *rows,
                       double *largest)
{
    const int64_t width = x->dim[2], len = x->dim[1];
    double scale = 0;
    for (int64_t i = 0; i < tensor_size(x); i++)
        scale = fmax(scale, fabs(y[i]));
    *rows = 0;
    *largest = 0;
    for (int64_t r = 0; r < x->dim[0] * len; r++) {
        const double change = row_change(y + r * width, z + r * width, width) / scale;
        if (r % len == len - 1 || change <= 1e-9) /* rounding may differ */
            continue;
        ++*rows;
        *largest = fmax(*largest, change);
    }
}

static void freeze(Model *m, bool frozen)
{
    for (int i = 0; i < m->n_blocks; i++)
        block_freeze(&m->block[i], frozen);
}

static Status measure(Model *m, Tensor *x, double *row, double *y, double *z, Leak *out)
{
    int64_t held = 0;
    out->of = x->dim[0] * (x->dim[1] - 1);
    TRY(run(m, x, y));
    TRY(turn_last(m->dev, x, row));
    freeze(m, true);
    Status st = run(m, x, z);
    freeze(m, false);
    TRY(st);
    count_rows(x, y, z, &held, &out->held);
    TRY(run(m, x, z));
    count_rows(x, y, z, &out->rows, &out->largest);
    return turn_last(m->dev, x, row);
}

Status leak_measure(Model *m, Tensor *x, Leak *out)
{
    const size_t size = (size_t)tensor_size(x) * sizeof(double);
    double *row = malloc((size_t)x->dim[2] * sizeof *row), *y = malloc(size), *z = malloc(size);
    CHECK(x->rank == 3 && x->dim[1] > 1 && !m->ctx.training);
    *out = (Leak){0};
    Status st = row != NULL && y != NULL && z != NULL
                    ? measure(m, x, row, y, z, out)
                    : FAIL(ST_OOM, "no memory for two outputs of %zu bytes", size);
    free(row);
    free(y);
    free(z);
    return st;
}

Status leak_tell(Model *m, Tensor *x)
{
    Leak l;
    if (!leak_possible(m) || x->dim[1] < 2)
        return ST_OK;
    TRY(leak_measure(m, x, &l));
    printf("\nIt makes choices, and these may see the future. With another last position, %lld of "
           "%lld earlier rows\nof a block's output change, by up to %.3g of its largest number; "
           "with choices held fixed by %.3g.\n",
           (long long)l.rows, (long long)l.of, l.largest, l.held);
    return ST_OK;
}
