/* apply_cli.c - `longmix apply`: the command line of apply.h. */
#include "bench/apply.h"
#include "bench/cli.h"
#include "bench/limits.h"
#include "bench/parse.h"
#include "bench/sweep.h"

#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "longmix apply";
static const char *const levels[] = {"mixer", "block", "layer", NULL};

typedef struct Args {
    Apply a;
    const char *variant;
    char set[512];
    int level, threads;
    Status status;
} Args;

enum {
    WEIGHTS = 256,
    INPUT,
    GRAD,
    EXPECT,
    OUT,
    INIT,
    LEVEL,
    BLOCKS,
    SET,
    WIDTH,
    HEADS,
    FFN,
    N_NORM,
    BIDIRECTIONAL,
    NAIVE,
    TRAINING,
    DECODE,
    BACKEND, /* with the two behind it as in backend.h */
    DEVICE,
    MATH,
    SEED,
    TOLERANCE,
    THREADS
};

static const struct argp_option options[] = {
    {"weights", WEIGHTS, "FILE", 0, "parameters by name, matrices (in, out)", 1},
    {"input", INPUT, "FILE", 0,
     "x (B,T,D); lens (B) of shorter sequences; draw.NAME in place of what is random", 1},
    {"grad", GRAD, "FILE", 0, "dy (B,T,D): gradient of the output; asks for all gradients", 1},
    {"out", OUT, "FILE", 0, "y and, with --grad, grad.x and grad.PARAMETER; F32, on ref F64", 1},
    {"expect", EXPECT, "FILE", 0, "compares with the same names in FILE", 1},
    {"tolerance", TOLERANCE, "R", 0,
     "largest difference over largest number; default 1e-4, on ref 1e-10, tf32 5e-3, bf16 5e-2. "
     "Beyond it: exit 1",
     1},
    {"init", INIT, "FILE", 0, "writes seeded initial weights, used unless --weights is given", 1},
    {"level", LEVEL, "NAME", 0, "mixer (no norm, no residual), block (default) or layer", 2},
    {"blocks", BLOCKS, "N", 0, "so many blocks; parameters are named block0.NAME, block1.NAME", 2},
    {"set", SET, "K=V", 0, "options, \"k=v k=v\"; `longmix list` shows them", 2},
    {"heads", HEADS, "N", 0, "default 4", 2},
    {"ffn", FFN, "N", 0, "channel width F (E of the GAU family); default as the paper has it", 2},
    {"n-norm", N_NORM, "N", 0, "length normaliser n of the GAU family; default T", 2},
    {"bidirectional", BIDIRECTIONAL, NULL, 0, "see both sides; default: causal", 2},
    {"naive", NAIVE, NULL, 0, "the implementation with the whole T x T matrix", 2},
    {"training", TRAINING, NULL, 0, "with what a variant does in training alone", 2},
    {"decode", DECODE, NULL, 0, "y once more, token by token from carried state: decode.y", 2},
    {"width", WIDTH, "N", 0, "D where no input tells it; default 256", 2},
    {"seed", SEED, "N", 0, "of initial weights and random draws; default 1", 3},
    {"backend", BACKEND, "NAME", 0, "cpu (float32, default), ref (float64), cuda, auto", 3},
    {"device", DEVICE, "N", 0, "which GPU; 0", 3},
    {"math", MATH, "NAME", 0, "of products on a GPU: f32 (default), tf32, bf16", 3},
    {"threads", THREADS, "N", 0, "default: all cores", 3},
    {0},
};

static const char doc[] =
    "Runs one layer of a variant on tensors from safetensors files, so that its numbers can be "
    "compared with those of another program. One file may hold weights, x and dy together."
    "\vExamples:\n"
    "  longmix apply gau --width 64 --init w.safetensors\n"
    "  longmix apply gau --weights w.safetensors --input x.safetensors --out y.safetensors\n"
    "  longmix apply gau --weights f.safetensors --input f.safetensors --grad f.safetensors \\\n"
    "      --set \"s=16 scaling=2 norm_kind=1\" --backend ref --expect torch.safetensors";

static error_t add_set(Args *g, const char *value)
{
    size_t at = strlen(g->set);
    if (at + strlen(value) + 2 > sizeof g->set) {
        g->status = FAIL(ST_USAGE, "--set: more than %zu characters", sizeof g->set - 2);
        return EINVAL;
    }
    snprintf(g->set + at, sizeof g->set - at, "%s%s", at > 0 ? " " : "", value);
    return 0;
}

static bool take_path(Apply *a, int key, const char *value)
{
    const char **const path[] = {&a->weights, &a->input, &a->grad, &a->expect, &a->out, &a->init};
    if (key < WEIGHTS || key > INIT)
        return false;
    *path[key - WEIGHTS] = value;
    return true;
}

static bool take_flag(Apply *a, int key)
{
    if (key == BIDIRECTIONAL)
        a->ctx.causal = false;
    else if (key == NAIVE)
        a->ctx.naive = true;
    else if (key == TRAINING)
        a->ctx.training = true;
    else if (key == DECODE)
        a->decode = true;
    else
        return false;
    return true;
}

static Status take_tolerance(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end != '\0' || !(*out >= 0 && *out <= 1))
        return FAIL(ST_USAGE, "--tolerance '%s' (a number from 0 to 1)", text);
    return ST_OK;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    Args *g = state->input;
    Apply *a = &g->a;
    Status st = ST_OK;
    if (take_path(a, key, value) || take_flag(a, key))
        return 0;
    if (key == SET)
        return add_set(g, value);
    if (key == LEVEL)
        st = parse_name(value, "level", levels, &g->level);
    else if (key == BLOCKS)
        st = parse_int(value, "--blocks", 1, 1 << 10, &a->blocks);
    else if (key == WIDTH)
        st = parse_int(value, "--width", 1, 1 << 16, &a->ctx.width);
    else if (key == HEADS)
        st = parse_int(value, "--heads", 1, 1 << 12, &a->ctx.heads);
    else if (key == FFN)
        st = parse_int(value, "--ffn", 1, 1 << 20, &a->ctx.ffn);
    else if (key == N_NORM)
        st = parse_size(value, "--n-norm", 1, INT32_MAX, &a->n_norm);
    else if (key == SEED)
        st = parse_u64(value, "--seed", &a->ctx.seed);
    else if (key >= BACKEND && key <= MATH)
        st = backend_take(&a->on, key - BACKEND, value);
    else if (key == THREADS)
        st = parse_int(value, "--threads", 1, 1 << 10, &g->threads);
    else if (key == TOLERANCE)
        st = take_tolerance(value, &a->tolerance);
    else if (key == ARGP_KEY_ARG && g->variant == NULL)
        g->variant = value;
    else if (key == ARGP_KEY_ARG)
        st = FAIL(ST_USAGE, "unexpected argument '%s' (one variant)", value);
    else
        return ARGP_ERR_UNKNOWN;
    return st == ST_OK ? 0 : EINVAL;
}

/* What the options say only together. */
static Status check(const Args *g)
{
    const Apply *a = &g->a;
    if (a->input == NULL && a->init == NULL)
        return FAIL(ST_USAGE, "which input? --input FILE with x (B,T,D)");
    if (a->input != NULL && a->weights == NULL && a->init == NULL)
        return FAIL(ST_USAGE, "which weights? --weights FILE, or --init FILE for seeded ones");
    if (a->input == NULL && (a->weights != NULL || a->grad != NULL || a->out != NULL))
        return FAIL(ST_USAGE, "--weights, --grad and --out need --input FILE with x (B,T,D)");
    if (a->input != NULL && a->out == NULL && a->expect == NULL && a->init == NULL)
        return FAIL(ST_USAGE, "what becomes of the output? --out FILE or --expect FILE");
    if (a->decode && (g->level == APPLY_MIXER || !a->ctx.causal || a->ctx.training))
        return FAIL(ST_USAGE, "--decode runs causal blocks, not with --level mixer, "
                              "--bidirectional or --training");
    if (a->blocks > 1 && g->level == APPLY_MIXER)
        return FAIL(ST_USAGE, "--level mixer is a part of one block, not of --blocks %d",
                    a->blocks);
    return ST_OK;
}

/* Numbers are compared here, so a GPU gives its best unless it is told otherwise. */
static void settle_math(Apply *a)
{
    bool ref = strcmp(a->on.name, "ref") == 0;
    if (a->on.math == NULL && !ref)
        a->on.math = "f32";
    if (a->tolerance < 0)
        a->tolerance = ref                               ? 1e-10
                       : strcmp(a->on.math, "bf16") == 0 ? 5e-2
                       : strcmp(a->on.math, "tf32") == 0 ? 5e-3
                                                         : 1e-4;
}

static Status run(Args *g, bool *agrees)
{
    VariantNames names = variant_names();
    int index = 0;
    if (g->variant == NULL)
        return FAIL(ST_USAGE, "which variant? `longmix list` shows them");
    TRY(parse_name(g->variant, "variant", names.name, &index));
    TRY(check(g));
    g->a.variant = variant_table[index];
    g->a.set = g->set;
    g->a.level = (ApplyLevel)g->level;
    settle_math(&g->a);
    omp_set_num_threads(g->threads);
    return apply_run(&g->a, agrees);
}

int apply_main(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "VARIANT", doc, NULL, NULL, NULL};
    Args g = {.level = APPLY_BLOCK, .threads = limits_threads()};
    g.a.tolerance = -1; /* not given */
    g.a.on.name = "cpu";
    g.a.ctx =
        (MixCtx){.batch = 1, .q_len = 512, .width = 256, .heads = 4, .causal = true, .seed = 1};
    bool agrees = true;
    Status st = cli_parse(&argp, NAME, argc, argv, &g);
    if (st == ST_OK)
        st = run(&g, &agrees);
    return st == ST_OK && !agrees ? 1 : cli_exit(NAME, st);
}
