/* test_ref.c - the ref backend against numbers worked out by hand, and what dry promises.
 *
 * Kernels are called through the table with host pointers. Reals are double. */
#include "tests/test_ref.h"
#include "kernels/rng.h"

#include <string.h>

static const double PI = 3.14159265358979323846;

Test(ref, gemm)
{
    static const double a[] = {1, 2, 3, 4, 5, 6}, at[] = {1, 4, 2, 5, 3, 6}; /* (2,3) */
    static const double b[] = {1, 0, 2, 1, 0, 3}, bt[] = {1, 2, 0, 0, 1, 3}; /* (3,2) */
    static const double bias[] = {100, 200}, ab[] = {5, 11, 14, 23};
    const double junk = (double)NAN;
    Dev *d = open_ref();
    for (int i = 0; i < 4; i++) {
        bool ta = i & 1, tb = i & 2;
        double c[] = {junk, junk, 7,
                      junk, junk, 7}; /* two columns of three: the third is not ours */
        Gemm g = {0};
        g.m = 2, g.n = 2, g.k = 3, g.ta = ta, g.tb = tb, g.alpha = 2;
        g.bias = bias, g.c = c, g.a = ta ? at : a, g.b = tb ? bt : b;
        g.lda = ta ? 2 : 3, g.ldb = tb ? 3 : 2, g.ldc = 3;
        cr_assert_eq(dev_kernels(d)->gemm(d, &g), ST_OK);
        g.beta = 1, g.alpha = 1, g.bias = NULL;
        cr_assert_eq(dev_kernels(d)->gemm(d, &g), ST_OK);
        for (int j = 0; j < 4; j++)
            cr_assert_eq(c[j / 2 * 3 + j % 2], 3 * ab[j] + bias[j % 2]);
        cr_assert(c[2] == 7 && c[5] == 7);
    }
    cr_assert_eq(dev_counted_flops(d), 8 * 2.0 * 2 * 2 * 3);
    dev_close(d);
}

/* Scores 0 and log 3: weights 1/4 and 3/4. The second row of the batch sees no key. */
Test(ref, softmax_of_two_keys)
{
    static const double q[] = {1, 1}, v[] = {8, 4, (double)NAN, 0};
    static const double k[] = {0, 0.5, (double)NAN, 0};
    static const int32_t lens[] = {2, 0};
    Dev *d = open_ref();
    double o[2], lse[2];
    Attn a = {0};
    a.batch = 2, a.q_len = 1, a.k_len = 2, a.heads = 1, a.d = 1, a.dv = 1, a.scale = 2 * log(3);
    a.lens = lens, a.q = q, a.k = k, a.v = v, a.o = o, a.lse = lse;
    a.q_row = 1, a.k_row = 1, a.v_row = 1, a.o_row = 1, a.k_batch = 2, a.v_batch = 2;
    cr_assert_eq(dev_kernels(d)->attn_fwd(d, &a), ST_OK);
    cr_assert_lt(fabs(o[0] - 5.0), 8 * EXACT);
    cr_assert_lt(fabs(lse[0] - log(4)), EXACT);
    cr_assert_eq(o[1], 0.0);
    cr_assert(isinf(lse[1]) && lse[1] < 0);
    cr_assert_eq(dev_counted_flops(d), 2.0 * 2 * (1 + 1));
    dev_close(d);
}

/* Equal scores, two heads, two queries: means of the visible values, and lse in order (H,q_len). */
Test(ref, heads_and_their_lse)
{
    static const double zero[] = {0, 0, 0, 0}, v[] = {2, 20, 4, 40}, want_o[] = {2, 20, 3, 30};
    const double want_lse[] = {0, log(2), 0, log(2)};
    Dev *d = open_ref();
    double o[4], lse[4];
    Attn a = {.causal = true, .batch = 1, .q_len = 2, .k_len = 2, .heads = 2, .d = 1, .dv = 1};
    a.scale = 1, a.q = zero, a.k = zero, a.v = v, a.o = o, a.lse = lse;
    a.q_row = 2, a.k_row = 2, a.v_row = 2, a.o_row = 2;
    cr_assert_eq(dev_kernels(d)->attn_fwd(d, &a), ST_OK);
    cr_assert_lt(far(o, want_o, 4), 30 * EXACT);
    cr_assert_lt(far(lse, want_lse, 4), EXACT);
    cr_assert_eq(dev_counted_flops(d), 2.0 * 2 * 3 * (1 + 1));
    dev_close(d);
}

/* Squared ReLU of scores 1, -1, 2 over a cache of 3 keys; queries are positions 1 and 2. */
Test(ref, relu2_divided_by_visible_keys)
{
    static const double q[] = {1, 1}, k[] = {1, -1, 2, (double)NAN},
                        v[] = {10, 20, 30, (double)NAN};
    static const double want[] = {6 * 10 / 2.0, 6 * (10 + 4 * 30) / 3.0};
    Dev *d = open_ref();
    double o[2];
    Attn a = {0};
    a.kind = ATTN_RELU2, a.causal = true, a.post_rows = true;
    a.batch = 1, a.q_len = 2, a.k_len = 3;
    a.q_pos = 1, a.heads = 1, a.d = 1, a.dv = 1, a.scale = 1, a.post = 6;
    a.q = q, a.k = k, a.v = v, a.o = o;
    a.q_row = 1, a.k_row = 1, a.v_row = 1, a.o_row = 1;
    cr_assert_eq(dev_kernels(d)->attn_fwd(d, &a), ST_OK);
    cr_assert_lt(far(o, want, 2), 300 * EXACT);
    dev_close(d);
}

/* All keys equal one, ql = 1: the local part counts valid positions of the chunk, the linear part
 * all valid ones over the number of chunks that have one. Rows of length 3 of 5, and 0. */
Test(ref, chunks_both_ways)
{
    static const double ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const int32_t lens[] = {3, 0};
    static const double want[] = {2 + 10 * 3 / 2.0, 2 + 15, 1 + 15, 1 + 15, 15, 0, 0, 0, 0, 0};
    Dev *d = open_ref();
    double o[10];
    Chunks a = {0};
    a.batch = 2, a.len = 5, a.chunk = 2, a.s = 1, a.e = 1, a.lin_mean = true;
    a.local_scale = 1, a.local_post = 1, a.lin_scale = 10;
    a.lens = lens, a.qq = ones, a.kq = ones, a.ql = ones, a.kl = ones, a.v = ones, a.o = o;
    cr_assert_eq(dev_kernels(d)->chunks_fwd(d, &a), ST_OK);
    cr_assert_lt(far(o, want, 10), 20 * EXACT);
    cr_assert_eq(dev_counted_flops(d), 2.0 * (2 + 2 + 1 + 1 + 0) * (1 + 1) + 3 * 4.0);
    dev_close(d);
}

enum { B = 2, T = 11, C = 4, S = 3, E = 5, TE = B * T * E };

/* Rows at .. at + len - 1 of both sequences of `from` (B,T,width), densely. */
static const double *cut_rows(double *to, const double *from, int64_t at, int64_t len, int width)
{
    const size_t size = (size_t)len * (size_t)width * sizeof *to;
    for (int64_t b = 0; b < B; b++)
        memcpy(to + b * len * width, from + (b * T + at) * width, size);
    return to;
}

/* Runs positions at .. at + len - 1 of `a`, whose state is set, and compares with want's rows. */
static void check_segment(Dev *d, Chunks a, const double *want, int64_t at, int64_t len)
{
    double qq[TE], kq[TE], ql[TE], kl[TE], v[TE], o[TE], want_o[TE];
    a.pos = at, a.len = len, a.o = o;
    a.qq = cut_rows(qq, a.qq, at, len, S), a.kq = cut_rows(kq, a.kq, at, len, S);
    a.ql = cut_rows(ql, a.ql, at, len, S), a.kl = cut_rows(kl, a.kl, at, len, S);
    a.v = cut_rows(v, a.v, at, len, E);
    cr_assert_eq(dev_kernels(d)->chunks_fwd(d, &a), ST_OK);
    cr_assert_lt(far(o, cut_rows(want_o, want, at, len, E), B * len * E), 100 * EXACT);
}

/* Two sequences of 11 positions in chunks of 4, cut in segments that carry state: the rows are
 * those of one pass, with every position valid and with 6 and 0 of them (counted from the very
 * first). */
Test(ref, chunks_in_segments)
{
    static const int32_t lens[] = {6, 0};
    static const int cuts[] = {0, 3, 4, 9, T};
    Dev *d = open_ref();
    double x[5][TE], want[TE];
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < TE; j++)
            x[i][j] = rng_uniform(2, (uint32_t)i, (uint64_t)j) - 0.3;
    for (int ragged = 0; ragged < 2; ragged++) {
        double sum[B * S * E] = {0}, part[B * S * E] = {0}, keys[B * C * S], vals[B * C * E];
        Chunks a = {.causal = true, .lin_mean = true, .lens = ragged ? lens : NULL};
        a.batch = B, a.len = T, a.chunk = C, a.s = S, a.e = E;
        a.local_scale = 0.5, a.local_post = 2, a.lin_scale = 3;
        a.qq = x[0], a.kq = x[1], a.ql = x[2], a.kl = x[3], a.v = x[4], a.o = want;
        cr_assert_eq(dev_kernels(d)->chunks_fwd(d, &a), ST_OK);
        a.sum = sum, a.part = part, a.keys = keys, a.vals = vals;
        for (int i = 0; i + 1 < COUNT(cuts); i++)
            check_segment(d, a, want, cuts[i], cuts[i + 1] - cuts[i]);
    }
    dev_close(d);
}

/* Row (1, 7): mean 4 and deviation 3; root mean square 5. */
Test(ref, norm_of_a_row)
{
    static const double x[] = {1, 7}, gain[] = {3, 4}, bias[] = {0.5, 0};
    static const double want_y[][2] = {
        [NORM_LAYER] = {-2.5, 4}, [NORM_RMS] = {1.1, 5.6}, [NORM_SCALE] = {1.1, 4.2}};
    static const double want_stats[][2] = {
        [NORM_LAYER] = {4, 1 / 3.0}, [NORM_RMS] = {0, 0.2}, [NORM_SCALE] = {0, 0.2}};
    Dev *d = open_ref();
    for (NormKind kind = NORM_LAYER; kind <= NORM_SCALE; kind++) {
        double y[2], stats[2];
        Norm a = {0};
        a.kind = kind, a.rows = 1, a.width = 2;
        a.x = x, a.gain = gain, a.bias = bias, a.y = y, a.stats = stats;
        cr_assert_eq(dev_kernels(d)->norm_fwd(d, &a), ST_OK);
        cr_assert_lt(far(y, want_y[kind], 2), 8 * EXACT);
        cr_assert_lt(far(stats, want_stats[kind], 2), EXACT);
        a.gain = NULL, a.bias = NULL, a.stats = NULL, a.eps = kind == NORM_LAYER ? 7 : 24;
        cr_assert_eq(dev_kernels(d)->norm_fwd(d, &a), ST_OK);
        cr_assert_lt(fabs(y[1] - (kind == NORM_LAYER ? 0.75 : 1)), 2 * EXACT);
    }
    dev_close(d);
}

Test(ref, gate_and_affine)
{
    static const double a[] = {-2, 0, 3}, b[] = {5, 6, 7}, gain[] = {1, 2, 3}, bias[] = {4, 5, 6};
    static const double want[][3] = {
        [ACT_NONE] = {-10, 0, 21},
        [ACT_RELU] = {0, 0, 21},
        [ACT_RELU2] = {0, 0, 63},
        [ACT_SILU] = {-10 * 0.11920292202211755, 0, 21 * 0.95257412682243322},
        [ACT_GELU] = {-0.04540230591222494 * 5, 0, 2.996362607918227 * 7},
        [ACT_SIGMOID] = {5 * 0.11920292202211755, 3, 7 * 0.95257412682243322}};
    static const double want_affine[] = {-10 + 4, 5, 63 + 6};
    Dev *d = open_ref();
    double y[3];
    for (Act act = ACT_NONE; act <= ACT_SIGMOID; act++) {
        cr_assert_eq(
            dev_kernels(d)->gate_fwd(d, &(Gate){.act = act, .n = 3, .a = a, .b = b, .y = y}),
            ST_OK);
        cr_assert_lt(far(y, want[act], 3), 1e-13);
    }
    Affine f = {.rows = 1, .width = 3, .x = want[ACT_NONE], .gain = gain, .bias = bias, .y = y};
    cr_assert_eq(dev_kernels(d)->affine_fwd(d, &f), ST_OK);
    cr_assert_lt(far(y, want_affine, 3), EXACT);
    dev_close(d);
}

/* With rot 4 and base (2 / pi)^2 pair 1 turns by 90 degrees a position, pair 0 by one radian; the
 * fifth column stays. Both rows are the first of a sequence, at position 1. */
Test(ref, rope_by_a_right_angle)
{
    static const double x[] = {1, 2, 3, 4, 5, 10, 20, 30, 40, 50};
    const double c = cos(1), s = sin(1);
    const double want[2][5] = {{c - 2 * s, 2 * c + s, -4, 3, 5}, {c - 3 * s, -4, 3 * c + s, 2, 5}};
    Dev *d = open_ref();
    for (int half = 0; half < 2; half++) {
        double y[10];
        Rope a = {0};
        a.rows = 2, a.len = 1, a.pos = 1, a.heads = 1, a.d = 5, a.rot = 4;
        a.base = 4 / (PI * PI), a.half = half, a.x = x, a.y = y;
        cr_assert_eq(dev_kernels(d)->rope(d, &a), ST_OK);
        for (int i = 0; i < 10; i++)
            cr_assert_lt(fabs(y[i] - want[half][i % 5] * (i < 5 ? 1 : 10)), 100 * EXACT);
        a.x = y, a.inverse = true; /* and back, in place */
        cr_assert_eq(dev_kernels(d)->rope(d, &a), ST_OK);
        cr_assert_lt(far(y, x, 10), 100 * EXACT);
        a.x = x, a.inverse = false, a.add = true;
        cr_assert_eq(dev_kernels(d)->rope(d, &a), ST_OK);
        cr_assert_lt(fabs(y[4] - 10), EXACT);
        cr_assert_lt(fabs(y[half ? 1 : 2] - x[half ? 1 : 2] + 4), 100 * EXACT);
    }
    dev_close(d);
}

Test(ref, embedding_and_cross_entropy)
{
    static const double table[] = {1, 2, 3, 4, 5, 6}, dy[] = {1, 1, 10, 10, 100, 100};
    static const int32_t ids[] = {2, 0, 2}, target[] = {1, -1};
    static const double rows[] = {5, 6, 1, 2, 5, 6}, want_table[] = {10, 10, 0, 0, 101, 101};
    static const double logits[] = {2, 2, 2, 2, 0, 1, 2, 3}, dloss = 3;
    static const double want_grad[] = {0.25 * 6, -0.75 * 6, 0.25 * 6, 0.25 * 6, 0, 0, 0, 0};
    Dev *d = open_ref();
    double y[6], dtable[6] = {0}, nll[2], dlogits[8] = {0};
    Embed e = {0};
    e.rows = 3, e.width = 2, e.vocab = 3, e.ids = ids, e.table = table, e.y = y, e.dy = dy,
    e.dtable = dtable;
    cr_assert_eq(dev_kernels(d)->embed_fwd(d, &e), ST_OK);
    cr_assert_eq(far(y, rows, 6), 0);
    cr_assert_eq(dev_kernels(d)->embed_bwd(d, &e), ST_OK);
    cr_assert_eq(far(dtable, want_table, 6), 0);
    Xent a = {0};
    a.rows = 2, a.vocab = 4, a.logits = logits, a.target = target, a.nll = nll;
    a.weight = 2, a.dloss = &dloss, a.dlogits = dlogits;
    cr_assert_eq(dev_kernels(d)->xent_fwd(d, &a), ST_OK);
    cr_assert_lt(fabs(nll[0] - log(4)), EXACT);
    cr_assert_eq(nll[1], 0);
    cr_assert_eq(dev_kernels(d)->xent_bwd(d, &a), ST_OK);
    cr_assert_lt(far(dlogits, want_grad, 8), 10 * EXACT);
    dev_close(d);
}

Test(ref, copies_and_sums)
{
    static const double x[] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const double want_copy[] = {1, 2, 0, 3, 4, 0, 5, 6, 0, 7, 8, 0};
    Dev *d = open_ref();
    const Kernels *k = dev_kernels(d);
    double y[12] = {0}, s[4];
    Copy c = {0};
    c.batch = 2, c.rows = 2, c.width = 2;
    c.src = x, c.dst = y;
    c.src_row = 2, c.dst_row = 3, c.src_batch = 4, c.dst_batch = 6;
    cr_assert_eq(k->copy(d, &c), ST_OK);
    cr_assert_eq(far(y, want_copy, 12), 0);
    c.add = true;
    cr_assert_eq(k->copy(d, &c), ST_OK);
    cr_assert(y[3] == 6 && y[11] == 0);
    cr_assert_eq(k->fill(d, 4, 2.5, s), ST_OK);
    cr_assert_eq(k->add(d, 4, s, x, s), ST_OK);
    cr_assert(s[0] == 3.5 && s[3] == 6.5);
    cr_assert_eq(k->colsum(d, 2, 4, x, s), ST_OK);
    cr_assert(s[0] == 3.5 + 1 + 5 && s[3] == 6.5 + 4 + 8);
    cr_assert_eq(k->sum(d, 8, 0.5, x, s), ST_OK);
    cr_assert_eq(s[0], 18);
    cr_assert_eq(k->sumsq(d, 2, x, s), ST_OK);
    cr_assert_eq(s[0], 18 + 5);
    dev_close(d);
}

/* The corrected moments of the first step are g and g^2: the weight moves by lr in g's direction,
 * plus the decay. */
Test(ref, adamw_first_step)
{
    static const double grad[] = {40, -0.5};
    static const double want_w[] = {1 - 0.1 * (1 + 0.01), 2 - 0.1 * (-1 + 0.02)};
    static const double want_m[] = {2, -0.025}, want_v[] = {4, 0.000625};
    Dev *d = open_ref();
    double w[] = {1, 2}, m[2] = {0}, v[2] = {0};
    AdamW a = {0};
    a.n = 2, a.step = 1, a.lr = 0.1, a.beta1 = 0.9, a.beta2 = 0.99;
    a.decay = 0.01, a.grad_scale = 0.5;
    a.w = w, a.m = m, a.v = v, a.grad = grad;
    cr_assert_eq(dev_kernels(d)->adamw(d, &a), ST_OK);
    cr_assert_lt(far(w, want_w, 2), 10 * EXACT);
    cr_assert_lt(far(m, want_m, 2), EXACT);
    cr_assert_lt(far(v, want_v, 2), 10 * EXACT);
    dev_close(d);
}

Test(ref, fresh_memory_is_no_number)
{
    Dev *d = open_ref();
    Buf b;
    double x[3] = {0};
    cr_assert_eq(dev_alloc(d, sizeof x, MEM_ACT, &b), ST_OK);
    cr_assert_eq(dev_read_f64(d, x, b, 0, 3), ST_OK);
    cr_assert(isnan(x[0]) && isnan(x[1]) && isnan(x[2]));
    dev_free(d, &b);
    dev_close(d);
}

/* ---- dry ---- */

Test(dry, takes_no_memory_and_computes_nothing)
{
    Dev *d = NULL;
    Buf huge, small;
    float x[2] = {3, 4};
    cr_assert_eq(dev_open(&d, "dry", 0, 0), ST_OK);
    cr_assert(dev_is_dry(d) && dev_real(d) == sizeof(float));
    cr_assert_eq(dev_alloc(d, (size_t)1 << 50, MEM_ACT, &huge), ST_OK);
    cr_assert_eq(dev_alloc(d, sizeof x, MEM_ACT, &small), ST_OK);
    cr_assert((char *)small.ptr >= (char *)huge.ptr + huge.size && (uintptr_t)small.ptr % 64 == 0);
    cr_assert_eq(dev_kernels(d)->fill(d, 2, 1.0, small.ptr), ST_OK);
    cr_assert_eq(dev_write(d, small, x, sizeof x), ST_OK);
    cr_assert_eq(dev_read(d, x, small, sizeof x), ST_OK);
    cr_assert(x[0] == 0 && x[1] == 0);
    dev_free(d, &huge);
    dev_free(d, &small);
    dev_close(d);
}
