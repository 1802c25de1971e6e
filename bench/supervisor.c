/* supervisor.c - the order of things in a run; see supervisor.h. */
#include "bench/supervisor.h"

#include "bench/backend.h"
#include "bench/check.h"
#include "bench/fit.h"
#include "bench/limits.h"
#include "bench/machine.h"
#include "bench/outline.h"
#include "bench/past.h"
#include "bench/peer.h"
#include "bench/run.h"
#include "bench/train.h"
#include "report/results.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Seconds that a request may take; cases and trainings have their own limits. */
static const double HELLO = 60, PREDICT = 60, ROOF = 120, TEXT_LIMIT = 300;

/* ---- before anything is written ---- */

/* A case that asks about the device alone. */
static Case device_case(const Sweep *s)
{
    Case c = {.threads = s->threads, .mem_limit = s->mem_limit};
    snprintf(c.variant, sizeof c.variant, "none");
    memcpy(c.dtype, s->math, sizeof c.dtype);
    memcpy(c.backend, s->backend, sizeof c.backend);
    return c;
}

/* Without it there are rows all the same, with guesses for predictions and no fraction of the roof.
 */
static Status measure_roof(Run *r)
{
    const double guess = 1e10; /* flop/s and bytes/s */
    Case c = device_case(&r->sweep);
    if (r->plan.rates.flops > 0)
        return ST_OK; /* it was */
    snprintf(c.dtype, sizeof c.dtype, "%s", sweep_dtype(&r->sweep));
    TRY(run_ask(r, "roof", &c, ROOF, "measuring the machine's own speed", &r->roof_row));
    const Row *row = &r->roof_row;
    if (row->status != ROW_OK)
        progress_say(&r->session.progress, "the machine's speed is unknown: %s", row->reason);
    r->roof = (Rates){fmax(row->sgemm_own, row->sgemm_blas), row->read_bandwidth};
    r->plan.rates.flops = r->roof.flops > 0 ? r->roof.flops : guess;
    r->plan.rates.bytes = r->roof.bytes > 0 ? r->roof.bytes : guess;
    return ST_OK;
}

/* What takes the place of a sweep on a GPU, and sizes that follow the device. */
static Status settle_sizes(Run *r, const Sweep *on_gpu)
{
    Sweep *s = &r->sweep;
    if (on_gpu != NULL && r->run_row.gpu.name[0] != '\0') {
        Sweep plain = *s;
        *s = *on_gpu;
        memcpy(s->backend, plain.backend, sizeof s->backend);
        memcpy(s->math, plain.math, sizeof s->math);
        s->threads = plain.threads;
        s->mem_limit = plain.mem_limit;
        session_tokens(&r->session, s->training.tokens);
    }
    memcpy(r->run_row.profile, s->profile, sizeof s->profile);
    if (s->fits == 0)
        return ST_OK;
    TRY(measure_roof(r));
    fit_sweep(&(FitTo){s->mem_limit, r->roof.flops}, s);
    return sweep_check(s);
}

/* Threads, memory, instruction set and backend, as they are here. */
static Status settle(Run *r, const Sweep *on_gpu, int argc, char *const argv[])
{
    Sweep *s = &r->sweep;
    Row hello;
    if (s->threads == 0)
        s->threads = limits_threads();
    Case c = device_case(s);
    machine_row(argc, argv, s->threads, &r->run_row);
    TRY(run_ask(r, "hello", &c, HELLO, "looking at the machine", &hello));
    if (hello.status != ROW_OK)
        return FAIL(ST_DEVICE, "%s", hello.reason);
    if (strcmp(s->backend, "auto") == 0)
        snprintf(s->backend, sizeof s->backend, "%s", hello.gpu.name[0] != '\0' ? "cuda" : "cpu");
    else if (hello.cuda[0] == '\0')
        snprintf(hello.cuda, sizeof hello.cuda, "not asked for: --backend %s", s->backend);
    if (s->math[0] == '\0')
        memcpy(s->math, hello.gpu.math, sizeof s->math);
    if (s->mem_limit == 0)
        s->mem_limit = backend_room(&hello.gpu);
    r->run_row.gpu = hello.gpu;
    memcpy(r->run_row.isa, hello.isa, sizeof hello.isa);
    memcpy(r->run_row.cuda, hello.cuda, sizeof hello.cuda);
    memcpy(r->session.run, r->run_row.run, sizeof r->session.run);
    return settle_sizes(r, on_gpu);
}

static Job *jobs_of(const SweepCase *cases, int n)
{
    Job *job = calloc((size_t)n + 1, sizeof *job);
    CHECK(job != NULL);
    for (int i = 0; i < n; i++) {
        job[i].c = cases[i].c;
        job[i].must = cases[i].must;
        job[i].watch = cases[i].watch;
    }
    return job;
}

static Status make_jobs(Run *r)
{
    SweepCase *cases = NULL;
    Status st = sweep_cases(&r->sweep, &cases, &r->plan.n);
    if (st == ST_OK)
        r->plan.job = jobs_of(cases, r->plan.n);
    free(cases);
    cases = NULL;
    if (st == ST_OK)
        st = sweep_trainings(&r->sweep, &cases, &r->n_trainings);
    if (st == ST_OK)
        r->training = jobs_of(cases, r->n_trainings);
    free(cases);
    r->plan.budget = r->sweep.budget;
    if (st == ST_OK && r->plan.n + r->n_trainings == 0 && r->sweep.peer[0] == '\0')
        st = FAIL(ST_USAGE, "nothing of this profile is left to measure with these variants");
    return st;
}

void run_settle(const Run *r, Job *j, const PastRow *past)
{
    if (past == NULL || !past_holds(past, &j->c))
        return;
    Case check = check_case(&past->c);
    if (past->status == ROW_FAILED_CHECK && strcmp(past->c.backend, "ref") != 0 &&
        past_check(&r->past, &check) == NULL)
        return; /* the check could not be made: it is tried again */
    j->done = true;
    j->status = past->status;
    j->seconds = past->seconds;
}

static Status recall(Run *r)
{
    Row like = {.kind = ROW_CASE};
    TRY(past_read(r->sweep.out, &r->run_row, &r->past));
    for (int i = 0; i < r->plan.n; i++) {
        like.c = r->plan.job[i].c;
        run_settle(r, &r->plan.job[i], past_find(&r->past, &like));
    }
    for (int i = 0; i < r->plan.n; i++) {
        Job *j = &r->plan.job[i];
        if (j->done && j->status == ROW_SKIPPED_AFTER &&
            plan_verdict(&r->plan, j, 0).status != ROW_SKIPPED_AFTER)
            j->done = false; /* what it came after is tried again */
    }
    return ST_OK;
}

/* Which text it is. The past of another one does not count. */
static Status identify_text(Run *r)
{
    Text t;
    if (r->n_trainings == 0)
        return ST_OK;
    TRY(text_load(r->sweep.data, &t));
    memcpy(r->text.text_sha256, t.sha256, sizeof t.sha256);
    r->test_bytes = (int64_t)text_split(&t, TEXT_TEST).size;
    text_free(&t);
    return run_recall_trainings(r);
}

/* The dry run of every point: memory and work, or why it cannot be. */
static Status predict_all(Run *r)
{
    Row row;
    for (int i = 0; i < r->plan.n; i++) {
        Job *j = &r->plan.job[i];
        r->session.state.done = i;
        r->session.state.total = r->plan.n;
        TRY(run_ask(r, "predict", &j->c, PREDICT, "predicting", &row));
        j->flops = row.flops;
        j->bytes = row.bytes;
        j->predicted = row.predicted;
        j->params = row.params;
        j->tokens = row.tokens;
        if (row.status == ROW_OK || j->done)
            continue;
        j->fixed = true;
        j->status = row.status;
        memcpy(j->reason, row.reason, sizeof j->reason);
    }
    r->session.state.total = 0; /* nothing to count until the cases begin */
    return ST_OK;
}

static Status prepare(Run *r, const Sweep *on_gpu, int argc, char *const argv[])
{
    TRY(settle(r, on_gpu, argc, argv));
    TRY(make_jobs(r));
    if (!r->sweep.dry_run)
        TRY(journal_open(&r->session.journal, r->sweep.out, r->sweep.fresh));
    if (!r->sweep.fresh)
        TRY(recall(r));
    TRY(identify_text(r));
    if (r->sweep.no_text)
        progress_say(&r->session.progress,
                     "no text at %s, so no trainings: `make text`, or --data FILE",
                     train_default_text);
    int64_t cut = r->session.journal != NULL ? journal_cut(r->session.journal) : 0;
    if (cut > 0)
        progress_say(&r->session.progress, "%s: a torn last line of %" PRId64 " bytes was cut off",
                     r->sweep.out, cut);
    return predict_all(r);
}

/* ---- the run ---- */
static Status write_beginning(Run *r)
{
    Row text;
    TRY(session_append(&r->session, &r->run_row));
    TRY(measure_roof(r));
    if (r->roof_row.kind == ROW_ROOF)
        TRY(session_append(&r->session, &r->roof_row));
    if (r->n_trainings == 0 || past_has_text(&r->past, r->text.text_sha256))
        return ST_OK;
    TRY(run_ask(r, "text", &r->training[0].c, TEXT_LIMIT, "counting the text's entropies", &text));
    if (text.status != ROW_OK)
        return FAIL(ST_IO, "%s", text.reason);
    return session_append(&r->session, &text);
}

static bool all_done(const Run *r)
{
    bool done = !r->sweep.profile_ops && r->sweep.peer[0] == '\0';
    for (int i = 0; i < r->plan.n; i++)
        done = done && r->plan.job[i].done;
    for (int i = 0; i < r->n_trainings; i++)
        done = done && r->training[i].done;
    return done;
}

static int bad_rows(const Run *r)
{
    int bad = 0;
    for (int i = 0; i < r->plan.n + r->n_trainings; i++) {
        const Job *j = i < r->plan.n ? &r->plan.job[i] : &r->training[i - r->plan.n];
        bad += j->done && (j->status == ROW_FAILED_CHECK || j->status == ROW_CRASH);
    }
    return bad;
}

static void summarise(Run *r)
{
    char line[256], time[24];
    size_t used = 0;
    int n = 0;
    line[0] = '\0';
    for (int i = 0; i < ROW_STATUSES; i++) {
        if (r->session.count[i] > 0)
            used += (size_t)snprintf(line + used, sizeof line - used, ", %d %s",
                                     r->session.count[i], row_status_names[i]);
        n += r->session.count[i];
    }
    human_seconds(session_elapsed(&r->session), time, sizeof time);
    progress_say(&r->session.progress, "%s: %d rows in %s%s", r->sweep.out, n, time, line);
}

static Status measure_all(Run *r)
{
    Row end = {.kind = ROW_END};
    TRY(write_beginning(r));
    plan_predict(&r->plan);
    plan_sort(&r->plan);
    TRY(run_cases(r));
    TRY(run_ops(r));
    TRY(run_trainings(r));
    TRY(run_peers(r));
    TRY(session_append(&r->session, &end));
    summarise(r);
    fflush(stderr);
    return report_kernels(r->sweep.out, r->sweep.profile_ops, stdout);
}

static Status show_plan(Run *r)
{
    TRY(measure_roof(r));
    plan_predict(&r->plan);
    plan_sort(&r->plan);
    progress_clear(&r->session.progress);
    outline_print(&r->plan, r->n_trainings, stdout);
    return ST_OK;
}

static Status run(Run *r, const Sweep *on_gpu, int argc, char *const argv[])
{
    TRY(prepare(r, on_gpu, argc, argv));
    if (r->sweep.dry_run || !r->past.ended || !all_done(r))
        progress_say(&r->session.progress, "backend %s, products in %s (cuda: %s)",
                     r->sweep.backend, sweep_dtype(&r->sweep), r->run_row.cuda);
    if (r->sweep.dry_run)
        return show_plan(r);
    if (!r->past.ended || !all_done(r))
        return measure_all(r);
    progress_say(&r->session.progress, "%s: holds all %d rows already; --fresh measures them again",
                 r->sweep.out, r->plan.n + r->n_trainings);
    return report_kernels(r->sweep.out, r->sweep.profile_ops, stdout);
}

static int exit_code(const Run *r, Status st, int signal)
{
    if (signal != 0) {
        fprintf(stderr,
                "stopped; the rows so far are in %s, and the same command goes on from there\n",
                r->sweep.out);
        return EXIT_SIGNAL + signal;
    }
    if (st != ST_OK) {
        fprintf(stderr, "longmix bench: %s\n", status_reason());
        return EXIT_TROUBLE;
    }
    return bad_rows(r) > 0 ? EXIT_BAD_ROWS : EXIT_FINE;
}

int supervise(const Sweep *s, const Sweep *on_gpu, int argc, char *const argv[])
{
    Run r = {.sweep = *s};
    limits_unpin();
    backend_pass(s->device);
    if (s->peer[0] != '\0')
        setenv("LONGMIX_PEER", s->peer, 1);
    Status st = session_open(&r.session, s->data[0] != '\0' ? s->data : NULL, s->training.tokens);
    if (st == ST_OK)
        st = run(&r, on_gpu, argc, argv);
    int stopped_by = r.session.stopped_by;
    session_close(&r.session);
    int code = exit_code(&r, st, stopped_by);
    past_free(&r.past);
    free(r.plan.job);
    free(r.training);
    free(r.check);
    return code;
}
