/* test_large.c - offsets beyond 2^31 elements: rows far apart in memory that is mapped but hardly
 * touched, and work that is only counted. Each kernel that takes row distances gives the same bits
 * as on dense rows, for which other tests have the definitions. */
#define _GNU_SOURCE /* madvise */
#include "kernels/ops.h"
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

static const int64_t FAR = INT64_C(1) << 31;

/* n zeros, of which only those that are written take memory; NULL where that cannot be had. */
static float *sparse(int64_t n)
{
    void *p = mmap(NULL, (size_t)n * sizeof(float), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    (void)madvise(p, (size_t)n * sizeof(float), MADV_NOHUGEPAGE);
    return p;
}

static void drop(float *p, int64_t n)
{
    cr_assert_eq(munmap(p, (size_t)n * sizeof *p), 0);
}

static void move(int64_t rows, int64_t cols, const float *from, int64_t from_ld, float *to,
                 int64_t to_ld)
{
    for (int64_t r = 0; r < rows; r++)
        memcpy(to + r * to_ld, from + r * from_ld, (size_t)cols * sizeof *to);
}

static void expect_rows(int64_t rows, int64_t cols, const float *want, const float *got, int64_t ld,
                        const char *what)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            cr_assert(want[r * cols + c] == got[r * ld + c], "%s: (%ld,%ld) is %g, not %g", what,
                      (long)r, (long)c, (double)got[r * ld + c], (double)want[r * cols + c]);
}

/* ---- products ---- */
enum { MOST_ROWS = 40, LEAST_ROWS = 20, PLACE = 4096 }; /* floats between operands of a row */
static const int64_t LD = (INT64_C(1) << 27) + 48;

static void gemm_case(Dev *d, float *mem, Gemm g)
{
    int64_t a_rows = g.ta ? g.k : g.m, a_cols = g.ta ? g.m : g.k;
    int64_t b_rows = g.tb ? g.n : g.k, b_cols = g.tb ? g.k : g.n;
    float *a = pool_random(a_rows * a_cols, 1, 1), *b = pool_random(b_rows * b_cols, 1, 2);
    float *c = pool_zeros(g.m * g.n);
    cr_assert((max64(a_rows, b_rows) - 1) * LD > FAR);
    move(a_rows, a_cols, a, a_cols, mem, LD);
    move(b_rows, b_cols, b, b_cols, mem + PLACE, LD);
    g.alpha = 1;
    g.a = a;
    g.b = b;
    g.c = c;
    g.lda = a_cols;
    g.ldb = b_cols;
    g.ldc = g.n;
    cr_assert_eq(dev_kernels(d)->gemm(d, &g), ST_OK);
    g.a = mem;
    g.b = mem + PLACE;
    g.c = mem + 2 * PLACE;
    g.lda = g.ldb = g.ldc = LD;
    cr_assert_eq(dev_kernels(d)->gemm(d, &g), ST_OK);
    expect_rows(g.m, g.n, c, mem + 2 * PLACE, LD, "gemm");
    pool_free();
}

static void gemms(Dev *d)
{
    float *mem = sparse(MOST_ROWS * LD);
    if (mem == NULL)
        return;
    for (int form = 0; form < 4; form++) {
        gemm_case(d, mem, (Gemm){.m = 33, .n = 40, .k = 35, .ta = form & 1, .tb = form & 2});
        gemm_case(d, mem, (Gemm){.m = LEAST_ROWS, .n = 64, .k = 20, .ta = form & 1});
    }
    gemm_case(d, mem, (Gemm){.m = 3, .n = 37, .k = 40});
    gemm_case(d, mem, (Gemm){.m = 3, .n = 37, .k = 40, .tb = true});
    drop(mem, MOST_ROWS * LD);
}

Test(large, gemm)
{
    each_isa(gemms);
}

/* ---- attention: two batch rows of T positions, operands side by side in every row ---- */
enum { T = 20, HEADS = 2, D = 16, W = HEADS * D };
enum { Q, K, V, O, D_O, DQ, DK, DV, SIDES };

static void attend(Dev *d, Attn a, int q_len, float *const side[SIDES], int64_t ld)
{
    a.q_len = q_len;
    a.q_pos = T - q_len;
    a.q_row = a.k_row = a.v_row = a.o_row = ld;
    a.k_batch = a.v_batch = T * ld;
    a.q = side[Q];
    a.k = side[K];
    a.v = side[V];
    a.o = side[O];
    cr_assert_eq(dev_kernels(d)->attn_fwd(d, &a), ST_OK);
    if (q_len == 1)
        return;
    a.d_o = side[D_O];
    a.dq = side[DQ];
    a.dk = side[DK];
    a.dv_ = side[DV];
    cr_assert_eq(dev_kernels(d)->attn_bwd(d, &a), ST_OK);
}

static void attention_case(Dev *d, float *mem, AttnKind kind, bool naive, int q_len)
{
    float *dense[SIDES], *far[SIDES], *lse = pool_zeros(2 * HEADS * T);
    float *matrix = pool_zeros(2 * HEADS * T * T), *d_matrix = pool_zeros(2 * HEADS * T * T);
    Attn a = {.kind = kind,
              .naive = naive,
              .causal = true,
              .batch = 2,
              .k_len = T,
              .heads = HEADS,
              .d = D,
              .dv = D,
              .scale = 0.25,
              .post = 0.1,
              .lse = kind == ATTN_SOFTMAX ? lse : NULL,
              .matrix = matrix,
              .d_matrix = d_matrix};
    for (int i = 0; i < SIDES; i++) {
        dense[i] =
            i < O || i == D_O ? pool_random(2 * T * W, 1, (uint32_t)i) : pool_zeros(2 * T * W);
        far[i] = mem + i * PLACE;
        move(2 * T, W, dense[i], W, far[i], LD);
    }
    attend(d, a, q_len, dense, W);
    attend(d, a, q_len, far, LD);
    for (int i = O; i < SIDES; i++)
        expect_rows(2 * (int64_t)T, W, dense[i], far[i], LD, "attention");
    pool_free();
}

static void attentions(Dev *d)
{
    float *mem = sparse(MOST_ROWS * LD);
    if (mem == NULL)
        return;
    cr_assert((2 * T - 1) * LD > FAR);
    for (int kind = 0; kind < 2; kind++) {
        attention_case(d, mem, (AttnKind)kind, false, T);
        attention_case(d, mem, (AttnKind)kind, true, T);
        attention_case(d, mem, (AttnKind)kind, false, 1);
    }
    drop(mem, MOST_ROWS * LD);
}

Test(large, attention)
{
    each_isa(attentions);
}

/* ---- copies and caches ---- */
static void copies(Dev *d)
{
    enum { COLS = 37 };
    float *mem = sparse(MOST_ROWS * LD), *back = pool_zeros(MOST_ROWS * COLS);
    const float *from = pool_random(MOST_ROWS * COLS, 1, 1);
    const int64_t rows = MOST_ROWS / 2;
    if (mem == NULL)
        return;
    Copy out = {2, rows, COLS, from, mem, COLS, LD, rows * COLS, rows * LD, false};
    Copy in = {2, rows, COLS, mem, back, LD, COLS, rows * LD, rows * COLS, true};
    cr_assert_eq(dev_kernels(d)->copy(d, &out), ST_OK);
    cr_assert_eq(dev_kernels(d)->copy(d, &in), ST_OK);
    expect_rows(MOST_ROWS, COLS, from, back, COLS, "copy");
    drop(mem, MOST_ROWS * LD);
}

Test(large, copy)
{
    each_isa(copies);
}

/* The second batch row of every cache begins beyond 2^31. */
static void decode(Dev *d, int64_t cap, float *keys, float *v, float *bucket, float *o)
{
    enum { POS = 10, ROUNDS = 16, WIDTH = 16 };
    float *q = pool_random(2 * WIDTH, 1, 7);
    for (int64_t b = 0; b < 2; b++) {
        float *k = pool_random((POS + 1) * WIDTH, 1, (uint32_t)b);
        memcpy(keys + b * cap * WIDTH, k, (POS + 1) * WIDTH * sizeof *k);
        memcpy(v + b * cap * WIDTH, k, (POS + 1) * WIDTH * sizeof *k);
        for (int64_t r = 0; r < ROUNDS; r++)
            for (int64_t p = 0; p < POS; p++)
                bucket[(b * ROUNDS + r) * cap + p] = (float)((p * 7 + r) % 3);
    }
    LshDecode a = {.batch = 2,
                   .q_len = 1,
                   .pos = POS,
                   .cap = cap,
                   .window = 4,
                   .heads = 1,
                   .d = WIDTH,
                   .dv = WIDTH,
                   .rounds = ROUNDS,
                   .fresh = pool_ids(2 * ROUNDS, 3, 5),
                   .q = q,
                   .keys = keys,
                   .v = v,
                   .bucket = bucket,
                   .o = o};
    cr_assert_eq(dev_kernels(d)->lsh_decode(d, &a), ST_OK);
}

static void decodes(Dev *d)
{
    enum { SMALL = 11, WIDTH = 16, ROUNDS = 16 };
    const int64_t cap = FAR / WIDTH + 5, n = 2 * cap * WIDTH;
    float *keys = sparse(n), *v = sparse(n), *bucket = sparse(2 * ROUNDS * cap), far[2 * WIDTH];
    float small[2 * WIDTH];
    if (keys == NULL || v == NULL || bucket == NULL)
        return;
    decode(d, cap, keys, v, bucket, far);
    decode(d, SMALL, pool_zeros(2 * SMALL * WIDTH), pool_zeros(2 * SMALL * WIDTH),
           pool_zeros(2 * ROUNDS * SMALL), small);
    expect_rows(2, WIDTH, small, far, WIDTH, "lsh_decode");
    drop(keys, n);
    drop(v, n);
    drop(bucket, 2 * ROUNDS * cap);
}

Test(large, lsh_decode)
{
    each_isa(decodes);
}

/* ---- tables and logits, of which a few rows count ---- */
static void tables(Dev *d)
{
    enum { ROWS = 5, WIDTH = 4096 };
    const int32_t vocab = (int32_t)(FAR / WIDTH + 3), ids[ROWS] = {vocab - 1, 0, 7, vocab - 1, 0};
    const int64_t n = (int64_t)vocab * WIDTH;
    float *table = sparse(n), *y = pool_zeros(ROWS * WIDTH);
    const float *dy = pool_random(ROWS * WIDTH, 1, 1);
    if (table == NULL)
        return;
    Embed a = {ROWS, WIDTH, vocab, ids, table, y, dy, table};
    cr_assert_eq(dev_kernels(d)->embed_bwd(d, &a), ST_OK);
    cr_assert_eq(dev_kernels(d)->embed_fwd(d, &a), ST_OK);
    for (int64_t c = 0; c < WIDTH; c++) {
        cr_assert_eq(y[c], dy[c] + dy[3 * WIDTH + c]);
        cr_assert_eq(y[4 * WIDTH + c], dy[WIDTH + c] + dy[4 * WIDTH + c]);
        cr_assert_eq(y[2 * WIDTH + c], dy[2 * WIDTH + c]);
    }
    drop(table, n);
}

Test(large, embed)
{
    each_isa(tables);
}

static void logits(Dev *d)
{
    enum { VOCAB = 1 << 12 };
    const int64_t rows = FAR / VOCAB + 2, n = rows * VOCAB;
    float *x = sparse(n), *dx = sparse(n), *nll = pool_zeros(rows), dloss = 1;
    int32_t *target = pool_ids(rows, 1, 1);
    if (x == NULL || dx == NULL)
        return;
    for (int64_t r = 0; r < rows; r++)
        target[r] = r < rows - 1 ? -1 : 3;
    x[n - VOCAB + 3] = 2; /* softmax: e^2 / (e^2 + VOCAB - 1) */
    Xent a = {rows, VOCAB, x, target, nll, 1, &dloss, dx};
    cr_assert_eq(dev_kernels(d)->xent_fwd(d, &a), ST_OK);
    cr_assert_eq(dev_kernels(d)->xent_bwd(d, &a), ST_OK);
    const double sum = exp(2) + VOCAB - 1;
    cr_assert_float_eq((double)nll[rows - 1], log(sum) - 2, 1e-5);
    cr_assert_float_eq((double)dx[n - VOCAB + 3], exp(2) / sum - 1, 1e-6);
    cr_assert_float_eq((double)dx[n - 1], 1 / sum, 1e-9);
    drop(x, n);
    drop(dx, n);
}

Test(large, cross_entropy)
{
    each_isa(logits);
}

/* ---- counted only ---- */
Test(large, dry)
{
    const int64_t rows = (1 << 21) + 1, width = 1024, wide = 4096;
    Dev *d = NULL;
    Tape *t = NULL;
    Tensor x = {0}, w = {0};
    cr_assert_eq(dev_open(&d, "dry", 0, 0), ST_OK);
    cr_assert_eq(tape_new(&t, d), ST_OK);
    cr_assert_eq(tensor_new(d, &x, REAL, MEM_INPUT, 3, (int64_t[]){1, rows, width}), ST_OK);
    cr_assert_eq(tensor_new(d, &w, REAL, MEM_PARAM, 2, (int64_t[]){width, wide}), ST_OK);
    Tensor *y = op_act(t, ACT_GELU, op_linear(t, &x, &w, NULL));
    cr_assert_eq(tape_status(t), ST_OK);
    cr_assert_eq(tensor_size(y), rows * wide);
    cr_assert_eq(dev_mem(d).live[MEM_ACT], 2 * (size_t)(rows * wide) * dev_real(d));
    cr_assert_eq(tape_cost(t).flops, 2.0 * (double)rows * (double)width * (double)wide);
    tape_free(t);
    tensor_free(d, &x);
    tensor_free(d, &w);
    dev_close(d);
}
