/* kernel_rows.c - what goes over rows once and is limited by memory. n * batch rows of `width`. */
#include "bench/kernel.h"

enum { P0, P1, P2, P3, P4, P5, P6, P7 }; /* operands by place, named in each kernel's plan */

static void take(KernelPlan *p, Role role, int64_t n)
{
    p->operand[p->n++] = (Operand){.n = n, .role = role};
}

static void take_ids(KernelPlan *p, int64_t n, int64_t limit)
{
    p->operand[p->n++] = (Operand){.n = n, .role = ROLE_IDS, .limit = limit};
}

static bool is_bwd(const KernelShape *s)
{
    return s->pass == PASS_BWD;
}

/* ---- LayerNorm: x gain bias y stats, dy dx dgain dbias ---- */
static void plan_norm(const KernelShape *s, KernelPlan *p)
{
    int64_t all = s->rows * s->width;
    bool bwd = is_bwd(s);
    take(p, ROLE_INPUT, all);
    take(p, ROLE_INPUT, s->width);
    take(p, ROLE_INPUT, s->width);
    take(p, bwd ? ROLE_PREPARE : ROLE_OUTPUT, all);
    take(p, ROLE_OUTPUT, 2 * s->rows);
    if (!bwd)
        return;
    take(p, ROLE_INPUT, all);
    take(p, ROLE_SUM, all);
    take(p, ROLE_SUM, s->width);
    take(p, ROLE_SUM, s->width);
}
static Norm norm_of(const KernelShape *s, void *const p[])
{
    Norm a = {.kind = NORM_LAYER,
              .rows = s->rows,
              .width = s->width,
              .eps = 1e-5,
              .x = p[P0],
              .gain = p[P1],
              .bias = p[P2],
              .y = p[P3],
              .stats = p[P4]};
    if (is_bwd(s)) {
        a.dy = p[P5];
        a.dx = p[P6];
        a.dgain = p[P7];
        a.dbias = p[P7 + 1];
    }
    return a;
}
static Status prepare_norm(Dev *d, const KernelShape *s, void *const p[])
{
    Norm a = norm_of(s, p);
    return dev_kernels(d)->norm_fwd(d, &a);
}
static Status run_norm(Dev *d, const KernelShape *s, void *const p[])
{
    Norm a = norm_of(s, p);
    return is_bwd(s) ? dev_kernels(d)->norm_bwd(d, &a) : dev_kernels(d)->norm_fwd(d, &a);
}
const Kernel kernel_norm = {.name = "norm",
                            .help = "LayerNorm of rows",
                            .plan = plan_norm,
                            .prepare = prepare_norm,
                            .run = run_norm,
                            .cold = true};

/* ---- silu(a) * b: a b y, dy da db ---- */
static void plan_gate(const KernelShape *s, KernelPlan *p)
{
    int64_t all = s->rows * s->width;
    take(p, ROLE_INPUT, all);
    take(p, ROLE_INPUT, all);
    take(p, is_bwd(s) ? ROLE_INPUT : ROLE_OUTPUT, all);
    if (!is_bwd(s))
        return;
    take(p, ROLE_OUTPUT, all);
    take(p, ROLE_OUTPUT, all);
}
static Status run_gate(Dev *d, const KernelShape *s, void *const p[])
{
    Gate a = {.act = ACT_SILU, .n = s->rows * s->width, .a = p[P0], .b = p[P1]};
    if (!is_bwd(s)) {
        a.y = p[P2];
        return dev_kernels(d)->gate_fwd(d, &a);
    }
    a.dy = p[P2];
    a.da = p[P3];
    a.db = p[P4];
    a.set_da = a.set_db = true; /* as in a step, where each has one reader */
    return dev_kernels(d)->gate_bwd(d, &a);
}
const Kernel kernel_gate = {
    .name = "gate", .help = "silu(a) * b", .plan = plan_gate, .run = run_gate, .cold = true};

/* ---- rotary positions: x y ---- */
static void plan_rope(const KernelShape *s, KernelPlan *p)
{
    take(p, ROLE_INPUT, s->rows * s->width);
    take(p, ROLE_OUTPUT, s->rows * s->width);
}
static Status run_rope(Dev *d, const KernelShape *s, void *const p[])
{
    int width = s->width / s->heads;
    return dev_kernels(d)->rope(d, &(Rope){.rows = s->rows,
                                           .len = s->n,
                                           .heads = s->heads,
                                           .d = width,
                                           .rot = width,
                                           .base = 10000,
                                           .half = true,
                                           .x = p[P0],
                                           .y = p[P1]});
}
const Kernel kernel_rope = {
    .name = "rope", .help = "rotary positions", .plan = plan_rope, .run = run_rope, .cold = true};

/* ---- a + b: a b y ---- */
static void plan_add(const KernelShape *s, KernelPlan *p)
{
    take(p, ROLE_INPUT, s->rows * s->width);
    take(p, ROLE_INPUT, s->rows * s->width);
    take(p, ROLE_OUTPUT, s->rows * s->width);
}
static Status run_add(Dev *d, const KernelShape *s, void *const p[])
{
    return dev_kernels(d)->add(d, s->rows * s->width, p[P0], p[P1], p[P2]);
}
const Kernel kernel_add = {.name = "add",
                           .help = "a + b, a residual connection",
                           .plan = plan_add,
                           .run = run_add,
                           .cold = true};

/* ---- x * gain + bias: x gain bias y ---- */
static void plan_affine(const KernelShape *s, KernelPlan *p)
{
    take(p, ROLE_INPUT, s->rows * s->width);
    take(p, ROLE_INPUT, s->width);
    take(p, ROLE_INPUT, s->width);
    take(p, ROLE_OUTPUT, s->rows * s->width);
}
static Status run_affine(Dev *d, const KernelShape *s, void *const p[])
{
    return dev_kernels(d)->affine_fwd(d, &(Affine){.rows = s->rows,
                                                   .width = s->width,
                                                   .x = p[P0],
                                                   .gain = p[P1],
                                                   .bias = p[P2],
                                                   .y = p[P3]});
}
const Kernel kernel_affine = {.name = "affine",
                              .help = "x * gain + bias, the heads of GAU",
                              .plan = plan_affine,
                              .run = run_affine,
                              .cold = true};

/* ---- convolution of columns, with state neither before nor after: x w y; bwd: x w dy dx dw ----
 */
static void plan_conv(const KernelShape *s, KernelPlan *p)
{
    int64_t all = s->rows * s->width, taps = s->opt[OPT_K] * s->width;
    take(p, ROLE_INPUT, all);
    take(p, ROLE_INPUT, taps);
    take(p, is_bwd(s) ? ROLE_INPUT : ROLE_OUTPUT, all);
    p->flops = 2 * (double)all * (double)s->opt[OPT_K];
    if (!is_bwd(s))
        return;
    take(p, ROLE_SUM, all);
    take(p, ROLE_SUM, taps);
    p->flops *= 2;
}
static Status run_conv(Dev *d, const KernelShape *s, void *const p[])
{
    Conv a = {.batch = s->batch,
              .len = s->n,
              .width = s->width,
              .taps = (int)s->opt[OPT_K],
              .x = p[P0],
              .w = p[P1]};
    if (!is_bwd(s)) {
        a.y = p[P2];
        return dev_kernels(d)->conv_fwd(d, &a);
    }
    a.dy = p[P2];
    a.dx = p[P3];
    a.dw = p[P4];
    return dev_kernels(d)->conv_bwd(d, &a);
}
const Kernel kernel_conv = {.name = "conv",
                            .help = "convolution of each column over positions, k taps",
                            .plan = plan_conv,
                            .run = run_conv,
                            .cold = true};

/* ---- embedding: ids table y; bwd: ids dy dtable ---- */
static void plan_embed(const KernelShape *s, KernelPlan *p)
{
    int64_t table = s->opt[OPT_VOCAB] * s->width, all = s->rows * s->width;
    take_ids(p, s->rows, s->opt[OPT_VOCAB]);
    take(p, ROLE_INPUT, is_bwd(s) ? all : table);
    take(p, is_bwd(s) ? ROLE_SUM : ROLE_OUTPUT, is_bwd(s) ? table : all);
}
static Status run_embed(Dev *d, const KernelShape *s, void *const p[])
{
    Embed a = {.rows = s->rows, .width = s->width, .vocab = (int)s->opt[OPT_VOCAB], .ids = p[P0]};
    if (!is_bwd(s)) {
        a.table = p[P1];
        a.y = p[P2];
        return dev_kernels(d)->embed_fwd(d, &a);
    }
    a.dy = p[P1];
    a.dtable = p[P2];
    return dev_kernels(d)->embed_bwd(d, &a);
}
const Kernel kernel_embed = {.name = "embed",
                             .help = "rows of a table by id",
                             .plan = plan_embed,
                             .run = run_embed,
                             .cold = true};

/* ---- cross-entropy of n rows over the vocabulary: logits target nll; bwd: dloss dlogits ---- */
static void plan_xent(const KernelShape *s, KernelPlan *p)
{
    take(p, ROLE_INPUT, s->rows * s->opt[OPT_VOCAB]);
    take_ids(p, s->rows, s->opt[OPT_VOCAB]);
    take(p, is_bwd(s) ? ROLE_INPUT : ROLE_OUTPUT, is_bwd(s) ? 1 : s->rows);
    if (is_bwd(s))
        take(p, ROLE_SUM, s->rows * s->opt[OPT_VOCAB]);
}
static Status run_xent(Dev *d, const KernelShape *s, void *const p[])
{
    Xent a = {.rows = s->rows,
              .vocab = (int)s->opt[OPT_VOCAB],
              .logits = p[P0],
              .target = p[P1],
              .weight = 1 / (double)s->rows};
    if (!is_bwd(s)) {
        a.nll = p[P2];
        return dev_kernels(d)->xent_fwd(d, &a);
    }
    a.dloss = p[P2];
    a.dlogits = p[P3];
    return dev_kernels(d)->xent_bwd(d, &a);
}
const Kernel kernel_cross_entropy = {.name = "cross_entropy",
                                     .help = "losses of n rows over a vocabulary",
                                     .plan = plan_xent,
                                     .run = run_xent,
                                     .cold = true};

/* ---- AdamW on n * width weights: grad w m v ---- */
static void plan_adamw(const KernelShape *s, KernelPlan *p)
{
    take(p, ROLE_INPUT, s->rows * s->width);
    for (int i = 0; i < 3; i++)
        take(p, ROLE_SUM, s->rows * s->width);
}
static Status run_adamw(Dev *d, const KernelShape *s, void *const p[])
{
    return dev_kernels(d)->adamw(d, &(AdamW){.n = s->rows * s->width,
                                             .step = 1,
                                             .lr = 1e-6,
                                             .beta1 = 0.9,
                                             .beta2 = 0.95,
                                             .eps = 1e-8,
                                             .decay = 0.1,
                                             .grad_scale = 1,
                                             .grad = p[P0],
                                             .w = p[P1],
                                             .m = p[P2],
                                             .v = p[P3]});
}
const Kernel kernel_adamw = {.name = "adamw",
                             .help = "an optimiser step on n x width weights",
                             .plan = plan_adamw,
                             .run = run_adamw,
                             .cold = true};
