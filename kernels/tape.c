/* tape.c - records, activations and the backward walk. */
#include "kernels/tape_inside.h"

#include <stdlib.h>
#include <string.h>

/* ---- tensors ---- */
int64_t tensor_size(const Tensor *x)
{
    int64_t n = 1;
    for (int i = 0; i < x->rank; i++)
        n *= x->dim[i];
    return n;
}

int tensor_width(const Tensor *x)
{
    return (int)x->dim[x->rank - 1];
}

int64_t tensor_rows(const Tensor *x)
{
    return tensor_size(x) / x->dim[x->rank - 1];
}

static void set_shape(Tensor *x, DType t, int rank, const int64_t dim[])
{
    CHECK(rank > 0 && rank <= MAX_RANK);
    *x = (Tensor){.dtype = t, .rank = rank};
    for (int i = 0; i < rank; i++) {
        CHECK(dim[i] > 0);
        x->dim[i] = dim[i];
    }
}

/* SIZE_MAX, which nobody can allocate, for a shape with more bytes than can be counted. */
static size_t tensor_bytes(const Dev *d, const Tensor *x)
{
    size_t bytes = x->dtype == I32 ? sizeof(int32_t) : dev_real(d);
    for (int i = 0; i < x->rank; i++) {
        if (bytes > SIZE_MAX / (size_t)x->dim[i])
            return SIZE_MAX;
        bytes *= (size_t)x->dim[i];
    }
    return bytes;
}

Status tensor_new(Dev *d, Tensor *x, DType t, MemTag tag, int rank, const int64_t dim[])
{
    set_shape(x, t, rank, dim);
    return dev_alloc(d, tensor_bytes(d, x), tag, &x->buf);
}

void tensor_free(Dev *d, Tensor *x)
{
    dev_free(d, &x->grad);
    dev_free(d, &x->buf);
}

Status tensor_fill(Dev *d, Tensor *x, double value)
{
    CHECK(x->dtype == REAL);
    return dev_kernels(d)->fill(d, tensor_size(x), value, x->buf.ptr);
}

/* ---- the tape's own memory ---- */
Status tape_new(Tape **out, Dev *d)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return FAIL(ST_OOM, "no memory for a tape");
    (*out)->dev = d;
    return ST_OK;
}

void tape_drop(Tape *t, Tensor *x)
{
    tensor_free(t->dev, x);
    free(x);
}

void tape_reset(Tape *t)
{
    for (int i = 0; i < t->n_tensors; i++)
        tape_drop(t, t->tensors[i]);
    t->n_tensors = t->n_records = 0;
    t->status = ST_OK;
    t->cost = (Cost){0};
    t->n_ops = 0;
}

void tape_free(Tape *t)
{
    if (t == NULL)
        return;
    tape_reset(t);
    free(t->tensors);
    free(t->records);
    free(t);
}

/* Host memory for bookkeeping: running out of it is not a case's result. */
static void *grown(void *array, int n, int *cap, size_t size)
{
    if (n < *cap)
        return array;
    *cap = *cap > 0 ? 2 * *cap : 64;
    array = realloc(array, (size_t)*cap * size);
    CHECK(array != NULL);
    return array;
}

void tape_grad(Tape *t, bool on)
{
    t->grad = on;
}
bool tape_has_grad(const Tape *t)
{
    return t->grad;
}
bool tape_is_rerun(const Tape *t)
{
    return t->reruns > 0;
}
void tape_strategy(Tape *t, Strategy s)
{
    t->strategy = s;
}
Status tape_status(const Tape *t)
{
    return t->status;
}
void tape_fail(Tape *t, Status st)
{
    if (t->status == ST_OK)
        t->status = st;
}
Dev *tape_dev(const Tape *t)
{
    return t->dev;
}
Cost tape_cost(const Tape *t)
{
    return t->cost;
}
int64_t tape_n_ops(const Tape *t)
{
    return t->n_ops;
}

int tape_mark(const Tape *t)
{
    return t->n_tensors;
}

static bool among(const Tensor *x, Tensor *const keep[], int n)
{
    for (int i = 0; i < n; i++)
        if (keep[i] == x)
            return true;
    return false;
}

void tape_release(Tape *t, int mark, Tensor *const keep[], int n)
{
    if (t->grad)
        return;
    int kept = mark;
    for (int i = mark; i < t->n_tensors; i++) {
        if (among(t->tensors[i], keep, n))
            t->tensors[kept++] = t->tensors[i];
        else
            tape_drop(t, t->tensors[i]);
    }
    t->n_tensors = kept;
}

/* ---- calls ---- */
Call call_new(Tape *t, const void *arg, size_t arg_size)
{
    Call c = {.dev = t->dev, .k = dev_kernels(t->dev)};
    CHECK(arg_size <= sizeof c.arg);
    if (arg_size > 0)
        memcpy(c.arg, arg, arg_size);
    return c;
}

void call_in(Call *c, Tensor *x)
{
    CHECK(c->n_in < CALL_MAX_IN);
    c->in[c->n_in++] = x;
}

Tensor *tape_tensor(Tape *t, DType dtype, int rank, const int64_t dim[])
{
    Tensor *x = malloc(sizeof *x);
    CHECK(x != NULL);
    set_shape(x, dtype, rank, dim);
    x->owned = true;
    t->tensors = grown(t->tensors, t->n_tensors, &t->cap_tensors, sizeof *t->tensors);
    return t->tensors[t->n_tensors++] = x;
}

/* Reuses nothing: a failed tape still hands out tensors, which have a shape and no memory. */
void call_out(Call *c, Tape *t, DType dtype, int rank, const int64_t dim[])
{
    CHECK(c->n_out < CALL_MAX_OUT);
    Tensor *x = tape_tensor(t, dtype, rank, dim);
    if (t->status == ST_OK)
        tape_fail(t, dev_alloc(t->dev, tensor_bytes(t->dev, x), MEM_ACT, &x->buf));
    c->out[c->n_out++] = x;
}

void call_out_like(Call *c, Tape *t, const Tensor *x)
{
    call_out(c, t, x->dtype, x->rank, x->dim);
}

void call_out_aside(Call *c, Tape *t, int rank, const int64_t dim[])
{
    call_out(c, t, REAL, rank, dim);
    c->out[c->n_out - 1]->aside = true;
}

double call_bytes(const Call *c)
{
    double sum = 0;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i] != NULL)
            sum += (double)c->in[i]->buf.size;
    for (int i = 0; i < c->n_out; i++)
        sum += (double)c->out[i]->buf.size;
    return sum;
}

Status call_needs(const Call *c, bool there, const char *kernel)
{
    if (there)
        return ST_OK;
    return FAIL(ST_UNSUPPORTED, "kernel %s is not there on backend %s", kernel, dev_name(c->dev));
}

static bool wants_grad(const Tape *t, const Call *c)
{
    for (int i = 0; t->grad && i < c->n_in; i++)
        if (c->in[i] != NULL && c->in[i]->needs_grad)
            return true;
    return false;
}

void tape_record(Tape *t, const Op *op, const Call *c)
{
    t->records = grown(t->records, t->n_records, &t->cap_records, sizeof *t->records);
    t->records[t->n_records++] = (Record){op, *c};
    for (int i = 0; i < c->n_out; i++)
        c->out[i]->needs_grad = c->out[i]->dtype == REAL && !c->out[i]->aside;
}

static Cost cost_of(const Op *op, const Call *c)
{
    return op->cost != NULL ? op->cost(c) : (Cost){0, call_bytes(c)};
}

/* Runs one side of an op before the eyes of who watches. A backward pass counts twice the work. */
static Status run_side(const Op *op, const Call *c, bool backward)
{
    Status (*side)(const Call *) = backward ? op->backward : op->forward;
    if (!dev_is_watched(c->dev))
        return side(c);
    Cost cost = cost_of(op, c);
    double times = backward ? 2 : 1;
    watch_enter(c->dev, op->name, backward);
    Status st = side(c);
    watch_leave(c->dev, times * cost.flops, times * cost.bytes);
    return st;
}

Tensor *tape_run(Tape *t, const Op *op, Call *c)
{
    if (t->status == ST_OK)
        tape_fail(t, run_side(op, c, false));
    if (t->status == ST_OK && t->reruns == 0) {
        t->cost = cost_add(t->cost, cost_of(op, c));
        t->n_ops++;
    }
    if (t->status == ST_OK && wants_grad(t, c))
        tape_record(t, op, c);
    return c->n_out > 0 ? c->out[0] : NULL;
}

/* ---- backward ---- */
void *call_grad(const Call *c, int i)
{
    return c->in[i] != NULL && c->in[i]->needs_grad ? c->in[i]->grad.ptr : NULL;
}

/* A gradient that holds garbage. */
static Status make_grad(Dev *d, Tensor *x)
{
    return x->grad.ptr != NULL ? ST_OK : dev_alloc(d, tensor_bytes(d, x), MEM_ACT, &x->grad);
}

static Status ensure_grad(Dev *d, Tensor *x)
{
    if (x->grad.ptr != NULL)
        return ST_OK;
    TRY(make_grad(d, x));
    watch_enter(d, "zero gradient", true);
    Status st = dev_kernels(d)->fill(d, tensor_size(x), 0.0, x->grad.ptr);
    watch_leave(d, 0, (double)x->grad.size);
    return st;
}

static Status copy_grad(Dev *d, const void *from, Tensor *x)
{
    int64_t n = tensor_size(x);
    return dev_kernels(d)->copy(d, &(Copy){.batch = 1,
                                           .rows = 1,
                                           .width = n,
                                           .src = from,
                                           .dst = x->grad.ptr,
                                           .src_row = n,
                                           .dst_row = n});
}

Status call_pass(const Call *c, int i, bool last)
{
    Tensor *x = c->in[i], *y = c->out[0];
    if (x == NULL || !x->needs_grad)
        return ST_OK;
    CHECK(tensor_size(x) == tensor_size(y));
    if (x->grad.ptr != NULL)
        return c->k->add(c->dev, tensor_size(x), x->grad.ptr, y->grad.ptr, x->grad.ptr);
    if (last && y->owned && y->grad.tag == MEM_ACT) {
        x->grad = y->grad;
        y->grad = (Buf){0};
        return ST_OK;
    }
    TRY(make_grad(c->dev, x));
    return copy_grad(c->dev, y->grad.ptr, x);
}

/* One operand in two roles takes two sums: its gradient begins at zero. */
static bool overwritten(const Call *c, int i)
{
    for (int j = 0; j < c->n_in; j++)
        if (j != i && c->in[j] == c->in[i])
            return false;
    return (c->overwrites >> i & 1) != 0 && c->in[i]->grad.ptr == NULL;
}

static Status prepare_in(Call *c, int i)
{
    if (c->in[i] == NULL || !c->in[i]->needs_grad || (c->passes >> i & 1) != 0)
        return ST_OK;
    if (!overwritten(c, i))
        return ensure_grad(c->dev, c->in[i]);
    c->fresh |= 1u << i;
    return make_grad(c->dev, c->in[i]);
}

/* Outputs that nobody used still need a gradient buffer for the kernel: zeros. *reached: whether
 * there is anything to do, on entry whether there is in any case. */
static Status prepare(Call *c, bool *reached)
{
    for (int i = 0; i < c->n_out; i++)
        *reached = *reached || c->out[i]->grad.ptr != NULL;
    for (int i = 0; *reached && i < c->n_in; i++)
        TRY(prepare_in(c, i));
    for (int i = 0; *reached && i < c->n_out; i++)
        if (c->out[i]->needs_grad)
            TRY(ensure_grad(c->dev, c->out[i]));
    return ST_OK;
}

Status tape_walk(Tape *t, int base)
{
    while (t->n_records > base) {
        Record r = t->records[--t->n_records];
        bool reached = r.call.always;
        TRY(prepare(&r.call, &reached));
        if (reached)
            TRY(run_side(r.op, &r.call, true));
        for (int i = 0; i < r.call.n_out; i++)
            if (r.call.out[i]->owned)
                tensor_free(t->dev, r.call.out[i]);
    }
    return ST_OK;
}

Status tape_seed(Tape *t, Tensor *y, const Tensor *dy)
{
    TRY(make_grad(t->dev, y));
    if (dy == NULL)
        return dev_kernels(t->dev)->fill(t->dev, tensor_size(y), 1.0, y->grad.ptr);
    CHECK(tensor_size(dy) == tensor_size(y));
    return copy_grad(t->dev, dy->buf.ptr, y);
}

Status tape_backward(Tape *t, Tensor *y, const Tensor *dy)
{
    if (t->status == ST_OK && y->needs_grad) {
        tape_fail(t, tape_seed(t, y, dy));
        if (t->status == ST_OK)
            tape_fail(t, tape_walk(t, 0));
    }
    return t->status;
}
