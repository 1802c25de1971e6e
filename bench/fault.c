/* fault.c - see fault.h. */
#include "bench/fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Fault fault_of(const Case *c)
{
    static const char *const kinds[] = {"none", "abort", "spin", "bomb", "nan", "wrong"};
    const char *want = getenv("LONGMIX_FAULT");
    for (int i = 1; want != NULL && i < COUNT(kinds); i++) {
        char here[96];
        snprintf(here, sizeof here, "%s:%" PRId64 ":%s", c->variant, c->n, kinds[i]);
        if (strcmp(here, want) == 0)
            return (Fault)i;
    }
    return FAULT_NONE;
}

/* Blocks in a chain, each beginning with the address of the one before. */
static Status bomb(void)
{
    const size_t piece = (size_t)16 << 20;
    void *last = NULL, *p;
    size_t taken = 0;
    while ((p = malloc(piece)) != NULL) {
        memset(p, 1, piece);
        memcpy(p, &last, sizeof last);
        last = p;
        taken += piece;
    }
    while (last != NULL) {
        memcpy(&p, last, sizeof p);
        free(last);
        last = p;
    }
    return FAIL(ST_OOM, "no memory beyond %zu MiB", taken >> 20);
}

Status fault_strike(Fault f)
{
    if (f == FAULT_ABORT)
        abort();
    if (f == FAULT_SPIN)
        for (;;)
            pause();
    return f == FAULT_BOMB ? bomb() : ST_OK;
}
