/* train_cli.c - `longmix train`: a byte-level language model on any text. */
#include "bench/checkpoint.h"
#include "bench/cli.h"
#include "bench/clock.h"
#include "bench/limits.h"
#include "bench/parse.h"
#include "bench/solve.h"
#include "bench/train.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Args {
    TrainSpec spec;
    BackendAsk on;
    const char *variant, *data, *save, *resume, *log, *set;
    const char *setting; /* the last flag that says what to train */
    int64_t params, tokens, steps, eval_every, save_every;
    double seconds;
    int threads;
    Status status;
} Args;

enum {
    K_DATA = 256,
    K_PARAMS,
    K_WIDTH,
    K_LAYERS,
    K_HEADS,
    K_FFN,
    K_BATCH,
    K_STEPS,
    K_TOKENS,
    K_MINUTES,
    K_LR,
    K_WARMUP,
    K_DECAY,
    K_CLIP,
    K_SEED,
    K_SET,
    K_THREADS,
    K_RECOMPUTE,
    K_EVERY,
    K_LOG,
    K_SAVE,
    K_SAVE_EVERY,
    K_RESUME,
    K_BACKEND, /* with the two behind it as in backend.h */
    K_DEVICE,
    K_MATH
};

static const struct argp_option options[] = {
    {"variant", 'v', "NAME", 0, "which recipe (`longmix list`); default vanilla", 0},
    {"data", K_DATA, "FILE", 0, "the text, any bytes; default build/data/kjv.txt (`make text`)", 0},
    {"params", K_PARAMS, "N", 0, "solve the sizes for N parameters; default 400000", 1},
    {"width", K_WIDTH, "N", 0, "or give them: model width", 1},
    {"layers", K_LAYERS, "N", 0, "Transformer-layer equivalents; default 2", 1},
    {"heads", K_HEADS, "N", 0, "default: of about 32 columns", 1},
    {"ffn", K_FFN, "N", 0, "channel width; default: the recipe's", 1},
    {"set", K_SET, "K=V", 0, "options of the variant, \"c=128 norm=1\"", 1},
    {"context", 'n', "N", 0, "bytes a sequence; default 256", 2},
    {"batch", K_BATCH, "N", 0, "sequences a step; default 8", 2},
    {"steps", K_STEPS, "N", 0, "how long: in steps (default 1000),", 2},
    {"tokens", K_TOKENS, "N", 0, "or in tokens,", 2},
    {"minutes", K_MINUTES, "M", 0, "or in minutes: three steps are timed first", 2},
    {"lr", K_LR, "X", 0, "peak learning rate; default 0.003", 3},
    {"warmup", K_WARMUP, "X", 0, "fraction of the steps; default 0.05", 3},
    {"decay", K_DECAY, "X", 0, "weight decay of matrices; default 0.1", 3},
    {"clip", K_CLIP, "X", 0, "largest gradient norm, 0: none; default 1", 3},
    {"seed", K_SEED, "N", 0, "weights and batches; default 1", 3},
    {"recompute", K_RECOMPUTE, NULL, 0, "run blocks again instead of keeping activations", 3},
    {"eval-every", K_EVERY, "N", 0, "steps between looks at the validation part", 4},
    {"log", K_LOG, "FILE", 0, "append JSON lines", 4},
    {"save", K_SAVE, "FILE", 0, "write a safetensors checkpoint at the end", 4},
    {"save-every", K_SAVE_EVERY, "N", 0, "and every N steps", 4},
    {"resume", K_RESUME, "FILE", 0, "go on from a checkpoint, with its settings, bit for bit", 4},
    {"threads", K_THREADS, "N", 0, "default: all cores", 5},
    {"backend", K_BACKEND, "NAME", 0, "auto (default: a GPU if there is one), cpu, cuda, ref", 5},
    {"device", K_DEVICE, "N", 0, "which GPU; 0", 5},
    {"math", K_MATH, "NAME", 0, "of products on a GPU: bf16 (default), tf32, f32", 5},
    {0},
};

static Status parse_real(const char *text, const char *what, double lo, double hi, double *out)
{
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end != '\0' || !(*out >= lo && *out <= hi))
        return FAIL(ST_USAGE, "%s '%s' (a number from %g to %g)", what, text, lo, hi);
    return ST_OK;
}

static Status parse_model(Args *a, int key, const char *v)
{
    MixCtx *c = &a->spec.model.ctx;
    switch (key) {
    case K_PARAMS:
        return parse_size(v, "--params", 1000, (int64_t)1 << 40, &a->params);
    case K_WIDTH:
        return parse_int(v, "--width", 1, 1 << 16, &c->width);
    case K_LAYERS:
        return parse_int(v, "--layers", 1, 1024, &a->spec.model.layers);
    case K_HEADS:
        return parse_int(v, "--heads", 1, 4096, &c->heads);
    case K_FFN:
        return parse_int(v, "--ffn", 1, 1 << 20, &c->ffn);
    case 'n':
        return parse_size(v, "--context", 1, 1 << 30, &c->q_len);
    case K_BATCH:
        return parse_size(v, "--batch", 1, 1 << 20, &c->batch);
    default:
        return ST_UNSUPPORTED;
    }
}

static Status parse_run(Args *a, int key, const char *v)
{
    TrainSpec *s = &a->spec;
    double minutes;
    switch (key) {
    case K_STEPS:
        return parse_size(v, "--steps", 1, (int64_t)1 << 40, &a->steps);
    case K_TOKENS:
        return parse_size(v, "--tokens", 1, (int64_t)1 << 50, &a->tokens);
    case K_MINUTES:
        TRY(parse_real(v, "--minutes", 1e-3, 1e6, &minutes));
        a->seconds = 60 * minutes;
        return ST_OK;
    case K_LR:
        return parse_real(v, "--lr", 1e-9, 100, &s->lr);
    case K_WARMUP:
        return parse_real(v, "--warmup", 0, 1, &s->warmup);
    case K_DECAY:
        return parse_real(v, "--decay", 0, 100, &s->decay);
    case K_CLIP:
        return parse_real(v, "--clip", 0, 1e9, &s->clip);
    case K_SEED:
        return parse_u64(v, "--seed", &s->seed);
    case K_EVERY:
        return parse_size(v, "--eval-every", 1, (int64_t)1 << 40, &a->eval_every);
    case K_SAVE_EVERY:
        return parse_size(v, "--save-every", 1, (int64_t)1 << 40, &a->save_every);
    case K_THREADS:
        return parse_int(v, "--threads", 1, 1024, &a->threads);
    case K_BACKEND:
    case K_DEVICE:
    case K_MATH:
        return backend_take(&a->on, key - K_BACKEND, v);
    default:
        return ST_UNSUPPORTED;
    }
}

/* Flags that a checkpoint settles. */
static bool is_setting(int key)
{
    return key == 'v' || key == 'n' || key == K_RECOMPUTE || (key >= K_PARAMS && key <= K_SET);
}

static const char *name_of(int key)
{
    int i = 0;
    while (options[i].key != key)
        i++;
    return options[i].name;
}

static bool parse_text(Args *a, int key, const char *v)
{
    const struct {
        int key;
        const char **at;
    } texts[] = {{'v', &a->variant}, {K_DATA, &a->data}, {K_SET, &a->set},
                 {K_LOG, &a->log},   {K_SAVE, &a->save}, {K_RESUME, &a->resume}};
    for (int i = 0; i < COUNT(texts); i++)
        if (texts[i].key == key) {
            *texts[i].at = v;
            return true;
        }
    return false;
}

static error_t parse(int key, char *v, struct argp_state *state)
{
    Args *a = state->input;
    if (is_setting(key))
        a->setting = name_of(key);
    if (key == K_RECOMPUTE)
        a->spec.recompute = true;
    else if (key == ARGP_KEY_ARG)
        a->status = FAIL(ST_USAGE, "unexpected argument '%s' (only options; see --help)", v);
    else if (!parse_text(a, key, v)) {
        Status st = v != NULL ? parse_model(a, key, v) : ST_UNSUPPORTED;
        if (st == ST_UNSUPPORTED && v != NULL)
            st = parse_run(a, key, v);
        if (st == ST_UNSUPPORTED)
            return ARGP_ERR_UNKNOWN;
        a->status = st;
    }
    return a->status == ST_OK ? 0 : EINVAL;
}

static const char doc[] =
    "Train a byte-level language model and report held-out bits per byte."
    "\vExamples:\n"
    "  longmix train --variant gau --tokens 2M\n"
    "  longmix train -v flash_linear -n 1024 --set c=128 --minutes 10 --save flash.safetensors\n"
    "  longmix train --data my.txt --width 256 --layers 4 --heads 8 --steps 5000 --log run.jsonl";

/* ---- from arguments to a specification ---- */
static Status settle(Args *a)
{
    TrainSpec *s = &a->spec;
    MixCtx *c = &s->model.ctx;
    const Variant *v = variant_find(a->variant);
    if (v == NULL)
        return FAIL(ST_USAGE, "unknown variant '%s' (see `longmix list`)", a->variant);
    if (strlen(a->set) >= sizeof s->set)
        return FAIL(ST_USAGE, "--set is longer than %zu characters", sizeof s->set - 1);
    snprintf(s->set, sizeof s->set, "%s", a->set);
    s->model.variant = v;
    c->cap = c->n_norm = c->q_len;
    if (c->width == 0 && (s->model.layers > 0 || c->heads > 0 || c->ffn > 0))
        return FAIL(ST_USAGE,
                    "--layers, --heads and --ffn go with --width (--params solves for all)");
    if (c->width == 0)
        TRY(solve_size(&s->model, s->set, a->params));
    else if (c->heads == 0)
        c->heads = solve_heads(c->width);
    if (s->model.layers == 0)
        s->model.layers = 2;
    s->steps = a->tokens > 0 ? max64(1, a->tokens / (c->batch * c->q_len)) : a->steps;
    TRY(mix_options(v, s->set, c));
    return mix_accepts(v, c);
}

/* How many steps fit into a->seconds: three are timed after one for warming up. */
static Status time_steps(Args *a, Dev *d, const Text *text)
{
    enum { TIMED = 3 };
    Trainer t;
    double loss, start = 0;
    Status st = trainer_init(&t, d, &a->spec, text);
    for (int i = 0; i <= TIMED && st == ST_OK; i++) {
        if (i == 1)
            start = clock_now();
        st = trainer_step(&t, &loss, NULL);
    }
    a->spec.steps = max64(1, (int64_t)(a->seconds * TIMED / (clock_now() - start)));
    trainer_free(&t);
    return st;
}

/* ---- the run ---- */
typedef struct Run {
    Args *a;
    Trainer t;
    FILE *log;
    double began, shown;
    int64_t first; /* step at which this process began */
} Run;

static void show(Run *r, double loss, bool force)
{
    double at = clock_now(), used = at - r->began;
    const TrainSpec *s = &r->t.spec;
    bool tty = isatty(STDERR_FILENO);
    if (!force && at - r->shown < (tty ? 0.3 : 10.0))
        return;
    double rate = (double)(r->t.step - r->first) / used;
    double tokens = rate * (double)(s->model.ctx.batch * s->model.ctx.q_len);
    fprintf(stderr, "%sstep %lld/%lld  %.3f bits/byte (train)  %.0f tokens/s  ETA %.0f s%s",
            tty ? "\r" : "", (long long)r->t.step, (long long)s->steps, loss / log(2.0), tokens,
            (double)(s->steps - r->t.step) / rate, tty ? "   " : "\n");
    r->shown = at;
}

static Status log_line(Run *r, const char *event, double loss, double valid)
{
    if (r->log == NULL)
        return ST_OK;
    const MixCtx *c = &r->t.spec.model.ctx;
    json_t *o = json_pack(
        "{s:s, s:I, s:I, s:f, s:f, s:o}", "event", event, "step", (json_int_t)r->t.step, "tokens",
        (json_int_t)r->t.step * c->batch * c->q_len, "seconds", clock_now() - r->began, "train_bpb",
        loss / log(2.0), "valid_bpb", isnan(valid) ? json_null() : json_real(valid));
    char *line = json_dumps(o, JSON_COMPACT);
    bool good = line != NULL && fprintf(r->log, "%s\n", line) > 0 && fflush(r->log) == 0;
    free(line);
    json_decref(o);
    return good ? ST_OK : FAIL(ST_IO, "%s: cannot write: %s", r->a->log, strerror(errno));
}

static Status look(Run *r, double loss)
{
    enum { WINDOWS = 64 };
    Exam e;
    TRY(trainer_exam(&r->t, TEXT_VALID, WINDOWS, &e));
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%79s\r", "");
    fprintf(stderr, "step %lld  valid %.4f bits/byte\n", (long long)r->t.step, exam_bpb(&e));
    return log_line(r, "valid", loss, exam_bpb(&e));
}

static Status steps(Run *r)
{
    const Args *a = r->a;
    int64_t every = a->eval_every > 0 ? a->eval_every : max64(1, r->t.spec.steps / 10);
    while (r->t.step < r->t.spec.steps) {
        double loss;
        TRY(trainer_step(&r->t, &loss, NULL));
        TRY(log_line(r, "step", loss, (double)NAN));
        show(r, loss, r->t.step == r->t.spec.steps);
        if (r->t.step % every == 0 || r->t.step == r->t.spec.steps)
            TRY(look(r, loss));
        if (a->save != NULL && a->save_every > 0 && r->t.step % a->save_every == 0)
            TRY(checkpoint_save(&r->t, a->save));
    }
    return ST_OK;
}

static Status conclude(Run *r)
{
    Exam e;
    if (r->a->save != NULL)
        TRY(checkpoint_save(&r->t, r->a->save));
    TRY(trainer_exam(&r->t, TEXT_TEST, 0, &e));
    printf(
        "%s: test %.4f bits per byte, byte perplexity %.3f, over %lld bytes; %lld parameters and "
        "%lld in embedding and head; text SHA-256 %s\n",
        r->t.spec.model.variant->name, exam_bpb(&e), exp2(exam_bpb(&e)), (long long)e.bytes,
        (long long)model_n_params(&r->t.model, false), (long long)model_n_params(&r->t.model, true),
        r->t.text->sha256);
    return ST_OK;
}

static Status begin(Run *r, Dev *d, const Text *text)
{
    Args *a = r->a;
    Checkpoint c;
    if (a->resume == NULL) {
        if (a->seconds > 0)
            TRY(time_steps(a, d, text));
        return trainer_init(&r->t, d, &a->spec, text);
    }
    TRY(checkpoint_open(a->resume, &c));
    Status st = trainer_init(&r->t, d, &c.spec, text);
    if (st == ST_OK && strcmp(c.sha256, text->sha256) != 0)
        st = FAIL(ST_USAGE, "%s learnt from another text (SHA-256 %s, this one is %s)", a->resume,
                  c.sha256, text->sha256);
    if (st == ST_OK)
        st = checkpoint_load(&c, &r->t.model, c.step > 0);
    r->t.step = r->first = c.step;
    checkpoint_close(&c);
    return st;
}

static Status train(Args *a, Dev *d, const Text *text)
{
    Run r = {.a = a};
    Status st = ST_OK;
    if (a->log != NULL && (r.log = fopen(a->log, "a")) == NULL)
        return FAIL(ST_IO, "%s: cannot write: %s", a->log, strerror(errno));
    st = begin(&r, d, text);
    if (st == ST_OK && a->save != NULL) /* a path that cannot be written is better known now */
        st = checkpoint_save(&r.t, a->save);
    r.began = clock_now();
    if (st == ST_OK)
        backend_say(&a->on);
    if (st == ST_OK)
        st = steps(&r);
    if (st == ST_OK)
        st = conclude(&r);
    trainer_free(&r.t);
    if (r.log != NULL)
        fclose(r.log);
    return st;
}

static Status run(Args *a)
{
    Text text = {0};
    Dev *d = NULL;
    if (a->resume != NULL && a->setting != NULL)
        return FAIL(ST_USAGE, "--%s with --resume: the checkpoint has the settings", a->setting);
    if (a->resume == NULL)
        TRY(settle(a));
    TRY(text_load(a->data, &text));
    omp_set_num_threads(a->threads);
    Status st = train_device(&d, &a->on);
    if (st == ST_OK)
        st = train(a, d, &text);
    dev_close(d);
    text_free(&text);
    return st;
}

int train_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, NULL, doc, NULL, NULL, NULL};
    Args a = {.variant = "vanilla",
              .data = train_default_text,
              .set = "",
              .on = {.name = "auto"},
              .params = TRAIN_QUALITY_PARAMS,
              .steps = 1000,
              .threads = limits_threads()};
    a.spec = train_defaults(NULL);
    a.spec.model.ctx.q_len = 256;
    a.spec.model.ctx.batch = 8;
    Status st = cli_parse(&argp, "longmix train", argc, argv, &a);
    return cli_exit("longmix train", st == ST_OK ? run(&a) : st);
}
