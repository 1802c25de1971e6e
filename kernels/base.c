/* base.c - the reason of the last failure, one per thread, and the end of a broken promise. */
#include "kernels/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local char reason[512];

Status status_set(Status st, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    return st;
}

const char *status_reason(void)
{
    return reason;
}

const char *status_name(Status st)
{
    static const char *const names[] = {"ok",         "shape",  "unsupported", "out of memory",
                                        "not finite", "device", "io",          "usage"};
    return (unsigned)st < sizeof names / sizeof names[0] ? names[st] : "unknown";
}

void check_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, cond);
    abort();
}
