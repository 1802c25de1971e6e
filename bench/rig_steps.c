/* rig_steps.c - one step of a case, by level and pass; see rig.h. */
#include "bench/rig_steps.h"

#include "report/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the forward pass of each level ---- */
MixIn rig_mix_in(const Rig *r)
{
    return (MixIn){r->m.block[0].w + NORM_SLOTS, NULL, &r->m.ctx, 0};
}

static Tensor *mix_alone(Rig *r, Input *in)
{
    const Mixer *m = r->m.spec.variant->mixer;
    MixIn call = rig_mix_in(r);
    Parts parts = {{NULL}};
    for (int i = 0; i < MIX_MAX_PARTS; i++)
        parts.p[i] = in->t[i].rank > 0 ? &in->t[i] : NULL;
    if (m->choose != NULL)
        m->choose(r->m.tape, &call, &parts);
    /* The tensor is the tape's; nothing of it lives here. */
    /* cppcheck-suppress returnDanglingLifetime */
    return m->mix(r->m.tape, &call, &parts);
}

/* The mean loss where there are targets, else logits or activations. */
static Tensor *forward(Rig *r, Input *in)
{
    Tape *t = r->m.tape;
    Tensor *y = r->c.level == LEVEL_MIX     ? mix_alone(r, in)
                : r->c.level == LEVEL_LAYER ? model_blocks(&r->m, &in->t[0])
                                            : model_logits(&r->m, &in->t[0]);
    if (in->t[1].rank > 0 && r->c.level == LEVEL_MODEL)
        y = op_cross_entropy(t, y, &in->t[1], tensor_size(&in->t[1]), NULL);
    r->work = tape_cost(t);
    r->result = y->buf;
    r->n_result = tensor_size(y);
    return y;
}

static Input *next_input(Rig *r)
{
    return &r->input[r->step++ % r->n_inputs];
}

static Tensor *fresh_forward(Rig *r, bool grad, Input *in)
{
    tape_reset(r->m.tape);
    tape_grad(r->m.tape, grad);
    r->m.ctx.step = r->step;
    return forward(r, in);
}

static Status backward(Rig *r, Tensor *y, const Input *in)
{
    bool model = r->c.level == LEVEL_MODEL;
    TRY(tape_backward(r->m.tape, y, model ? NULL : &r->dy));
    const Tensor *x = model ? &r->m.param[0].t : &in->t[0];
    r->result = x->grad;
    r->n_result = x->grad.ptr != NULL ? tensor_size(x) : 0;
    return ST_OK;
}

static Cost scaled(Cost c, double by)
{
    return (Cost){c.flops * by, c.bytes * by};
}

/* ---- passes ---- */
typedef Status PassFn(Rig *r, int steps, double *seconds);

/* Changes every cache line of the flood, on all threads: what else was in the caches is out. */
static void empty_caches(const Rig *r)
{
    enum { LINE = 16 };
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < r->n_flood; i += LINE)
        r->flood[i] = 1.0f - r->flood[i];
}

/* From here on it counts. A GPU empties its cache before that on the same stream, so that the host
 * queues the step meanwhile and is not what is measured. */
static Status begin(Rig *r)
{
    if (r->flushes)
        TRY(dev_flush(r->dev, &r->flushed));
    empty_caches(r);
    return timer_start(r->timer);
}

static Status run_fwd(Rig *r, int steps, double *seconds)
{
    TRY(begin(r));
    for (int i = 0; i < steps; i++) {
        fresh_forward(r, false, next_input(r));
        TRY(tape_status(r->m.tape));
    }
    return timer_stop(r->timer, seconds);
}

static Status run_bwd(Rig *r, int steps, double *seconds)
{
    *seconds = 0;
    for (int i = 0; i < steps; i++) {
        double one = 0;
        Input *in = next_input(r);
        Tensor *y = fresh_forward(r, true, in);
        TRY(tape_status(r->m.tape));
        TRY(begin(r));
        TRY(backward(r, y, in));
        TRY(timer_stop(r->timer, &one));
        *seconds += one;
    }
    return ST_OK;
}

int rig_walk(const Rig *r)
{
    bool walks =
        r->c.pass == PASS_DECODE && (variant_caps(r->m.spec.variant) & CAP_LINEAR_STATE) != 0;
    return walks ? (int)min64(RIG_WALK, r->c.n) : 1;
}

/* One token, at position n - walk + step mod walk. */
static Status decode_token(Rig *r, Cost *sum)
{
    int64_t walk = rig_walk(r);
    r->m.ctx.pos = r->c.n - walk + r->step % walk;
    fresh_forward(r, false, next_input(r));
    *sum = cost_add(*sum, r->work);
    return tape_status(r->m.tape);
}

/* Decode from cold caches: a new token each time, and only its own seconds count. */
static Status run_cold(Rig *r, int steps, double *seconds, Cost *sum)
{
    *seconds = 0;
    for (int i = 0; i < steps; i++) {
        double one = 0;
        TRY(rig_draw(r, 0, r->step));
        TRY(begin(r));
        TRY(decode_token(r, sum));
        TRY(timer_stop(r->timer, &one));
        *seconds += one;
    }
    return ST_OK;
}

static Status run_decode(Rig *r, int steps, double *seconds)
{
    Cost sum = {0};
    if (r->c.evict && !dev_is_dry(r->dev)) {
        TRY(run_cold(r, steps, seconds, &sum));
    } else {
        TRY(begin(r));
        for (int i = 0; i < steps; i++)
            TRY(decode_token(r, &sum));
        TRY(timer_stop(r->timer, seconds));
    }
    r->work = scaled(sum, 1.0 / steps);
    return ST_OK;
}

/* The learning rate is small: weights must not run away in the thousands of steps of a timing. */
static Status run_train(Rig *r, int steps, double *seconds)
{
    const Optim o = {.lr = 1e-6, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1, .clip = 1};
    TRY(begin(r));
    for (int i = 0; i < steps; i++) {
        Input *in = next_input(r);
        TRY(model_zero_grads(&r->m));
        Tensor *y = fresh_forward(r, true, in);
        TRY(tape_status(r->m.tape));
        TRY(backward(r, y, in));
        TRY(model_adamw(&r->m, &o, r->step, NULL));
    }
    return timer_stop(r->timer, seconds);
}

int64_t rig_segment_tokens(const Rig *r, int64_t i)
{
    int64_t len = r->m.spec.ctx.q_len;
    return min64(len, r->c.n - i * len);
}

Status rig_segment(Rig *r, int64_t i, double *seconds)
{
    int64_t len = r->m.spec.ctx.q_len, pos = i * len;
    Input *in = &r->input[0];
    r->m.ctx.pos = pos;
    r->m.ctx.q_len = in->t[0].dim[1] = rig_segment_tokens(r, i);
    Status st = rig_draw(r, 0, pos);
    if (st == ST_OK)
        st = begin(r);
    if (st == ST_OK) {
        fresh_forward(r, false, in);
        st = tape_status(r->m.tape);
    }
    in->t[0].dim[1] = len;
    return st == ST_OK ? timer_stop(r->timer, seconds) : st;
}

static Status run_prefill(Rig *r, int steps, double *seconds)
{
    *seconds = 0;
    for (int i = 0; i < steps; i++) {
        Cost work = {0};
        TRY(model_zero_state(&r->m));
        for (int64_t s = 0; s < r->n_segments; s++) {
            TRY(rig_segment(r, s, &r->segment_seconds[s]));
            *seconds += r->segment_seconds[s];
            work = cost_add(work, r->work);
        }
        r->work = work;
        r->step++;
    }
    return ST_OK;
}

/* Too many segments to run them all. Work is about affine in the position from the second segment
 * on (exactly, if segments are whole chunks), so two of those tell the sum of all; memory is
 * largest at the end. */
static Status outline_prefill(Rig *r, double *seconds)
{
    int64_t len = r->m.spec.ctx.q_len, full = r->c.n / len, inner = full - 1;
    double none = 0;
    *seconds = 0;
    TRY(model_zero_state(&r->m));
    TRY(rig_segment(r, 0, &none));
    Cost sum = r->work, second = {0};
    if (inner > 0) {
        TRY(rig_segment(r, 1, &none));
        second = r->work;
        TRY(rig_segment(r, full - 1, &none));
        sum = cost_add(sum, scaled(cost_add(second, r->work), 0.5 * (double)inner));
    }
    if (full < r->n_segments) {
        TRY(rig_segment(r, full, &none));
        sum = cost_add(sum, r->work);
    }
    r->work = sum;
    return ST_OK;
}

static Status dry_prefill(Rig *r, int steps, double *seconds)
{
    enum { MOST_SEGMENTS = 4096 };
    return r->n_segments > MOST_SEGMENTS ? outline_prefill(r, seconds)
                                         : run_prefill(r, steps, seconds);
}

/* One by one, each from an empty cache. */
static Status run_flushed(Rig *r, PassFn *pass, int steps, double *seconds)
{
    Cost sum = {0};
    *seconds = 0;
    for (int i = 0; i < steps; i++) {
        double one = 0;
        TRY(pass(r, 1, &one));
        *seconds += one;
        sum = cost_add(sum, r->work);
    }
    r->work = scaled(sum, 1.0 / steps);
    return ST_OK;
}

Status rig_run(Rig *r, int steps, double *seconds)
{
    static PassFn *const passes[PASSES] = {run_fwd, run_bwd, run_train, run_prefill, run_decode};
    PassFn *pass = passes[r->c.pass];
    if (dev_is_dry(r->dev) && r->c.pass == PASS_PREFILL)
        pass = dry_prefill;
    return r->flushes ? run_flushed(r, pass, steps, seconds) : pass(r, steps, seconds);
}

/* ---- afterwards ---- */
Status rig_check_finite(Rig *r)
{
    enum { LOOK = 4096 };
    double x[LOOK];
    int64_t n = min64(r->n_result, LOOK), at[] = {0, r->n_result - n};
    for (int end = 0; end < COUNT(at) && n > 0 && !dev_is_dry(r->dev); end++) {
        TRY(dev_read_f64(r->dev, x, r->result, at[end], n));
        for (int64_t i = 0; i < n; i++)
            if (!isfinite(x[i]))
                return FAIL(ST_NONFINITE, "number %lld of %lld of the result is %g",
                            (long long)(at[end] + i), (long long)r->n_result, x[i]);
    }
    return ST_OK;
}

int64_t rig_tokens(const Rig *r)
{
    return r->c.batch * (r->c.pass == PASS_DECODE ? 1 : r->c.n);
}

/* A backward pass does about twice the work of the forward pass. */
Cost rig_cost(const Rig *r)
{
    static const double times[PASSES] = {1, 2, 3, 1, 1};
    return scaled(r->work, times[r->c.pass]);
}

static double median_of(const double *x, int64_t n)
{
    double copy[ROW_MAX_SAMPLES];
    int m = (int)min64(n, ROW_MAX_SAMPLES);
    memcpy(copy, x, (size_t)m * sizeof *x);
    stats_sort(copy, m);
    return stats_quantile(copy, m, 0.5);
}

double rig_segment_slope(const Rig *r)
{
    int64_t full = r->c.pass == PASS_PREFILL ? r->c.n / r->m.spec.ctx.q_len : 0;
    int64_t tenth = min64(max64(1, full / 10), ROW_MAX_SAMPLES);
    if (full < 2)
        return 0;
    double first = median_of(r->segment_seconds, tenth);
    return median_of(r->segment_seconds + full - tenth, tenth) / first - 1;
}
