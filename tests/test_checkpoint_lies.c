/* test_checkpoint_lies.c - checkpoints that are damaged or forged: one clear line, never a crash.
 */
#include "bench/checkpoint.h"
#include "kernels/rng.h"
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/longmix-lies-XXXXXX";
static char path[64];

static void must(Status st)
{
    cr_assert_eq(st, ST_OK, "%s", status_reason());
}

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    omp_set_num_threads(1); /* many tiny runs */
}

static void clean(void)
{
    unlink(path);
    rmdir(folder);
}

TestSuite(checkpoint_lies, .init = make_folder, .fini = clean);

typedef struct Bytes {
    char *data;
    size_t size;
} Bytes;

static Bytes read_file(void)
{
    Bytes b = {malloc(1 << 20), 0};
    FILE *f = fopen(path, "rb");
    cr_assert(f != NULL && b.data != NULL);
    b.size = fread(b.data, 1, 1 << 20, f);
    cr_assert(b.size > 8 && b.size < 1 << 20);
    fclose(f);
    return b;
}

static void write_file(const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f != NULL && fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

/* A checkpoint after one of forty steps on the tiny text. */
static Bytes good_file(void)
{
    Dev *d;
    Trainer t;
    Text text;
    double loss;
    TrainSpec s = tiny_training(variant_find("gau"));
    snprintf(s.set, sizeof s.set, "s=6");
    s.model.ctx.n_norm = 33;
    tiny_text(path, 6000);
    must(text_load(path, &text));
    must(dev_open(&d, "cpu", 0, 0));
    must(trainer_init(&t, d, &s, &text));
    must(trainer_step(&t, &loss, NULL));
    must(checkpoint_save(&t, path));
    trainer_free(&t);
    dev_close(d);
    text_free(&text);
    return read_file();
}

/* The file with `from` in its header replaced, once. */
static void write_edited(Bytes good, const char *from, const char *to)
{
    uint64_t len;
    memcpy(&len, good.data, sizeof len);
    size_t room = (size_t)len + strlen(to) + 1024;
    char *header = calloc(1, room), *text_of = calloc(1, (size_t)len + 1);
    memcpy(text_of, good.data + 8, (size_t)len);
    const char *at = strstr(text_of, from);
    cr_assert_not_null(at, "no %s in the header", from);
    int n = snprintf(header, room, "%.*s%s%s", (int)(at - text_of), text_of, to, at + strlen(from));
    while (n % 8 != 0)
        header[n++] = ' ';
    Bytes out = {malloc(8 + (size_t)n + good.size), 0};
    uint64_t claim = (uint64_t)n;
    memcpy(out.data, &claim, 8);
    memcpy(out.data + 8, header, (size_t)n);
    memcpy(out.data + 8 + n, good.data + 8 + len, good.size - 8 - len);
    write_file(out.data, 8 + (size_t)n + good.size - 8 - len);
    free(header);
    free(text_of);
    free(out.data);
}

/* Opens, builds and loads, as resuming does. */
static Status take(void)
{
    Model m = {0};
    Checkpoint c;
    Dev *d;
    TRY(checkpoint_open(path, &c));
    must(dev_open(&d, "ref", 0, (size_t)1 << 26));
    Status st = model_init(&m, d, &c.spec.model);
    if (st == ST_OK)
        st = checkpoint_load(&c, &m, c.step > 0);
    model_free(&m);
    dev_close(d);
    checkpoint_close(&c);
    return st;
}

static void expect_refused(const char *what, Status want, const char *words)
{
    (void)status_set(ST_OK, "%s", "nothing");
    Status st = take();
    cr_expect_eq(st, want, "%s: %s, '%s'", what, status_name(st), status_reason());
    cr_expect(strncmp(status_reason(), path, strlen(path)) == 0, "%s: %s", what, status_reason());
    cr_expect_not_null(strstr(status_reason(), words), "%s: '%s'", what, status_reason());
    for (const char *p = status_reason(); *p != '\0'; p++)
        cr_assert(*p >= ' ' && *p <= '~', "%s: not one printable line", what);
}

Test(checkpoint_lies, settings_that_lie_are_refused)
{
    static const struct {
        const char *from, *to, *words;
    } lies[] = {
        {"\"variant\":\"gau\"", "\"variant\":\"nope\"", "unknown variant 'nope'"},
        {"\"variant\":\"gau\"", "\"variant\":\"a\\nb\"", "setting variant: at most"},
        {"\"variant\":\"gau\"", "\"varian\":\"gau\"", "setting variant is missing"},
        {"\"variant\":\"gau\"", "\"variant\":\"vanilla\"", "unknown option 's'"},
        {"\"width\":\"16\"", "\"width\":\"\"", "width is '' (a whole number from 1 to 65536)"},
        {"\"width\":\"16\"", "\"width\":\"0\"", "'0'"},
        {"\"width\":\"16\"", "\"width\":\"-16\"", "'-16'"},
        {"\"width\":\"16\"", "\"width\":\"16.5\"", "'16.5'"},
        {"\"width\":\"16\"", "\"width\":\"16x\"", "'16x'"},
        {"\"width\":\"16\"", "\"width\":\"nan\"", "'nan'"},
        {"\"width\":\"16\"", "\"width\":\"1e999\"", "'1e999'"},
        {"\"width\":\"16\"", "\"width\":\"65536\"", "weights, which do not fit in"},
        {"\"width\":\"16\"", "\"with\":\"16\"", "setting width is missing"},
        {"\"width\":\"16\"", "\"width\":\"18\"", "tensor '"},
        {"\"width\":\"16\"", "\"width\":\"14\"", "tensor '"},
        {"\"layers\":\"1\"", "\"layers\":\"1024\"", "weights, which do not fit in"},
        {"\"layers\":\"1\"", "\"layers\":\"2\"", "tensor '"},
        {"\"heads\":\"2\"", "\"heads\":\"3\"", "3 heads do not divide the width 16"},
        {"\"ffn\":\"32\"", "\"ffn\":\"40\"", "tensor '"},
        {"\"ffn\":\"32\"", "\"ffn\":\"1048576\"", "weights, which do not fit in"},
        {"\"vocab\":\"256\"", "\"vocab\":\"10\"", "vocab is '10'"},
        {"\"seed\":\"1\"", "\"seed\":\"1e3\"", "seed is '1e3'"},
        {"\"seed\":\"1\"", "\"seed\":\"0x10\"", "seed is '0x10'"},
        {"\"seed\":\"1\"", "\"seed\":\"-1\"", "seed is '-1'"},
        {"\"seed\":\"1\"", "\"seed\":\"99999999999999999999\"", "seed is '9999"},
        {"\"step\":\"1\"", "\"step\":\"41\"", "step '41' (0 to 40)"},
        {"\"step\":\"1\"", "\"step\":\"-1\"", "step '-1'"},
        {"\"step\":\"1\"", "\"step\":\"one\"", "step 'one'"},
        {"\"lr\":\"", "\"lr\":\"nan", "lr is 'nan"},
        {"\"lr\":\"", "\"lr\":\"-", "lr is '-"},
        {"\"beta2\":\"0", "\"beta2\":\"7", "beta2 is '7"},
        {"\"recompute\":\"0\"", "\"recompute\":\"2\"", "recompute is '2'"},
        {"\"n_norm\":\"33\"", "\"n_norm\":\"0\"", "n_norm is '0'"},
        {"\"set\":\"s=6\"", "\"set\":\"s=5\"", "even s, not 5"},
        {"\"set\":\"s=6\"", "\"set\":\"s=6 q=1\"", "unknown option 'q'"},
        {"\"set\":\"s=6\"", "\"set\":\"s=6 \\u001b[2J\"", "setting set: at most 191 printable"},
        {"\"set\":\"s=6\"", "\"set\":\"s=8\"", "tensor '"},
        {"\"text_sha256\":\"", "\"text_sha256\":\"0", "setting text_sha256: at most 64"},
    };
    Bytes good = good_file();
    must(take());
    for (int i = 0; i < COUNT(lies); i++) {
        write_edited(good, lies[i].from, lies[i].to);
        Status want =
            strstr(lies[i].words, "heads") || strstr(lies[i].words, "even") ? ST_SHAPE : ST_USAGE;
        expect_refused(lies[i].to, want, lies[i].words);
    }
    char set[400];
    int n = snprintf(set, sizeof set, "\"set\":\"");
    for (int i = 0; i < 60; i++)
        n += snprintf(set + n, sizeof set - (size_t)n, "s=6 ");
    snprintf(set + n, sizeof set - (size_t)n, "\"");
    write_edited(good, "\"set\":\"s=6\"", set);
    expect_refused("a long set", ST_USAGE, "setting set: at most 191");
    free(good.data);
}

Test(checkpoint_lies, tensors_that_lie_are_refused)
{
    Bytes good = good_file();
    write_edited(good, "\"block0.mixer.w_o\"", "\"block0.mixer.w_x\"");
    expect_refused("a missing tensor", ST_USAGE, "'block0.mixer.w_o'");
    write_edited(good, "\"optim.v.head\"", "\"optim.v.foot\"");
    expect_refused("a missing moment", ST_USAGE, "'optim.v.head'");
    write_edited(good, "\"shape\":[16,32]", "\"shape\":[32,16]");
    expect_refused("a turned matrix", ST_USAGE, "16");
    write_edited(good, "\"shape\":[16,32]", "\"shape\":[512]");
    expect_refused("a flat matrix", ST_USAGE, "512");
    write_edited(good, "\"F32\"", "\"I32\"");
    expect_refused("integers", ST_USAGE, "I32");
    free(good.data);
}

/* The last number of the file is made a NaN, an infinity, and a number again. */
Test(checkpoint_lies, numbers_that_are_none_are_refused)
{
    static const float values[] = {NAN, -INFINITY, 0.5f};
    Bytes good = good_file();
    for (int i = 0; i < COUNT(values); i++) {
        memcpy(good.data + good.size - sizeof values[i], &values[i], sizeof values[i]);
        write_file(good.data, good.size);
        if (isfinite(values[i]))
            must(take());
        else
            expect_refused("not finite", ST_NONFINITE, "tensor 'optim.v.");
    }
    free(good.data);
}

Test(checkpoint_lies, what_is_no_checkpoint_is_refused)
{
    static const double parts[] = {0, 0.0001, 0.001, 0.01, 0.3, 0.9, 0.99999};
    Bytes good = good_file();
    for (int i = 0; i < COUNT(parts); i++) {
        write_file(good.data, (size_t)(parts[i] * (double)good.size));
        expect_refused("a part", ST_USAGE, "");
    }
    Bytes more = {realloc(good.data, good.size + 4), good.size + 4};
    memset(more.data + good.size, 0, 4);
    write_file(more.data, more.size);
    expect_refused("bytes behind the end", ST_USAGE, "");
    for (size_t i = 0; i < good.size; i++)
        more.data[i] = (char)rng_bits(1, 0, i);
    write_file(more.data, good.size);
    expect_refused("noise", ST_USAGE, "");
    write_file("{}", 2);
    expect_refused("a word", ST_USAGE, "");
    unlink(path);
    expect_refused("no file", ST_IO, "");
    free(more.data);
}

/* One byte of the header is another one: taken or refused, never a crash. */
Test(checkpoint_lies, damaged_headers_never_crash)
{
    uint64_t len;
    int refused = 0;
    Bytes good = good_file();
    memcpy(&len, good.data, sizeof len);
    for (uint64_t i = 0; i < 400; i++) {
        char *at = &good.data[rng_bits(2, 0, 2 * i) % (8 + len)], keep = *at;
        *at = (char)(rng_bits(2, 0, 2 * i + 1) % 96 + ' ');
        write_file(good.data, good.size);
        Status st = take();
        refused += st != ST_OK;
        cr_assert(st == ST_OK || strchr(status_reason(), '\n') == NULL);
        *at = keep;
    }
    cr_expect_gt(refused, 100);
    free(good.data);
}
