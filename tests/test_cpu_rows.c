/* test_cpu_rows.c - rotary positions, embeddings, cross entropy and AdamW of the cpu backend
 * against the formulas of kernels.h in double. */
#include "tests/cpu_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>

/* ---- rotary positions ---- */

static Status rope(Dev *d, const void *a)
{
    return dev_kernels(d)->rope(d, a);
}

static void want_rope(const Rope *a, double *y)
{
    const float *x = a->x;
    for (int64_t h = 0; h < a->rows * a->heads; h++) {
        double t = (double)(a->pos + h / a->heads % a->len), *to = y + h * a->d;
        const float *from = x + h * a->d;
        for (int c = a->rot; c < a->d; c++)
            to[c] = (a->add ? to[c] : 0.0) + (double)from[c];
        for (int i = 0; i < a->rot / 2; i++) {
            int p = a->half ? i : 2 * i, q = a->half ? i + a->rot / 2 : p + 1;
            double angle = t * pow(a->base, -2.0 * i / a->rot) * (a->inverse ? -1.0 : 1.0);
            double u = (double)from[p], v = (double)from[q];
            to[p] = (a->add ? to[p] : 0.0) + u * cos(angle) - v * sin(angle);
            to[q] = (a->add ? to[q] : 0.0) + v * cos(angle) + u * sin(angle);
        }
    }
}

/* style: bit 0 half, 1 inverse, 2 add, 3 in place */
static void rope_case(Dev *d, Rope a, int batch, int style)
{
    int64_t n = batch * a.len * a.heads * a.d;
    char what[96];
    a.rows = batch * a.len;
    a.base = 10000.0;
    a.half = style & 1;
    a.inverse = style & 2;
    a.add = style & 4;
    snprintf(what, sizeof what, "rope len %ld from %ld, %d x %d, rot %d, style %d", (long)a.len,
             (long)a.pos, a.heads, a.d, a.rot, style);
    float *y = pool_random(n, 1, 1), *x = style & 8 ? y : pool_random(n, 1, 2);
    a.x = x;
    a.y = y;
    double *want = pool_widen(y, n);
    want_rope(&a, want);
    cpu_expect(d, rope, &a, &(Out){y, n, want, 1e-6}, 1, what);
    pool_free();
}

static void ropes(Dev *d)
{
    static const Rope cases[] = {
        {.len = 1, .heads = 1, .d = 2, .rot = 2},
        {.len = 3, .heads = 1, .d = 17, .rot = 6, .pos = 5},
        {.len = 300, .heads = 2, .d = 65, .rot = 64, .pos = 1},
        {.len = 65, .heads = 1, .d = 128, .rot = 128, .pos = 1000000},
        {.len = 17, .heads = 3, .d = 8, .rot = 0, .pos = 7},
    };
    for (int i = 0; i < COUNT(cases); i++)
        for (int batch = 1; batch <= 3; batch += 2)
            for (int style = 0; style < 12; style++)
                rope_case(d, cases[i], batch, style);
}

Test(cpu_rows, rope)
{
    each_isa(ropes);
}

/* ---- AdamW ---- */

static Status adamw(Dev *d, const void *a)
{
    return dev_kernels(d)->adamw(d, a);
}

static void adamw_case(Dev *d, int64_t n, int64_t step)
{
    AdamW a = {.n = n,
               .step = step,
               .lr = 1e-2,
               .beta1 = 0.9,
               .beta2 = 0.95,
               .eps = 1e-8,
               .decay = 0.1,
               .grad_scale = 0.5};
    float *w = pool_random(n, 1, 1), *m = pool_random(n, 1, 2), *v = pool_random(n, 1, 3);
    float *grad = pool_random(n, 1, 4);
    double *want_w = pool_doubles(n), *want_m = pool_doubles(n), *want_v = pool_doubles(n);
    for (int64_t i = 0; i < n; i++) {
        v[i] *= v[i];
        if (step == 1)
            m[i] = v[i] = 0.0f;
        double g = (double)grad[i] * a.grad_scale;
        want_m[i] = a.beta1 * (double)m[i] + (1 - a.beta1) * g;
        want_v[i] = a.beta2 * (double)v[i] + (1 - a.beta2) * g * g;
        double mh = want_m[i] / (1 - pow(a.beta1, (double)step));
        double vh = want_v[i] / (1 - pow(a.beta2, (double)step));
        want_w[i] = (double)w[i] - a.lr * (mh / (sqrt(vh) + a.eps) + a.decay * (double)w[i]);
    }
    a.w = w, a.m = m, a.v = v, a.grad = grad;
    Out outs[] = {{w, n, want_w, 1e-6}, {m, n, want_m, 1e-6}, {v, n, want_v, 1e-6}};
    cpu_expect(d, adamw, &a, outs, 3, "adamw");
    pool_free();
}

static void adamws(Dev *d)
{
    static const int64_t sizes[] = {1, 3, 17, 64, 65, 1000, 100000};
    for (int i = 0; i < COUNT(sizes); i++)
        for (int64_t step = 1; step < 2000; step *= 11)
            adamw_case(d, sizes[i], step);
}

Test(cpu_rows, adamw)
{
    each_isa(adamws);
}

/* ---- embeddings ---- */

static Status embed_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->embed_fwd(d, a);
}
static Status embed_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->embed_bwd(d, a);
}

static void embed_case(Dev *d, int64_t rows, int width, int vocab)
{
    int64_t n = rows * width, size = (int64_t)vocab * width;
    float *table = pool_random(size, 1, 1), *dy = pool_random(n, 1, 2);
    float *dtable = pool_random(size, 1, 3);
    double *y = pool_doubles(n), *want = pool_widen(dtable, size);
    Embed a = {.rows = rows,
               .width = width,
               .vocab = vocab,
               .ids = pool_ids(rows, vocab, 4),
               .table = table,
               .y = pool_lines(n),
               .dy = dy,
               .dtable = dtable};
    for (int64_t i = 0; i < n; i++) {
        int64_t at = a.ids[i / width] * width + i % width;
        y[i] = (double)table[at];
        want[at] += (double)dy[i];
    }
    cpu_expect(d, embed_fwd, &a, &(Out){a.y, n, y, 0}, 1, "embed");
    cpu_expect(d, embed_bwd, &a, &(Out){dtable, size, want, sum_tol(rows)}, 1, "embed_bwd");
    a.dtable = NULL;
    cr_assert_eq(embed_bwd(d, &a), ST_OK);
    pool_free();
}

static void embeds(Dev *d)
{
    embed_case(d, 1, 1, 1);
    embed_case(d, 3, 17, 5);
    embed_case(d, 65, 64, 7);
    embed_case(d, 1000, 130, 3);
    embed_case(d, 17, 1000, 300);
    embed_case(d, 1025, 1024, 7); /* is written past the caches */
}

Test(cpu_rows, embed)
{
    each_isa(embeds);
}

/* Rows that the table does not have. */
static void embed_beyond(CpuCall call, int32_t id)
{
    Dev *d;
    float table[6] = {0}, rows[4] = {0};
    const int32_t ids[] = {0, id};
    Embed a = {.rows = 2, .width = 2, .vocab = 3, .ids = ids, .table = table};
    a.y = rows;
    a.dy = rows;
    a.dtable = table;
    cr_assert(dev_open(&d, "cpu", 0, 0) == ST_OK);
    cr_expect_eq(call(d, &a), ST_OK);
}
Test(cpu_rows, embed_of_no_row_is_a_broken_promise, .signal = SIGABRT)
{
    embed_beyond(embed_fwd, 3);
}
Test(cpu_rows, embed_of_a_negative_row, .signal = SIGABRT)
{
    embed_beyond(embed_fwd, -1);
}
Test(cpu_rows, embed_bwd_of_no_row_is_a_broken_promise, .signal = SIGABRT)
{
    embed_beyond(embed_bwd, 3);
}
Test(cpu_rows, embed_bwd_of_a_negative_row, .signal = SIGABRT)
{
    embed_beyond(embed_bwd, -1);
}

/* ---- cross entropy ---- */

static Status xent_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->xent_fwd(d, a);
}
static Status xent_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->xent_bwd(d, a);
}

static double log_sum_exp(const float *x, int n)
{
    double max = (double)x[0], sum = 0.0;
    for (int c = 1; c < n; c++)
        max = fmax(max, (double)x[c]);
    for (int c = 0; c < n; c++)
        sum += exp((double)x[c] - max);
    return max + log(sum);
}

/* Every fifth row does not count. Logits of size `sd` around `mean`. */
static void xent_case(Dev *d, int64_t rows, int vocab, float mean, double sd)
{
    int64_t n = rows * vocab;
    float *logits = pool_random(n, sd, 1), dloss = 0.25f, *dlogits = pool_random(n, 1, 2);
    int32_t *target = pool_ids(rows, vocab, 3);
    double *nll = pool_doubles(rows), *want = pool_widen(dlogits, n);
    for (int64_t i = 0; i < n; i++)
        logits[i] += mean;
    for (int64_t r = 0; r < rows; r++) {
        const float *x = logits + r * vocab;
        double lse = log_sum_exp(x, vocab);
        if (r % 5 == 4)
            target[r] = -1;
        for (int c = 0; c < vocab && target[r] >= 0; c++)
            want[r * vocab + c] +=
                3.0 * (double)dloss * (exp((double)x[c] - lse) - (c == target[r]));
        nll[r] = target[r] < 0 ? 0.0 : lse - (double)x[target[r]];
    }
    Xent a = {.rows = rows,
              .vocab = vocab,
              .logits = logits,
              .target = target,
              .weight = 3.0,
              .nll = pool_random(rows, 1, 4),
              .dloss = &dloss,
              .dlogits = dlogits};
    cpu_expect(d, xent_fwd, &a, &(Out){a.nll, rows, nll, 2e-6}, 1, "xent");
    cpu_expect(d, xent_bwd, &a, &(Out){dlogits, n, want, 2e-6}, 1, "xent_bwd");
    pool_free();
}

static void xents(Dev *d)
{
    static const int vocabs[] = {1, 2, 3, 17, 64, 65, 1000};
    for (int i = 0; i < COUNT(vocabs); i++) {
        xent_case(d, 7, vocabs[i], 0.0f, 2.0);
        xent_case(d, 65, vocabs[i], 1000.0f, 30.0);
        xent_case(d, 300, vocabs[i], -500.0f, 0.1);
    }
}

Test(cpu_rows, xent)
{
    each_isa(xents);
}

/* A masked logit has no share; a logit that is not a number is not hidden. */
static void odd_logits(Dev *d)
{
    float x[] = {-INFINITY, 0.0f, 0.0f, NAN, 0.0f, 0.0f}, nll[2];
    int32_t target[] = {1, 1};
    Xent a = {.rows = 2, .vocab = 3, .logits = x, .target = target, .nll = nll};
    double want[] = {log(2.0), (double)NAN};
    cpu_expect(d, xent_fwd, &a, &(Out){nll, 2, want, 1e-6}, 1, "odd logits");
}

Test(cpu_rows, xent_odd_logits)
{
    each_isa(odd_logits);
}
