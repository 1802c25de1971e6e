/* test_ref_example.c - GAU and FLASH on a worked example with six printed decimals.
 *
 * Five tokens, widths 2, chunks of 2 (the last one short), no positions; every tensor comes from
 * one generator with its own two numbers. */
#include "tests/test_ref.h"

static const double PRINTED = 6e-7;

enum { N = 5, W = 2, NW = N * W };

static void generate(double x[NW], int a, int b)
{
    for (int i = 0; i < NW; i++)
        x[i] = ((a * i + b) % 11 - 5) / 8.0;
}

typedef struct Example {
    double qq[NW], kq[NW], ql[NW], kl[NW], v[NW], u[NW], o[NW];
} Example;

static Example example(void)
{
    Example x = {0};
    generate(x.qq, 3, 1);
    generate(x.kq, 5, 2);
    generate(x.ql, 7, 3);
    generate(x.kl, 2, 4);
    generate(x.v, 4, 6);
    generate(x.u, 6, 7);
    return x;
}

/* Single-head attention over the whole example: GAU's relu(q.k / n)^2. */
static Attn gau(Example *x, bool causal)
{
    Attn a = {.kind = ATTN_RELU2, .causal = causal};
    a.batch = 1, a.q_len = N, a.k_len = N, a.heads = 1, a.d = W, a.dv = W;
    a.scale = 1.0 / N, a.post = 1.0;
    a.q = x->qq, a.k = x->kq, a.v = x->v, a.o = x->o;
    a.q_row = W, a.k_row = W, a.v_row = W, a.o_row = W;
    return a;
}

static Chunks flash(Example *x, bool lin_mean)
{
    Chunks a = {.causal = true, .lin_mean = lin_mean};
    a.batch = 1, a.len = N, a.chunk = 2, a.s = W, a.e = W;
    a.local_scale = 0.5, a.local_post = 1.0, a.lin_scale = 0.5;
    a.qq = x->qq, a.kq = x->kq, a.ql = x->ql, a.kl = x->kl, a.v = x->v, a.o = x->o;
    return a;
}

static void gated(const Example *x, double y[NW])
{
    for (int i = 0; i < NW; i++)
        y[i] = x->u[i] * x->o[i];
}

Test(example, gau)
{
    static const double causal[] = {0.000031,  -0.000229, 0.000007, -0.000024, -0.000813,
                                    -0.000071, 0.000916,  0,        0.000456,  0.000058};
    static const double both[] = {-0.000717, -0.000252, 0.000042, 0.000006};
    Dev *d = open_ref();
    Example x = example();
    double y[NW];
    Attn a = gau(&x, true);
    cr_assert_eq(dev_kernels(d)->attn_fwd(d, &a), ST_OK);
    gated(&x, y);
    cr_assert_lt(far(y, causal, NW), PRINTED);
    a.causal = false;
    cr_assert_eq(dev_kernels(d)->attn_fwd(d, &a), ST_OK);
    gated(&x, y);
    cr_assert_lt(far(y, both, 4), PRINTED);
    cr_assert_lt(far(y + 4, causal + 4, NW - 4), PRINTED);
    dev_close(d);
}

/* The matrix itself, by mixing the identity: A_00, A_20 .. A_22, A_33. */
Test(example, gau_matrix)
{
    static const double row2[] = {0.000791, 0.001406, 0.002197, 0, 0};
    Dev *d = open_ref();
    Example x = example();
    double eye[N * N] = {0}, p[N * N];
    Attn a = gau(&x, true);
    for (int i = 0; i < N; i++)
        eye[i * N + i] = 1.0;
    a.v = eye, a.o = p, a.dv = N, a.v_row = N, a.o_row = N;
    cr_assert_eq(dev_kernels(d)->attn_fwd(d, &a), ST_OK);
    cr_assert_lt(fabs(p[0] - 0.000977), PRINTED);
    cr_assert_lt(far(p + 2 * N, row2, N), PRINTED);
    cr_assert_lt(fabs(p[3 * N + 3] - 0.003906), PRINTED);
    dev_close(d);
}

/* loss = sum(weight * u * o), so the gradient of o is weight * u. */
Test(example, gau_backward)
{
    static const double want_dq[] = {-0.000275, 0.000183,  0.000227, -0.000151, 0.001674,
                                     -0.000057, -0.000458, 0.000092, 0.002100,  0.000104};
    static const double want_dv[] = {0.000363, 0.000094,  0.000573, 0.000027, 0.000793,
                                     0.000027, -0.000305, 0,        0,        0};
    Dev *d = open_ref();
    Example x = example();
    double weight[NW], d_o[NW], dq[NW] = {0}, dv[NW] = {0};
    Attn a = gau(&x, true);
    generate(weight, 9, 5);
    for (int i = 0; i < NW; i++)
        d_o[i] = weight[i] * x.u[i];
    a.d_o = d_o, a.dq = dq, a.dv_ = dv;
    cr_assert_eq(dev_kernels(d)->attn_bwd(d, &a), ST_OK);
    cr_assert_lt(far(dq, want_dq, NW), PRINTED);
    cr_assert_lt(far(dv, want_dv, NW), PRINTED);
    dev_close(d);
}

static const double flash_rows[] = {0.000763, 0.003815, 0.000122, 0.000610,  -0.035927,
                                    0.002190, 0.010132, 0.027832, -0.023438, -0.024414};

Test(example, flash)
{
    static const double want_uo[] = {0.000191,  -0.001431, 0.000046, -0.000153, -0.017963,
                                     -0.000274, 0.006332,  0,        0.014648,  -0.003052};
    static const double sum_row4[] = {-0.046875, -0.048828}; /* a sum over chunks, not their mean */
    Dev *d = open_ref();
    Example x = example();
    double y[NW];
    Chunks a = flash(&x, true);
    cr_assert_eq(dev_kernels(d)->chunks_fwd(d, &a), ST_OK);
    cr_assert_lt(far(x.o, flash_rows, NW), PRINTED);
    cr_assert_eq(dev_counted_flops(d), 7 * 2.0 * (W + W) + (4 + 3) * 2.0 * W * W);
    gated(&x, y);
    cr_assert_lt(far(y, want_uo, NW), PRINTED);
    a.lin_mean = false;
    cr_assert_eq(dev_kernels(d)->chunks_fwd(d, &a), ST_OK);
    cr_assert_lt(far(x.o, flash_rows, 8), PRINTED);
    cr_assert_lt(far(x.o + 8, sum_row4, 2), PRINTED);
    dev_close(d);
}

/* Every way of cutting the example in two calls ends in the same rows and the same state. */
Test(example, flash_with_state)
{
    Dev *d = open_ref();
    for (int cut = 1; cut <= N; cut++) {
        Example x = example();
        double sum[W * W] = {0}, part[W * W] = {0}, keys[2 * W], vals[2 * W];
        double want_sum[W * W] = {0}, want_part[W * W];
        Chunks a = flash(&x, true);
        a.sum = sum, a.part = part, a.keys = keys, a.vals = vals, a.len = cut;
        cr_assert_eq(dev_kernels(d)->chunks_fwd(d, &a), ST_OK);
        a.pos = cut, a.len = N - cut;
        a.qq = x.qq + cut * W, a.kq = x.kq + cut * W, a.ql = x.ql + cut * W;
        a.kl = x.kl + cut * W, a.v = x.v + cut * W, a.o = x.o + cut * W;
        if (a.len > 0)
            cr_assert_eq(dev_kernels(d)->chunks_fwd(d, &a), ST_OK);
        cr_assert_lt(far(x.o, flash_rows, NW), PRINTED);
        for (int i = 0; i < W * W; i++) {
            for (int j = 0; j < 4; j++)
                want_sum[i] += x.kl[j * W + i / W] * x.v[j * W + i % W];
            want_part[i] = x.kl[4 * W + i / W] * x.v[4 * W + i % W];
        }
        cr_assert_lt(far(sum, want_sum, W * W), EXACT);
        cr_assert_lt(far(part, want_part, W * W), EXACT);
        cr_assert_lt(far(keys, x.kq + 4 * W, W), EXACT);
        cr_assert_lt(far(vals, x.v + 4 * W, W), EXACT);
    }
    dev_close(d);
}
