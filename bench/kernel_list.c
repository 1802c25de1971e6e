/* kernel_list.c - which kernels are measured at which sizes, with the bars they have to reach.
 *
 * A bar is a fraction of the roof, useful operations only: attention 0.60 of SGEMM at T = 512 and
 * 0.80 from 2048 on, its backward pass 0.70, or 0.55 where one head and one sequence leave nothing
 * to share out but the pairs, which are then gone over twice; what memory limits 0.70 of the
 * bandwidth, decode 0.80; a training step 0.65 of SGEMM. Sizes: 2048 tokens a step, as in training
 * the 3.4M-parameter model; heads such that work is about equal at all T. */
#include "bench/kernel.h"

#include <stdio.h>
#include <string.h>

#define DECODE 0.80
#define MEMORY 0.70
#define STEP   0.65
#define FLAT   0.87 /* a million tokens at 1 / 1.15 of the rate of 2048 */

const KernelCase kernel_cases[] = {
    /* kernel, pass, n, batch, heads, width, set, bar */
    {"attention", PASS_FWD, 512, 1, 8, 512, "", 0.60, false}, /* d = 64 */
    {"attention", PASS_FWD, 2048, 1, 4, 256, "", 0.80, false},
    {"attention", PASS_FWD, 4096, 1, 2, 128, "", 0.80, false},
    {"attention", PASS_FWD, 512, 1, 1, 64, "", 0.60, false},
    {"attention", PASS_FWD, 2048, 1, 1, 64, "", 0.80, false},
    {"attention", PASS_FWD, 4096, 1, 1, 64, "", 0.80, false},
    {"attention", PASS_FWD, 512, 1, 8, 1024, "", 0.60, false}, /* d = 128 */
    {"attention", PASS_FWD, 2048, 1, 4, 512, "", 0.80, false},
    {"attention", PASS_FWD, 4096, 1, 2, 256, "", 0.80, false},
    {"attention", PASS_FWD, 512, 1, 1, 128, "", 0.60, false},
    {"attention", PASS_FWD, 2048, 1, 1, 128, "", 0.80, false},
    {"attention", PASS_FWD, 4096, 1, 1, 128, "", 0.80, false},
    {"attention", PASS_BWD, 512, 1, 8, 512, "", 0.70, false},
    {"attention", PASS_BWD, 2048, 1, 4, 256, "", 0.70, false},
    {"attention", PASS_BWD, 4096, 1, 2, 128, "", 0.70, false},
    {"attention", PASS_BWD, 512, 1, 1, 64, "", 0.55, false},
    {"attention", PASS_BWD, 2048, 1, 1, 64, "", 0.55, false},
    {"attention", PASS_BWD, 512, 1, 8, 1024, "", 0.70, false},
    {"attention", PASS_BWD, 2048, 1, 4, 512, "", 0.70, false},
    {"attention", PASS_BWD, 4096, 1, 2, 256, "", 0.70, false},
    {"attention", PASS_BWD, 512, 1, 1, 128, "", 0.55, false},
    {"attention", PASS_BWD, 2048, 1, 1, 128, "", 0.55, false},
    {"attention", PASS_DECODE, 32768, 1, 8, 512, "", DECODE, false},

    {"relu2", PASS_FWD, 512, 4, 1, 1024, "s=128", 0.60, false},
    {"relu2", PASS_FWD, 512, 1, 1, 1024, "s=128", 0.60, false},
    {"relu2", PASS_FWD, 2048, 1, 1, 1024, "s=128", 0.80, false},
    {"relu2", PASS_FWD, 4096, 1, 1, 1024, "s=128", 0.80, false},
    {"relu2", PASS_BWD, 512, 4, 1, 1024, "s=128", 0.70, false},
    {"relu2", PASS_BWD, 512, 1, 1, 1024, "s=128", 0.55, false},
    {"relu2", PASS_BWD, 2048, 1, 1, 1024, "s=128", 0.55, false},

    {"chunks", PASS_FWD, 512, 4, 1, 1024, "s=128 c=256", 0, false},
    {"chunks", PASS_FWD, 2048, 1, 1, 1024, "s=128 c=256", 0, false},
    {"chunks", PASS_FWD, 8192, 1, 1, 1024, "s=128 c=256", 0, false},
    {"chunks", PASS_BWD, 512, 4, 1, 1024, "s=128 c=256", 0, false},
    {"chunks", PASS_BWD, 2048, 1, 1, 1024, "s=128 c=256", 0, false},

    {"gemm", PASS_FWD, 2048, 1, 1, 256, "k=256", 0, false}, /* q, k, v, o of d 256 */
    {"gemm_blas", PASS_FWD, 2048, 1, 1, 256, "k=256", 0, false},
    {"gemm", PASS_FWD, 2048, 1, 1, 1024, "k=256", 0, false}, /* its feed-forward layer */
    {"gemm_blas", PASS_FWD, 2048, 1, 1, 1024, "k=256", 0, false},
    {"gemm", PASS_FWD, 2048, 1, 1, 256, "k=1024", 0, false},
    {"gemm_blas", PASS_FWD, 2048, 1, 1, 256, "k=1024", 0, false},
    {"gemm", PASS_FWD, 2048, 1, 1, 1024, "k=256 form=1", 0, false},
    {"gemm_blas", PASS_FWD, 2048, 1, 1, 1024, "k=256 form=1", 0, false},
    {"gemm", PASS_FWD, 2048, 1, 1, 1024, "k=256 form=2", 0, false},
    {"gemm_blas", PASS_FWD, 2048, 1, 1, 1024, "k=256 form=2", 0, false},
    {"gemm", PASS_FWD, 2048, 1, 1, 256, "k=256 form=1", 0, false},
    {"gemm_blas", PASS_FWD, 2048, 1, 1, 256, "k=256 form=1", 0, false},
    {"gemm", PASS_FWD, 2048, 1, 1, 2048, "k=512", 0, false}, /* d 512 */
    {"gemm_blas", PASS_FWD, 2048, 1, 1, 2048, "k=512", 0, false},
    {"gemm", PASS_FWD, 4, 1, 1, 512, "k=512", 0, false}, /* a few rows */
    {"gemm_blas", PASS_FWD, 4, 1, 1, 512, "k=512", 0, false},
    {"matvec", PASS_DECODE, 1, 1, 1, 4096, "k=4096", DECODE, false},

    {"norm", PASS_FWD, 2048, 1, 1, 1024, "", MEMORY, false},
    {"norm", PASS_BWD, 2048, 1, 1, 1024, "", MEMORY, false},
    {"gate", PASS_FWD, 2048, 1, 1, 1024, "", MEMORY, false},
    {"gate", PASS_BWD, 2048, 1, 1, 1024, "", MEMORY, false},
    {"rope", PASS_FWD, 2048, 1, 16, 1024, "", MEMORY, false},
    {"add", PASS_FWD, 2048, 1, 1, 1024, "", MEMORY, false},
    {"affine", PASS_FWD, 8192, 1, 1, 128, "", MEMORY, false},
    {"conv", PASS_FWD, 2048, 1, 1, 1024, "k=3", MEMORY, false},
    {"conv", PASS_BWD, 2048, 1, 1, 1024, "k=3", MEMORY, false},
    {"embed", PASS_FWD, 2048, 1, 1, 1024, "vocab=256", MEMORY, false},
    {"embed", PASS_BWD, 2048, 1, 1, 1024, "vocab=256", MEMORY, false},
    {"cross_entropy", PASS_FWD, 2048, 4, 1, 1, "vocab=256", MEMORY, false},
    {"cross_entropy", PASS_BWD, 2048, 4, 1, 1, "vocab=256", MEMORY, false},
    {"adamw", PASS_TRAIN, 3328, 1, 1, 1024, "", MEMORY, false},

    {"lm_step", PASS_TRAIN, 512, 4, 4, 256, "layers=4", STEP, false},
    {"lm_decode", PASS_DECODE, 1024, 1, 16, 1024, "layers=6", DECODE, false},
    {"prefill", PASS_PREFILL, 1 << 20, 1, 4, 256, "layers=1", FLAT, true},
    {.kernel = NULL},
};

/* ---- whole cases ---- */
static void inner_case(const KernelShape *s, const char *variant, Level level, Case *inner)
{
    snprintf(inner->variant, sizeof inner->variant, "%s", variant);
    inner->level = level;
    inner->layers = (int)s->opt[OPT_LAYERS];
    inner->set[0] = '\0';
}

static void language_model(const KernelShape *s, Case *inner)
{
    inner_case(s, "vanilla", LEVEL_MODEL, inner);
}

static void flash_layer(const KernelShape *s, Case *inner)
{
    enum { SEGMENT = 4096 };
    inner_case(s, "flash_linear", LEVEL_LAYER, inner);
    inner->segment = min64(SEGMENT, s->n);
}

const Kernel kernel_lm_step = {
    .name = "lm_step",
    .help = "a training step of a byte-level language model (vanilla), by 6P + attention",
    .whole = language_model,
};
const Kernel kernel_lm_decode = {
    .name = "lm_decode",
    .help = "one token of a model that is in no cache",
    .whole = language_model,
};
const Kernel kernel_prefill = {
    .name = "prefill",
    .help = "a layer of flash_linear over n tokens, in turn with one over 2048",
    .whole = flash_layer,
};
