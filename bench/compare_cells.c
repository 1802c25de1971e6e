/* compare_cells.c - see compare_cells.h. */
#include "bench/compare_cells.h"

#include "bench/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Below some milliseconds each on one core, with operands that its caches hold: where they come
 * from memory, the places of their pages make a difference of several percent between two
 * processes. */
static const KernelCase kernels[] = {
    {.kernel = "attention", .pass = PASS_FWD, .n = 512, .heads = 4, .width = 256},
    {.kernel = "attention", .pass = PASS_BWD, .n = 512, .heads = 4, .width = 256},
    {.kernel = "attention", .pass = PASS_DECODE, .n = 4096, .heads = 4, .width = 256},
    {.kernel = "relu2", .pass = PASS_FWD, .n = 512, .heads = 1, .width = 256, .set = "s=64"},
    {.kernel = "relu2", .pass = PASS_BWD, .n = 512, .heads = 1, .width = 256, .set = "s=64"},
    {.kernel = "chunks", .pass = PASS_FWD, .n = 512, .heads = 1, .width = 256, .set = "s=64 c=128"},
    {.kernel = "chunks", .pass = PASS_BWD, .n = 512, .heads = 1, .width = 256, .set = "s=64 c=128"},
    {.kernel = "gemm", .pass = PASS_FWD, .n = 512, .heads = 1, .width = 256, .set = "k=256"},
    {.kernel = "gemm", .pass = PASS_FWD, .n = 512, .heads = 1, .width = 256, .set = "k=256 form=1"},
    {.kernel = "gemm", .pass = PASS_FWD, .n = 512, .heads = 1, .width = 256, .set = "k=256 form=2"},
    {.kernel = "gemm", .pass = PASS_FWD, .n = 4, .heads = 1, .width = 512, .set = "k=512"},
    {.kernel = "matvec", .pass = PASS_DECODE, .n = 1, .heads = 1, .width = 1024, .set = "k=1024"},
    {.kernel = "norm", .pass = PASS_FWD, .n = 256, .heads = 1, .width = 512},
    {.kernel = "norm", .pass = PASS_BWD, .n = 256, .heads = 1, .width = 512},
    {.kernel = "gate", .pass = PASS_FWD, .n = 256, .heads = 1, .width = 512},
    {.kernel = "gate", .pass = PASS_BWD, .n = 256, .heads = 1, .width = 512},
    {.kernel = "rope", .pass = PASS_FWD, .n = 256, .heads = 8, .width = 512},
    {.kernel = "add", .pass = PASS_FWD, .n = 256, .heads = 1, .width = 512},
    {.kernel = "affine", .pass = PASS_FWD, .n = 1024, .heads = 1, .width = 128},
    {.kernel = "embed", .pass = PASS_FWD, .n = 256, .heads = 1, .width = 512, .set = "vocab=256"},
    {.kernel = "embed", .pass = PASS_BWD, .n = 256, .heads = 1, .width = 512, .set = "vocab=256"},
    {.kernel = "cross_entropy",
     .pass = PASS_FWD,
     .n = 2048,
     .heads = 1,
     .width = 1,
     .set = "vocab=256"},
    {.kernel = "cross_entropy",
     .pass = PASS_BWD,
     .n = 2048,
     .heads = 1,
     .width = 1,
     .set = "vocab=256"},
    {.kernel = "adamw", .pass = PASS_TRAIN, .n = 256, .heads = 1, .width = 512},
};

static Case kernel_case(const Sweep *s, const KernelCase *k)
{
    Case c = {.level = LEVEL_KERNEL,
              .pass = k->pass,
              .n = k->n,
              .batch = 1,
              .heads = k->heads,
              .width = k->width,
              .layers = 1,
              .threads = s->threads,
              .causal = true,
              .hot = true,
              .seed = s->seed,
              .time_limit = s->time_limit,
              .mem_limit = s->mem_limit};
    snprintf(c.variant, sizeof c.variant, "%s", k->kernel);
    snprintf(c.backend, sizeof c.backend, "%s", s->backend);
    snprintf(c.dtype, sizeof c.dtype, "%s", sweep_dtype(s));
    snprintf(c.set, sizeof c.set, "%s", k->set != NULL ? k->set : "");
    return c;
}

static bool wants_kernels(const Sweep *s)
{
    bool wanted = false;
    for (int i = 0; i < s->n_groups; i++)
        wanted = wanted || (s->group[i].levels >> LEVEL_KERNEL & 1) != 0;
    return wanted;
}

Status compare_cells(const Sweep *s, Comparison *c)
{
    SweepCase *cases = NULL;
    int n = 0;
    Status st = sweep_cases(s, &cases, &n);
    c->cell = calloc((size_t)n + COUNT(kernels) + 1, sizeof *c->cell);
    CHECK(c->cell != NULL);
    c->n = 0;
    for (int i = 0; i < COUNT(kernels) && st == ST_OK && wants_kernels(s); i++)
        c->cell[c->n++].c = kernel_case(s, &kernels[i]);
    for (int i = 0; i < n && st == ST_OK; i++)
        c->cell[c->n++].c = cases[i].c;
    free(cases);
    return st;
}
