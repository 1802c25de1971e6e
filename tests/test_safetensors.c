/* test_safetensors.c - round trips, and files that lie. */
#include "datasets/safetensors.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/longmix-safe-XXXXXX";
static char path[64], tmp[72];

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
}

static void clean(void)
{
    unlink(path);
    rmdir(folder);
}

TestSuite(safetensors, .init = make_folder, .fini = clean);

static void write_bytes(const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, size, f), size);
    cr_assert_eq(fclose(f), 0);
}

/* A file with this header, claimed to have claim bytes, and data_size bytes of ones behind it. */
static void write_lie(uint64_t claim, const char *header, size_t header_size, size_t data_size)
{
    char *all = malloc(sizeof claim + header_size + data_size);
    cr_assert_not_null(all);
    memcpy(all, &claim, sizeof claim);
    memcpy(all + sizeof claim, header, header_size);
    memset(all + sizeof claim + header_size, 1, data_size);
    write_bytes(all, sizeof claim + header_size + data_size);
    free(all);
}

static void expect_refused(const char *what, Status want, const char *words)
{
    StFile f;
    cr_expect_eq(st_open(path, &f), want, "%s", what);
    cr_expect(strncmp(status_reason(), path, strlen(path)) == 0, "%s: %s", what, status_reason());
    cr_expect_not_null(strstr(status_reason(), words), "%s: '%s'", what, status_reason());
    cr_expect_null(strchr(status_reason(), '\n'), "%s", what);
    cr_expect(f.header == NULL && f.data == NULL && f.tensor == NULL && f.path == NULL);
    st_close(&f);
}

static const float weights[2][3] = {{1, 2, 3}, {4, 5, 6}};
static const uint8_t bytes[3] = {7, 8, 9};
static const int64_t step = 1234567890123;
static const int32_t ids[2] = {-1, 1};
static const double pi = 3.141592653589793;

/* Every dtype, in an order that would leave them unaligned. */
static const StTensor all_kinds[] = {
    {"bytes", SAFE_U8, 1, {3}, bytes, 0, 0},
    {"weights", SAFE_F32, 2, {2, 3}, weights, 0, 0},
    {"step", SAFE_I64, 0, {0}, &step, 0, 0},
    {"ids", SAFE_I32, 1, {2}, ids, 0, 0},
    {"none", SAFE_F32, 2, {0, 5}, weights, 0, 0},
    {"pi", SAFE_F64, 3, {1, 1, 1}, &pi, 0, 0},
    {"odd \"name\"\n", SAFE_U8, 0, {0}, bytes, 0, 0},
};
static const StMeta notes[] = {{"commit", "abc"}, {"word", "\xc3\xa9t\xc3\xa9"}};

static void write_all(void)
{
    cr_assert_eq(st_write(path, all_kinds, COUNT(all_kinds), notes, COUNT(notes)), ST_OK, "%s",
                 status_reason());
}

static void expect_same(const StTensor *got, const StTensor *want, size_t width)
{
    size_t size = width;
    cr_assert_not_null(got, "%s", want->name);
    cr_expect_eq(got->dtype, want->dtype);
    cr_assert_eq(got->rank, want->rank);
    for (int i = 0; i < want->rank; i++) {
        cr_expect_eq(got->dim[i], want->dim[i]);
        size *= (size_t)want->dim[i];
    }
    cr_assert_eq(got->size, size);
    cr_expect_eq((uintptr_t)got->data % width, 0, "%s is aligned", want->name);
    cr_expect_eq(memcmp(got->data, want->data, size), 0, "%s", want->name);
}

Test(safetensors, round_trip)
{
    static const size_t width[] = {1, 4, 8, 4, 4, 8, 1};
    StFile f;
    write_all();
    cr_assert_eq(st_open(path, &f), ST_OK, "%s", status_reason());
    cr_expect_eq(f.n_tensors, COUNT(all_kinds));
    for (int i = 0; i < COUNT(all_kinds); i++)
        expect_same(st_find(&f, all_kinds[i].name), &all_kinds[i], width[i]);
    cr_expect_str_eq(st_meta(&f, "word"), notes[1].value);
    cr_expect_null(st_meta(&f, "absent"));
    cr_expect_null(st_find(&f, "absent"));
    cr_expect_null(st_find(&f, "__metadata__"));
    cr_expect_eq(st_check_finite(&f), ST_OK);
    st_close(&f);
    cr_expect_eq(access(tmp, F_OK), -1, "the draft is gone");
}

Test(safetensors, header_is_padded_with_spaces)
{
    char head[1024] = "";
    uint64_t size = 0;
    write_all();
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f);
    cr_assert_eq(fread(&size, sizeof size, 1, f), 1);
    cr_assert(size % 8 == 0 && size < sizeof head);
    cr_assert_eq(fread(head, 1, size, f), size);
    fclose(f);
    cr_expect_eq(head[0], '{');
    cr_expect_eq(strlen(strrchr(head, '}') + 1), strspn(strrchr(head, '}') + 1, " "));
}

Test(safetensors, nothing_at_all_is_a_file)
{
    StFile f;
    cr_assert_eq(st_write(path, NULL, 0, NULL, 0), ST_OK, "%s", status_reason());
    cr_assert_eq(st_open(path, &f), ST_OK, "%s", status_reason());
    cr_expect_eq(f.n_tensors, 0);
    cr_expect_null(st_meta(&f, "commit"));
    st_close(&f);
}

Test(safetensors, get_wants_dtype_and_shape)
{
    StFile f;
    const void *data = NULL;
    write_all();
    cr_assert_eq(st_open(path, &f), ST_OK);
    cr_expect_eq(st_get(&f, "weights", SAFE_F32, 2, (int64_t[]){2, 3}, &data), ST_OK);
    cr_expect_eq(data, st_find(&f, "weights")->data);
    cr_expect_eq(st_get(&f, "step", SAFE_I64, 0, NULL, &data), ST_OK);
    cr_expect_eq(st_get(&f, "weights", SAFE_F32, 2, (int64_t[]){3, 2}, &data), ST_USAGE);
    cr_expect_not_null(strstr(status_reason(), "is F32 (2,3) where F32 (3,2) is needed"));
    cr_expect_eq(st_get(&f, "weights", SAFE_I32, 2, (int64_t[]){2, 3}, &data), ST_USAGE);
    cr_expect_eq(st_get(&f, "weights", SAFE_F32, 1, (int64_t[]){6}, &data), ST_USAGE);
    cr_expect_eq(st_get(&f, "absent", SAFE_F32, 0, NULL, &data), ST_USAGE);
    st_close(&f);
}

Test(safetensors, finds_what_is_not_finite)
{
    const float a[3] = {0, 1, NAN};
    const double b[2] = {0, -(double)INFINITY};
    const StTensor bad[] = {{"a", SAFE_F32, 1, {3}, a, 0, 0}, {"b", SAFE_F64, 1, {2}, b, 0, 0}};
    for (int i = 0; i < COUNT(bad); i++) {
        StFile f;
        cr_assert_eq(st_write(path, &bad[i], 1, NULL, 0), ST_OK);
        cr_assert_eq(st_open(path, &f), ST_OK);
        cr_expect_eq(st_check_finite(&f), ST_NONFINITE);
        cr_expect_not_null(strstr(status_reason(), i == 0 ? "'a': element 2" : "'b': element 1"));
        st_close(&f);
    }
}

#define TENSOR(name, dtype, shape, offsets)                                                        \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets) "{" TENSOR("a", dtype, shape, offsets) "}"
#define TWO(first, second)                                                                         \
    "{" TENSOR("a", "F32", "[2]", first) "," TENSOR("b", "F32", "[2]", second) "}"

static const struct {
    const char *header;
    size_t data_size;
    Status want;
    const char *words;
} lies[] = {
    {"", 0, ST_USAGE, "bad JSON"},
    {"{", 0, ST_USAGE, "bad JSON"},
    {"{} x", 0, ST_USAGE, "bad JSON"},
    {"{\"\xff\":1}", 0, ST_USAGE, "bad JSON"},
    {"{\"\\u0000\":1}", 0, ST_USAGE, "bad JSON"},
    {"[]", 0, ST_USAGE, "no object"},
    {"3", 0, ST_USAGE, "bad JSON"},
    {"{}", 1, ST_USAGE, "cover 0 of 1 bytes"},
    {"{\"a\":1}", 0, ST_USAGE, "'a': needs a dtype"},
    {"{\"a\":{}}", 0, ST_USAGE, "'a': needs a dtype"},
    {"{\"a\":{\"dtype\":5}}", 0, ST_USAGE, "needs a dtype"},
    {"{\"a\":{\"dtype\":\"F32\"}}", 0, ST_USAGE, "needs a shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, ST_USAGE, "needs data_offsets"},
    {ONE("BF16", "[2]", "[0,4]"), 4, ST_UNSUPPORTED, "'a': unsupported dtype 'BF16'; readable are"},
    {ONE("F16", "[2]", "[0,4]"), 4, ST_UNSUPPORTED, "unsupported dtype 'F16'"},
    {ONE("\\u001b[2J", "[2]", "[0,4]"), 4, ST_UNSUPPORTED, "unsupported dtype '?[2J'"},
    {ONE("F32", "2", "[0,8]"), 8, ST_USAGE, "needs a shape"},
    {ONE("F32", "[-1]", "[0,8]"), 8, ST_USAGE, "dimension 0"},
    {ONE("F32", "[1,2.0]", "[0,8]"), 8, ST_USAGE, "dimension 1"},
    {ONE("F32", "[1e3]", "[0,8]"), 8, ST_USAGE, "dimension 0"},
    {ONE("F32", "[\"2\"]", "[0,8]"), 8, ST_USAGE, "dimension 0"},
    {ONE("F32", "[99999999999999999999]", "[0,8]"), 8, ST_USAGE, "bad JSON"},
    {ONE("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8, ST_UNSUPPORTED, "rank 9; at most 8"},
    {ONE("F32", "[4294967296,4294967296]", "[0,0]"), 0, ST_USAGE, "more bytes than"},
    {ONE("F32", "[4611686018427387904]", "[0,0]"), 0, ST_USAGE, "more bytes than"},
    {ONE("U8", "[9223372036854775807]", "[0,8]"), 8, ST_USAGE, "has 8 bytes"},
    {ONE("F32", "[2]", "8"), 8, ST_USAGE, "needs data_offsets"},
    {ONE("F32", "[2]", "[0]"), 8, ST_USAGE, "needs data_offsets"},
    {ONE("F32", "[2]", "[0,8,8]"), 8, ST_USAGE, "needs data_offsets"},
    {ONE("F32", "[2]", "[0,8.0]"), 8, ST_USAGE, "needs data_offsets"},
    {ONE("F32", "[2]", "[-8,0]"), 8, ST_USAGE, "needs data_offsets"},
    {ONE("F32", "[2]", "[0,8]"), 7, ST_USAGE, "bytes 0 to 8; allowed are 0 to 7"},
    {ONE("F32", "[2]", "[0,8]"), 9, ST_USAGE, "cover 8 of 9 bytes"},
    {ONE("F32", "[2]", "[8,0]"), 8, ST_USAGE, "bytes 8 to 0"},
    {ONE("F32", "[2]", "[9223372036854775800,9223372036854775807]"), 8, ST_USAGE, "allowed are"},
    {ONE("F32", "[3]", "[0,8]"), 8, ST_USAGE, "has 8 bytes; its dtype and shape take 12"},
    {ONE("F32", "[2]", "[4,12]"), 12, ST_USAGE, "after a gap; only 0"},
    {TWO("[0,8]", "[4,12]"), 12, ST_USAGE, "'b': begins at byte 4, inside another; only 8"},
    {TWO("[0,8]", "[0,8]"), 8, ST_USAGE, "inside another"},
    {TWO("[12,20]", "[0,8]"), 20, ST_USAGE, "'a': begins at byte 12, after a gap; only 8"},
    {"{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("b", "F32", "[]", "[1,5]") "}", 5,
     ST_UNSUPPORTED, "'b': begins at byte 1; only multiples of its 4-byte"},
    {"{" TENSOR("a", "U8", "[]", "[0,1]") "," TENSOR("a", "U8", "[]", "[0,1]") "}", 1, ST_USAGE,
     "duplicate"},
    {"{\"__metadata__\":3}", 0, ST_USAGE, "__metadata__ is no object"},
    {"{\"__metadata__\":{\"k\":3}}", 0, ST_USAGE, "__metadata__ 'k' is no string"},
};

Test(safetensors, refuses_lies)
{
    for (int i = 0; i < COUNT(lies); i++) {
        size_t size = strlen(lies[i].header);
        write_lie(size, lies[i].header, size, lies[i].data_size);
        expect_refused(lies[i].header, lies[i].want, lies[i].words);
    }
}

Test(safetensors, refuses_bad_header_lengths)
{
    write_bytes("", 0);
    expect_refused("empty", ST_USAGE, "0 bytes are no safetensors file");
    write_bytes("1234567", 7);
    expect_refused("short", ST_USAGE, "7 bytes are no safetensors file");
    write_lie(3, "{}", 2, 0);
    expect_refused("one more than there is", ST_USAGE, "3 bytes; at most 2 is allowed");
    write_lie(UINT64_MAX, "{}", 2, 0);
    expect_refused("2^64 - 1", ST_USAGE, "at most 2 is allowed");
    write_lie((uint64_t)1 << 63, "{}", 2, 0);
    expect_refused("2^63", ST_USAGE, "at most 2 is allowed");
}

/* A sparse file of a terabyte with a two-byte header is refused before its data is read. */
Test(safetensors, refuses_a_huge_file_at_once)
{
    write_lie(2, "{}", 2, 0);
    cr_assert_eq(truncate(path, (off_t)1 << 40), 0);
    expect_refused("a terabyte of nothing", ST_USAGE, "cover 0 of 1099511627766 bytes");
    write_lie((uint64_t)1 << 39, "{}", 2, 0);
    cr_assert_eq(truncate(path, (off_t)1 << 40), 0);
    expect_refused("half of it header", ST_USAGE, "at most 16777216 is allowed");
}

Test(safetensors, refuses_deep_nesting)
{
    enum { DEPTH = 1 << 20 };
    char *deep = malloc(DEPTH);
    cr_assert_not_null(deep);
    memset(deep, '[', DEPTH);
    write_lie(DEPTH, deep, DEPTH, 0);
    expect_refused("a million brackets", ST_USAGE, "bad JSON");
    free(deep);
}

static size_t read_bytes(char *out, size_t room)
{
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f);
    size_t size = fread(out, 1, room, f);
    fclose(f);
    cr_assert_lt(size, room);
    return size;
}

Test(safetensors, refuses_every_truncation)
{
    char whole[2048];
    write_all();
    for (size_t size = read_bytes(whole, sizeof whole); size-- > 0;) {
        write_bytes(whole, size);
        expect_refused("truncated", ST_USAGE, "");
    }
}

/* No flipped bit may crash the reader, whatever it makes of the file; the sanitizers watch. */
Test(safetensors, survives_every_flipped_bit)
{
    char whole[2048];
    write_all();
    size_t size = read_bytes(whole, sizeof whole);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        StFile f;
        whole[bit / 8] ^= (char)(1 << bit % 8);
        write_bytes(whole, size);
        if (st_open(path, &f) == ST_OK)
            st_check_finite(&f);
        st_close(&f);
        whole[bit / 8] ^= (char)(1 << bit % 8);
    }
}

Test(safetensors, refuses_what_is_no_file)
{
    expect_refused("absent", ST_IO, "No such file");
    cr_assert_eq(mkdir(path, 0700), 0);
    expect_refused("a folder", ST_IO, "is a folder");
    cr_expect_eq(st_write(path, all_kinds, 1, NULL, 0), ST_IO, "a folder is not replaced");
    cr_expect_eq(access(tmp, F_OK), -1, "the draft is gone");
    rmdir(path);
}

/* A limit on the size of files stands in for a full disk. */
Test(safetensors, a_failed_write_leaves_the_old_file)
{
    static float big[1 << 16];
    const StTensor t = {"big", SAFE_F32, 1, {1 << 16}, big, 0, 0};
    StFile f;
    write_all();
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, small;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){1 << 14, old.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    Status st = st_write(path, &t, 1, NULL, 0);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_expect_eq(st, ST_IO);
    cr_expect_not_null(strstr(status_reason(), "cannot write: File too large"));
    cr_expect_eq(access(tmp, F_OK), -1, "the draft is gone");
    cr_assert_eq(st_open(path, &f), ST_OK, "%s", status_reason());
    cr_expect_not_null(st_find(&f, "weights"));
    st_close(&f);
}

Test(safetensors, refuses_to_write_what_is_no_utf8)
{
    const StMeta bad = {"path", "\xff"};
    const StTensor t = {"\xff", SAFE_U8, 0, {0}, bytes, 0, 0};
    cr_expect_eq(st_write(path, NULL, 0, &bad, 1), ST_USAGE);
    cr_expect_eq(st_write(path, &t, 1, NULL, 0), ST_USAGE);
    cr_expect_eq(st_write("/nonexistent/file", NULL, 0, NULL, 0), ST_IO);
    cr_expect_eq(access(path, F_OK), -1);
}
