/* row.c - names of what a row consists of, and the keys that say which rows are about the same. */
#include "report/row.h"

#include "report/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const level_names[LEVELS + 1] = {"mix", "layer", "model", "kernel", NULL};
const char *const pass_names[PASSES + 1] = {"fwd", "bwd", "train", "prefill", "decode", NULL};
const char *const impl_names[IMPLS + 1] = {"tiled", "naive", NULL};
const char *const roof_names[ROOFS + 1] = {"none", "sgemm", "bandwidth", "start", NULL};
const char *const row_kind_names[ROW_KINDS + 1] = {"run",  "text", "roof",  "check", "case",
                                                   "peer", "ops",  "train", "end",   NULL};
const char *const row_status_names[ROW_STATUSES + 1] = {
    "ok",          "oom",          "oom_predicted", "timeout",       "timeout_predicted",
    "unsupported", "failed_check", "crash",         "skipped_after", "skipped_budget",
    NULL};

static bool is_limit(const Field *f)
{
    return f->offset == offsetof(Case, time_limit) || f->offset == offsetof(Case, mem_limit);
}

void case_key(const Case *c, char *key, size_t size)
{
    size_t used = 0;
    for (const Field *f = case_fields; f->name != NULL; f++) {
        if (is_limit(f))
            continue;
        used += (size_t)snprintf(key + used, size - used, "%s%s=", used > 0 ? " " : "", f->name);
        CHECK(used < size);
        used += (size_t)field_text(f, c, key + used, size - used);
        CHECK(used < size);
    }
}

void row_key(const Row *r, char *key, size_t size)
{
    size_t used = (size_t)snprintf(key, size, "%s ", row_kind_names[r->kind]);
    CHECK(used < size);
    if (r->kind == ROW_RUN)
        used += (size_t)snprintf(key + used, size - used, "%s", r->profile);
    if (r->kind == ROW_TEXT)
        used += (size_t)snprintf(key + used, size - used, "%s %s", r->text_name, r->text_sha256);
    if (r->kind == ROW_TRAIN)
        used += (size_t)snprintf(key + used, size - used, "lr=%.17g steps=%" PRId64 " text=%s ",
                                 r->lr, r->steps, r->text_sha256);
    CHECK(used < size);
    if (r->kind == ROW_CHECK || r->kind == ROW_CASE || r->kind == ROW_PEER || r->kind == ROW_OPS ||
        r->kind == ROW_TRAIN)
        case_key(&r->c, key + used, size - used);
}

void machine_key(const Row *run, char *key, size_t size)
{
    int used = snprintf(key, size, "%s, %s, %d cores%s%s", run->host_cpu, run->isa, run->n_cores,
                        run->gpu.name[0] != '\0' ? ", " : "", run->gpu.name);
    CHECK(used >= 0 && (size_t)used < size);
}
