/* past.c - see past.h. */
#include "bench/past.h"

#include "report/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- which rows count ---- */
static bool known_run(const Past *p, const char *run)
{
    for (int i = p->n_runs - 1; i >= 0; i--)
        if (strcmp(p->runs[i], run) == 0)
            return true;
    return false;
}

static void note_run(Past *p, const Row *r)
{
    char machine[ROW_KEY_SIZE];
    machine_key(r, machine, sizeof machine);
    if (strcmp(machine, p->machine) != 0 || strcmp(r->build, p->build) != 0)
        return;
    p->ended = false;
    p->runs = realloc(p->runs, (size_t)(p->n_runs + 1) * sizeof *p->runs);
    CHECK(p->runs != NULL);
    memcpy(p->runs[p->n_runs++], r->run, sizeof r->run);
}

/* FNV-1a. */
static uint64_t hash_of(const char *key)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *key != '\0'; key++)
        h = (h ^ (unsigned char)*key) * UINT64_C(1099511628211);
    return h;
}

static PastRow *with_key(const Past *p, const char *key)
{
    uint64_t hash = hash_of(key);
    for (int i = 0; i < p->n; i++)
        if (p->row[i].hash == hash && strcmp(p->row[i].key, key) == 0)
            return &p->row[i];
    return NULL;
}

static PastRow *place_for(Past *p, const char *key)
{
    PastRow *old = with_key(p, key);
    if (old != NULL)
        return old;
    if (p->n == p->cap) {
        p->cap = p->cap > 0 ? 2 * p->cap : 256;
        p->row = realloc(p->row, (size_t)p->cap * sizeof *p->row);
        CHECK(p->row != NULL);
    }
    PastRow *r = &p->row[p->n++];
    *r = (PastRow){.key = strdup(key), .hash = hash_of(key)};
    CHECK(r->key != NULL);
    return r;
}

static Status take(const Row *r, void *past)
{
    Past *p = past;
    char key[ROW_KEY_SIZE];
    if (r->kind == ROW_RUN)
        note_run(p, r);
    if (!known_run(p, r->run))
        return ST_OK;
    p->ended = r->kind == ROW_END;
    if (r->kind == ROW_RUN || r->kind == ROW_ROOF || r->kind == ROW_END)
        return ST_OK;
    row_key(r, key, sizeof key);
    PastRow *to = place_for(p, key);
    to->kind = r->kind;
    to->status = r->status;
    memcpy(to->reason, r->reason, sizeof to->reason);
    to->c = r->c;
    to->seconds = r->timing.p20;
    to->counted = r->predicted.counted;
    to->train_tokens = r->train_tokens;
    memcpy(to->text_sha256, r->text_sha256, sizeof to->text_sha256);
    return ST_OK;
}

Status past_read(const char *path, const Row *run, Past *out)
{
    *out = (Past){0};
    machine_key(run, out->machine, sizeof out->machine);
    memcpy(out->build, run->build, sizeof out->build);
    return access(path, F_OK) == 0 ? journal_read(path, take, out) : ST_OK;
}

void past_free(Past *p)
{
    for (int i = 0; i < p->n; i++)
        free(p->row[i].key);
    free(p->row);
    free(p->runs);
    *p = (Past){0};
}

/* ---- asking ---- */
const PastRow *past_find(const Past *p, const Row *like)
{
    char key[ROW_KEY_SIZE];
    row_key(like, key, sizeof key);
    return with_key(p, key);
}

const PastRow *past_check(const Past *p, const Case *check)
{
    const PastRow *r = past_find(p, &(Row){.kind = ROW_CHECK, .c = *check});
    return r != NULL && (r->status == ROW_OK || r->status == ROW_FAILED_CHECK) ? r : NULL;
}

bool past_holds(const PastRow *r, const Case *now)
{
    const double more = 1.05; /* free memory is never twice the same */
    bool time = now->time_limit > more * r->c.time_limit;
    bool memory = (double)now->mem_limit > more * (double)r->c.mem_limit;
    switch (r->status) {
    case ROW_CRASH:
    case ROW_SKIPPED_BUDGET:
        return false;
    case ROW_TIMEOUT:
    case ROW_TIMEOUT_PREDICTED:
        return !time;
    case ROW_OOM:
        return !memory;
    case ROW_OOM_PREDICTED:
        return r->counted > now->mem_limit;
    case ROW_SKIPPED_AFTER:
        return !time && !memory;
    default:
        return true;
    }
}

const PastRow *past_training(const Past *p, const Row *like, int64_t lo, int64_t hi)
{
    char key[ROW_KEY_SIZE], other[ROW_KEY_SIZE];
    case_key(&like->c, key, sizeof key);
    for (int i = p->n - 1; i >= 0; i--) {
        const PastRow *r = &p->row[i];
        if (r->kind != ROW_TRAIN || r->train_tokens < lo || r->train_tokens > hi ||
            strcmp(r->text_sha256, like->text_sha256) != 0)
            continue;
        case_key(&r->c, other, sizeof other);
        if (strcmp(key, other) == 0)
            return r;
    }
    return NULL;
}

bool past_has_text(const Past *p, const char *sha256)
{
    for (int i = 0; i < p->n; i++)
        if (p->row[i].kind == ROW_TEXT && strcmp(p->row[i].text_sha256, sha256) == 0)
            return true;
    return false;
}
