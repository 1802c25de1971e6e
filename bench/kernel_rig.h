/* kernel_rig.h - a kernel's case, built and ready to be run: operands, or the whole case that it
 * stands for. */
#ifndef LONGMIX_KERNEL_RIG_H
#define LONGMIX_KERNEL_RIG_H

#include "bench/kernel.h"
#include "bench/rig.h"

enum { KERNEL_MAX_SETS = 16 };

typedef struct KernelRig {
    Case c;
    const Kernel *kernel;
    KernelShape shape;
    KernelPlan plan;
    Dev *dev;
    Timer *timer;
    Buf set[KERNEL_MAX_SETS][KERNEL_MAX_OPERANDS];
    int n_sets;   /* calls take them in turn */
    int64_t step; /* calls done */
    Rig *whole;   /* instead of all that; NULL: a kernel alone */
    bool flushes; /* the device empties its cache before each call */
    int64_t flushed;
} KernelRig;

/* With one set of operands. A zero or half-built one is fine for kernel_rig_free. */
Status kernel_rig_init(KernelRig *r, Dev *d, const Case *c);
void kernel_rig_free(KernelRig *r);
/* As many sets as exceed twice a cache of so many bytes, if the kernel wants to be cold; or a GPU
 * empties its cache before each call. */
Status kernel_rig_rotate(KernelRig *r, int64_t cache);
int64_t kernel_rig_rotated(const KernelRig *r); /* bytes; 0: one set */
int64_t kernel_rig_flushed(const KernelRig *r); /* bytes written before each call; 0: not */

Status kernel_rig_run(void *rig, int calls, double *seconds);
Cost kernel_rig_cost(const KernelRig *r); /* of one call */
int64_t kernel_rig_tokens(const KernelRig *r);

#endif
