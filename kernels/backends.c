/* backends.c - the backends that are built in. */
#include "kernels/device.h"

extern const Backend backend_ref, backend_dry, backend_cpu;

const Backend *const backend_table[] = {&backend_ref, &backend_dry, &backend_cpu, NULL};
