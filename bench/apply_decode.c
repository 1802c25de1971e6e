/* apply_decode.c - see apply_decode.h. */
#include "bench/apply_decode.h"

#include <stdlib.h>

/* Row t of every sequence, between all rows and those of one step. */
static Status copy_rows(Dev *d, const Tensor *all, Buf one, int64_t t, double *row, bool out)
{
    const int64_t width = all->dim[2];
    for (int64_t b = 0; b < all->dim[0]; b++) {
        const int64_t at = (b * all->dim[1] + t) * width;
        TRY(dev_read_f64(d, row, out ? one : all->buf, out ? b * width : at, width));
        TRY(dev_write_f64(d, out ? all->buf : one, out ? at : b * width, row, width));
    }
    return ST_OK;
}

static Status step(Model *m, const Tensor *x, Tensor *one, int64_t t, double *row, const Tensor *y)
{
    m->ctx.pos = t;
    TRY(copy_rows(m->dev, x, one->buf, t, row, false));
    tape_reset(m->tape);
    tape_grad(m->tape, false);
    const Tensor *out = model_blocks(m, one);
    TRY(tape_status(m->tape));
    return copy_rows(m->dev, y, out->buf, t, row, true);
}

static Status all_steps(Model *m, const Tensor *x, const Tensor *y)
{
    const int64_t dim[] = {x->dim[0], 1, x->dim[2]};
    double *row = malloc((size_t)x->dim[2] * sizeof *row);
    Tensor one = {0};
    Status st = row != NULL ? ST_OK : FAIL(ST_OOM, "no memory for a row");
    if (st == ST_OK)
        st = tensor_new(m->dev, &one, REAL, MEM_INPUT, 3, dim);
    for (int64_t t = 0; t < x->dim[1] && st == ST_OK; t++)
        st = step(m, x, &one, t, row, y);
    tape_reset(m->tape);
    tensor_free(m->dev, &one);
    free(row);
    return st;
}

static Status take_weights(Model *to, const Model *from)
{
    CHECK(to->n_params == from->n_params);
    for (int i = 0; i < to->n_params; i++)
        TRY(dev_copy(to->dev, to->param[i].t.buf, from->param[i].t.buf, from->param[i].t.buf.size));
    return ST_OK;
}

Status apply_decode(const Model *m, const Tensor *x, const Tensor *y)
{
    Model carried = {0};
    ModelSpec spec = m->spec;
    spec.state = true;
    spec.grads = spec.ctx.training = false;
    Status st = model_init(&carried, m->dev, &spec);
    if (st == ST_OK)
        st = take_weights(&carried, m);
    for (int i = 0; i < MIX_MAX_DRAWS; i++)
        carried.ctx.draw[i] = m->ctx.draw[i];
    carried.ctx.q_len = 1;
    if (st == ST_OK)
        st = all_steps(&carried, x, y);
    model_free(&carried);
    return st;
}
