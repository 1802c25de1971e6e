/* eval_cli.c - `longmix eval`: held-out bits per byte of a checkpoint, by position. */
#include "bench/checkpoint.h"
#include "bench/cli.h"
#include "bench/clock.h"
#include "bench/eval_against.h"
#include "bench/limits.h"
#include "bench/parse.h"
#include "bench/train.h"

#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Args {
    BackendAsk on;
    const char *data, *split;
    Seeds these, those;
    int64_t stream, segment;
    int threads;
    Status status;
} Args;

enum {
    K_DATA = 256,
    K_AGAINST,
    K_STREAM,
    K_SEGMENT,
    K_SPLIT,
    K_THREADS,
    K_BACKEND, /* with the two behind it as in backend.h */
    K_DEVICE,
    K_MATH
};

static const struct argp_option options[] = {
    {"data", K_DATA, "FILE", 0, "the text; default build/data/kjv.txt (`make text`)", 0},
    {"against", K_AGAINST, "FILE", 0,
     "compare with this checkpoint, window by window; once for each checkpoint", 0},
    {"split", K_SPLIT, "NAME", 0, "train, valid or test (default)", 0},
    {"stream", K_STREAM, "N", 0,
     "one sequence of N bytes with carried state, instead of windows of the training length", 0},
    {"segment", K_SEGMENT, "N", 0, "bytes read at a time when streaming; default 2048", 0},
    {"threads", K_THREADS, "N", 0, "default: all cores", 0},
    {"backend", K_BACKEND, "NAME", 0, "auto (default: a GPU if there is one), cpu, cuda, ref", 0},
    {"device", K_DEVICE, "N", 0, "which GPU; 0", 0},
    {"math", K_MATH, "NAME", 0, "of products on a GPU: bf16 (default), tf32, f32", 0},
    {0},
};

static Status take(Seeds *s, const char *path)
{
    if (s->n == EVAL_MAX_SEEDS)
        return FAIL(ST_USAGE, "'%s' is one checkpoint too many (at most %d)", path, EVAL_MAX_SEEDS);
    s->path[s->n++] = path;
    return ST_OK;
}

static error_t parse(int key, char *v, struct argp_state *state)
{
    Args *a = state->input;
    if (key == K_DATA)
        a->data = v;
    else if (key == K_SPLIT)
        a->split = v;
    else if (key >= K_BACKEND && key <= K_MATH)
        a->status = backend_take(&a->on, key - K_BACKEND, v);
    else if (key == K_STREAM)
        a->status = parse_size(v, "--stream", 2, INT32_MAX, &a->stream);
    else if (key == K_SEGMENT)
        a->status = parse_size(v, "--segment", 1, 1 << 24, &a->segment);
    else if (key == K_THREADS)
        a->status = parse_int(v, "--threads", 1, 1024, &a->threads);
    else if (key == K_AGAINST)
        a->status = take(&a->those, v);
    else if (key == ARGP_KEY_ARG)
        a->status = take(&a->these, v);
    else
        return ARGP_ERR_UNKNOWN;
    return a->status == ST_OK ? 0 : EINVAL;
}

static const char doc[] =
    "Bits per byte of a checkpoint on held-out text, by position in the context; or whether some "
    "checkpoints do better than others, seed by seed on the same windows."
    "\vA is called better or worse than B if it is in at least three seeds, in all of them, and "
    "the 99 % interval of each difference leaves zero out. Exits with 1 when it is worse.\n\n"
    "Examples:\n"
    "  longmix eval flash.safetensors\n"
    "  longmix eval flash.safetensors --stream 1048576\n"
    "  longmix eval new1.st new2.st new3.st --against old1.st --against old2.st --against old3.st";

typedef struct Show {
    double began, shown;
} Show;

static void tick(void *ctx, int64_t done, int64_t all, const Exam *so_far)
{
    Show *s = ctx;
    double at = clock_now();
    bool tty = isatty(STDERR_FILENO);
    if (at - s->shown < (tty ? 0.3 : 10.0))
        return;
    double eta = (at - s->began) / (double)done * (double)(all - done);
    fprintf(stderr, "%s%lld/%lld bytes  %.4f bits/byte  ETA %.0f s%s", tty ? "\r" : "",
            (long long)done, (long long)all, exam_bpb(so_far), eta, tty ? "   " : "\n");
    s->shown = at;
}

static void print_exam(const Args *a, const Checkpoint *c, const Exam *e, double seconds)
{
    printf("%s after %lld steps, %s part, %s: %.4f bits per byte, byte perplexity %.3f, over %lld "
           "bytes in "
           "%.1f s (%.0f bytes/s)\n",
           c->spec.model.variant->name, (long long)c->step, a->split,
           a->stream > 0 ? "one stream" : "windows of the training length", exam_bpb(e),
           exp2(exam_bpb(e)), (long long)e->bytes, seconds, (double)e->bytes / seconds);
    printf("%23s  %12s  bits per byte\n", "positions", "bytes");
    for (int i = 0; i < EVAL_BUCKETS; i++)
        if (e->bucket_bytes[i] > 0)
            printf("%10lld to %10lld  %12lld  %.4f\n", (1LL << i) - 1, (2LL << i) - 2,
                   (long long)e->bucket_bytes[i], bucket_bpb(e, i));
}

static Status split_named(const char *name, TextSplit *out)
{
    for (int i = 0; i < N_TEXT_SPLITS; i++)
        if (strcmp(name, text_split_name((TextSplit)i)) == 0) {
            *out = (TextSplit)i;
            return ST_OK;
        }
    return FAIL(ST_USAGE, "--split '%s' (train, valid or test)", name);
}

/* The context grows to the stream; the normaliser stays what training used. */
static Status examine(const Args *a, Checkpoint *c, Dev *d, const Text *text, TextSplit split)
{
    Trainer t;
    Exam e;
    Show show = {clock_now(), clock_now()};
    ModelSpec *s = &c->spec.model;
    s->grads = false;
    s->state = a->stream > 0;
    if (a->stream > 0) {
        s->ctx.batch = 1;
        s->ctx.q_len = min64(s->ctx.q_len, a->stream);
        s->ctx.cap = a->stream;
    }
    Status st = trainer_init(&t, d, &c->spec, text);
    if (st == ST_OK)
        st = checkpoint_load(c, &t.model, false);
    if (st == ST_OK && a->stream > 0)
        st = exam_stream(&t.model, text, split, a->stream, a->segment, tick, &show, &e);
    else if (st == ST_OK)
        st = trainer_exam(&t, split, 0, &e);
    if (st == ST_OK)
        print_exam(a, c, &e, clock_now() - show.began);
    trainer_free(&t);
    return st;
}

static Status examine_one(const Args *a, Dev *d, const Text *text, TextSplit split)
{
    Checkpoint c;
    if (a->these.n > 1)
        return FAIL(ST_USAGE, "'%s': one checkpoint, or as many as --against", a->these.path[1]);
    TRY(checkpoint_open(a->these.path[0], &c));
    Status st = examine(a, &c, d, text, split);
    checkpoint_close(&c);
    return st;
}

static Status run(Args *a, Claim *claim)
{
    Text text = {0};
    Dev *d = NULL;
    TextSplit split = TEXT_TEST;
    bool against = a->those.n > 0;
    if (a->these.n == 0)
        return FAIL(ST_USAGE, "which checkpoint? (longmix eval FILE)");
    if (against && a->stream > 0)
        return FAIL(ST_USAGE, "--stream %lld: --against compares windows", (long long)a->stream);
    TRY(split_named(a->split, &split));
    omp_set_num_threads(a->threads);
    Status st = text_load(a->data, &text);
    if (st == ST_OK)
        st = train_device(&d, &a->on);
    if (st == ST_OK)
        st = against ? eval_against(&a->these, &a->those, d, &text, split, claim)
                     : examine_one(a, d, &text, split);
    if (st == ST_OK)
        backend_say(&a->on);
    dev_close(d);
    text_free(&text);
    return st;
}

int eval_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "CHECKPOINT...", doc, NULL, NULL, NULL};
    Args a = {.data = train_default_text,
              .split = "test",
              .segment = 2048,
              .on = {.name = "auto"},
              .threads = limits_threads()};
    Claim claim = CLAIM_NONE;
    Status st = cli_parse(&argp, "longmix eval", argc, argv, &a);
    if (st == ST_OK)
        st = run(&a, &claim);
    return st != ST_OK ? cli_exit("longmix eval", st) : claim == CLAIM_WORSE;
}
