/* run_train.c - the trainings of a run: one text, one number of tokens; see run.h. */
#include "bench/clock.h"
#include "bench/run.h"

#include "bench/check.h"
#include "bench/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- what there is ---- */
static Status outline(const Run *r, const Case *c, int64_t tokens, Row *row)
{
    TRY(train_outline(c, tokens, row));
    memcpy(row->text_sha256, r->text.text_sha256, sizeof row->text_sha256);
    return ST_OK;
}

/* Over how many tokens an earlier run trained; 0: none did, or the number is given. */
static int64_t recall_tokens(const Run *r)
{
    const Training *t = &r->sweep.training;
    Row like;
    for (int i = 0; t->budget > 0 && i < r->n_trainings; i++) {
        if (outline(r, &r->training[i].c, t->tokens, &like) != ST_OK)
            continue;
        const PastRow *past = past_training(&r->past, &like, t->min_tokens, t->tokens);
        if (past != NULL)
            return past->train_tokens;
    }
    return 0;
}

Status run_recall_trainings(Run *r)
{
    const Training *t = &r->sweep.training;
    Row like;
    r->training_tokens = t->budget > 0 ? recall_tokens(r) : t->tokens;
    for (int i = 0; r->training_tokens > 0 && i < r->n_trainings; i++) {
        Job *j = &r->training[i];
        if (outline(r, &j->c, r->training_tokens, &like) != ST_OK)
            continue; /* its row will say why */
        run_settle(r, j, past_training(&r->past, &like, like.train_tokens, like.train_tokens));
    }
    return ST_OK;
}

/* ---- how long ---- */

/* Tokens whose training takes as long as the exams of one: a forward pass without its tape is a
 * quarter of a step. */
static double exam_tokens(const Run *r)
{
    double curve = TRAIN_EXAMS * TRAIN_EXAM_WINDOWS * (double)r->sweep.training.n;
    return (curve + (double)r->test_bytes) / 4;
}

/* Of training: half a million parameters, 6 flops each, at a share of the roof that all variants
 * reach. */
static double tokens_per_second(const Run *r)
{
    return 0.25 * r->plan.rates.flops / (6 * 5e5);
}

static int n_left(const Run *r)
{
    int n = 0;
    for (int i = 0; i < r->n_trainings; i++)
        n += !r->training[i].done;
    return n;
}

/* As many for each as the time that is left has room for: whole steps, between the least and the
 * most that the profile wants. */
static void choose_tokens(Run *r)
{
    const Training *t = &r->sweep.training;
    int64_t step = t->batch * t->n;
    double left = fmin(run_time_left(r), 1e6);
    double room = left / n_left(r) * tokens_per_second(r) - exam_tokens(r);
    int64_t tokens = max64(t->min_tokens, min64(t->tokens, (int64_t)room));
    r->training_tokens = max64(1, tokens / step) * step;
}

/* As the ones before; the first is a guess. */
static void cost_trainings(Run *r)
{
    double sum = 0, n = 0;
    for (int i = 0; i < r->n_trainings; i++)
        if (r->training[i].done && r->training[i].seconds > 0) {
            sum += r->training[i].seconds;
            n++;
        }
    double guess = ((double)r->training_tokens + exam_tokens(r)) / tokens_per_second(r);
    for (int i = 0; i < r->n_trainings; i++)
        r->training[i].cost = n > 0 ? sum / n : guess;
}

/* ---- one of them ---- */
static void show_training(Run *r, const Job *j, int index)
{
    ProgressState *s = &r->session.state;
    s->eta = 0;
    for (int i = index; i < r->n_trainings; i++)
        s->eta += r->training[i].done ? 0 : r->training[i].cost;
    s->expected = j->cost;
    s->memory = 0;
}

/* Trains, or says in the row why not. */
static Status judge(Run *r, Job *j, int index, Row *row)
{
    char what[96], reason[sizeof row->reason] = "";
    RowStatus status = ROW_OK;
    Row plan = *row;
    double left = run_time_left(r);
    if (j->cost > left) {
        row->status = ROW_SKIPPED_BUDGET;
        snprintf(row->reason, sizeof row->reason, "would take %.3g s, %.3g s are left", j->cost,
                 fmax(0.0, left));
        return ST_OK;
    }
    TRY(run_checked(r, &row->c, &status, reason, sizeof reason));
    if (status == ROW_OK) {
        show_training(r, j, index);
        snprintf(what, sizeof what, "training %s for %" PRId64 " tokens", j->c.variant,
                 plan.train_tokens);
        TRY(run_ask_in_time(r, "train", j, what, row));
        run_place(r, row);
        if (row->status == ROW_OK)
            return ST_OK;
        status = row->status;
        memcpy(reason, row->reason, sizeof reason);
    }
    *row = plan;
    row->status = status;
    memcpy(row->reason, reason, sizeof reason);
    return ST_OK;
}

static Status train_one(Run *r, Job *j, int index)
{
    Row row;
    double begin = clock_now();
    cost_trainings(r);
    Status st = outline(r, &j->c, r->training_tokens, &row);
    if (st == ST_OK) {
        TRY(judge(r, j, index, &row));
    } else {
        row.status = ROW_UNSUPPORTED;
        snprintf(row.reason, sizeof row.reason, "%s", status_reason());
    }
    TRY(session_append(&r->session, &row));
    j->done = true;
    j->status = row.status;
    j->seconds = row.status == ROW_OK ? clock_now() - begin : 0;
    r->session.state.done++;
    return ST_OK;
}

Status run_trainings(Run *r)
{
    if (n_left(r) == 0)
        return ST_OK;
    if (r->training_tokens == 0)
        choose_tokens(r);
    session_tokens(&r->session, r->training_tokens);
    for (int i = 0; i < r->n_trainings; i++)
        if (!r->training[i].done)
            TRY(train_one(r, &r->training[i], i));
    return ST_OK;
}
