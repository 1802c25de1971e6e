/* kernel_pairs.c - attention of pairs, and mixed chunks.
 *
 * A backward pass counts five products for the forward pass's two: scores again and dP = dO V',
 * then dV, dQ, dK; kernels that go over the pairs twice compute more, and none of it counts. */
#include "bench/kernel.h"
#include "kernels/ops.h"

#include <math.h>

static Operand operand(Role role, int64_t n)
{
    return (Operand){.n = n, .role = role};
}

/* ---- attention: heads of d = width / heads; relu2: one head, keys of S, values of width ---- */
enum { Q, K, V, O, LSE, D_O, DQ, DK, DV, N_ATTENTION };

/* Widths of a position's queries (and keys) and values; heads. */
typedef struct Widths {
    int64_t q, v;
    int heads;
} Widths;

static Widths softmax_widths(const KernelShape *s)
{
    return (Widths){s->width, s->width, s->heads};
}
static Widths relu2_widths(const KernelShape *s)
{
    return (Widths){s->opt[OPT_S], s->width, 1};
}

static void plan_attention(const KernelShape *s, Widths w, bool lse, KernelPlan *p)
{
    bool decode = s->pass == PASS_DECODE, bwd = s->pass == PASS_BWD;
    int64_t queries = decode ? s->batch : s->rows;
    double pairs = decode ? (double)s->rows : attend_pairs(s->batch, s->n, s->n, 0, true);
    p->n = bwd ? N_ATTENTION : LSE;
    p->operand[Q] = operand(ROLE_INPUT, queries * w.q);
    p->operand[K] = operand(ROLE_INPUT, s->rows * w.q);
    p->operand[V] = operand(ROLE_INPUT, s->rows * w.v);
    p->operand[O] = operand(ROLE_OUTPUT, queries * w.v);
    p->operand[LSE] = operand(ROLE_OUTPUT, lse ? queries * w.heads : 1);
    p->operand[D_O] = operand(ROLE_INPUT, queries * w.v);
    p->operand[DQ] = operand(ROLE_OUTPUT, queries * w.q);
    p->operand[DK] = operand(ROLE_OUTPUT, s->rows * w.q);
    p->operand[DV] = operand(ROLE_OUTPUT, s->rows * w.v);
    double q = (double)w.q, v = (double)w.v;
    p->flops = 2 * pairs * (bwd ? 3 * q + 2 * v : q + v);
}

static Attn attn_of(const KernelShape *s, Widths w, AttnKind kind, void *const p[])
{
    bool decode = s->pass == PASS_DECODE, bwd = s->pass == PASS_BWD;
    int d = (int)(w.q / w.heads);
    return (Attn){.kind = kind,
                  .causal = true,
                  .batch = s->batch,
                  .q_len = decode ? 1 : s->n,
                  .k_len = s->n,
                  .q_pos = decode ? s->n - 1 : 0,
                  .heads = w.heads,
                  .d = d,
                  .dv = (int)(w.v / w.heads),
                  .scale = 1 / sqrt((double)d),
                  .post = 1 / (double)s->n,
                  .q = p[Q],
                  .k = p[K],
                  .v = p[V],
                  .o = p[O],
                  .lse = bwd && kind == ATTN_SOFTMAX ? p[LSE] : NULL,
                  .q_row = w.q,
                  .k_row = w.q,
                  .v_row = w.v,
                  .o_row = w.v,
                  .k_batch = s->n * w.q,
                  .v_batch = s->n * w.v,
                  .d_o = bwd ? p[D_O] : NULL,
                  .dq = bwd ? p[DQ] : NULL,
                  .dk = bwd ? p[DK] : NULL,
                  .dv_ = bwd ? p[DV] : NULL,
                  .set_dq = bwd, /* as in a step, where each has one reader */
                  .set_dk = bwd,
                  .set_dv = bwd};
}

static Status run_attention(Dev *d, const KernelShape *s, const Attn *a)
{
    const Kernels *k = dev_kernels(d);
    return s->pass == PASS_BWD ? k->attn_bwd(d, a) : k->attn_fwd(d, a);
}

static void plan_softmax(const KernelShape *s, KernelPlan *p)
{
    plan_attention(s, softmax_widths(s), true, p);
}
static Status run_softmax(Dev *d, const KernelShape *s, void *const p[])
{
    Attn a = attn_of(s, softmax_widths(s), ATTN_SOFTMAX, p);
    return run_attention(d, s, &a);
}
static Status prepare_softmax(Dev *d, const KernelShape *s, void *const p[])
{
    Attn a = attn_of(s, softmax_widths(s), ATTN_SOFTMAX, p);
    return dev_kernels(d)->attn_fwd(d, &a);
}

static void plan_relu2(const KernelShape *s, KernelPlan *p)
{
    plan_attention(s, relu2_widths(s), false, p);
}
static Status run_relu2(Dev *d, const KernelShape *s, void *const p[])
{
    Attn a = attn_of(s, relu2_widths(s), ATTN_RELU2, p);
    return run_attention(d, s, &a);
}
static Status prepare_relu2(Dev *d, const KernelShape *s, void *const p[])
{
    Attn a = attn_of(s, relu2_widths(s), ATTN_RELU2, p);
    return dev_kernels(d)->attn_fwd(d, &a);
}

const Kernel kernel_attention = {
    .name = "attention",
    .help = "softmax attention, heads of width / heads, causal; decode: one query",
    .plan = plan_softmax,
    .prepare = prepare_softmax,
    .run = run_softmax,
};
const Kernel kernel_relu2 = {
    .name = "relu2",
    .help = "attention of GAU: one head, keys of s, values of width",
    .plan = plan_relu2,
    .prepare = prepare_relu2,
    .run = run_relu2,
};

/* ---- mixed chunks: keys of S, values of width, chunks of C ---- */
enum { QQ, KQ, QL, KL, CV, CO, D_CO, DQQ, DKQ, DQL, DKL, DCV, N_CHUNKS };

static void plan_chunks(const KernelShape *s, KernelPlan *p)
{
    bool bwd = s->pass == PASS_BWD;
    int64_t z = s->opt[OPT_S], c = s->opt[OPT_C], keys = s->rows * z, values = s->rows * s->width;
    int64_t whole = s->n / c, rest = s->n % c;
    p->n = bwd ? N_CHUNKS : D_CO;
    for (int i = QQ; i <= KL; i++)
        p->operand[i] = operand(ROLE_INPUT, keys);
    p->operand[CV] = operand(ROLE_INPUT, values);
    p->operand[CO] = operand(bwd ? ROLE_PREPARE : ROLE_OUTPUT, values);
    p->operand[D_CO] = operand(ROLE_INPUT, values);
    for (int i = DQQ; i <= DKL; i++)
        p->operand[i] = operand(ROLE_SUM, keys);
    p->operand[DCV] = operand(ROLE_SUM, values);

    double pairs = (double)s->batch * ((double)whole * attend_pairs(1, c, c, 0, true) +
                                       attend_pairs(1, rest, rest, 0, true));
    double kd = (double)z, vd = s->width, b = (double)s->batch;
    double adds = b * (double)((s->n - 1) / c * c), reads = b * (double)max64(0, s->n - c);
    p->flops = bwd ? 2 * pairs * (3 * kd + 2 * vd) + 2 * kd * vd * (3 * adds + 2 * reads)
                   : 2 * pairs * (kd + vd) + 2 * kd * vd * (adds + reads);
}

static Chunks chunks_of(const KernelShape *s, void *const p[])
{
    bool bwd = s->pass == PASS_BWD;
    return (Chunks){.batch = s->batch,
                    .len = s->n,
                    .chunk = (int)s->opt[OPT_C],
                    .s = (int)s->opt[OPT_S],
                    .e = s->width,
                    .causal = true,
                    .lin_mean = true,
                    .local_scale = 1 / (double)s->opt[OPT_C],
                    .local_post = 1,
                    .lin_scale = 1 / (double)s->opt[OPT_C],
                    .qq = p[QQ],
                    .kq = p[KQ],
                    .ql = p[QL],
                    .kl = p[KL],
                    .v = p[CV],
                    .o = p[CO],
                    .d_o = bwd ? p[D_CO] : NULL,
                    .dqq = bwd ? p[DQQ] : NULL,
                    .dkq = bwd ? p[DKQ] : NULL,
                    .dql = bwd ? p[DQL] : NULL,
                    .dkl = bwd ? p[DKL] : NULL,
                    .dv = bwd ? p[DCV] : NULL};
}

static Status run_chunks(Dev *d, const KernelShape *s, void *const p[])
{
    Chunks a = chunks_of(s, p);
    const Kernels *k = dev_kernels(d);
    return s->pass == PASS_BWD ? k->chunks_bwd(d, &a) : k->chunks_fwd(d, &a);
}
static Status prepare_chunks(Dev *d, const KernelShape *s, void *const p[])
{
    Chunks a = chunks_of(s, p);
    return dev_kernels(d)->chunks_fwd(d, &a);
}

const Kernel kernel_chunks = {
    .name = "chunks",
    .help = "mixed chunk attention of FLASH: keys of s, values of width, chunks of c",
    .plan = plan_chunks,
    .prepare = prepare_chunks,
    .run = run_chunks,
};
