/* test_solve.c - equal parameter counts for every recipe, and a training as a row of results. */
#include "bench/solve.h"
#include "bench/train.h"
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(Status st)
{
    cr_assert_eq(st, ST_OK, "%s", status_reason());
}

static ModelSpec unsized(const Variant *v)
{
    return (ModelSpec){.variant = v,
                       .vocab = TEXT_VOCAB,
                       .ctx = {.batch = 1, .q_len = 16, .cap = 16, .n_norm = 16, .causal = true}};
}

/* What a device really allocates for such a model. */
static int64_t built_count(const ModelSpec *s)
{
    Dev *d;
    Model m;
    must(dev_open(&d, "dry", 0, 0));
    must(model_init(&m, d, s));
    int64_t n = model_n_params(&m, false);
    model_free(&m);
    dev_close(d);
    return n;
}

static void check_size(const Variant *v, const char *set, int64_t params)
{
    ModelSpec s = unsized(v);
    must(solve_size(&s, set, params));
    const MixCtx *c = &s.ctx;
    int64_t n = solve_count(&s);
    printf("%-16s %8lld: %2d layers, width %4d, %2d heads, ffn %4d: %8lld (%+.2f %%)\n", v->name,
           (long long)params, s.layers, c->width, c->heads, c->ffn, (long long)n,
           100 * ((double)n / (double)params - 1));
    cr_expect(n <= params && (double)n > 0.98 * (double)params, "%s: %lld", v->name, (long long)n);
    cr_expect(c->width % 16 == 0 && c->ffn % 8 == 0 && c->width % c->heads == 0);
    cr_expect(c->width / c->heads % 2 == 0 && c->width / c->heads >= 16 &&
              c->width / c->heads <= 64);
    cr_expect_eq(built_count(&s), n, "%s: declared and built counts differ", v->name);
    if (v->channel != NULL && v->channel->ffn_multiple != NULL && params < 1000000)
        return; /* so small that steps of the channel width decide the shape */
    cr_expect(s.layers >= 1 && c->width >= 16 * s.layers && c->width <= 256 * s.layers,
              "%s: an odd shape", v->name);
}

Test(solve, every_recipe_meets_the_count)
{
    static const int64_t params[] = {100000, 400000, 3400000};
    for (int v = 0; variant_table[v] != NULL; v++)
        for (int i = 0; i < COUNT(params); i++)
            check_size(variant_table[v], NULL, params[i]);
}

/* Layers with the parameters of vanilla's, for every recipe at the usual widths. */
/* A layer of any recipe is a Transformer layer's worth: two blocks of the GAU family make one.
 * Channel widths are whole vectors. */
Test(solve, layers_are_alike_in_size)
{
    int64_t usual = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; variant_table[i] != NULL; i++) {
            ModelSpec s = unsized(variant_table[i]);
            s.vocab = 0;
            s.layers = 1;
            s.ctx.width = 256;
            s.ctx.heads = 4;
            must(mix_options(s.variant, NULL, &s.ctx));
            const int64_t n = solve_count(&s);
            cr_expect_eq(s.ctx.ffn % 16, 0, "%s: channel width %d", s.variant->name, s.ctx.ffn);
            if (pass == 0 && strcmp(s.variant->name, "vanilla") == 0)
                usual = n;
            cr_expect(pass == 0 || (n > usual * 7 / 10 && n < usual * 12 / 10),
                      "%s: %ld numbers in a layer, vanilla has %ld", s.variant->name, (long)n,
                      (long)usual);
        }
}

Test(solve, recipes_can_be_matched)
{
    static const int width[] = {128, 256, 512, 768}, heads[] = {4, 4, 8, 12};
    for (int i = 0; i < COUNT(width); i++)
        for (int v = 0; variant_table[v] != NULL; v++) {
            ModelSpec want = unsized(variant_find("vanilla")), s = unsized(variant_table[v]);
            want.vocab = s.vocab = 0;
            want.layers = s.layers = 1;
            want.ctx.width = s.ctx.width = width[i];
            want.ctx.heads = s.ctx.heads = heads[i];
            must(mix_options(want.variant, NULL, &want.ctx));
            must(solve_match(&s, NULL, solve_count(&want)));
            double off = (double)solve_count(&s) / (double)solve_count(&want) - 1;
            printf("%-16s width %4d, ffn %4d: %+.2f %% off vanilla at %d\n", variant_table[v]->name,
                   s.ctx.width, s.ctx.ffn, 100 * off, width[i]);
            cr_expect(fabs(off) <= 0.01, "%s: %g", variant_table[v]->name, off);
            cr_expect(s.ctx.width % 16 == 0 && s.ctx.ffn % 16 == 0);
            cr_expect(abs(s.ctx.width - width[i]) <= width[i] / 2, "%s: width %d is far from %d",
                      variant_table[v]->name, s.ctx.width, width[i]);
            cr_expect_eq(built_count(&s), solve_count(&s));
        }
}

Test(solve, what_cannot_be_matched_is_refused)
{
    ModelSpec s = unsized(variant_find("gau"));
    s.vocab = 0;
    s.layers = 1;
    s.ctx.width = 32;
    s.ctx.heads = 2;
    cr_expect_eq(solve_match(&s, NULL, 300), ST_USAGE);
    cr_expect_not_null(strstr(status_reason(), "near width 32 have 300"), "%s", status_reason());
}

Test(solve, options_change_the_size)
{
    ModelSpec a = unsized(variant_find("gau")), b = a;
    must(solve_size(&a, NULL, 100000));
    must(solve_size(&b, "s=16", 100000));
    cr_expect(a.ctx.ffn != b.ctx.ffn || a.ctx.width != b.ctx.width);
    check_size(variant_find("gau"), "s=16", 100000);
    cr_expect_eq(solve_size(&a, "s=x", 100000), ST_USAGE);
}

Test(solve, counts_that_no_size_has_are_refused)
{
    ModelSpec s = unsized(variant_find("vanilla"));
    cr_expect_eq(solve_size(&s, NULL, 1000), ST_USAGE);
    cr_expect_not_null(strstr(status_reason(), "no vanilla model has 1000 parameters"), "%s",
                       status_reason());
    cr_expect(s.ctx.width == 0 && s.layers == 0, "a refusal changes nothing");
}

Test(solve, heads_divide_the_width_evenly)
{
    cr_expect_eq(solve_heads(256), 8);
    cr_expect_eq(solve_heads(100), 2);
    cr_expect_eq(solve_heads(8), 1);
    for (int width = 1; width <= 2000; width++) {
        int heads = solve_heads(width);
        cr_assert(heads >= 1 && width % heads == 0, "width %d", width);
        cr_assert(heads == 1 || width / heads % 2 == 0, "width %d", width);
    }
}

/* ---- a training as a row ---- */
static char path[] = "/tmp/longmix-row-XXXXXX";

static void make_text(void)
{
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    tiny_text(path, 6000);
    omp_set_num_threads(1); /* many tiny runs */
}

static void clean(void)
{
    unlink(path);
}

TestSuite(train_row, .init = make_text, .fini = clean);

static Case small_case(const char *variant)
{
    Case c = {.backend = "cpu",
              .n = 16,
              .batch = 4,
              .width = 16,
              .heads = 2,
              .layers = 1,
              .threads = 1,
              .causal = true,
              .seed = 3};
    snprintf(c.variant, sizeof c.variant, "%s", variant);
    return c;
}

Test(train_row, holds_the_whole_course)
{
    static Row r;
    Case c = small_case("gau");
    snprintf(c.set, sizeof c.set, "s=8");
    train_row(&c, path, 30 * 64 + 5, &r);
    cr_assert_eq(r.status, ROW_OK, "%s", r.reason);
    cr_expect(r.kind == ROW_TRAIN && r.steps == 30 && r.train_tokens == 30 * 64 && r.tokens == 64);
    cr_expect(r.params > 0 && r.embed_params == 2 * 16 * 256 && r.lr > 0 &&
              strlen(r.text_sha256) == 64);
    cr_expect(r.n_points > 10 && r.n_points <= ROW_MAX_POINTS && r.text_bytes == 6000);
    cr_expect(r.point[0].step == 0 && isnan(r.point[0].train_bpb) && r.point[0].valid_bpb > 7);
    for (int i = 1; i < r.n_points; i++) {
        const Point *p = &r.point[i], *q = &r.point[i - 1];
        cr_expect(p->step > q->step && p->seconds >= q->seconds && p->tokens == p->step * 64);
        cr_expect(p->train_bpb > 0 && p->train_bpb < 9 && p->valid_bpb < 9);
    }
    cr_expect_eq(r.point[r.n_points - 1].step, 30);
    cr_expect_eq(r.valid_bpb, r.point[r.n_points - 1].valid_bpb);
    cr_expect(r.test_bpb > 0 && r.test_bpb < r.point[0].valid_bpb && r.test_bytes % 16 == 0);
    cr_expect(r.n_buckets == 5 && r.bucket_bpb[4] > 0 && r.train_seconds > 0 && r.eval_seconds > 0);
    cr_expect(r.memory.param > 0 && r.memory.act > 0 && r.memory.counted > r.memory.act);
}

Test(train_row, solves_the_sizes_that_are_not_given)
{
    static Row r;
    Case c = small_case("vanilla");
    c.width = c.heads = c.layers = 0;
    train_row(&c, path, 64, &r);
    cr_assert_eq(r.status, ROW_OK, "%s", r.reason);
    cr_expect(r.steps == 1 && r.c.width > 0 && r.c.heads > 0 && r.c.layers > 0);
    cr_expect(r.params <= TRAIN_QUALITY_PARAMS && (double)r.params > 0.98 * TRAIN_QUALITY_PARAMS);
}

Test(train_row, failures_are_rows_with_a_reason)
{
    static Row r;
    Case c = small_case("no_such");
    train_row(&c, path, 64, &r);
    cr_expect(r.status == ROW_UNSUPPORTED && strstr(r.reason, "no_such") != NULL);
    c = small_case("vanilla");
    train_row(&c, "/nonexistent", 64, &r);
    cr_expect(r.status != ROW_OK && strstr(r.reason, "/nonexistent") != NULL);
    c.mem_limit = 100000;
    train_row(&c, path, 64, &r);
    cr_expect(r.status == ROW_OOM && strstr(r.reason, "memory limit") != NULL, "%s", r.reason);
    c.mem_limit = 0;
    c.heads = 3;
    train_row(&c, path, 64, &r);
    cr_expect(r.status == ROW_UNSUPPORTED && strstr(r.reason, "3 heads") != NULL);
    c.heads = 2;
    c.n = 5000;
    train_row(&c, path, 64, &r);
    cr_expect(r.status != ROW_OK && strstr(r.reason, "too few for a context of 5000") != NULL);
}
