/* hog.h - other programs that want the cores, made on purpose. */
#ifndef LONGMIX_HOG_H
#define LONGMIX_HOG_H

#include "kernels/base.h"

#include <sys/types.h>

enum { HOG_MAX = 64 };
typedef struct Hog {
    pid_t pid[HOG_MAX];
    int n;
} Hog;

/* On each core that this process may use one that computes for 0.05 to 0.6 s, then rests as long,
 * and so on. They die with this process. */
Status hog_start(Hog *h);
void hog_stop(Hog *h); /* fine if there are none */

#endif
