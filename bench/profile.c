/* profile.c - the named sweeps. A group reads like the flags that would ask for it.
 *
 * smoke is what CI runs; quick is `make bench` on a CPU: kernels and a sweep of
 * under seven minutes on two cores, then two minutes of trainings; full takes hours. gpu is
 * `make bench` where there is one, and paper the papers' own models: both follow the device
 * (fit.h).
 */
#include "bench/profile.h"

#include "bench/size.h"

#include <stdio.h>
#include <string.h>

static const ProfileGroup smoke[] = {
    {"all", "layer", "fwd,train", "tiled,naive", "512,1024", 0, false, false, NULL},
    {"all", "mix", "fwd", "tiled", "512", 0, false, false, NULL},
    {"all", "layer", "prefill", "tiled", "4096", 0, false, false, NULL},
    {"all", "layer", "decode", "tiled", "512", 0, false, false, NULL},
    {.variants = NULL},
};

/* Every recipe at four lengths, a flagship of every family at all of them.
 * The million tokens of flash_linear is what the whole program is about: it always runs, and with
 * it a point of both where they can be compared. */
#define FLAGSHIPS "vanilla,gau,flash_linear,scaling,lsh"
#define SPARSE    "vanilla,scaling_ff,scaling_qkv,scaling"
static const ProfileGroup quick[] = {
    {"flash_linear", "layer", "prefill", "tiled", "1M", 120, true, false, NULL},
    {"vanilla", "layer", "prefill", "tiled", "16k", 60, true, false, NULL},
    {"flash_linear", "layer", "fwd", "tiled", "64k", 60, true, false, NULL},
    {"all", "layer", "fwd", "tiled", "4k", 0, false, true, NULL},
    {"all", "layer", "fwd", "tiled", "512,2k,8k,16k", 0, false, false, NULL},
    {FLAGSHIPS, "layer", "fwd", "tiled", "1k,32k,64k..1M", 0, false, false, NULL},
    {"vanilla,gau", "layer", "fwd", "naive", "512,2k,8k,32k,128k,1M", 0, false, false, NULL},
    {"all", "layer", "train", "tiled", "512,2k", 0, false, false, NULL},
    {"all", "mix", "fwd", "tiled", "512,4k", 0, false, false, NULL},
    {"vanilla,flash_linear", "layer", "prefill", "tiled", "4k,16k,64k,256k,1M", 0, false, false,
     NULL},
    {"all", "layer", "decode", "tiled", "1k,16k", 0, false, false, NULL},
    {FLAGSHIPS, "layer", "decode", "tiled", "4k,64k,256k,1M", 0, false, false, NULL},
    {SPARSE, "layer", "decode", "tiled", "32", 0, false, false, "d512,800m,d2048"},
    {"all", "kernel", "all", "tiled", "512", 0, false, false, NULL}, /* sizes of their own */
    {.variants = NULL},
};

static const ProfileGroup full[] = {
    {"flash_linear", "layer", "prefill", "tiled", "1M", 1200, true, false, NULL},
    {"all", "layer", "fwd,bwd,train", "tiled,naive", "512..1M", 0, false, false, NULL},
    {"all", "mix", "fwd,bwd", "tiled,naive", "512..1M", 0, false, false, NULL},
    {"all", "layer", "prefill,decode", "tiled", "512..1M", 0, false, false, NULL},
    {"all", "model", "fwd,train,decode", "tiled", "512..64k", 0, false, false, NULL},
    {"all", "kernel", "all", "tiled", "512", 0, true, false, NULL},
    {.variants = NULL},
};

/* quick's questions at a GPU's sizes. */
static const ProfileGroup gpu[] = {
    {"flash_linear", "layer", "prefill", "tiled", "1M", 0, true, false, NULL},
    {"all", "layer", "fwd", "tiled", "4k", 0, false, true, NULL},
    {"all", "layer", "fwd", "tiled", "512..1M", 0, false, false, NULL},
    {"vanilla,gau", "layer", "fwd", "naive", "512..128k", 0, false, false, NULL},
    {"all", "layer", "train", "tiled", "512..64k", 0, false, false, NULL},
    {"all", "mix", "fwd,bwd", "tiled", "512,4k,32k", 0, false, false, NULL},
    {"all", "layer", "prefill", "tiled", "4k,16k,64k,256k,1M", 0, false, false, NULL},
    {"all", "layer", "decode", "tiled", "1k,16k,256k,1M", 0, false, false, NULL},
    {SPARSE, "layer", "decode", "tiled", "32", 0, false, false, "d512,800m,d2048"},
    {"all", "kernel", "all", "tiled", "512", 0, false, false, NULL}, /* sizes of their own */
    {.variants = NULL},
};

/* The 110M models of GAU, FLASH and Primer, and the 800M ones of Scaling Transformers and
 * Terraformer, and sweeps of one layer to 1M tokens. */
#define PAPER_110M "vanilla,transformer_pp,gau,flash_linear,gau_alpha,primer,primer_ez"
#define PAPER_800M "vanilla,scaling_ff,scaling_qkv,scaling,lsh,terraformer"
static const ProfileGroup paper[] = {
    {PAPER_110M, "model", "fwd,train", "tiled", "512..8k", 0, false, false, "110m"},
    {PAPER_800M, "model", "fwd,train", "tiled", "512..8k", 0, false, false, "800m"},
    {PAPER_800M, "model", "decode", "tiled", "512,8k", 0, false, false, "800m"},
    {"all", "layer", "fwd,bwd,train", "tiled,naive", "512..1M", 0, false, false, NULL},
    {"all", "mix", "fwd,bwd", "tiled,naive", "512..1M", 0, false, false, NULL},
    {"all", "layer", "prefill,decode", "tiled", "512..1M", 0, false, false, NULL},
    {.variants = NULL},
};

static const ProfileGroup decode[] = {
    {SPARSE, "layer", "decode", "tiled", "32", 0, false, true, NULL},
    {SPARSE, "model", "decode", "tiled", "32", 0, false, false, NULL},
    {.variants = NULL},
};

const Profile profile_table[] = {
    {
        .name = "smoke",
        .help = "under a minute on 2 cores, small sizes",
        .groups = smoke,
        .width = 64,
        .heads = 2,
        .layers = 1,
        .batch = 1,
        .segment = 2048,
        .time_limit = 5,
        .budget = 40,
        .training = {.n = 256, .batch = 4, .time_limit = 60},
    },
    {
        .name = "quick",
        .help = "512 to 1M tokens within ten minutes on 2 cores, with trainings",
        .groups = quick,
        .width = 256,
        .heads = 4,
        .layers = 2,
        .batch = 1,
        .segment = 4096,
        .time_limit = 15,
        .budget = 400,
        .on_gpu = "gpu",
        .trained = "vanilla,transformer_pp,flash_linear,primer_ez",
        .training = {.tokens = 1 << 20,
                     .min_tokens = 1 << 18,
                     .n = 1024,
                     .batch = 1,
                     .time_limit = 150,
                     .budget = 115},
    },
    {
        .name = "full",
        .help = "every level and pass, hours",
        .groups = full,
        .width = 512,
        .heads = 8,
        .layers = 6,
        .batch = 1,
        .segment = 4096,
        .time_limit = 300,
        .training = {.tokens = 1 << 24, .n = 512, .batch = 8, .time_limit = 7200},
    },
    {
        .name = "paper",
        .help = "the papers' models and sweeps to 1M tokens, for a GPU",
        .groups = paper,
        .width = 768,
        .heads = 12,
        .layers = 12,
        .batch = 1,
        .segment = 8192,
        .time_limit = 600,
        .training = {.tokens = 1 << 26, .n = 512, .batch = 16, .time_limit = 36000},
        .model_tokens = 1 << 18, /* of a step, as in Hua 2022, or what fits */
        .step_tokens = 1 << 15,
        .fits = FIT_TOKENS | FIT_LIMITS,
    },
    {
        .name = "decode",
        .help = "one token from cold caches, dense and sparse, by published sizes",
        .groups = decode,
        .width = 256,
        .heads = 4,
        .layers = 1,
        .batch = 1,
        .segment = 4096,
        .time_limit = 40,
        .sizes = "d256,d512,800m,d2048,d4096,17b",
    },
    {
        .name = "gpu",
        .help =
            "what quick is on a GPU: its sizes and limits follow the device, a quarter of an hour",
        .groups = gpu,
        .width = 1024,
        .heads = 16,
        .layers = 2,
        .batch = 1,
        .segment = 8192,
        .time_limit = 60,
        .budget = 600,
        .training = {.tokens = 1 << 26,
                     .min_tokens = 1 << 22,
                     .n = 1024,
                     .batch = 16,
                     .time_limit = 300,
                     .budget = 300},
        .step_tokens = 1 << 15, /* so that short contexts fill the device, too */
        .fits = FIT_WIDTH | FIT_LIMITS,
    },
    {.name = NULL},
};

ProfileNames profile_names(void)
{
    ProfileNames p = {{NULL}};
    for (int i = 0; profile_table[i].name != NULL; i++) {
        CHECK(i + 1 < COUNT(p.name));
        p.name[i] = profile_table[i].name;
    }
    return p;
}

static Status group_of(const ProfileGroup *p, Group *g)
{
    VariantNames variants = variant_names();
    KernelNames kernels = kernel_names();
    SizeNames sizes = size_names();
    *g = (Group){.time_limit = p->time_limit, .must = p->must, .watch = p->watch};
    if (p->sizes != NULL)
        TRY(parse_names(p->sizes, "size", sizes.name, &g->sizes));
    TRY(parse_names("all", "kernel", kernels.name, &g->kernels));
    TRY(parse_names(p->variants, "variant", variants.name, &g->variants));
    TRY(parse_names(p->levels, "level", level_names, &g->levels));
    TRY(parse_names(p->passes, "pass", pass_names, &g->passes));
    TRY(parse_names(p->impls, "implementation", impl_names, &g->impls));
    return parse_lengths(p->n, "--n", &g->n);
}

const char *profile_on_gpu(const char *name)
{
    for (const Profile *p = profile_table; p->name != NULL; p++)
        if (strcmp(p->name, name) == 0)
            return p->on_gpu;
    return NULL;
}

Status profile_apply(const char *name, Sweep *s)
{
    int index = 0;
    ProfileNames names = profile_names();
    TRY(parse_name(name, "profile", names.name, &index));
    const Profile *p = &profile_table[index];
    snprintf(s->profile, sizeof s->profile, "%s", p->name);
    s->width = p->width;
    s->heads = p->heads;
    s->layers = p->layers;
    s->batch = p->batch;
    s->segment = p->segment;
    s->time_limit = p->time_limit;
    s->budget = p->budget;
    s->training = p->training;
    s->fits = p->fits;
    TRY(parse_names(p->trained != NULL ? p->trained : "all", "variant", variant_names().name,
                    &s->training.variants));
    SizeNames sizes = size_names();
    if (p->sizes != NULL)
        TRY(parse_names(p->sizes, "size", sizes.name, &s->sizes));
    for (s->n_groups = 0; p->groups[s->n_groups].variants != NULL; s->n_groups++) {
        CHECK(s->n_groups < SWEEP_MAX_GROUPS);
        Group *g = &s->group[s->n_groups];
        TRY(group_of(&p->groups[s->n_groups], g));
        g->step_tokens = g->sizes != 0 ? p->model_tokens : p->step_tokens;
    }
    return ST_OK;
}
