/* run.c - see run.h. */
#include "bench/run.h"
#include "bench/clock.h"

#include "bench/check.h"
#include "bench/peer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double CHECK_LIMIT = 120, PEER_LIMIT = 200; /* seconds */

Status run_ask(Run *r, const char *word, const Case *c, double limit, const char *what, Row *row)
{
    Status st;
    if (session_ask(&r->session, word, c, limit, what, row, &st))
        return ST_OK;
    return st != ST_OK ? st : FAIL(ST_DEVICE, "stopped");
}

/* When a worker that is late is killed. Setting up is not part of the case's own limit. */
static double patience(const Job *j)
{
    double setup =
        (double)j->predicted.param + (double)j->predicted.state + (double)j->predicted.input;
    return 1.5 * j->c.time_limit + 5 + setup / 2.5e8;
}

double run_time_left(const Run *r)
{
    const Sweep *s = &r->sweep;
    if (s->budget <= 0 || s->training.budget <= 0)
        return (double)INFINITY;
    return s->budget + s->training.budget - session_elapsed(&r->session);
}

Status run_ask_in_time(Run *r, const char *word, const Job *j, const char *what, Row *row)
{
    double limit = patience(j), left = fmax(1.0, run_time_left(r));
    TRY(run_ask(r, word, &j->c, fmin(limit, left), what, row));
    if (row->status == ROW_TIMEOUT && left < limit) {
        row->status = ROW_SKIPPED_BUDGET;
        snprintf(row->reason, sizeof row->reason, "cut off after %.3g s, the end of the run's time",
                 left);
    }
    return ST_OK;
}

/* ---- checks ---- */
static Row *known_check(Run *r, const Row *like)
{
    char key[ROW_KEY_SIZE], other[ROW_KEY_SIZE];
    row_key(like, key, sizeof key);
    for (int i = 0; i < r->n_checks; i++) {
        row_key(&r->check[i], other, sizeof other);
        if (strcmp(key, other) == 0)
            return &r->check[i];
    }
    return NULL;
}

static Row *keep_check(Run *r, const Row *row)
{
    r->check = realloc(r->check, (size_t)(r->n_checks + 1) * sizeof *r->check);
    CHECK(r->check != NULL);
    r->check[r->n_checks] = *row;
    return &r->check[r->n_checks++];
}

static Status make_check(Run *r, Row *row)
{
    char what[64];
    Case c = row->c;
    const PastRow *past = past_check(&r->past, &c);
    if (past != NULL) {
        row->status = past->status;
        memcpy(row->reason, past->reason, sizeof row->reason);
        return ST_OK;
    }
    snprintf(what, sizeof what, "checking %s against ref", c.variant);
    TRY(run_ask(r, "check", &c, CHECK_LIMIT, what, row));
    row->kind = ROW_CHECK;
    row->c = c;
    return session_append(&r->session, row);
}

Status run_checked(Run *r, const Case *c, RowStatus *status, char *reason, size_t size)
{
    Row row = {.kind = ROW_CHECK, .c = check_case(c)};
    *status = ROW_OK;
    if (strcmp(c->backend, "ref") == 0)
        return ST_OK;
    const Row *check = known_check(r, &row);
    if (check == NULL) {
        TRY(make_check(r, &row));
        check = keep_check(r, &row);
    }
    *status = check->status == ROW_OK ? ROW_OK : ROW_FAILED_CHECK;
    snprintf(reason, size, "check: %.240s", check->reason);
    return ST_OK;
}

/* ---- one point ---- */
static void name_case(const Case *c, char *out, size_t size)
{
    snprintf(out, size, "%s %s %s%s at %" PRId64, c->variant, level_names[c->level],
             pass_names[c->pass], c->impl == IMPL_NAIVE ? " naive" : "", c->n);
}

void run_place(const Run *r, Row *row)
{
    double seconds = row->timing.median;
    if (row->status != ROW_OK || row->c.level == LEVEL_KERNEL)
        return; /* kernels have their roof timed beside them */
    if (row->kind == ROW_TRAIN)
        seconds = row->train_seconds / (double)row->steps;
    if (row->roof == ROOF_NONE)
        row->roof = roof_of(row->flops, row->bytes, r->roof);
    row->roof_rate = fmax(row->roof_rate, roof_rate(r->roof, row->roof));
    if (row->roof_rate > 0)
        row->roof_fraction = roof_work(row) / seconds / row->roof_rate;
}

static void from_plan(const Run *r, const Job *j, Row *row)
{
    row->kind = ROW_CASE;
    row->c = j->c;
    row->predicted = j->predicted;
    row->predicted_seconds = j->predicted_seconds;
    row->flops = j->flops;
    row->bytes = j->bytes;
    row->params = j->params;
    row->tokens = j->tokens;
    run_place(r, row);
}

static void show_case(Run *r, const Job *j, int index)
{
    ProgressState *s = &r->session.state;
    double trainings = 0;
    for (int i = 0; i < r->n_trainings; i++)
        trainings += r->training[i].done ? 0 : r->training[i].cost;
    s->eta = plan_remaining(&r->plan, index, session_elapsed(&r->session)) + trainings;
    s->expected = j->cost;
    s->memory = (double)j->predicted.counted;
}

/* Runs the case, or says why not. */
static Status judge(Run *r, Job *j, int index, Row *row)
{
    char what[96];
    Verdict v = plan_verdict(&r->plan, j, session_elapsed(&r->session));
    if (v.run)
        TRY(run_checked(r, &j->c, &v.status, v.reason, sizeof v.reason));
    if (v.run && v.status == ROW_OK) {
        double begin = clock_now();
        name_case(&j->c, what, sizeof what);
        show_case(r, j, index);
        TRY(run_ask_in_time(r, "case", j, what, row));
        if (row->status == ROW_OK && j->c.level != LEVEL_KERNEL)
            plan_learn(&r->plan, j->cost, clock_now() - begin);
        return ST_OK;
    }
    *row = (Row){.status = v.status};
    memcpy(row->reason, v.reason, sizeof row->reason);
    return ST_OK;
}

static void count_total(Run *r)
{
    ProgressState *s = &r->session.state;
    s->done = s->total = 0;
    for (int i = 0; i < r->plan.n; i++)
        s->total += !r->plan.job[i].done;
    for (int i = 0; i < r->n_trainings; i++)
        s->total += !r->training[i].done;
}

Status run_cases(Run *r)
{
    Row row;
    count_total(r);
    for (int i = 0; i < r->plan.n; i++) {
        Job *j = &r->plan.job[i];
        if (j->done)
            continue;
        plan_predict(&r->plan);
        TRY(judge(r, j, i, &row));
        from_plan(r, j, &row);
        TRY(session_append(&r->session, &row));
        j->done = true;
        j->status = row.status;
        j->seconds = row.timing.p20; /* less than the median a matter of who else was busy */
        r->session.state.done++;
    }
    return ST_OK;
}

/* ---- op by op ---- */
static Status watch_ops(Run *r, const Job *j)
{
    Row row, like = {.kind = ROW_OPS, .c = j->c};
    const PastRow *past = past_find(&r->past, &like);
    if (past != NULL && past->status == ROW_OK)
        return ST_OK;
    TRY(run_ask_in_time(r, "ops", j, "watching the ops of a step", &row));
    row.kind = ROW_OPS;
    row.c = j->c;
    return session_append(&r->session, &row);
}

Status run_ops(Run *r)
{
    for (int i = 0; i < r->plan.n; i++) {
        const Job *j = &r->plan.job[i];
        if (j->done && j->status == ROW_OK && (j->watch || r->sweep.profile_ops))
            TRY(watch_ops(r, j));
    }
    return ST_OK;
}

/* ---- beside another program ---- */
static Status meet_peer(Run *r, const Case *c)
{
    char what[96], reason[256] = "";
    Row row, like = {.kind = ROW_PEER, .c = *c};
    RowStatus status = ROW_OK;
    const PastRow *past = past_find(&r->past, &like);
    if (past != NULL && past->status == ROW_OK)
        return ST_OK;
    TRY(run_checked(r, c, &status, reason, sizeof reason));
    name_case(c, what, sizeof what);
    if (status == ROW_OK)
        TRY(run_ask(r, "peer", c, PEER_LIMIT, what, &row));
    else
        row = (Row){.status = status};
    if (status != ROW_OK)
        memcpy(row.reason, reason, sizeof row.reason);
    row.kind = ROW_PEER;
    row.c = *c;
    return session_append(&r->session, &row);
}

Status run_peers(Run *r)
{
    const Sweep *s = &r->sweep;
    for (const PeerCase *p = peer_cases_of(s->backend); p->variant != NULL && s->peer[0] != '\0';
         p++) {
        Case c = peer_case(p, s->backend, sweep_dtype(s), s->threads, s->mem_limit);
        TRY(meet_peer(r, &c));
    }
    return ST_OK;
}
