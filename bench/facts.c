/* facts.c - see facts.h. */
#define _GNU_SOURCE /* syscall */
#include "bench/facts.h"

#include "bench/backend.h"
#include "bench/stage.h"
#include "kernels/kernels.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- without a step ---- */
static void put_memory(const MemUse *m, Facts *out)
{
    facts_number(out, "memory", (double)m->peak_counted);
    for (int tag = 0; tag < MEM_WORK; tag++) {
        char name[32];
        snprintf(name, sizeof name, "memory.%s", mem_tag_names[tag]);
        facts_number(out, name, (double)m->peak[tag]);
    }
}

/* Steps once and forgets how long it took. */
static Status step(Stage *s)
{
    double none = 0;
    return stage_run(s, 1, &none);
}

static Status predict(Stage *s, Dev *d, const Case *c, Facts *out)
{
    TRY(stage_open(s, d, c));
    int64_t before = dev_mem(d).n_allocs;
    dev_mem_reset_peak(d);
    TRY(step(s));
    MemUse use = dev_mem(d);
    Cost cost = stage_cost(s);
    facts_number(out, "flops", cost.flops);
    facts_number(out, "bytes", cost.bytes);
    facts_number(out, "params", (double)stage_params(s));
    facts_number(out, "allocations", (double)(use.n_allocs - before));
    put_memory(&use, out);
    return ST_OK;
}

/* ---- with steps ---- */

static void put_of_isa(Dev *d, const char *name, const char *value, Facts *out)
{
    char full[32];
    snprintf(full, sizeof full, "%s.%s", dev_kernels(d)->isa, name);
    facts_text(out, full, value);
}

static Status run(Stage *s, Dev *d, const Case *c, Facts *out)
{
    char hex[SHA256_DIGEST_STRING_LENGTH], scratch[24];
    TRY(stage_open(s, d, c));
    TRY(step(s));
    TRY(stage_check_finite(s));
    TRY(stage_hash(s, hex));
    int64_t before = dev_mem(d).n_backend;
    TRY(step(s));
    facts_number(out, "later_blocks", (double)(dev_mem(d).n_backend - before));
    snprintf(scratch, sizeof scratch, "%zu", dev_mem(d).peak[MEM_WORK]);
    put_of_isa(d, "scratch", scratch, out);
    put_of_isa(d, "result", hex, out);
    return ST_OK;
}

/* ---- instructions ---- */

/* A counter of this process and the threads it will make; -1: there is none. */
static int open_counter(void)
{
    struct perf_event_attr a = {.type = PERF_TYPE_HARDWARE,
                                .size = sizeof a,
                                .config = PERF_COUNT_HW_INSTRUCTIONS,
                                .exclude_kernel = 1,
                                .exclude_hv = 1,
                                .inherit = 1};
    return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static Status count_steps(Stage *s, int fd, int64_t *count)
{
    int64_t before = 0, after = 0;
    TRY(step(s));
    bool fine = read(fd, &before, sizeof before) == (ssize_t)sizeof before;
    TRY(step(s));
    fine = fine && read(fd, &after, sizeof after) == (ssize_t)sizeof after;
    *count = after - before;
    return fine ? ST_OK : FAIL(ST_IO, "the instruction counter: %s", strerror(errno));
}

static Status count_instructions(Stage *s, Dev *d, const Case *c, Facts *out)
{
    int64_t count = 0;
    int fd = open_counter();
    if (fd < 0)
        return FAIL(ST_UNSUPPORTED, "no instruction counter: %s", strerror(errno));
    Status st = stage_open(s, d, c);
    if (st == ST_OK)
        st = count_steps(s, fd, &count);
    close(fd);
    TRY(st);
    char name[24];
    snprintf(name, sizeof name, "%" PRId64, count);
    put_of_isa(d, "instructions", name, out);
    return ST_OK;
}

/* ---- both ---- */
typedef Status GatherFn(Stage *s, Dev *d, const Case *c, Facts *out);

static Status gather(const Case *c, const char *backend, GatherFn *fn, Facts *out)
{
    Stage s = {.dev = NULL};
    Dev *d = NULL;
    Case own = *c;
    snprintf(own.backend, sizeof own.backend, "%s", backend);
    TRY(backend_open(&d, &own, (size_t)c->mem_limit));
    Status st = fn(&s, d, c, out);
    stage_close(&s);
    dev_close(d);
    return st;
}

Status facts_predict(const Case *c, Facts *out)
{
    return gather(c, "dry", predict, out);
}

Status facts_run(const Case *c, Facts *out)
{
    return gather(c, c->backend, run, out);
}

Status facts_instructions(const Case *c, Facts *out)
{
    return gather(c, c->backend, count_instructions, out);
}
