/* backend.h - which device a command computes on: --backend, --device and --math. */
#ifndef LONGMIX_BACKEND_H
#define LONGMIX_BACKEND_H

#include "kernels/device.h"
#include "report/row.h"

/* As the command line has them. name "auto": a GPU where there is one, else the processor. */
typedef struct BackendAsk {
    const char *name, *math; /* math NULL: the device's own */
    int device;
    char why[256]; /* no GPU was taken for "auto"; "" otherwise */
} BackendAsk;

/* The three options in the order of a command's keys. Takes the value of one. ST_USAGE with what is
 * allowed: as names auto, cpu, cuda, ref, or a plugin that is there. */
enum { BACKEND_NAME, BACKEND_DEVICE, BACKEND_MATH, BACKEND_OPTIONS };
Status backend_take(BackendAsk *ask, int which, const char *value);

/* Opens it. With "auto" and no GPU: the processor, and ask->why; but a GPU with a number that is
 * not there is a mistake, as it is when it is asked for by name. */
Status backend_choose(Dev **out, BackendAsk *ask, size_t mem_limit);
/* Says that on stderr; to be called once, when all is well. */
void backend_say(const BackendAsk *ask);

/* The device of a case: its backend and dtype, in a worker by the number that backend_pass left. */
Status backend_open(Dev **out, const Case *c, size_t mem_limit);
/* Is its memory that of the process? */
bool backend_is_host(const char *name);
/* For workers that are started from now on. */
void backend_pass(int device);
int backend_passed(void);

/* The machine block of a run: what the device says of itself; zeros on the host. */
Gpu backend_gpu(const Dev *d);
/* Bytes that cases may take: of the device's memory, or of the host's. */
int64_t backend_room(const Gpu *g);

#endif
