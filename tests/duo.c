/* duo.c - see duo.h. */
#include "tests/duo.h"

#include "kernels/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void duo_must(Status st)
{
    if (st == ST_OK)
        return;
    fprintf(stderr, "%s: %s\n", status_name(st), status_reason());
    exit(3);
}

Status duo_open(Duo *u, const char *backend)
{
    *u = (Duo){.n_hold = 0};
    TRY(dev_open(&u->d[TRIAL], backend, 0, 0));
    duo_must(dev_open(&u->d[REF], "ref", 0, 0));
    for (int side = 0; side < 2; side++)
        u->k[side] = dev_kernels(u->d[side]);
    return ST_OK;
}

void duo_drop(Duo *u, int keep)
{
    for (int i = keep; i < u->n_hold; i++)
        for (int side = 0; side < 2; side++)
            dev_free(u->d[side], &u->hold[side][i]);
    u->n_hold = keep;
}

void duo_clear(Duo *u)
{
    duo_drop(u, 0);
}

void duo_close(Duo *u)
{
    duo_clear(u);
    for (int side = 0; side < 2; side++)
        dev_close(u->d[side]);
}

static Arr array(Duo *u, int64_t n, bool ids)
{
    Arr a = {.n = n};
    CHECK(u->n_hold < DUO_ARRAYS && n >= 0);
    for (int side = 0; side < 2 && n > 0; side++) {
        size_t size = (size_t)n * (ids ? sizeof(int32_t) : dev_real(u->d[side]));
        duo_must(dev_alloc(u->d[side], size, MEM_INPUT, &a.b[side]));
        u->hold[side][u->n_hold] = a.b[side];
    }
    u->n_hold += n > 0;
    return a;
}

Arr duo_given(Duo *u, int64_t n, const double *x)
{
    Arr a = array(u, n, false);
    for (int side = 0; side < 2 && n > 0; side++)
        duo_must(dev_write_f64(u->d[side], a.b[side], 0, x, n));
    return a;
}

Arr duo_shifted(Duo *u, int64_t n, double mean, double sd, uint32_t seed)
{
    float *f = malloc((size_t)(n + 1) * sizeof *f);
    double *x = malloc((size_t)(n + 1) * sizeof *x);
    CHECK(f != NULL && x != NULL);
    rng_fill_normal(f, n, sd, seed, 5, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = (double)(float)((double)f[i] + mean); /* what float32 can hold */
    Arr a = duo_given(u, n, x);
    free(f);
    free(x);
    return a;
}

Arr duo_random(Duo *u, int64_t n, double sd, uint32_t seed)
{
    return duo_shifted(u, n, 0, sd, seed);
}

static Arr constant(Duo *u, int64_t n, double value)
{
    double *x = malloc((size_t)(n + 1) * sizeof *x);
    CHECK(x != NULL);
    for (int64_t i = 0; i < n; i++)
        x[i] = value;
    Arr a = duo_given(u, n, x);
    free(x);
    return a;
}

Arr duo_nans(Duo *u, int64_t n)
{
    return constant(u, n, (double)NAN);
}
Arr duo_zeros(Duo *u, int64_t n)
{
    return constant(u, n, 0);
}

Arr duo_unset(Duo *u, int64_t n)
{
    Arr a = duo_zeros(u, n);
    double *x = malloc((size_t)(n + 1) * sizeof *x);
    CHECK(x != NULL);
    for (int64_t i = 0; i < n; i++)
        x[i] = (double)NAN;
    if (n > 0)
        duo_must(dev_write_f64(u->d[TRIAL], a.b[TRIAL], 0, x, n));
    free(x);
    return a;
}

Arr duo_ids(Duo *u, int64_t n, const int32_t *ids)
{
    Arr a = array(u, n, true);
    for (int side = 0; side < 2 && n > 0; side++)
        duo_must(dev_write(u->d[side], a.b[side], ids, (size_t)n * sizeof *ids));
    return a;
}

Arr duo_random_ids(Duo *u, int64_t n, int32_t below, uint32_t seed)
{
    int32_t *ids = malloc((size_t)(n + 1) * sizeof *ids);
    CHECK(ids != NULL);
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)(rng_bits(seed, 2, (uint64_t)i) % (uint32_t)below);
    Arr a = duo_ids(u, n, ids);
    free(ids);
    return a;
}

void duo_bits(Duo *u, const void *x, size_t size)
{
    for (size_t i = 0; i < size; i++)
        u->bits = (u->bits ^ ((const unsigned char *)x)[i]) * 1099511628211u;
}

int64_t duo_differ(Duo *u, Arr a)
{
    int64_t n = 0;
    int32_t *x[2];
    for (int side = 0; side < 2; side++) {
        x[side] = malloc((size_t)(a.n + 1) * sizeof(int32_t));
        CHECK(x[side] != NULL);
        duo_must(dev_read(u->d[side], x[side], a.b[side], (size_t)a.n * sizeof(int32_t)));
    }
    duo_bits(u, x[TRIAL], (size_t)a.n * sizeof(int32_t));
    for (int64_t i = 0; i < a.n; i++)
        n += x[TRIAL][i] != x[REF][i];
    free(x[0]);
    free(x[1]);
    return n;
}

static bool odd_one(double x)
{
    return isnan(x) || isinf(x);
}

double duo_error(Duo *u, Arr a)
{
    double most = 0, scale = 0;
    double *x[2];
    for (int side = 0; side < 2; side++) {
        x[side] = malloc((size_t)(a.n + 1) * sizeof(double));
        CHECK(x[side] != NULL);
        duo_must(dev_read_f64(u->d[side], x[side], a.b[side], 0, a.n));
    }
    duo_bits(u, x[TRIAL], (size_t)a.n * sizeof(double));
    for (int64_t i = 0; i < a.n; i++) {
        double got = x[TRIAL][i], want = x[REF][i], off = fabs(got - want);
        if (odd_one(got) || odd_one(want))
            off = got == want || (isnan(got) && isnan(want)) ? 0 : (double)INFINITY;
        else
            scale = fmax(scale, fabs(want));
        most = fmax(most, off);
    }
    free(x[0]);
    free(x[1]);
    return most / (scale > 1 ? scale : 1);
}

void duo_note(Duo *u, double error, const char *name)
{
    if (error > u->worst || u->where[0] == '\0') {
        u->worst = error;
        snprintf(u->where, sizeof u->where, "%s", name);
    }
}

void duo_same(Duo *u, Arr a, const char *name)
{
    duo_note(u, a.n > 0 ? duo_error(u, a) : 0, name);
}
