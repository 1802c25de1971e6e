/* exchange.c - see exchange.h. */
#include "bench/exchange.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Status exchange_open(const char *path, StFile *out)
{
    TRY(st_open(path, out));
    Status st = st_check_finite(out);
    if (st != ST_OK)
        st_close(out);
    return st;
}

/* ---- reading ---- */
Status exchange_check(const StFile *f, const char *name, DType kind, int rank, const int64_t dim[])
{
    const void *data;
    const StTensor *t = st_find(f, name);
    StDtype first = kind == REAL ? SAFE_F32 : SAFE_I32, other = kind == REAL ? SAFE_F64 : SAFE_I64;
    return st_get(f, name, t != NULL && t->dtype == other ? other : first, rank, dim, &data);
}

Status exchange_refuse(const StFile *f, const StTensor *t, const char *why)
{
    char name[64];
    size_t n = 0;
    for (; n + 1 < sizeof name && t->name[n] != '\0'; n++)
        name[n] = t->name[n] >= ' ' && t->name[n] <= '~' ? t->name[n] : '?';
    name[n] = '\0';
    return FAIL(ST_USAGE, "%s: tensor '%s' %s", f->path, name, why);
}

static Status load_reals(const StTensor *from, Dev *d, Tensor *to)
{
    if (from->dtype == SAFE_F64)
        return dev_write_f64(d, to->buf, 0, from->data, tensor_size(to));
    return dev_write_f32(d, to->buf, 0, from->data, tensor_size(to));
}

static Status load_integers(const StFile *f, const StTensor *from, Dev *d, Tensor *to)
{
    int64_t n = tensor_size(to);
    if (from->dtype == SAFE_I32)
        return dev_write(d, to->buf, from->data, (size_t)n * sizeof(int32_t));
    int32_t *narrow = malloc((size_t)n * sizeof *narrow);
    Status st = narrow != NULL ? ST_OK : FAIL(ST_OOM, "no memory for %" PRId64 " numbers", n);
    for (int64_t i = 0; st == ST_OK && i < n; i++) {
        int64_t value = ((const int64_t *)from->data)[i];
        narrow[i] = (int32_t)value;
        if (narrow[i] != value)
            st = FAIL(ST_USAGE, "%s: tensor '%s': %" PRId64 " does not fit in 32 bits", f->path,
                      from->name, value);
    }
    if (st == ST_OK)
        st = dev_write(d, to->buf, narrow, (size_t)n * sizeof *narrow);
    free(narrow);
    return st;
}

Status exchange_load(const StFile *f, const char *name, Dev *d, Tensor *to)
{
    TRY(exchange_check(f, name, to->dtype, to->rank, to->dim));
    const StTensor *from = st_find(f, name);
    return to->dtype == REAL ? load_reals(from, d, to) : load_integers(f, from, d, to);
}

/* ---- writing ---- */
static Status grow(Outbox *o)
{
    int room = o->room > 0 ? 2 * o->room : 32;
    if (o->n < o->room)
        return ST_OK;
    StTensor *tensor = realloc(o->tensor, (size_t)room * sizeof *tensor);
    if (tensor != NULL)
        o->tensor = tensor;
    void *name = realloc(o->name, (size_t)room * sizeof *o->name);
    if (name != NULL)
        o->name = name;
    if (tensor == NULL || name == NULL)
        return FAIL(ST_OOM, "no memory for %d tensors", room);
    o->room = room;
    for (int i = 0; i < o->n; i++) /* the names have moved */
        o->tensor[i].name = o->name[i];
    return ST_OK;
}

Status outbox_add(Outbox *o, const char *name, Dev *d, const Tensor *x, Buf data)
{
    int64_t n = tensor_size(x);
    TRY(grow(o));
    double *wide = malloc((size_t)n * sizeof *wide);
    if (wide == NULL)
        return FAIL(ST_OOM, "no memory for the %" PRId64 " numbers of %s", n, name);
    StTensor *t = &o->tensor[o->n];
    snprintf(o->name[o->n], sizeof *o->name, "%s", name);
    *t = (StTensor){.name = o->name[o->n++], .dtype = SAFE_F64, .rank = x->rank, .data = wide};
    memcpy(t->dim, x->dim, sizeof(int64_t) * (size_t)x->rank);
    TRY(dev_read_f64(d, wide, data, 0, n));
    if (dev_real(d) == sizeof *wide)
        return ST_OK;
    t->dtype = SAFE_F32; /* in place: a narrow number ends before the wide one it comes from */
    for (int64_t i = 0; i < n; i++) {
        float narrow = (float)wide[i];
        memcpy((char *)wide + (size_t)i * sizeof narrow, &narrow, sizeof narrow);
    }
    return ST_OK;
}

Status outbox_write(const Outbox *o, const char *path, const StMeta *meta, int n_meta)
{
    return st_write(path, o->tensor, o->n, meta, n_meta);
}

void outbox_free(Outbox *o)
{
    for (int i = 0; i < o->n; i++)
        free((void *)o->tensor[i].data);
    free(o->tensor);
    free(o->name);
    *o = (Outbox){0};
}

/* ---- comparing ---- */
static double element(const StTensor *t, int64_t i)
{
    return t->dtype == SAFE_F64 ? ((const double *)t->data)[i]
                                : (double)((const float *)t->data)[i];
}

Status outbox_compare(const StTensor *a, const StFile *f, double *error)
{
    double most = 0, scale = 0;
    int64_t n = 1;
    TRY(exchange_check(f, a->name, REAL, a->rank, a->dim));
    const StTensor *b = st_find(f, a->name);
    for (int i = 0; i < a->rank; i++)
        n *= a->dim[i];
    for (int64_t i = 0; i < n; i++) {
        double off = fabs(element(a, i) - element(b, i));
        most = off > most || isnan(off) ? off : most;
        scale = fmax(scale, fabs(element(b, i)));
    }
    *error = most / (scale > 0 ? scale : 1);
    return ST_OK;
}
