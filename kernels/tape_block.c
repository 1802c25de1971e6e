/* tape_block.c - blocks that run again in the backward pass, and halves of reversible blocks. */
#include "kernels/ops.h"
#include "kernels/tape_inside.h"

#include <string.h>

typedef struct BlockArg {
    Tape *tape;
    BlockFn *fn;
    void *ctx;
} BlockArg;

/* The block again, this time recorded. */
static Tensor *run_again(const BlockArg *a, Tensor *x)
{
    Tape *t = a->tape;
    bool grad = t->grad;
    t->grad = true;
    t->reruns++;
    Tensor *y = a->fn(t, a->ctx, x);
    t->reruns--;
    t->grad = grad;
    return y;
}

/* Its backward pass; then nothing is left of it. */
static Status walk_again(Tape *t, int base, int mark, Tensor *y, Buf dy)
{
    Tensor from = *y;
    from.buf = dy;
    TRY(tape_seed(t, y, &from));
    TRY(tape_walk(t, base));
    for (int i = mark; i < t->n_tensors; i++)
        tape_drop(t, t->tensors[i]);
    t->n_tensors = mark;
    return ST_OK;
}

static Status block_backward(const Call *c)
{
    BlockArg a;
    memcpy(&a, c->arg, sizeof a);
    Tape *t = a.tape;
    int base = t->n_records, mark = t->n_tensors;
    Tensor *y = run_again(&a, c->in[0]);
    TRY(t->status);
    return walk_again(t, base, mark, y, c->out[0]->grad);
}

static Status block_forward(const Call *c)
{
    (void)c;
    return ST_OK;
}

static const Op block_op = {"block", block_forward, block_backward, NULL};

Tensor *tape_block(Tape *t, BlockFn *fn, void *ctx, Tensor *x)
{
    if (!t->grad || t->strategy != TAPE_RECOMPUTE) {
        int mark = tape_mark(t);
        Tensor *y = fn(t, ctx, x);
        tape_release(t, mark, &y, 1);
        return y;
    }
    int mark = tape_mark(t);
    t->grad = false;
    Tensor *y = fn(t, ctx, x);
    tape_release(t, mark, &y, 1);
    t->grad = true;
    if (t->status != ST_OK)
        return y;
    Call c = call_new(t, &(BlockArg){t, fn, ctx}, sizeof(BlockArg));
    call_in(&c, x);
    c.out[c.n_out++] = y;
    tape_record(t, &block_op, &c);
    return y;
}

/* ---- halves of reversible blocks ---- */
typedef struct HalfArg {
    BlockArg block;
    Tensor *a; /* what the output took its memory from */
} HalfArg;

static void move_buf(Buf *from, Buf *to)
{
    *to = *from;
    *from = (Buf){0};
}

/* in: c; out: y = a + fn(c). a gets its memory back as y - fn(c), and y's gradient. */
static Status half_backward(const Call *c)
{
    HalfArg h;
    memcpy(&h, c->arg, sizeof h);
    Tape *t = h.block.tape;
    Tensor *y = c->out[0], *f;
    int base = t->n_records, mark = t->n_tensors;
    int64_t n = tensor_size(y);
    TRY(call_needs(c, c->k->blend != NULL, "blend"));
    f = run_again(&h.block, c->in[0]);
    TRY(t->status);
    TRY(c->k->blend(t->dev, n, 1, y->buf.ptr, -1, f->buf.ptr, y->buf.ptr));
    move_buf(&y->buf, &h.a->buf);
    TRY(walk_again(t, base, mark, f, y->grad));
    if (!h.a->needs_grad)
        return ST_OK;
    if (h.a->grad.ptr != NULL)
        return c->k->add(t->dev, n, h.a->grad.ptr, y->grad.ptr, h.a->grad.ptr);
    move_buf(&y->grad, &h.a->grad);
    return ST_OK;
}

static const Op half_op = {"half", block_forward, half_backward, NULL};

/* a += f, as an operation whose cost counts. */
static Status add_into(const Call *c)
{
    void *a = call_ptr(c->in[0]);
    TRY(call_needs(c, c->k->add != NULL, "add"));
    return c->k->add(c->dev, tensor_size(c->in[0]), a, call_ptr(c->in[1]), a);
}

static Tensor *half_inverted(Tape *t, const HalfArg *h, Tensor *c)
{
    static const Op op = {"add", add_into, NULL, NULL};
    int mark = tape_mark(t);
    CHECK(h->a->owned && h->a != c);
    t->grad = false;
    Tensor *f = h->block.fn(t, h->block.ctx, c);
    Call sum = call_new(t, NULL, 0), call = call_new(t, h, sizeof *h);
    call_in(&sum, h->a);
    call_in(&sum, f);
    tape_run(t, &op, &sum);
    tape_release(t, mark, NULL, 0);
    t->grad = true;
    Tensor *y = tape_tensor(t, h->a->dtype, h->a->rank, h->a->dim);
    if (t->status != ST_OK)
        return y;
    move_buf(&h->a->buf, &y->buf);
    call.always = true; /* a's memory has to come back */
    call_in(&call, c);
    call.out[call.n_out++] = y;
    tape_record(t, &half_op, &call);
    return y;
}

Tensor *tape_half(Tape *t, BlockFn *fn, void *ctx, Tensor *a, Tensor *c)
{
    HalfArg h = {{t, fn, ctx}, a};
    if (t->grad && t->strategy == TAPE_INVERT)
        return half_inverted(t, &h, c);
    return op_add(t, a, tape_block(t, fn, ctx, c));
}
