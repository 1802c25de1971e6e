/* test_datasets.c - texts: loading, splits, batches, windows, entropies; and kjv.sh's refusals. */
#include "datasets/entropy.h"
#include "datasets/text.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 10007, BATCH = 3, LEN = 16, CELLS = BATCH * LEN };

static char folder[] = "/tmp/longmix-text-XXXXXX";
static char path[64];
static Text text;

static void write_file(const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, size, f), size);
    cr_assert_eq(fclose(f), 0);
}

/* Bytes without a short period, all 256 values among them. */
static uint8_t byte_at(size_t i)
{
    return (uint8_t)((i * i + i / 7) >> 2);
}

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/text", folder);
}

static void load(void)
{
    uint8_t data[SIZE];
    for (size_t i = 0; i < SIZE; i++)
        data[i] = byte_at(i);
    make_folder();
    write_file(data, SIZE);
    cr_assert_eq(text_load(path, &text), ST_OK, "%s", status_reason());
}

static void clean(void)
{
    text_free(&text);
    unlink(path);
    rmdir(folder);
}

TestSuite(file, .init = make_folder, .fini = clean);
TestSuite(text, .init = load, .fini = clean);

static void expect_refused(const char *name, Status want, const char *words)
{
    Text t;
    cr_expect_eq(text_load(name, &t), want, "%s", name);
    cr_expect_not_null(strstr(status_reason(), words), "'%s'", status_reason());
    cr_expect_null(strchr(status_reason(), '\n'));
    cr_expect_null(t.data);
    text_free(&t);
}

Test(file, refuses_what_is_no_text)
{
    uint8_t zeros[TEXT_MIN_BYTES] = {0};
    expect_refused(path, ST_IO, "No such file");
    expect_refused(folder, ST_IO, "is a folder");
    expect_refused("/dev/zero", ST_IO, "not a regular file");
    write_file(zeros, 0);
    expect_refused(path, ST_USAGE, "minimum is 4096");
    write_file(zeros, TEXT_MIN_BYTES - 1);
    expect_refused(path, ST_USAGE, "4095 bytes are too few");
    write_file(zeros, TEXT_MIN_BYTES);
    cr_expect_eq(text_load(path, &text), ST_OK);
}

Test(file, refuses_an_unreadable_one)
{
    if (geteuid() == 0) {
        clean(); /* a skipped test has no .fini */
        cr_skip_test("root can read everything");
    }
    write_file("", 0);
    cr_assert_eq(chmod(path, 0), 0);
    expect_refused(path, ST_IO, "Permission denied");
}

Test(file, sha256_of_a_million_a)
{
    char *a = malloc(1000000);
    cr_assert_not_null(a);
    memset(a, 'a', 1000000);
    write_file(a, 1000000);
    free(a);
    cr_assert_eq(text_load(path, &text), ST_OK);
    cr_expect_str_eq(text.sha256, /* FIPS 180-2, example B.3 */
                     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

Test(text, splits_partition_the_file)
{
    cr_expect_eq(text.begin[TEXT_TRAIN], 0);
    cr_expect_eq(text.begin[TEXT_VALID], SIZE * 70 / 100);
    cr_expect_eq(text.begin[TEXT_TEST], SIZE * 74 / 100);
    cr_expect_eq(text.begin[N_TEXT_SPLITS], SIZE);
    for (TextSplit s = 0; s < N_TEXT_SPLITS; s++) {
        TextSpan span = text_split(&text, s);
        cr_expect_eq(span.data, text.data + text.begin[s]);
        cr_expect_eq(span.size, text.begin[s + 1] - text.begin[s]);
    }
    cr_expect_str_eq(text_split_name(TEXT_VALID), "valid");
}

Test(text, spans_end_with_their_split)
{
    size_t size = text_split(&text, TEXT_VALID).size;
    TextSpan span;
    cr_expect_eq(text_span(&text, TEXT_VALID, 5, size - 5, &span), ST_OK);
    cr_expect_eq(span.data[0], byte_at(text.begin[TEXT_VALID] + 5));
    cr_expect_eq(text_span(&text, TEXT_VALID, size, 0, &span), ST_OK);
    cr_expect_eq(text_span(&text, TEXT_VALID, 5, size - 4, &span), ST_SHAPE);
    cr_expect_eq(text_span(&text, TEXT_VALID, size + 1, 0, &span), ST_SHAPE);
    cr_expect_eq(text_span(&text, TEXT_VALID, 1, SIZE_MAX, &span), ST_SHAPE);
}

static void sample(TextShape shape, uint64_t seed, uint64_t step, int32_t in[CELLS])
{
    int32_t target[CELLS];
    cr_assert_eq(text_sample(&text, shape, seed, step, in, target), ST_OK);
    for (int i = 0; i < CELLS; i++)
        cr_assert(i % LEN == LEN - 1 || target[i] == in[i + 1], "cell %d", i);
}

Test(text, samples_are_a_function_of_seed_and_step)
{
    TextShape shape = {TEXT_TRAIN, BATCH, LEN};
    int32_t a[CELLS], b[CELLS];
    sample(shape, 1, 2, a);
    sample(shape, 1, 2, b);
    cr_expect_arr_eq(a, b, sizeof a);
    cr_expect_neq(memcmp(a, a + LEN, LEN * sizeof *a), 0, "rows of a batch differ");
    sample(shape, 1, 3, b);
    cr_expect_neq(memcmp(a, b, sizeof a), 0);
    sample(shape, 2, 2, b);
    cr_expect_neq(memcmp(a, b, sizeof a), 0);
    sample(shape, 1, 2 | (uint64_t)1 << 32, b);
    cr_expect_neq(memcmp(a, b, sizeof a), 0, "the high half of step counts");
}

/* The offsets belong to published results: a change of the generator must not go unnoticed. */
Test(text, samples_stay_what_they_were)
{
    int32_t in[CELLS];
    sample((TextShape){TEXT_TRAIN, BATCH, LEN}, 1234, 5678, in);
    static const size_t at[BATCH] = {6927, 2239, 1973}; /* by a second Philox, in Python */
    for (int i = 0; i < CELLS; i++)
        cr_expect_eq(in[i], byte_at(at[i / LEN] + (size_t)i % LEN), "cell %d", i);
}

Test(text, samples_reach_both_ends_of_a_split_and_stay_inside)
{
    TextSpan valid = text_split(&text, TEXT_VALID);
    int len = (int)valid.size - 2; /* two offsets are possible: 0 and 1 */
    int32_t *in = calloc(valid.size, sizeof *in), *target = calloc(valid.size, sizeof *in);
    cr_assert(in != NULL && target != NULL);
    bool first = false, second = false;
    for (uint64_t step = 0; step < 32; step++) {
        cr_assert_eq(text_sample(&text, (TextShape){TEXT_VALID, 1, len}, 0, step, in, target),
                     ST_OK);
        first |= in[0] == valid.data[0] && target[len - 1] == valid.data[len];
        second |= in[0] == valid.data[1] && target[len - 1] == valid.data[len + 1];
    }
    cr_expect(first && second);
    cr_expect_eq(text_sample(&text, (TextShape){TEXT_VALID, 1, len + 2}, 0, 0, in, target),
                 ST_SHAPE, "len + 1 bytes are needed");
    free(in);
    free(target);
}

Test(text, windows_predict_every_byte_once)
{
    size_t n = text_n_windows(&text, TEXT_TEST, LEN), next = text.begin[TEXT_TEST] + 1;
    int32_t in[LEN], target[LEN];
    for (size_t w = 0; w < n; w++) {
        cr_assert_eq(text_windows(&text, (TextShape){TEXT_TEST, 1, LEN}, w, in, target), ST_OK);
        for (int j = 0; j < LEN; j++, next++)
            cr_assert(in[j] == byte_at(next - 1) && target[j] == byte_at(next), "byte %zu", next);
    }
    cr_expect_lt(SIZE - next, LEN, "the tail is shorter than a window");
}

Test(text, windows_end_with_their_split)
{
    TextShape shape = {TEXT_TEST, BATCH, LEN};
    size_t n = text_n_windows(&text, TEXT_TEST, LEN);
    int32_t in[CELLS], target[CELLS];
    cr_expect_eq(text_windows(&text, shape, n - BATCH, in, target), ST_OK);
    cr_expect_eq(text_windows(&text, shape, n - BATCH + 1, in, target), ST_SHAPE);
    cr_expect_eq(text_windows(&text, shape, SIZE_MAX, in, target), ST_SHAPE);
    cr_expect_eq(text_n_windows(&text, TEXT_VALID, SIZE), 0);
}

static double bits_of(const char *s, int order)
{
    double bits = -1;
    cr_assert_eq(entropy_order((const uint8_t *)s, strlen(s), order, &bits), ST_OK);
    return bits;
}

Test(entropy, of_strings_known_by_hand)
{
    const double eps = 1e-12; /* a handful of additions of numbers near 10 */
    cr_expect_float_eq(bits_of("aaaa", 0), 0, eps);
    cr_expect_float_eq(bits_of("abcd", 0), 2, eps);
    cr_expect_float_eq(bits_of("aab", 0), log2(3) - 2.0 / 3, eps);
    cr_expect_float_eq(bits_of("abababab", 0), 1, eps);
    cr_expect_float_eq(bits_of("abababab", 1), 0, eps);
    cr_expect_float_eq(bits_of("aabba", 1), 1, eps); /* after a: a, b; after b: b, a */
    cr_expect_float_eq(bits_of("aabbaabbaabb", 2), 0, eps);
    cr_expect_float_eq(bits_of("abcabd", 2), 0.5, eps); /* of 4, two follow "ab": c, d */
}

Test(entropy, of_all_bytes_is_eight)
{
    uint8_t all[256];
    double bits = 0;
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    cr_assert_eq(entropy_order(all, sizeof all, 0, &bits), ST_OK);
    cr_expect_float_eq(bits, 8, 1e-12);
}

Test(entropy, needs_something_to_predict)
{
    double bits;
    cr_expect_eq(entropy_order((const uint8_t *)"ab", 2, 2, &bits), ST_USAGE);
    cr_expect_eq(entropy_order((const uint8_t *)"", 0, 0, &bits), ST_USAGE);
    cr_expect_eq(entropy_xz((const uint8_t *)"", 0, &bits), ST_USAGE);
}

Test(entropy, xz_packs_what_repeats)
{
    static uint8_t data[1 << 16];
    double bits = -1;
    cr_assert_eq(entropy_xz(data, sizeof data, &bits), ST_OK);
    cr_expect(bits > 0 && bits < 0.05, "zeros: %g bits per byte", bits);
    srand(1);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(rand() >> 7);
    cr_assert_eq(entropy_xz(data, sizeof data, &bits), ST_OK);
    cr_expect(bits > 8 && bits < 8.1, "noise: %g bits per byte", bits);
}

/* Runs datasets/kjv.sh with these words and a PATH; returns its exit code. */
static int kjv(const char *search, const char *arguments)
{
    char command[256];
    snprintf(command, sizeof command, "PATH='%s' /bin/sh datasets/kjv.sh %s 2>%s/err", search,
             arguments, folder);
    int status = system(command);
    cr_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

Test(file, kjv_script_refuses_with_one_line)
{
    char err[80], line[256] = "", out[128];
    snprintf(err, sizeof err, "%s/err", folder);
    snprintf(out, sizeof out, "%s/nowhere/kjv.txt", folder);
    cr_expect_eq(kjv("/usr/bin:/bin", ""), 2);
    cr_expect_eq(kjv("/usr/bin:/bin", folder), 2);
    cr_expect_eq(kjv(folder, out), 2, "no 'bible' on this PATH");
    FILE *f = fopen(err, "r");
    cr_assert_not_null(f);
    cr_expect_not_null(fgets(line, sizeof line, f));
    cr_expect_not_null(strstr(line, "install bible-kjv"), "%s", line);
    cr_expect_null(fgets(line, sizeof line, f), "one line only");
    fclose(f);
    unlink(err);
}
