/* exchange.h - tensors between safetensors files and a device: how other programs are compared
 * with.
 *
 * Reals may be F32 or F64 in a file, whole numbers I32 or I64; written is what the device computes
 * with, F64 on ref and F32 elsewhere. */
#ifndef LONGMIX_EXCHANGE_H
#define LONGMIX_EXCHANGE_H

#include "datasets/safetensors.h"
#include "kernels/tape.h"

enum { EXCHANGE_NAME = 96 };

/* Opens a file whose numbers are all finite. Fails: as st_open, and ST_NONFINITE. */
Status exchange_open(const char *path, StFile *out);

/* The tensor of that name must be there with numbers of that kind and this shape: ST_USAGE. */
Status exchange_check(const StFile *f, const char *name, DType kind, int rank, const int64_t dim[]);
/* Checks it against `to`, which must be allocated, and copies it there. */
Status exchange_load(const StFile *f, const char *name, Dev *d, Tensor *to);

/* Fails with ST_USAGE and one line: the file, the tensor (its name is foreign text) and why. */
Status exchange_refuse(const StFile *f, const StTensor *t, const char *why);

/* What goes to a file. A zero value is fine. */
typedef struct Outbox {
    int n, room;
    StTensor *tensor;
    char (*name)[EXCHANGE_NAME];
} Outbox;
/* Copies the numbers of `data`, of x's shape, from the device. Fails: ST_OOM. */
Status outbox_add(Outbox *o, const char *name, Dev *d, const Tensor *x, Buf data);
Status outbox_write(const Outbox *o, const char *path, const StMeta *meta, int n_meta);
void outbox_free(Outbox *o);

/* Largest |a - b| over the largest |b|, of a tensor that was put out against the same in a file. */
Status outbox_compare(const StTensor *a, const StFile *f, double *error);

#endif
