/* worker.c - see worker.h. */
#include "bench/worker.h"

#include "bench/backend.h"
#include "bench/case.h"
#include "bench/check.h"
#include "bench/fault.h"
#include "bench/limits.h"
#include "bench/op_clock.h"
#include "bench/peer.h"
#include "bench/roof.h"
#include "bench/train.h"
#include "datasets/entropy.h"
#include "kernels/kernels.h"

#include <fcntl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Desk {
    const char *text; /* path, or NULL */
    int64_t tokens;   /* of a training */
} Desk;

typedef void RequestFn(const Desk *desk, const Case *c, Row *row);

/* ---- requests ---- */
/* The machine block: with "auto" cuda where it is, else cpu, and why. */
static Status greet(const Case *c, Row *row)
{
    Dev *d = NULL;
    char about[128];
    BackendAsk ask = {.name = c->backend,
                      .math = c->dtype[0] != '\0' ? c->dtype : NULL,
                      .device = backend_passed()};
    TRY(backend_choose(&d, &ask, 0));
    snprintf(row->cuda, sizeof row->cuda, "%.150s", ask.why);
    dev_describe(d, about, sizeof about);
    if (about[0] != '\0')
        snprintf(row->cuda, sizeof row->cuda, "available: %s", about);
    const char *isa = dev_kernels(d)->isa; /* a GPU's names its math, too, which rows have */
    snprintf(row->isa, sizeof row->isa, "%.*s", (int)strcspn(isa, " "), isa);
    row->gpu = backend_gpu(d);
    dev_close(d);
    return ST_OK;
}

static void hello(const Desk *desk, const Case *c, Row *row)
{
    (void)desk;
    *row = (Row){.kind = ROW_RUN};
    row_fail(row, greet(c, row));
}

static void predict(const Desk *desk, const Case *c, Row *row)
{
    (void)desk;
    case_predict(c, row);
}

static void check(const Desk *desk, const Case *c, Row *row)
{
    (void)desk;
    check_run(c, row);
}

static void roof(const Desk *desk, const Case *c, Row *row)
{
    (void)desk;
    roof_run(c, row);
}

static void measure_case(const Desk *desk, const Case *c, Row *row)
{
    (void)desk;
    Status st = fault_strike(fault_of(c));
    if (st == ST_OK) {
        case_run(c, row);
        return;
    }
    *row = (Row){.kind = ROW_CASE, .c = *c};
    row_fail(row, st);
}

static void watch_ops(const Desk *desk, const Case *c, Row *row)
{
    (void)desk;
    ops_run(c, row);
}

static void meet_peer(const Desk *desk, const Case *c, Row *row)
{
    (void)desk;
    peer_run(c, row);
}

static void train(const Desk *desk, const Case *c, Row *row)
{
    train_row(c, desk->text != NULL ? desk->text : "", desk->tokens, row);
}

static Status describe_text(const Desk *desk, Row *row)
{
    Text t = {0};
    if (desk->text == NULL)
        return FAIL(ST_USAGE, "no text is given");
    TRY(text_load(desk->text, &t));
    const char *slash = strrchr(desk->text, '/');
    snprintf(row->text_name, sizeof row->text_name, "%s", slash != NULL ? slash + 1 : desk->text);
    snprintf(row->text_sha256, sizeof row->text_sha256, "%s", t.sha256);
    row->text_bytes = (int64_t)t.size;
    Status st = entropy_xz(t.data, t.size, &row->xz_bpb);
    for (int order = 0; order <= ENTROPY_MAX_ORDER && st == ST_OK; order++)
        st = entropy_order(t.data, t.size, order, &row->entropy[order]);
    text_free(&t);
    return st;
}

static void text(const Desk *desk, const Case *c, Row *row)
{
    *row = (Row){.kind = ROW_TEXT, .c = *c};
    row_fail(row, describe_text(desk, row));
}

static const struct {
    const char *word;
    RequestFn *fn;
} requests[] = {{"hello", hello},    {"predict", predict},   {"check", check},
                {"roof", roof},      {"case", measure_case}, {"ops", watch_ops},
                {"peer", meet_peer}, {"train", train},       {"text", text}};

/* ---- the line ---- */

FILE *worker_stdout(void)
{
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    return fd >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 ? fdopen(fd, "w") : NULL;
}

static bool serve(const Desk *desk, const char *line, size_t len, FILE *out)
{
    enum { ROOM_FOR_LIBRARIES = 1 << 30 };
    Case c;
    Row row;
    size_t word = strcspn(line, " ");
    int i = 0;
    while (i < COUNT(requests) &&
           (strncmp(line, requests[i].word, word) != 0 || requests[i].word[word] != '\0'))
        i++;
    if (i == COUNT(requests) || word == len ||
        case_parse(line + word + 1, len - word - 1, &c) != ST_OK) {
        fprintf(stderr, "worker: cannot read the request: %s\n", status_reason());
        return false;
    }
    if (c.threads > 0)
        omp_set_num_threads(c.threads);
    if (c.mem_limit > 0 && backend_is_host(c.backend))
        limits_guard(c.mem_limit + ROOM_FOR_LIBRARIES);
    requests[i].fn(desk, &c, &row);
    if (row.status != ROW_OK &&
        (row.kind == ROW_RUN || row.kind == ROW_ROOF || row.kind == ROW_TEXT))
        row.kind = ROW_CASE; /* the others have no place for a reason */
    if (row.kind == ROW_CASE)
        row.c = c;
    char *json = row_json(&row);
    CHECK(json != NULL);
    fprintf(out, "%s\n", json);
    free(json);
    return fflush(out) == 0;
}

int worker_main(int argc, char **argv)
{
    Desk desk = {argc > 1 && argv[1][0] != '\0' ? argv[1] : NULL,
                 argc > 2 ? strtoll(argv[2], NULL, 10) : 0};
    FILE *out = worker_stdout();
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    bool fine = out != NULL;
    while (fine && (len = getline(&line, &cap, stdin)) > 0) {
        line[--len] = '\0';
        fine = serve(&desk, line, (size_t)len, out);
    }
    free(line);
    if (out != NULL)
        fclose(out);
    return fine ? 0 : 2;
}
