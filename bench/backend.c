/* backend.c - see backend.h. */
#include "bench/backend.h"

#include "bench/limits.h"
#include "bench/parse.h"
#include "kernels/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"auto", "cpu", "cuda", "ref", NULL};
static const char *const maths[] = {"f32", "tf32", "bf16", NULL};
static const char PASSED[] = "LONGMIX_DEVICE"; /* environment */

/* ---- the command line ---- */
Status backend_take(BackendAsk *ask, int which, const char *value)
{
    enum { LONGEST = sizeof((Case *)0)->backend - 1 };
    int i = 0;
    switch (which) {
    case BACKEND_NAME:
        ask->name = value;
        return strlen(value) <= LONGEST && plugin_there(value)
                   ? ST_OK
                   : parse_name(value, "backend", names, &i);
    case BACKEND_MATH:
        ask->math = value;
        return parse_name(value, "math", maths, &i);
    default:
        return parse_int(value, "--device", 0, 1023, &ask->device);
    }
}

/* ---- opening ---- */
static Status open_named(Dev **out, const char *name, const BackendAsk *ask, size_t mem_limit)
{
    return dev_open_as(out, &(DevSpec){name, ask->device, ask->math, mem_limit});
}

Status backend_choose(Dev **out, BackendAsk *ask, size_t mem_limit)
{
    ask->why[0] = '\0';
    if (strcmp(ask->name, "auto") != 0)
        return open_named(out, ask->name, ask, mem_limit);
    Status st = open_named(out, "cuda", ask, mem_limit);
    if (st != ST_DEVICE || ask->device != 0)
        return st;
    snprintf(ask->why, sizeof ask->why, "%s", status_reason());
    return open_named(out, "cpu", ask, mem_limit);
}

void backend_say(const BackendAsk *ask)
{
    if (ask->why[0] != '\0')
        fprintf(stderr, "backend cpu (cuda: %s)\n", ask->why);
}

Status backend_open(Dev **out, const Case *c, size_t mem_limit)
{
    const char *math = c->dtype[0] != '\0' ? c->dtype : NULL;
    return dev_open_as(out, &(DevSpec){c->backend, backend_passed(), math, mem_limit});
}

bool backend_is_host(const char *name)
{
    return strcmp(name, "cpu") == 0 || strcmp(name, "ref") == 0;
}

void backend_pass(int device)
{
    char number[16];
    snprintf(number, sizeof number, "%d", device);
    setenv(PASSED, number, 1);
}

int backend_passed(void)
{
    const char *text = getenv(PASSED);
    return text != NULL ? atoi(text) : 0;
}

/* ---- what it is ---- */
Gpu backend_gpu(const Dev *d)
{
    DevAbout a;
    Gpu g = {.device = 0};
    dev_about(d, &a);
    if (a.name[0] == '\0')
        return g;
    memcpy(g.name, a.name, sizeof g.name);
    memcpy(g.driver, a.driver, sizeof g.driver);
    memcpy(g.ecc, a.ecc, sizeof g.ecc);
    snprintf(g.math, sizeof g.math, "%s", dev_math(d));
    strain_words(dev_strain(d), g.throttle, sizeof g.throttle);
    g.device = backend_passed();
    g.memory = a.memory;
    g.free = a.free;
    g.cache = a.cache;
    g.clock = a.clock;
    g.memory_clock = a.memory_clock;
    return g;
}

int64_t backend_room(const Gpu *g)
{
    return g->name[0] != '\0' ? g->free / 10 * 9 : limits_free_memory() / 5 * 4;
}
