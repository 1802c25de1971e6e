/* kernel_check.c - no kernel is timed before it has passed: the same operands on a backend and on
 * ref, every output compared. The error is the largest difference over the largest value of ref. */
#include "bench/kernel_case.h"

#include "bench/backend.h"
#include "bench/case.h"
#include "bench/check.h"
#include "bench/kernel_rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Case kernel_check_case(const Case *c)
{
    Case s = *c;
    const Kernel *k = kernel_find(c->variant);
    s.n = min64(c->n, 96 + 5);
    s.batch = min64(c->batch, 2);
    if (k != NULL && k->whole != NULL)
        return s; /* the variant has its own small case */
    s.heads = c->heads > 1 ? 2 : 1;
    s.width = c->width / c->heads * s.heads;
    return s;
}

static bool is_result(Role role)
{
    return role == ROLE_OUTPUT || role == ROLE_SUM || role == ROLE_PREPARE;
}

static Status compare(const KernelRig *a, const KernelRig *b, int i, double *error)
{
    int64_t n = a->plan.operand[i].n;
    double *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
    double worst = 0, size = 0;
    CHECK(x != NULL && y != NULL);
    Status st = dev_read_f64(a->dev, x, a->set[0][i], 0, n);
    if (st == ST_OK)
        st = dev_read_f64(b->dev, y, b->set[0][i], 0, n);
    for (int64_t k = 0; k < n && st == ST_OK; k++) {
        double d = fabs(x[k] - y[k]);
        worst = isnan(d) ? (double)INFINITY : fmax(worst, d);
        size = fmax(size, fabs(y[k]));
    }
    free(x);
    free(y);
    *error = fmax(*error, worst == 0 ? 0 : size > 0 ? worst / size : (double)INFINITY);
    return st;
}

static Status run_both(KernelRig *a, KernelRig *b, Dev *da, Dev *db, const Case *c, double *error)
{
    double none = 0;
    TRY(kernel_rig_init(a, da, c));
    TRY(kernel_rig_init(b, db, c));
    TRY(kernel_rig_run(a, 1, &none));
    TRY(kernel_rig_run(b, 1, &none));
    for (int i = 0; i < a->plan.n; i++)
        if (is_result(a->plan.operand[i].role))
            TRY(compare(a, b, i, error));
    return ST_OK;
}

/* The check of the variant that a whole case stands for. */
static void check_whole(const Kernel *k, const Case *c, Row *row)
{
    KernelShape s;
    Case inner = *c;
    Status st = kernel_shape(c, &s);
    *row = (Row){.kind = ROW_CHECK};
    row_fail(row, st);
    if (st == ST_OK) {
        k->whole(&s, &inner);
        check_run(&inner, row);
    }
}

static void check_alone(const Case *c, Row *row)
{
    KernelRig a = {.kernel = NULL}, b = {.kernel = NULL};
    Dev *da = NULL, *db = NULL;
    *row = (Row){.kind = ROW_CHECK, .tolerance = check_tolerance(c)};
    Status st = backend_open(&da, c, (size_t)c->mem_limit);
    if (st == ST_OK)
        st = dev_open(&db, "ref", 0, (size_t)c->mem_limit);
    if (st == ST_OK)
        st = run_both(&a, &b, da, db, c, &row->error);
    row_fail(row, st);
    if (row->status == ROW_OK && !(row->error <= row->tolerance)) {
        row->status = ROW_FAILED_CHECK;
        snprintf(row->reason, sizeof row->reason, "differs from ref by %.3g, allowed is %.3g",
                 row->error, row->tolerance);
    }
    kernel_rig_free(&a);
    kernel_rig_free(&b);
    dev_close(da);
    dev_close(db);
}

void kernel_check(const Case *c, Row *row)
{
    const Kernel *k = kernel_find(c->variant);
    Case s = kernel_check_case(c);
    if (k != NULL && k->whole != NULL)
        check_whole(k, &s, row);
    else
        check_alone(&s, row);
    row->c = s;
}
