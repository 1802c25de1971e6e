/* exam.c - held-out bits per byte, by windows of the training length or by one long stream. */
#include "bench/trainer.h"

#include <math.h>
#include <stdlib.h>

static double bits(double nats, int64_t bytes)
{
    return nats / log(2.0) / (double)bytes;
}

double exam_bpb(const Exam *e)
{
    return bits(e->nats, e->bytes);
}

double bucket_bpb(const Exam *e, int bucket)
{
    return e->bucket_bytes[bucket] > 0 ? bits(e->bucket_nats[bucket], e->bucket_bytes[bucket])
                                       : (double)NAN;
}

static int bucket_of(int64_t position)
{
    int i = 0;
    while (position + 1 >= (int64_t)2 << i)
        i++;
    return i;
}

/* nll (rows): row r is position first + r mod len of its sequence. window, if not NULL, gets the
 * sum of each len bytes. */
static Status add_nats(Dev *d, const Tensor *nll, int64_t rows, const MixCtx *c, double *window,
                       Exam *e)
{
    int64_t len = c->q_len, first = c->pos;
    double *x = malloc((size_t)rows * sizeof *x);
    if (x == NULL)
        return FAIL(ST_OOM, "no memory for %lld likelihoods", (long long)rows);
    Status st = dev_read_f64(d, x, nll->buf, 0, rows);
    for (int64_t r = 0; st == ST_OK && r < rows; r++) {
        int b = bucket_of(first + r % len);
        if (window != NULL)
            window[e->bytes / len] += x[r];
        e->nats += x[r];
        e->bytes++;
        e->bucket_nats[b] += x[r];
        e->bucket_bytes[b]++;
    }
    free(x);
    if (st == ST_OK && !isfinite(e->nats))
        return FAIL(ST_NONFINITE, "the likelihood is not finite near position %lld",
                    (long long)first);
    return st;
}

/* Likelihoods of one batch at m->ctx, added to e. */
static Status examine(Model *m, Tensor *ids, Tensor *targets, double *window, Exam *e)
{
    Tensor *nll;
    int64_t rows = tensor_size(ids);
    tape_reset(m->tape);
    tape_grad(m->tape, false);
    Tensor *logits = model_logits(m, ids);
    op_cross_entropy(m->tape, logits, targets, rows, &nll);
    TRY(tape_status(m->tape));
    TRY(add_nats(m->dev, nll, rows, &m->ctx, window, e));
    tape_reset(m->tape);
    return ST_OK;
}

Status exam_fits(const Text *text, TextSplit split, int64_t len)
{
    if (text_n_windows(text, split, (int)len) > 0)
        return ST_OK;
    return FAIL(ST_USAGE, "%s: the %s part has %zu bytes, too few for a context of %lld",
                text->path, text_split_name(split), text_split(text, split).size, (long long)len);
}

/* Windows w up to w + n - 1 of `windows` ones that are spread evenly over a split. */
static Status load_windows(Trainer *t, TextSplit split, int64_t w, int64_t n, int64_t windows)
{
    int64_t len = t->spec.model.ctx.q_len;
    int64_t all = (int64_t)text_n_windows(t->text, split, (int)len);
    TextShape one = {split, 1, (int)len};
    for (int64_t i = 0; i < n; i++)
        TRY(text_windows(t->text, one, (size_t)((w + i) * all / windows), t->host_ids + i * len,
                         t->host_targets + i * len));
    return ST_OK;
}

static Status examine_windows(Trainer *t, TextSplit split, int64_t windows, double *window,
                              Exam *out)
{
    Model *m = &t->model;
    MixCtx full = t->spec.model.ctx;
    *out = (Exam){0};
    TRY(exam_fits(t->text, split, full.q_len));
    for (int64_t w = 0; w < windows; w += full.batch) {
        int64_t n = min64(full.batch, windows - w);
        Tensor ids = t->ids, targets = t->targets; /* the last batch may be smaller */
        ids.dim[0] = targets.dim[0] = n;
        size_t size = (size_t)(n * full.q_len) * sizeof(int32_t);
        m->ctx = full;
        m->ctx.batch = n;
        TRY(load_windows(t, split, w, n, windows));
        TRY(dev_write(m->dev, ids.buf, t->host_ids, size));
        TRY(dev_write(m->dev, targets.buf, t->host_targets, size));
        TRY(examine(m, &ids, &targets, window, out));
    }
    m->ctx = full;
    return ST_OK;
}

static int64_t n_windows(const Trainer *t, TextSplit split)
{
    return (int64_t)text_n_windows(t->text, split, (int)t->spec.model.ctx.q_len);
}

Status trainer_exam(Trainer *t, TextSplit split, int64_t max_windows, Exam *out)
{
    int64_t windows = n_windows(t, split);
    if (max_windows > 0)
        windows = min64(windows, max_windows);
    return examine_windows(t, split, windows, NULL, out);
}

Status trainer_exam_windows(Trainer *t, TextSplit split, double **nats, int64_t *n, Exam *out)
{
    *n = n_windows(t, split);
    *nats = calloc((size_t)*n + 1, sizeof **nats);
    if (*nats == NULL)
        return FAIL(ST_OOM, "no memory for %lld windows", (long long)*n);
    return examine_windows(t, split, *n, *nats, out);
}

/* ---- one long sequence ---- */
typedef struct Feed {
    Tensor ids, targets; /* (1, segment) */
    int32_t *host;
} Feed;

static Status feed_init(Feed *f, Dev *d, int64_t segment)
{
    const int64_t dim[] = {1, segment};
    f->host = malloc((size_t)segment * sizeof *f->host);
    if (f->host == NULL)
        return FAIL(ST_OOM, "no memory for a segment of %lld bytes", (long long)segment);
    TRY(tensor_new(d, &f->ids, I32, MEM_INPUT, 2, dim));
    return tensor_new(d, &f->targets, I32, MEM_INPUT, 2, dim);
}

static void feed_free(Feed *f, Dev *d)
{
    tensor_free(d, &f->ids);
    tensor_free(d, &f->targets);
    free(f->host);
}

/* Bytes data[0..n) as inputs, data[1..n] as targets. */
static Status feed_bytes(Feed *f, Dev *d, const uint8_t *data, int64_t n)
{
    size_t size = (size_t)n * sizeof(int32_t);
    f->ids.dim[1] = f->targets.dim[1] = n;
    for (int64_t i = 0; i < n; i++)
        f->host[i] = data[i];
    TRY(dev_write(d, f->ids.buf, f->host, size));
    for (int64_t i = 0; i < n; i++)
        f->host[i] = data[i + 1];
    return dev_write(d, f->targets.buf, f->host, size);
}

static Status stream(Model *m, Feed *f, TextSpan span, int64_t segment, ExamTick *tick,
                     void *tick_ctx, Exam *out)
{
    int64_t len = (int64_t)span.size - 1;
    TRY(model_zero_state(m));
    for (int64_t at = 0; at < len; at += segment) {
        m->ctx.batch = 1;
        m->ctx.pos = at;
        m->ctx.q_len = min64(segment, len - at);
        TRY(feed_bytes(f, m->dev, span.data + at, m->ctx.q_len));
        TRY(examine(m, &f->ids, &f->targets, NULL, out));
        if (tick != NULL)
            tick(tick_ctx, at + m->ctx.q_len, len, out);
    }
    return ST_OK;
}

Status exam_stream(Model *m, const Text *text, TextSplit split, int64_t len, int64_t segment,
                   ExamTick *tick, void *tick_ctx, Exam *out)
{
    TextSpan span;
    Feed f = {0};
    *out = (Exam){0};
    CHECK(m->spec.state && len >= 2 && segment >= 1);
    TRY(text_span(text, split, 0, (size_t)len, &span));
    Status st = feed_init(&f, m->dev, segment);
    if (st == ST_OK)
        st = stream(m, &f, span, segment, tick, tick_ctx, out);
    feed_free(&f, m->dev);
    return st;
}
