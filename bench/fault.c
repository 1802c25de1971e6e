/* fault.c - see fault.h. */
#include "bench/fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Fault fault_of(const Case *c)
{
    static const char *const kinds[] = {"none", "abort", "spin", "bomb", "nan"};
    const char *want = getenv("LONGMIX_FAULT");
    for (int i = 1; want != NULL && i < COUNT(kinds); i++) {
        char here[96];
        snprintf(here, sizeof here, "%s:%" PRId64 ":%s", c->variant, c->n, kinds[i]);
        if (strcmp(here, want) == 0)
            return (Fault)i;
    }
    return FAULT_NONE;
}

static Status bomb(void)
{
    const size_t piece = (size_t)16 << 20;
    for (size_t n = 0;; n += piece) {
        char *p = malloc(piece);
        if (p == NULL)
            return FAIL(ST_OOM, "no memory beyond %zu MiB", n >> 20);
        memset(p, 1, piece); /* never given back: the worker is replaced */
    }
}

Status fault_strike(Fault f)
{
    if (f == FAULT_ABORT)
        abort();
    while (f == FAULT_SPIN)
        sleep(1);
    return f == FAULT_BOMB ? bomb() : ST_OK;
}
