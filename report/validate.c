/* validate.c - the rules of a journal: what each row must hold, and what must stand before it. */
#include "report/validate.h"

#include "report/files.h"
#include "report/row.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

enum { ERRORS_SHOWN = 10 };

/* ---- one row ---- */

static bool has_owner(const Row *r)
{
    return r->run[0] != '\0' && r->build[0] != '\0' && r->time > 0;
}
static bool has_machine(const Row *r)
{
    return r->host_cpu[0] != '\0' && r->isa[0] != '\0' && r->n_cores >= 1 && r->n_threads >= 1 &&
           r->total_memory > 0 && r->command[0] != '\0' && r->date[0] != '\0';
}
static bool has_text(const Row *r)
{
    return r->text_bytes > 0 && strspn(r->text_sha256, "0123456789abcdef") == 64 &&
           r->text_sha256[64] == '\0';
}
static bool has_entropies(const Row *r)
{
    for (int i = 0; i < COUNT(r->entropy); i++)
        if (!(r->entropy[i] >= 0 && r->entropy[i] <= 8))
            return false;
    return isnan(r->xz_bpb) || r->xz_bpb > 0;
}
static bool has_roof(const Row *r)
{
    return r->sgemm_own > 0 || r->sgemm_blas > 0;
}
static bool has_case(const Row *r)
{
    const Case *c = &r->c;
    return c->variant[0] != '\0' && c->backend[0] != '\0' && c->dtype[0] != '\0' && c->n >= 1 &&
           c->batch >= 1 && c->width >= 1 && c->heads >= 1 && c->threads >= 1;
}
static bool reason_fits(const Row *r)
{
    return (r->reason[0] == '\0') == (r->status == ROW_OK);
}
static bool error_fits(const Row *r)
{
    return r->status != ROW_OK || r->error <= r->tolerance;
}
static bool has_samples(const Row *r)
{
    const Timing *t = &r->timing;
    for (int i = 0; i < t->n; i++)
        if (!(t->seconds[i] > 0))
            return false;
    return r->status != ROW_OK || (t->n >= 1 && t->inner >= 1 && t->stop_reason[0] != '\0');
}
/* Samples that are there, each once, and why. */
static bool throttle_fits(const Row *r)
{
    const Timing *t = &r->timing;
    for (int i = 0; i < t->n_throttled; i++)
        if (!(t->throttled[i] >= 0 && t->throttled[i] < t->n &&
              (i == 0 || t->throttled[i] > t->throttled[i - 1])))
            return false;
    return t->n_throttled == 0 || t->throttle[0] != '\0';
}
static bool quantiles_fit(const Row *r)
{
    const Timing *t = &r->timing;
    return t->n == 0 || (t->min > 0 && t->min <= t->p20 && t->p20 <= t->median &&
                         t->median <= t->p80 && t->ci_lo <= t->median && t->median <= t->ci_hi);
}
static bool has_work(const Row *r)
{
    return r->status != ROW_OK || (r->tokens >= 1 && r->memory.counted > 0 && r->flops >= 0);
}
/* The fraction is that of the medians, but for kernels, whose pairs are compared one by one. */
static bool roof_fits(const Row *r)
{
    if (r->status != ROW_OK || r->roof == ROOF_NONE)
        return r->status != ROW_OK || r->roof_fraction == 0;
    if (r->c.level == LEVEL_KERNEL)
        return r->roof_rate > 0 && r->fraction_lo > 0 && r->fraction_lo <= r->roof_fraction &&
               r->roof_fraction <= r->fraction_hi;
    double seconds = r->kind == ROW_CASE ? r->timing.median : r->train_seconds / (double)r->steps;
    double work = r->roof == ROOF_SGEMM ? r->flops : r->bytes;
    return r->roof != ROOF_START && r->roof_rate > 0 &&
           fabs(work / seconds / r->roof_rate - r->roof_fraction) <= 1e-6 * r->roof_fraction;
}
static bool has_training(const Row *r)
{
    return r->status != ROW_OK || (r->steps >= 1 && r->train_tokens >= 1 && r->train_seconds > 0 &&
                                   r->valid_bpb > 0 && r->test_bpb > 0);
}
static bool has_ratio(const Row *r)
{
    return r->status != ROW_OK || (r->peer[0] != '\0' && r->peer_seconds > 0 && r->ratio_lo > 0 &&
                                   r->ratio_lo <= r->ratio && r->ratio <= r->ratio_hi);
}
static bool has_ops(const Row *r)
{
    double sum = 0;
    for (int i = 0; i < r->n_ops; i++)
        sum += r->op[i].seconds;
    return r->status != ROW_OK || (r->step_seconds > 0 && r->n_ops > 0 &&
                                   fabs(sum - r->watched_seconds) <= 1e-6 * r->watched_seconds);
}
static bool points_ascend(const Row *r)
{
    for (int i = 1; i < r->n_points; i++)
        if (r->point[i].step <= r->point[i - 1].step || r->point[i].tokens < r->point[i - 1].tokens)
            return false;
    return true;
}

enum {
    ALL = (1 << ROW_KINDS) - 1,
    OF_CASE = 1 << ROW_CHECK | 1 << ROW_CASE | 1 << ROW_PEER | 1 << ROW_OPS | 1 << ROW_TRAIN,
    TIMED = 1 << ROW_CASE | 1 << ROW_TRAIN
};

static const struct {
    unsigned kinds; /* bit k: for rows of kind k */
    bool (*holds)(const Row *r);
    const char *says;
} rules[] = {
    {ALL, has_owner, "run, build or time is missing"},
    {1 << ROW_RUN, has_machine, "a part of the description of the machine is missing"},
    {1 << ROW_TEXT, has_text, "text_bytes is 0, or text_sha256 is not 64 hexadecimal digits"},
    {1 << ROW_TEXT, has_entropies, "an entropy is not between 0 and 8 bits"},
    {1 << ROW_ROOF, has_roof, "no SGEMM rate"},
    {OF_CASE, has_case, "a name in the case is empty, or one of its sizes 0"},
    {OF_CASE, reason_fits, "a reason beside status ok, or none beside another"},
    {1 << ROW_CHECK, error_fits, "status ok with an error above the tolerance"},
    {1 << ROW_CASE, has_samples, "no samples, or one that is not positive"},
    {TIMED, quantiles_fit, "quantiles or interval out of order"},
    {1 << ROW_CASE, has_work, "tokens, memory or flops are missing"},
    {TIMED, roof_fits, "a roof that does not fit its fraction, or a fraction without a roof"},
    {TIMED | 1 << ROW_PEER, throttle_fits, "throttled samples that are not there, or no reason"},
    {1 << ROW_PEER, has_samples, "no samples, or one that is not positive"},
    {1 << ROW_PEER, has_ratio, "no peer, no time of it, or a ratio outside of its interval"},
    {1 << ROW_OPS, has_ops, "no ops, or their times are not the time of a step"},
    {1 << ROW_TRAIN, has_training, "steps, seconds or bits per byte of the training are missing"},
    {1 << ROW_TRAIN, points_ascend, "points out of order"},
};

/* NULL when all is well. */
static const char *broken_rule(const Row *r)
{
    for (int i = 0; i < COUNT(rules); i++)
        if ((rules[i].kinds >> r->kind & 1u) != 0 && !rules[i].holds(r))
            return rules[i].says;
    return NULL;
}

/* ---- rows in their order ---- */

/* What the rows so far have shown; sets of text, as the keys of JSON objects. */
typedef struct Seen {
    json_t *runs;   /* run id -> build and machine */
    json_t *ended;  /* run ids */
    json_t *passed; /* variant, backend, dtype and build of passed checks */
    json_t *points; /* row keys of rows with status ok, with build and machine */
    int64_t n_rows, n_errors;
    FILE *out;
    const char *path;
} Seen;

static void complain(Seen *s, int64_t line, const char *what)
{
    if (s->n_errors++ < ERRORS_SHOWN)
        fprintf(s->out, "%s:%" PRId64 ": %s\n", s->path, line, what);
}

static void add_run(Seen *s, const Row *r, int64_t line)
{
    if (json_object_get(s->runs, r->run) != NULL)
        complain(s, line, "this run id has been used before");
    char machine[ROW_KEY_SIZE];
    machine_key(r, machine, sizeof machine);
    json_object_set_new(s->runs, r->run, json_sprintf("%s on %s", r->build, machine));
}

static void check_run(Seen *s, const Row *r, int64_t line)
{
    const char *owner = json_string_value(json_object_get(s->runs, r->run));
    size_t len = strlen(r->build);
    if (owner == NULL)
        complain(s, line, "no row of kind 'run' before it has its run id");
    else if (strncmp(owner, r->build, len) != 0 || strncmp(owner + len, " on ", 4) != 0)
        complain(s, line, "its build is not that of its run");
    if (json_object_get(s->ended, r->run) != NULL)
        complain(s, line, "its run has ended before");
}

/* What was measured must have been checked; ref is what the others are checked against. */
static void check_verified(Seen *s, const Row *r, int64_t line)
{
    char key[ROW_KEY_SIZE];
    snprintf(key, sizeof key, "%s %s %s %s", r->c.variant, r->c.backend, r->c.dtype, r->build);
    if (r->status != ROW_OK || strcmp(r->c.backend, "ref") == 0)
        return;
    if (r->kind == ROW_CHECK)
        json_object_set_new(s->passed, key, json_true());
    else if (json_object_get(s->passed, key) == NULL)
        complain(s, line,
                 "no passed check of its variant, backend, dtype and build stands before it");
}

/* A point may be tried again after a failure; one that was measured may not be measured twice. */
static void check_unique(Seen *s, const Row *r, int64_t line)
{
    const char *owner = json_string_value(json_object_get(s->runs, r->run));
    char key[2 * ROW_KEY_SIZE], row[ROW_KEY_SIZE];
    row_key(r, row, sizeof row);
    snprintf(key, sizeof key, "%s %s", owner != NULL ? owner : "", row);
    if (json_object_get(s->points, key) != NULL)
        complain(s, line, "this point has been measured before, by the same build and machine");
    if (r->status == ROW_OK)
        json_object_set_new(s->points, key, json_true());
}

static void check_row(Seen *s, const Row *r, int64_t line)
{
    const char *broken = broken_rule(r);
    if (broken != NULL)
        complain(s, line, broken);
    if (r->kind == ROW_RUN)
        add_run(s, r, line);
    check_run(s, r, line);
    if (r->kind == ROW_END)
        json_object_set_new(s->ended, r->run, json_true());
    if ((OF_CASE >> r->kind & 1) != 0)
        check_verified(s, r, line);
    if ((OF_CASE >> r->kind & 1) != 0 && r->kind != ROW_CHECK)
        check_unique(s, r, line);
}

static Status check_line(Seen *s, const Lines *l)
{
    Row row;
    char why[160];
    if (row_parse(l->text, l->len, &row) != ST_OK) {
        snprintf(why, sizeof why, "%s", status_reason());
        return FAIL(ST_USAGE, "%s:%" PRId64 ": %s", l->path, l->number, why);
    }
    s->n_rows++;
    check_row(s, &row, l->number);
    return ST_OK;
}

/* Reads up to the first line that is no row; torn: is there a part of a row at the end, which
 * readers skip? */
static Status check_lines(Seen *s, bool *torn)
{
    Lines l;
    Status st = ST_OK;
    *torn = false;
    TRY(lines_open(&l, s->path));
    while (st == ST_OK && lines_next(&l)) {
        *torn = !l.ended && s->n_rows > 0;
        st = *torn ? ST_OK : check_line(s, &l);
    }
    Status closed = lines_close(&l);
    return st != ST_OK ? st : closed;
}

static void conclude(Seen *s, bool torn)
{
    if (s->n_rows == 0 && s->n_errors == 0)
        complain(s, 1, "there are no rows");
    if (s->n_errors > ERRORS_SHOWN)
        fprintf(s->out, "... and %" PRId64 " more\n", s->n_errors - ERRORS_SHOWN);
    if (s->n_errors == 0)
        fprintf(s->out, "%s: %" PRId64 " rows of schema %d, %zu runs: good%s\n", s->path, s->n_rows,
                ROW_SCHEMA, json_object_size(s->runs),
                torn ? "; a torn row at the end is not counted" : "");
}

Status report_validate(const char *path, FILE *out, bool *good)
{
    Seen s = {.runs = json_object(),
              .ended = json_object(),
              .passed = json_object(),
              .points = json_object(),
              .out = out,
              .path = path};
    bool torn = false;
    Status st = check_lines(&s, &torn);
    if (st == ST_OK)
        conclude(&s, torn);
    *good = st == ST_OK && s.n_errors == 0;
    json_decref(s.runs);
    json_decref(s.ended);
    json_decref(s.passed);
    json_decref(s.points);
    return st;
}
