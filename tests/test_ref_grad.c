/* test_ref_grad.c - every backward kernel of the ref backend against central differences. */
#include "kernels/rng.h"
#include "tests/test_ref.h"

enum { MAX_IN = 5, MAX_NUMBERS = 160 };

static const double STEP = 1e-5;  /* rounding 1e-16 / STEP and truncation STEP^2 are of one size */
static const double BOUND = 1e-6; /* of an input's largest gradient */

/* One differentiable input: where the arguments hold its address and its gradient's. */
typedef struct Input {
    const void **x;
    void **dx;
    int64_t n;
} Input;

typedef Status Run(Dev *d, const void *args, bool backward);

/* A kernel with its arguments; loss = sum of y * dy. */
typedef struct Problem {
    Run *run;
    const void *args;
    void **y;
    const void **dy; /* NULL: all entries of dy are dy_all, known to the kernel by other means */
    int64_t n_y;
    double dy_all;
    int n_in;
    Input in[MAX_IN];
} Problem;

typedef struct Room {
    double x[MAX_IN][MAX_NUMBERS], dx[MAX_IN][MAX_NUMBERS], y[MAX_NUMBERS], dy[MAX_NUMBERS];
} Room;

static void bind(const Problem *p, Room *r)
{
    for (int i = 0; i < p->n_in; i++) {
        CHECK(p->in[i].n <= MAX_NUMBERS);
        *p->in[i].x = r->x[i];
        *p->in[i].dx = r->dx[i];
        for (int64_t j = 0; j < p->in[i].n; j++) {
            r->x[i][j] = 2.0 * rng_uniform(1, (uint32_t)i, (uint64_t)j) - 1.0;
            r->dx[i][j] = 1.0; /* gradients are added */
        }
    }
    CHECK(p->n_y <= MAX_NUMBERS);
    *p->y = r->y;
    for (int64_t j = 0; j < p->n_y; j++) {
        r->dy[j] = p->dy != NULL ? 2.0 * rng_uniform(1, MAX_IN, (uint64_t)j) - 1.0 : p->dy_all;
        r->y[j] = 0.0;
    }
    if (p->dy != NULL)
        *p->dy = r->dy;
}

static double loss(Dev *d, const Problem *p, const Room *r)
{
    double sum = 0.0;
    cr_assert_eq(p->run(d, p->args, false), ST_OK);
    for (int64_t j = 0; j < p->n_y; j++)
        sum += r->y[j] * r->dy[j];
    return sum;
}

static double difference(Dev *d, const Problem *p, const Room *r, double *x)
{
    const double kept = *x;
    *x = kept + STEP;
    const double above = loss(d, p, r);
    *x = kept - STEP;
    const double below = loss(d, p, r);
    *x = kept;
    return (above - below) / (2.0 * STEP);
}

/* Largest error over the input's largest gradient; inf if all its gradients are zero. */
static double input_error(Dev *d, const Problem *p, Room *r, int i)
{
    double worst = 0.0, largest = 0.0;
    for (int64_t j = 0; j < p->in[i].n; j++) {
        const double want = difference(d, p, r, &r->x[i][j]);
        const double error = fabs(r->dx[i][j] - 1.0 - want);
        worst = error > worst || isnan(error) ? error : worst;
        largest = fmax(largest, fabs(want));
    }
    return largest > 1e-3 ? worst / largest : HUGE_VAL;
}

static void check_gradients(const Problem *p, const char *name)
{
    Dev *d = open_ref();
    Room r;
    bind(p, &r);
    loss(d, p, &r); /* what forward leaves for backward */
    cr_assert_eq(p->run(d, p->args, true), ST_OK);
    for (int i = 0; i < p->n_in; i++) {
        const double error = input_error(d, p, &r, i);
        cr_assert(error <= BOUND, "%s: input %d is off by %g", name, i, error);
    }
    dev_close(d);
}

static Status run_norm(Dev *d, const void *a, bool backward)
{
    return (backward ? dev_kernels(d)->norm_bwd : dev_kernels(d)->norm_fwd)(d, a);
}

Test(ref_grad, norm)
{
    enum { ROWS = 3, WIDTH = 5 };
    static const char *const names[] = {"none", "layer", "rms", "scale"};
    for (NormKind kind = NORM_LAYER; kind <= NORM_SCALE; kind++)
        for (int plain = 0; plain < 2; plain++) {
            double stats[2 * ROWS];
            Norm a = {.kind = kind, .rows = ROWS, .width = WIDTH, .eps = 1e-5, .stats = stats};
            Problem p = {.run = run_norm,
                         .args = &a,
                         .y = &a.y,
                         .dy = &a.dy,
                         .n_y = ROWS * WIDTH,
                         .n_in = plain ? 1 : 3,
                         .in = {{&a.x, &a.dx, ROWS * WIDTH},
                                {&a.gain, &a.dgain, kind == NORM_SCALE ? 1 : WIDTH},
                                {&a.bias, &a.dbias, WIDTH}}};
            check_gradients(&p, names[kind]);
        }
}

static Status run_gate(Dev *d, const void *a, bool backward)
{
    return (backward ? dev_kernels(d)->gate_bwd : dev_kernels(d)->gate_fwd)(d, a);
}

Test(ref_grad, gate)
{
    static const char *const names[] = {"none", "relu", "relu2", "silu", "gelu", "sigmoid"};
    for (Act act = ACT_NONE; act <= ACT_SIGMOID; act++)
        for (int n_in = 1; n_in <= 2; n_in++) {
            Gate a = {.act = act, .n = 40};
            Problem p = {.run = run_gate,
                         .args = &a,
                         .y = &a.y,
                         .dy = &a.dy,
                         .n_y = 40,
                         .n_in = n_in,
                         .in = {{&a.a, &a.da, 40}, {&a.b, &a.db, 40}}};
            check_gradients(&p, names[act]);
        }
}

static Status run_affine(Dev *d, const void *a, bool backward)
{
    return (backward ? dev_kernels(d)->affine_bwd : dev_kernels(d)->affine_fwd)(d, a);
}

Test(ref_grad, affine)
{
    for (int n_in = 1; n_in <= 3; n_in++) {
        Affine a = {.rows = 4, .width = 5};
        Problem p = {.run = run_affine,
                     .args = &a,
                     .y = &a.y,
                     .dy = &a.dy,
                     .n_y = 20,
                     .n_in = n_in,
                     .in = {{&a.x, &a.dx, 20}, {&a.gain, &a.dgain, 5}, {&a.bias, &a.dbias, 5}}};
        check_gradients(&p, "affine");
    }
}

/* Rope has no backward of its own: it is the inverse turn of the gradient, added. */
typedef struct Turn {
    Rope rope;
    const void *dy;
    void *dx;
} Turn;

static Status run_rope(Dev *d, const void *args, bool backward)
{
    const Turn *t = args;
    Rope a = t->rope;
    if (backward)
        a.inverse = true, a.add = true, a.x = t->dy, a.y = t->dx;
    return dev_kernels(d)->rope(d, &a);
}

Test(ref_grad, rope)
{
    for (int half = 0; half < 2; half++) {
        Turn a = {.rope = {.rows = 6,
                           .len = 3,
                           .pos = 7,
                           .heads = 2,
                           .d = 7,
                           .rot = 4,
                           .base = 100.0,
                           .half = half}};
        Problem p = {.run = run_rope,
                     .args = &a,
                     .y = &a.rope.y,
                     .dy = &a.dy,
                     .n_y = 84,
                     .n_in = 1,
                     .in = {{&a.rope.x, &a.dx, 84}}};
        check_gradients(&p, half ? "rope, half" : "rope, interleaved");
    }
}

static Status run_embed(Dev *d, const void *a, bool backward)
{
    return (backward ? dev_kernels(d)->embed_bwd : dev_kernels(d)->embed_fwd)(d, a);
}

Test(ref_grad, embed)
{
    static const int32_t ids[] = {3, 0, 3, 1, 3};
    Embed a = {.rows = 5, .width = 3, .vocab = 4, .ids = ids};
    Problem p = {.run = run_embed,
                 .args = &a,
                 .y = &a.y,
                 .dy = &a.dy,
                 .n_y = 15,
                 .n_in = 1,
                 .in = {{&a.table, &a.dtable, 12}}};
    check_gradients(&p, "embed");
}

static Status run_xent(Dev *d, const void *a, bool backward)
{
    return (backward ? dev_kernels(d)->xent_bwd : dev_kernels(d)->xent_fwd)(d, a);
}

Test(ref_grad, cross_entropy)
{
    static const int32_t target[] = {2, -1, 0, 6};
    static const double dloss = 1.5;
    Xent a = {.rows = 4, .vocab = 7, .target = target, .weight = 0.25, .dloss = &dloss};
    Problem p = {.run = run_xent,
                 .args = &a,
                 .y = &a.nll,
                 .n_y = 4,
                 .dy_all = 0.25 * 1.5,
                 .n_in = 1,
                 .in = {{&a.logits, &a.dlogits, 28}}};
    check_gradients(&p, "cross entropy");
}

static Status run_attn(Dev *d, const void *a, bool backward)
{
    return (backward ? dev_kernels(d)->attn_bwd : dev_kernels(d)->attn_fwd)(d, a);
}

/* Rows are wider than the heads, and k and v are caches with a row to spare. */
static void check_attn(AttnKind kind, bool causal, bool post_rows, const int32_t *lens)
{
    enum { B = 2, QLEN = 4, KLEN = 6, H = 2, WIDTH = 3, V_WIDTH = 4 };
    enum { QROW = H * WIDTH + 2, KROW = H * WIDTH + 1, VROW = H * V_WIDTH, OROW = VROW + 3 };
    double lse[B * H * QLEN];
    Attn a = {.kind = kind,
              .causal = causal,
              .post_rows = post_rows,
              .batch = B,
              .q_len = QLEN,
              .k_len = KLEN,
              .q_pos = 1,
              .heads = H,
              .d = WIDTH,
              .dv = V_WIDTH,
              .scale = 0.7,
              .post = 1.3,
              .lens = lens,
              .q_row = QROW,
              .k_row = KROW,
              .v_row = VROW,
              .o_row = OROW,
              .k_batch = (KLEN + 1) * KROW,
              .v_batch = (KLEN + 1) * VROW,
              .lse = lse};
    Problem p = {.run = run_attn,
                 .args = &a,
                 .y = &a.o,
                 .dy = &a.d_o,
                 .n_y = B * QLEN * OROW,
                 .n_in = 3,
                 .in = {{&a.q, &a.dq, B * QLEN * QROW},
                        {&a.k, &a.dk, B * (KLEN + 1) * KROW},
                        {&a.v, &a.dv_, B * (KLEN + 1) * VROW}}};
    check_gradients(&p, kind == ATTN_SOFTMAX ? "softmax attention" : "relu2 attention");
}

Test(ref_grad, attention)
{
    static const int32_t lens[][2] = {{5, 2}, {3, 0}};
    for (int i = 0; i < 12; i++) {
        const int32_t *valid = i / 4 == 0 ? NULL : lens[i / 4 - 1];
        check_attn(i & 1 ? ATTN_RELU2 : ATTN_SOFTMAX, i & 2, false, valid);
        check_attn(i & 1 ? ATTN_RELU2 : ATTN_SOFTMAX, i & 2, true, valid);
    }
}

static Status run_chunks(Dev *d, const void *a, bool backward)
{
    return (backward ? dev_kernels(d)->chunks_bwd : dev_kernels(d)->chunks_fwd)(d, a);
}

/* Ten positions in chunks of four: the last one is short. */
static void check_chunks(bool causal, bool lin_mean, const int32_t *lens)
{
    enum { B = 2, T = 10, S = 3, E = 5 };
    Chunks a = {.batch = B,
                .len = T,
                .chunk = 4,
                .s = S,
                .e = E,
                .causal = causal,
                .lin_mean = lin_mean,
                .local_scale = 0.7,
                .local_post = 1.3,
                .lin_scale = 0.4,
                .lens = lens};
    Problem p = {.run = run_chunks,
                 .args = &a,
                 .y = &a.o,
                 .dy = &a.d_o,
                 .n_y = B * T * E,
                 .n_in = 5,
                 .in = {{&a.qq, &a.dqq, B * T * S},
                        {&a.kq, &a.dkq, B * T * S},
                        {&a.ql, &a.dql, B * T * S},
                        {&a.kl, &a.dkl, B * T * S},
                        {&a.v, &a.dv, B * T * E}}};
    check_gradients(&p, causal ? "causal chunks" : "bidirectional chunks");
}

Test(ref_grad, chunks)
{
    static const int32_t lens[][2] = {{9, 5}, {6, 0}};
    for (int i = 0; i < 12; i++)
        check_chunks(i & 1, i & 2, i / 4 == 0 ? NULL : lens[i / 4 - 1]);
}
