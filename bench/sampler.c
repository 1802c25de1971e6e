/* sampler.c - see sampler.h. */
#include "bench/sampler.h"

#include "bench/backend.h"
#include "bench/case.h"
#include "bench/check.h"
#include "bench/drag.h"
#include "bench/facts.h"
#include "bench/fault.h"
#include "bench/limits.h"
#include "bench/stage.h"
#include "bench/worker.h"
#include "kernels/build_id.h"
#include "kernels/kernels.h"

#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* One of several copies of the case, in other places of memory. */
typedef struct Seat {
    Dev *dev;
    Stage stage;
    void *pad; /* what moves the buffers */
} Seat;

enum { MAX_SEATS = 16 };
typedef struct Desk {
    Seat seat[MAX_SEATS];
    int n;
    int64_t drag; /* loops after each step */
} Desk;

typedef Status RequestFn(Desk *desk, const json_t *in, json_t *out);

/* ---- the case of a request ---- */
static Status read_case(const json_t *in, Case *c)
{
    enum { ROOM_FOR_LIBRARIES = 1 << 30 };
    char *text = json_dumps(json_object_get(in, "case"), JSON_COMPACT);
    if (text == NULL)
        return FAIL(ST_USAGE, "the request has no case");
    Status st = case_brief_parse(text, strlen(text), c);
    free(text);
    TRY(st);
    if (c->threads > 0)
        omp_set_num_threads(c->threads);
    if (c->mem_limit > 0)
        limits_guard(c->mem_limit + ROOM_FOR_LIBRARIES);
    return ST_OK;
}

static void close_seat(Seat *seat)
{
    stage_close(&seat->stage);
    dev_close(seat->dev);
    free(seat->pad);
    *seat = (Seat){.dev = NULL};
}

static void close_case(Desk *desk)
{
    for (int i = 0; i < desk->n; i++)
        close_seat(&desk->seat[i]);
    desk->n = 0;
}

/* The case once more, behind a block of `shift` bytes; *seconds: of its first step. */
static Status open_seat(Seat *seat, const Case *c, size_t shift, double *seconds)
{
    seat->pad = malloc(shift + 1);
    if (seat->pad == NULL)
        return FAIL(ST_OOM, "no memory to shift buffers by %zu", shift);
    TRY(backend_open(&seat->dev, c, (size_t)c->mem_limit));
    TRY(stage_open(&seat->stage, seat->dev, c));
    TRY(stage_run(&seat->stage, 1, seconds));
    return stage_check_finite(&seat->stage);
}

/* ---- requests ---- */
static Status hello(Desk *desk, const json_t *in, json_t *out)
{
    Dev *d = NULL;
    (void)desk, (void)in;
    TRY(dev_open(&d, "cpu", 0, 0));
    json_object_set_new(out, "isa", json_string(dev_kernels(d)->isa));
    dev_close(d);
    json_object_set_new(out, "protocol", json_integer(SAMPLER_PROTOCOL));
    json_object_set_new(out, "build", json_string(longmix_build_id));
    json_object_set_new(out, "commit", json_string(longmix_git_commit));
    json_object_set_new(out, "compiler", json_string(longmix_compiler));
    return ST_OK;
}

/* As many copies as are wanted, while they are small together. */
static Status open_case(Desk *desk, const json_t *in, json_t *out)
{
    static const int64_t SMALL = INT64_C(256) << 20; /* bytes */
    Case c;
    double seconds = 0, first = 0, drag = json_number_value(json_object_get(in, "drag"));
    const json_t *shift = json_object_get(in, "shift");
    size_t wanted = json_array_size(shift);
    int64_t used = 0;
    close_case(desk);
    TRY(read_case(in, &c));
    TRY(fault_strike(fault_of(&c)));
    for (size_t i = 0; i == 0 || (i < wanted && i < MAX_SEATS && used < SMALL); i++) {
        Seat *seat = &desk->seat[desk->n++];
        TRY(open_seat(seat, &c, (size_t)json_integer_value(json_array_get(shift, i)), &seconds));
        used += (int64_t)dev_mem(seat->dev).live_counted;
        first = i == 0 ? seconds : first;
    }
    TRY(drag_calibrate(&desk->seat[0].stage, drag, &desk->drag));
    json_object_set_new(out, "seconds", json_real(first));
    json_object_set_new(out, "seats", json_integer(desk->n));
    json_object_set_new(out, "unit", json_integer(stage_unit(&desk->seat[0].stage)));
    return ST_OK;
}

static int64_t interruptions(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? use.ru_nivcsw : 0;
}

/* The caches are the other side's, or still ours where the order of sides turns: a few steps that
 * do not count make that no matter. */
static Status time_steps(Desk *desk, const json_t *in, json_t *out)
{
    enum { WARM_PART = 1 };
    json_int_t steps = json_integer_value(json_object_get(in, "steps"));
    json_int_t at = json_integer_value(json_object_get(in, "seat"));
    int warm = (int)ceil_div(steps, WARM_PART);
    double seconds = 0, extra = 0;
    if (at < 0 || at >= desk->n || steps < 1 || steps > 1 << 24)
        return FAIL(ST_USAGE, "no case is open at %lld, or %lld steps", (long long)at,
                    (long long)steps);
    Stage *stage = &desk->seat[at].stage;
    TRY(stage_run(stage, warm, &seconds));
    int64_t before = interruptions();
    TRY(stage_run(stage, (int)steps, &seconds));
    if (desk->drag > 0)
        extra = drag_work(desk->drag * (int64_t)steps);
    json_object_set_new(out, "seconds", json_real(seconds + extra));
    json_object_set_new(out, "switches", json_integer(interruptions() - before));
    return ST_OK;
}

static Status tell_facts(Desk *desk, const json_t *in, json_t *out)
{
    Case c;
    Facts facts = {.n = 0};
    close_case(desk);
    TRY(read_case(in, &c));
    TRY(facts_predict(&c, &facts));
    if (json_is_true(json_object_get(in, "run")))
        TRY(facts_run(&c, &facts));
    if (json_is_true(json_object_get(in, "instructions")))
        TRY(facts_instructions(&c, &facts));
    json_object_set_new(out, "facts", facts_json(&facts));
    return ST_OK;
}

static Status check(Desk *desk, const json_t *in, json_t *out)
{
    Case c;
    Row row;
    close_case(desk);
    TRY(read_case(in, &c));
    check_run(&c, &row);
    json_object_set_new(out, "error", json_real(row.error));
    json_object_set_new(out, "tolerance", json_real(row.tolerance));
    json_object_set_new(out, "status", json_string(row_status_names[row.status]));
    json_object_set_new(out, "reason", json_string(row.reason));
    return ST_OK;
}

static const struct {
    const char *word;
    RequestFn *fn;
} requests[] = {{"hello", hello},
                {"open", open_case},
                {"time", time_steps},
                {"facts", tell_facts},
                {"check", check}};

/* ---- the line ---- */
static Status answer(Desk *desk, const char *line, json_t *out)
{
    size_t word = strcspn(line, " ");
    json_t *in = json_loads(line + word, 0, NULL);
    Status st = FAIL(ST_UNSUPPORTED, "this build does not know the request '%.*s'",
                     (int)(word < 40 ? word : 40), line);
    for (int i = 0; i < COUNT(requests); i++)
        if (strncmp(line, requests[i].word, word) == 0 && requests[i].word[word] == '\0')
            st = requests[i].fn(desk, in, out);
    json_decref(in);
    return st;
}

static void set_status(json_t *out, Status st)
{
    Row row = {.kind = ROW_CASE};
    if (json_object_get(out, "status") != NULL)
        return;
    row_fail(&row, st);
    json_object_set_new(out, "status", json_string(row_status_names[row.status]));
    json_object_set_new(out, "reason", json_string(row.reason));
}

static bool serve(Desk *desk, const char *line, FILE *to)
{
    json_t *out = json_object();
    CHECK(out != NULL);
    set_status(out, answer(desk, line, out));
    bool fine = json_dumpf(out, to, JSON_COMPACT | JSON_REAL_PRECISION(17)) == 0;
    json_decref(out);
    return fputc('\n', to) != EOF && fflush(to) == 0 && fine;
}

int sampler_main(int argc, char **argv)
{
    (void)argc, (void)argv;
    Desk desk = {0};
    FILE *out = worker_stdout();
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    bool fine = out != NULL;
    while (fine && (len = getline(&line, &cap, stdin)) > 0) {
        line[len - 1] = '\0';
        fine = serve(&desk, line, out);
    }
    close_case(&desk);
    free(line);
    if (out != NULL)
        fclose(out);
    return fine ? 0 : 2;
}
