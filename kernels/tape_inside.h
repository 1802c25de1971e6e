/* tape_inside.h - what the files of the tape share, and nobody else includes. */
#ifndef LONGMIX_TAPE_INSIDE_H
#define LONGMIX_TAPE_INSIDE_H

#include "kernels/tape.h"

typedef struct Record {
    const Op *op;
    Call call;
} Record;

struct Tape {
    Dev *dev;
    Status status;
    bool grad;
    Strategy strategy;
    Tensor **tensors;
    int n_tensors, cap_tensors;
    Record *records;
    int n_records, cap_records;
    int reruns; /* > 0 while a block is run again: its cost was counted before */
    Cost cost;
    int64_t n_ops;
};

Tensor *tape_tensor(Tape *t, DType dtype, int rank, const int64_t dim[]); /* without memory */
void tape_drop(Tape *t, Tensor *x); /* frees it; the caller takes it off the list */
void tape_record(Tape *t, const Op *op, const Call *c);
/* Undoes the records from the last down to number `base`; each one's outputs are then dead. */
Status tape_walk(Tape *t, int base);
Status tape_seed(Tape *t, Tensor *y, const Tensor *dy); /* y's gradient = dy, or ones */

#endif
