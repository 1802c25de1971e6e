/* tape.h - differentiable operations, run at once and recorded.
 *
 * An op computes its result when called and leaves a record; tape_backward walks the records in
 * reverse. The first failure is kept in the tape: from then on every op returns a placeholder of
 * the right shape and does nothing, so callers write straight-line code and look at tape_status
 * once. Tensors belong to the tape (activations: gone at tape_reset, or as soon as the backward
 * pass no longer needs them) or to the caller (parameters, state, inputs). */
#ifndef LONGMIX_TAPE_H
#define LONGMIX_TAPE_H

#include "kernels/device.h"
#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MAX_RANK = 4, CALL_MAX_IN = 8, CALL_MAX_OUT = 4, CALL_ARG_BYTES = 160 };

typedef enum DType { REAL, I32 } DType; /* REAL: dev_real bytes a number */

typedef struct Tensor {
    Buf buf, grad; /* grad: same shape; empty until the backward pass reaches it */
    DType dtype;
    int rank;
    int64_t dim[MAX_RANK]; /* row-major, dense: dim[rank - 1] varies fastest */
    bool needs_grad;
    bool owned; /* by a tape */
    bool aside; /* a by-product of an op: no gradient flows through it */
} Tensor;

int64_t tensor_size(const Tensor *x); /* elements */
int64_t tensor_rows(const Tensor *x); /* all dimensions but the last */
int tensor_width(const Tensor *x);    /* the last dimension */

/* Tensors outside a tape: parameters, state, inputs. Values are not initialised. */
Status tensor_new(Dev *d, Tensor *x, DType t, MemTag tag, int rank, const int64_t dim[]);
void tensor_free(Dev *d, Tensor *x); /* with its gradient; a zero Tensor is fine */
Status tensor_fill(Dev *d, Tensor *x, double value);

/* Work and traffic. Doubles: 2^53 is beyond any case, and int64_t overflows are silent. */
typedef struct Cost {
    double flops; /* of contractions and scans only; a multiply-add counts as two; masked-out
                     pairs are not counted */
    double bytes; /* read + written once each, were caches perfect */
} Cost;
static inline Cost cost_add(Cost a, Cost b)
{
    return (Cost){a.flops + b.flops, a.bytes + b.bytes};
}

/* ---- the tape ---- */
typedef struct Tape Tape;

typedef enum Strategy {
    TAPE_STORE,     /* keep what the backward pass needs */
    TAPE_RECOMPUTE, /* keep the input of each tape_block and run the block again */
    TAPE_INVERT     /* keep nothing of a tape_half: compute its input back from its output */
} Strategy;

Status tape_new(Tape **out, Dev *d);
void tape_free(Tape *t);          /* NULL is fine */
void tape_reset(Tape *t);         /* forget records, activations and the failure */
void tape_grad(Tape *t, bool on); /* off: compute, record nothing. Off at first */
bool tape_has_grad(const Tape *t);
bool tape_is_rerun(const Tape *t);       /* inside a block that is run again: replay choices */
void tape_strategy(Tape *t, Strategy s); /* TAPE_STORE at first */
Status tape_status(const Tape *t);       /* of the first failed op since tape_reset */
void tape_fail(Tape *t, Status st);      /* sticks unless one stuck before */
Dev *tape_dev(const Tape *t);
Cost tape_cost(const Tape *t); /* of the forward ops run since tape_reset, without reruns */
int64_t tape_n_ops(const Tape *t);

/* Backward. Sets the gradient of y to dy (NULL: to ones), then adds every gradient on the way into
 * the tensors that need one. Activations are freed as they are done with. Only once per recording.
 */
Status tape_backward(Tape *t, Tensor *y, const Tensor *dy);

/* Without gradients, memory is freed at stage boundaries: tape_release frees what was made since
 * the mark, except keep[0..n). While recording it does nothing. */
int tape_mark(const Tape *t);
void tape_release(Tape *t, int mark, Tensor *const keep[], int n);

/* y = fn(t, ctx, x), one block of a model: under TAPE_RECOMPUTE it is run without gradients, only x
 * is kept, and it runs again in the backward pass. ctx must live until then. */
typedef Tensor *BlockFn(Tape *t, void *ctx, Tensor *x);
Tensor *tape_block(Tape *t, BlockFn *fn, void *ctx, Tensor *x);

/* y = a + fn(t, ctx, c), half of a reversible block (Gomez 2017). TAPE_RECOMPUTE treats fn as a
 * tape_block. TAPE_INVERT runs it without gradients and adds it to a in place, so that y has a's
 * memory; the backward pass runs fn again, gives a = y - fn(c) its memory back and goes on. There a
 * must belong to the tape, and nobody but the halves may read a or c. */
Tensor *tape_half(Tape *t, BlockFn *fn, void *ctx, Tensor *a, Tensor *c);

/* ---- how an op is defined; a variant may define its own in its own file ---- */
typedef struct Op Op;
typedef struct Call {
    Dev *dev;
    const Kernels *k;
    int n_in, n_out;
    Tensor *in[CALL_MAX_IN]; /* entries may be NULL: an optional operand that is absent */
    Tensor *out[CALL_MAX_OUT];
    double arg[CALL_ARG_BYTES / sizeof(double)]; /* room for the op's own struct, copied in */
    /* Bit i is about in[i]. Gradients that are made for a backward call are zeroed before it, but
     * for those of `overwrites`: it looks at call_fresh; and `passes`: it calls call_pass. */
    unsigned overwrites, passes;
    unsigned fresh; /* the gradient holds garbage that backward overwrites; set by the walk */
    bool always;    /* backward runs even if no gradient reaches the outputs */
} Call;

struct Op {
    const char *name;
    Status (*forward)(const Call *c);
    Status (*backward)(const Call *c); /* adds into in[i]->grad where call_grad gives one */
    Cost (*cost)(const Call *c);       /* of forward; NULL: reads and writes every operand once */
};

/* Building a call: inputs first, then outputs (made on the tape), then run. */
Call call_new(Tape *t, const void *arg, size_t arg_size);
void call_in(Call *c, Tensor *x);
void call_out(Call *c, Tape *t, DType dtype, int rank, const int64_t dim[]);
void call_out_like(Call *c, Tape *t, const Tensor *x);
/* A REAL output beside the result that carries no gradient: statistics, the losses of rows. */
void call_out_aside(Call *c, Tape *t, int rank, const int64_t dim[]);
/* Runs op (unless the tape has failed) and records it if gradients are on and an input wants one.
 * Returns out[0]; with no outputs, NULL. */
Tensor *tape_run(Tape *t, const Op *op, Call *c);

/* The gradient buffer of in[i] for the backward pass to add into, or NULL if none is wanted. */
void *call_grad(const Call *c, int i);
static inline bool call_fresh(const Call *c, int i)
{
    return (c->fresh >> i & 1) != 0;
}
/* in[i]'s gradient += out[0]'s, if one is wanted. last: nobody will look at out[0]'s again, so that
 * in[i] may take its buffer. */
Status call_pass(const Call *c, int i, bool last);
static inline void *call_ptr(const Tensor *x)
{
    return x != NULL ? x->buf.ptr : NULL;
}
/* FAILs with the op's and the backend's name when the kernel is missing; for use as
 * TRY(call_needs(c, c->k->gemm != NULL, "gemm")). */
Status call_needs(const Call *c, bool there, const char *kernel);
double call_bytes(const Call *c); /* sum of the operands' sizes */

#ifdef __cplusplus
}
#endif
#endif
