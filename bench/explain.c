/* explain.c - `longmix explain`: a variant's formula, its mixing matrix as a picture, its costs. */
#include "bench/cli.h"
#include "bench/exchange.h"
#include "bench/leak.h"
#include "bench/model.h"
#include "bench/parse.h"
#include "bench/sweep.h"
#include "kernels/rng.h"
#include "report/format.h"
#include "report/heat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "longmix explain";

typedef struct Args {
    const char *variant, *set, *input, *weights, *out;
    char picture_set[512]; /* set, and chunks of which several fit in the picture */
    int width, heads;
    int64_t n;
    uint64_t seed;
    bool bidirectional;
} Args;

enum { N = 256, WIDTH, HEADS, SET, INPUT, WEIGHTS, OUT, SEED, BIDIRECTIONAL };

static const struct argp_option options[] = {
    {"n", N, "N", 0, "positions in the picture; default 64", 0},
    {"width", WIDTH, "N", 0, "default 256", 0},
    {"heads", HEADS, "N", 0, "default 4", 0},
    {"set", SET, "K=V", 0, "options, \"k=v k=v\"", 0},
    {"bidirectional", BIDIRECTIONAL, NULL, 0, "see both sides", 0},
    {"input", INPUT, "FILE", 0, "x (1,T,D) of the picture; default: random", 0},
    {"weights", WEIGHTS, "FILE", 0, "parameters of a block; default: as initialised", 0},
    {"seed", SEED, "N", 0, "of what is random; default 1", 0},
    {"out", OUT, "FOLDER", 0, "of the picture; default results/explain", 0},
    {0},
};

static const char doc[] = "Shows what a variant computes: the formula, its mixing matrix (which "
                          "output takes how much from which input), state and cost by length."
                          "\vExamples:\n"
                          "  longmix explain flash_linear\n"
                          "  longmix explain gau --n 128 --set scaling=2\n"
                          "  longmix explain vanilla --input x.safetensors --weights w.safetensors";

static error_t parse(int key, char *value, struct argp_state *state)
{
    Args *a = state->input;
    const char **const text[] = {[SET - N] = &a->set,
                                 [INPUT - N] = &a->input,
                                 [WEIGHTS - N] = &a->weights,
                                 [OUT - N] = &a->out};
    Status st = ST_OK;
    if (key >= N && key - N < COUNT(text) && text[key - N] != NULL)
        *text[key - N] = value;
    else if (key == N)
        st = parse_size(value, "--n", 1, 2048, &a->n);
    else if (key == WIDTH)
        st = parse_int(value, "--width", 1, 1 << 16, &a->width);
    else if (key == HEADS)
        st = parse_int(value, "--heads", 1, 1 << 12, &a->heads);
    else if (key == SEED)
        st = parse_u64(value, "--seed", &a->seed);
    else if (key == BIDIRECTIONAL)
        a->bidirectional = true;
    else if (key == ARGP_KEY_ARG && a->variant == NULL)
        a->variant = value;
    else if (key == ARGP_KEY_ARG)
        st = FAIL(ST_USAGE, "unexpected argument '%s' (one variant)", value);
    else
        return ARGP_ERR_UNKNOWN;
    return st == ST_OK ? 0 : EINVAL;
}

/* ---- costs ---- */
static Status context(const Args *a, const Variant *v, const char *set, int64_t n, MixCtx *c)
{
    *c = (MixCtx){.batch = 1,
                  .q_len = n,
                  .cap = n,
                  .n_norm = n,
                  .width = a->width,
                  .heads = a->heads,
                  .causal = !a->bidirectional,
                  .seed = a->seed};
    TRY(mix_options(v, set, c));
    return mix_accepts(v, c);
}

static int64_t layer_numbers(const Variant *v, const MixCtx *c, bool state)
{
    BlockSlot slot[BLOCK_MAX_PARAMS];
    int n = state ? block_state(v, c, slot) : block_params(v, c, slot);
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += slot_size(&slot[i].slot);
    return sum * v->blocks_per_layer;
}

/* A line of the table: a layer at context length n. */
static Status print_cost(const Args *a, const Variant *v, int64_t n)
{
    MixCtx c;
    TRY(context(a, v, a->set, n, &c));
    double pass = v->blocks_per_layer * block_flops(v, &c) / (double)n;
    printf("%8s  %14.4g", text_length((double)n).s, pass / 1e6);
    if (!(variant_caps(v) & CAP_STATEFUL) || a->bidirectional) {
        printf("  %14s  %14s\n", "none", "none");
        return ST_OK;
    }
    c.q_len = 1;
    c.pos = n - 1;
    c.carried = true;
    printf("  %14.4g  %14s\n", v->blocks_per_layer * block_flops(v, &c) / 1e6,
           text_bytes((double)layer_numbers(v, &c, true) * sizeof(float)).s);
    return ST_OK;
}

static Status print_costs(const Args *a, const Variant *v)
{
    MixCtx c;
    TRY(context(a, v, a->set, 512, &c));
    printf("One layer of width %d (%d heads, channel width %d): %lld parameters.\n\n", a->width,
           a->heads, c.ffn, (long long)layer_numbers(v, &c, false));
    printf("%8s  %14s  %14s  %14s\n", "length T", "MFLOP a token", "MFLOP a token", "state");
    printf("%8s  %14s  %14s  %14s\n", "", "whole pass", "decode at T", "float32");
    for (int64_t n = 512; n <= 1 << 20; n *= 8)
        TRY(print_cost(a, v, n));
    return print_cost(a, v, 1 << 20);
}

/* ---- the picture ---- */
typedef struct Picture {
    const Args *a;
    const Variant *v;
    Dev *dev;
    Model m;
    Tensor x;
    HostParts parts;
    double *hold[MIX_MAX_PARTS + MIX_MAX_PARAMS];
    int n_hold;
} Picture;

static Status random_input(Picture *p)
{
    int64_t n = tensor_size(&p->x);
    float *x = malloc((size_t)n * sizeof *x);
    if (x == NULL)
        return FAIL(ST_OOM, "no memory for %lld numbers", (long long)n);
    rng_fill_normal(x, n, 1.0, p->a->seed, RNG_INPUT, 0);
    Status st = dev_write_f32(p->dev, p->x.buf, 0, x, n);
    free(x);
    return st;
}

static Status load_weights(Picture *p)
{
    StFile f;
    TRY(exchange_open(p->a->weights, &f));
    Status st = ST_OK;
    for (int i = 0; i < p->m.n_params && st == ST_OK; i++)
        st = exchange_load(&f, p->m.param[i].name + strlen("block0."), p->dev, &p->m.param[i].t);
    st_close(&f);
    return st;
}

/* The length of the picture is that of the input. */
static Status load_input(const Args *a, StFile *f, int64_t *n)
{
    TRY(exchange_open(a->input, f));
    const StTensor *x = st_find(f, "x");
    if (x == NULL || x->rank != 3 || x->dim[0] != 1 || x->dim[1] < 1 || x->dim[1] > 2048 ||
        x->dim[2] != a->width)
        return FAIL(ST_USAGE, "%s: needs a tensor 'x' (1,T,%d), T from 1 to 2048", a->input,
                    a->width);
    *n = x->dim[1];
    return ST_OK;
}

static Status build(Picture *p, const StFile *input, const MixCtx *c)
{
    ModelSpec spec = {.variant = p->v, .blocks = 1, .ctx = *c, .seed = p->a->seed};
    const int64_t dim[] = {1, c->q_len, c->width};
    TRY(dev_open(&p->dev, "ref", 0, 0));
    TRY(model_init(&p->m, p->dev, &spec));
    TRY(tensor_new(p->dev, &p->x, REAL, MEM_INPUT, 3, dim));
    if (p->a->weights != NULL)
        TRY(load_weights(p));
    return p->a->input != NULL ? exchange_load(input, "x", p->dev, &p->x) : random_input(p);
}

/* A tensor as the host's numbers. */
static Status hold(Picture *p, const Tensor *t, const double **out)
{
    int64_t n = tensor_size(t);
    double *x = malloc((size_t)n * sizeof *x);
    if (x == NULL)
        return FAIL(ST_OOM, "no memory for %lld numbers", (long long)n);
    p->hold[p->n_hold++] = x;
    *out = x;
    if (t->dtype == REAL)
        return dev_read_f64(p->dev, x, t->buf, 0, n);
    /* in place, from the last on: a double is wider */
    TRY(dev_read(p->dev, x, t->buf, (size_t)n * sizeof(int32_t)));
    for (int64_t i = n - 1; i >= 0; i--) {
        int32_t value = 0;
        memcpy(&value, (char *)x + (size_t)i * sizeof value, sizeof value);
        x[i] = value;
    }
    return ST_OK;
}

static Status project(Picture *p)
{
    const Mixer *mixer = p->v->mixer;
    Tensor *const *w = p->m.block[0].w + NORM_SLOTS;
    MixIn in = {.w = w, .ctx = &p->m.ctx};
    Parts parts = {{NULL}};
    mixer->project(p->m.tape, &in, &p->x, &parts);
    if (mixer->choose != NULL)
        mixer->choose(p->m.tape, &in, &parts);
    TRY(tape_status(p->m.tape));
    p->parts.len = p->parts.valid = p->m.ctx.q_len;
    for (int i = 0; i < mixer->n_parts; i++)
        if (parts.p[i] != NULL)
            TRY(hold(p, parts.p[i], &p->parts.part[i]));
    for (int i = 0; i < mixer->n_params; i++)
        if (w[i] != NULL)
            TRY(hold(p, w[i], &p->parts.w[i]));
    return ST_OK;
}

static Status draw(Picture *p)
{
    const MixCtx *c = &p->m.ctx;
    int groups = p->v->mixer->groups(c), n = groups < HEAT_MAX ? groups : HEAT_MAX;
    char name[64], title[128], caption[640];
    int64_t size = c->q_len * c->q_len;
    double *P = calloc((size_t)(n * size), sizeof *P);
    if (P == NULL)
        return FAIL(ST_OOM, "no memory for %d matrices of %lld rows", n, (long long)c->q_len);
    snprintf(name, sizeof name, "%s-matrix", p->v->name);
    snprintf(title, sizeof title, "%s: what each output takes from each input", p->v->name);
    snprintf(caption, sizeof caption, "mixing matrix over the largest weight of each row; %s%s%s",
             p->a->input != NULL ? "input of a file" : "random input",
             p->a->picture_set[0] != '\0' ? "; " : "", p->a->picture_set);
    Heat h = {.folder = p->a->out,
              .name = name,
              .title = title,
              .caption = caption,
              .n_panels = n,
              .panel = "head",
              .n = c->q_len};
    for (int g = 0; g < n; g++) {
        p->v->mixer->matrix(P + g * size, &p->parts, g, c);
        h.matrix[g] = P + g * size;
    }
    Status st = heat_draw(&h);
    if (st == ST_OK)
        printf("\nMixing matrix: %s/%s.svg and .png\n", p->a->out, name);
    free(P);
    return st;
}

static void picture_free(Picture *p)
{
    if (p->m.tape != NULL)
        tape_reset(p->m.tape);
    for (int i = 0; i < p->n_hold; i++)
        free(p->hold[i]);
    if (p->dev != NULL)
        tensor_free(p->dev, &p->x);
    model_free(&p->m);
    dev_close(p->dev);
}

static Status picture(const Args *a, const Variant *v)
{
    Picture p = {.a = a, .v = v};
    StFile input = {0};
    MixCtx c;
    int64_t n = a->n;
    Status st = a->input != NULL ? load_input(a, &input, &n) : ST_OK;
    if (st == ST_OK)
        st = context(a, v, a->picture_set, n, &c);
    if (st == ST_OK)
        st = build(&p, &input, &c);
    if (st == ST_OK)
        st = project(&p);
    if (st == ST_OK)
        st = draw(&p);
    if (st == ST_OK)
        st = leak_tell(&p.m, &p.x);
    picture_free(&p);
    st_close(&input);
    return st;
}

/* A chunk longer than the picture would hide what chunks are. */
static void choose_chunks(Args *a, const Variant *v)
{
    static const char *const names[] = {"c", "chunk", "chunk_len"};
    size_t at = (size_t)snprintf(a->picture_set, sizeof a->picture_set, "%s", a->set);
    for (int i = 0; i < COUNT(names) && a->n >= 8; i++) {
        char key[16];
        snprintf(key, sizeof key, "%s=", names[i]);
        if (variant_option(v, names[i], strlen(names[i])) != NULL && strstr(a->set, key) == NULL &&
            at + 32 < sizeof a->picture_set)
            at += (size_t)snprintf(a->picture_set + at, sizeof a->picture_set - at, "%s%s%lld",
                                   at > 0 ? " " : "", key, (long long)(a->n / 4));
    }
}

static Status explain(Args *a)
{
    VariantNames names = variant_names();
    int index = 0;
    if (a->variant == NULL)
        return FAIL(ST_USAGE, "which variant? `longmix list` shows them");
    TRY(parse_name(a->variant, "variant", names.name, &index));
    if (a->width % a->heads != 0)
        return FAIL(ST_USAGE, "--heads %d does not divide --width %d", a->heads, a->width);
    const Variant *v = variant_table[index];
    MixCtx c;
    choose_chunks(a, v);
    TRY(context(a, v, a->picture_set, a->n, &c));
    printf("%s: %s\n%s\n\n%s\n\nTime %s, decode state %s.\n", v->name, v->title, v->paper,
           v->formula != NULL ? v->formula : "", v->time, v->state);
    TRY(print_costs(a, v));
    Status st = picture(a, v);
    if (st == ST_UNSUPPORTED) { /* the rest stands without it */
        printf("\nNo picture: %s\n", status_reason());
        return ST_OK;
    }
    return st;
}

int explain_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "VARIANT", doc, NULL, NULL, NULL};
    Args a = {.width = 256, .heads = 4, .n = 64, .seed = 1, .set = "", .out = "results/explain"};
    Status st = cli_parse(&argp, NAME, argc, argv, &a);
    return cli_exit(NAME, st == ST_OK ? explain(&a) : st);
}
