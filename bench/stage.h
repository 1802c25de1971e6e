/* stage.h - a case of any level, built and ready to be stepped: a rig, or a kernel's. */
#ifndef LONGMIX_STAGE_H
#define LONGMIX_STAGE_H

#include "bench/kernel_rig.h"

#include <sha2.h>

typedef struct Stage {
    Dev *dev;
    Rig rig;
    KernelRig kernel;
    bool alone; /* a kernel alone, and no rig */
} Stage;

/* A zero or half-built one is fine for stage_close. */
Status stage_open(Stage *s, Dev *d, const Case *c);
void stage_close(Stage *s);

Status stage_run(Stage *s, int steps, double *seconds);
int stage_unit(const Stage *s); /* steps that only together are alike */

Cost stage_cost(const Stage *s);      /* of the last step */
int64_t stage_params(const Stage *s); /* 0 for a kernel */
/* ST_NONFINITE where the last result is not finite; kernels' are not looked at. */
Status stage_check_finite(Stage *s);
/* SHA-256 of the bits that the last step left, as the device stores them. */
Status stage_hash(const Stage *s, char hex[SHA256_DIGEST_STRING_LENGTH]);

#endif
