/* test_row.c - a row becomes a line and comes back; hostile lines are refused with one reason. */
#include "report/row.h"

#include "tests/fixtures/rows.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <zlib.h>

/* The line with `from` replaced by `to` and the checksum made right again, as an editor with bad
 * intentions would. */
static char *edited(const Row *r, const char *from, const char *to)
{
    char *line = row_json(r), *at = strstr(line, from), *crc = strstr(line, ",\"crc\":\"");
    cr_assert_not_null(at, "no %s in %s", from, line);
    char *out = malloc(strlen(line) + strlen(to) + 32);
    *crc = '\0';
    int n = sprintf(out, "%.*s%s%s}", (int)(at - line), line, to, at + strlen(from));
    unsigned long sum = crc32(0, (const Bytef *)out, (unsigned)n);
    sprintf(out + n - 1, ",\"crc\":\"%08lx\"}", sum);
    free(line);
    return out;
}

static void refused(const char *line, const char *reason)
{
    Row r;
    cr_expect_eq(row_parse(line, strlen(line), &r), ST_USAGE, "accepted: %s", line);
    cr_expect(strstr(status_reason(), reason) != NULL, "says '%s', not '%s'", status_reason(),
              reason);
    cr_expect(strchr(status_reason(), '\n') == NULL);
}

static void refused_edit(RowKind kind, const char *from, const char *to, const char *reason)
{
    Row r = sample_row(kind);
    char *line = edited(&r, from, to);
    refused(line, reason);
    free(line);
}

static Row back_and_forth(const Row *r)
{
    char *line = row_json(r), *again = NULL;
    Row back;
    cr_assert_eq(row_parse(line, strlen(line), &back), ST_OK, "%s", status_reason());
    again = row_json(&back);
    cr_expect_str_eq(line, again);
    cr_expect(strchr(line, '\n') == NULL);
    free(line);
    free(again);
    return back;
}

Test(row, every_kind_comes_back)
{
    for (RowKind kind = 0; kind < ROW_KINDS; kind++) {
        Row r = sample_row(kind), back = back_and_forth(&r);
        char key[ROW_KEY_SIZE], key_back[ROW_KEY_SIZE];
        row_key(&r, key, sizeof key);
        row_key(&back, key_back, sizeof key_back);
        cr_expect_str_eq(key, key_back);
        cr_expect_eq(back.kind, kind);
        cr_expect(r.time == back.time && r.flops == back.flops && r.lr == back.lr);
        cr_expect_arr_eq(r.timing.seconds, back.timing.seconds, sizeof r.timing.seconds);
        cr_expect_arr_eq(&r.memory, &back.memory, sizeof r.memory);
        cr_expect_arr_eq(r.bucket_bpb, back.bucket_bpb, sizeof r.bucket_bpb);
        cr_expect_arr_eq(r.entropy, back.entropy, sizeof r.entropy);
        cr_expect_eq(r.c.seed, back.c.seed);
        cr_expect_str_eq(r.command, back.command);
        cr_expect_str_eq(r.text_sha256, back.text_sha256);
    }
}

Test(row, doubles_are_exact_and_nan_is_null)
{
    static const double hard[] = {0.1,    1.0 / 3,  5e-324,  1.7976931348623157e308,
                                  -1e-17, 1e22 + 1, 2.5e-10, 123456789.123456789};
    Row r = sample_row(ROW_CASE);
    r.timing.n = COUNT(hard);
    memcpy(r.timing.seconds, hard, sizeof hard);
    r.roof_fraction = (double)NAN;
    r.bytes = HUGE_VAL;
    Row back = back_and_forth(&r);
    cr_expect_arr_eq(back.timing.seconds, hard, sizeof hard);
    cr_expect(isnan(back.roof_fraction));
    cr_expect(isnan(back.bytes), "what is not finite is null");
    r = sample_row(ROW_TRAIN);
    back = back_and_forth(&r);
    cr_expect(isnan(back.point[1].valid_bpb) && back.point[2].valid_bpb == 2.5);
}

Test(row, a_kind_has_its_fields_only)
{
    Row r = sample_row(ROW_END);
    char *line = row_json(&r);
    const char *plain = "{\"schema\":2,\"kind\":\"end\",\"run\":\"20240501-120000-1\","
                        "\"build\":\"00112233aabbccdd\",\"time\":1714564800.125";
    cr_expect(strncmp(line, plain, strlen(plain)) == 0, "%s", line);
    cr_expect_eq(strlen(line), strlen(plain) + strlen(",\"crc\":\"01234567\"}"));
    free(line);
    r = sample_row(ROW_CASE);
    memset(&r.timing, 0, sizeof r.timing);
    line = row_json(&r);
    cr_expect(strstr(line, "\"timing\"") == NULL, "an empty object is left out");
    cr_expect(strstr(line, "\"error\"") == NULL);
    free(line);
}

/* The checksum can be recomputed from SCHEMA.md's words alone. */
Test(row, the_checksum_is_that_of_the_line_without_it)
{
    Row r = sample_row(ROW_ROOF);
    char *line = row_json(&r), *crc = strstr(line, ",\"crc\":\"");
    unsigned long told = strtoul(crc + 8, NULL, 16);
    cr_expect(row_whole(line, strlen(line)));
    memcpy(crc, "}", 2);
    cr_expect_eq(crc32(0, (const Bytef *)line, (unsigned)strlen(line)), told);
    free(line);
}

Test(row, any_flipped_or_missing_byte_is_noticed)
{
    Row r = sample_row(ROW_CHECK), back;
    char *line = row_json(&r);
    size_t len = strlen(line);
    for (size_t i = 0; i < len; i++) {
        line[i] ^= 1;
        cr_expect(!row_whole(line, len), "byte %zu", i);
        cr_expect_neq(row_parse(line, len, &back), ST_OK, "byte %zu", i);
        line[i] ^= 1;
        cr_expect(!row_whole(line, i), "cut at %zu", i);
        cr_expect_neq(row_parse(line, i, &back), ST_OK, "cut at %zu", i);
    }
    cr_expect_eq(row_parse(line, len, &back), ST_OK);
    free(line);
}

Test(row, hostile_values_are_refused)
{
    refused("", "is no JSON");
    refused("[]", "needed is an object");
    refused("{\"schema\":2,\"schema\":2}", "duplicate");
    refused("{\"kind\":\"end\"}", "field 'schema'");
    refused("{\"schema\":1,\"whatever\":[]}", "schema 1; this program reads schema 2");
    refused("{\"schema\":2,\"kind\":\"end\"}", "field 'crc'");
    refused_edit(ROW_END, "\"kind\":\"end\"", "\"kind\":\"fin\"", "field 'kind': is \"fin\"");
    refused_edit(ROW_END, "\"kind\":\"end\"", "\"kind\":7", "field 'kind': is 7");
    refused_edit(ROW_END, "\"time\":1714564800.125", "\"time\":\"now\"", "field 'time'");
    refused_edit(ROW_END, "\"time\":1714564800.125", "\"time\":1e999", "is no JSON");
    refused_edit(ROW_END, ",\"time\":1714564800.125", "", "field 'time': is nothing");
    refused_edit(ROW_END, "\"run\":", "\"speed\":1,\"run\":", "field 'speed'");
    refused_edit(ROW_END, "\"run\":\"2024", "\"run\":\"\\u0000", "is no JSON");
    refused_edit(ROW_CASE, "\"pass\":\"fwd\"", "\"pass\":\"sideways\"", "field 'case.pass'");
    refused_edit(ROW_CASE, "\"n\":4096", "\"n\":-5", "field 'case.n': is -5");
    refused_edit(ROW_CASE, "\"n\":4096", "\"n\":4096.5", "field 'case.n': is 4096.5");
    refused_edit(ROW_CASE, "\"n\":4096", "\"n\":99999999999999999999", "is no JSON");
    refused_edit(ROW_CASE, "\"width\":256", "\"width\":2147483648", "field 'case.width'");
    refused_edit(ROW_CASE, "\"causal\":true", "\"causal\":1", "field 'case.causal': is 1");
    refused_edit(ROW_CASE, "\"seed\":\"1844674407370955", "\"seed\":\"99999999999999999",
                 "field 'case.seed'");
    refused_edit(ROW_CASE, "\"seed\":\"", "\"seed\":\"-", "field 'case.seed'");
    refused_edit(ROW_CASE, "\"status\":\"ok\"", "\"status\":\"fine\"", "field 'status'");
    refused_edit(ROW_CASE, "\"counted\":", "\"counted\":null,\"more\":", "'predicted.more'");
    refused_edit(ROW_CASE, "\"seconds\":[", "\"seconds\":[true,", "'timing.seconds': is true");
    refused_edit(ROW_CASE, "\"seconds\":[", "\"seconds\":1,\"x\":[", "'timing.x'");
    refused_edit(ROW_TRAIN, "\"points\":[{\"step\":0", "\"points\":[{\"step\":[]",
                 "field 'points[0].step': is []");
    refused_edit(ROW_TRAIN, "\"points\":[", "\"points\":[3,", "field 'points[0].': is 3");
}

Test(row, too_long_and_too_many_are_refused)
{
    char many[8000] = "\"seconds\":[", names[200] = "\"variant\":\"";
    for (int i = 0; i < ROW_MAX_SAMPLES; i++)
        strcat(many, "1.5,");
    refused_edit(ROW_CASE, "\"seconds\":[", many, "has 286 entries; at most 256 fit");
    memset(names + strlen(names), 'v', 40);
    refused_edit(ROW_CASE, "\"variant\":\"", names, "is a text of 43 bytes; at most 31 fit");

    size_t len = (size_t)2 << 20;
    char *line = malloc(len + 1);
    memset(line, '[', len);
    line[len] = '\0';
    refused(line, "a line of 2097152 bytes");
    line[1 << 16] = '\0';
    refused(line, "is no JSON");
    free(line);
}

Test(row, text_that_is_no_utf8_is_written_with_question_marks)
{
    Row r = sample_row(ROW_RUN);
    snprintf(r.command, sizeof r.command, "bench --data caf\xe9.txt \t\"");
    char *line = row_json(&r);
    Row back;
    cr_assert_eq(row_parse(line, strlen(line), &back), ST_OK);
    cr_expect_str_eq(back.command, "bench --data caf?.txt \t\"");
    free(line);
}

Test(row, a_case_travels_alone)
{
    Case c = sample_case("flash_linear", 1 << 20), back;
    c.hot = true;
    c.pass = PASS_DECODE;
    char *line = case_json(&c);
    cr_assert_eq(case_parse(line, strlen(line), &back), ST_OK, "%s", status_reason());
    char key[512], key_back[512];
    case_key(&c, key, sizeof key);
    case_key(&back, key_back, sizeof key_back);
    cr_expect_str_eq(key, key_back);
    cr_expect(back.time_limit == c.time_limit && back.mem_limit == c.mem_limit);
    cr_expect_eq(case_parse("{}", 2, &back), ST_USAGE);
    free(line);
}

Test(row, keys_tell_apart_all_but_the_limits)
{
    Case a = sample_case("gau", 512), b = a;
    char key_a[512], key_b[512];
    case_key(&a, key_a, sizeof key_a);
    b.time_limit = 1;
    b.mem_limit = 1;
    case_key(&b, key_b, sizeof key_b);
    cr_expect_str_eq(key_a, key_b);
    b.hot = true;
    case_key(&b, key_b, sizeof key_b);
    cr_expect_str_neq(key_a, key_b);

    memset(&a, 0, sizeof a); /* the longest there is */
    memset(a.variant, 'v', sizeof a.variant - 1);
    memset(a.backend, 'v', sizeof a.backend - 1);
    memset(a.dtype, 'v', sizeof a.dtype - 1);
    memset(a.set, 'v', sizeof a.set - 1);
    a.n = a.batch = a.segment = INT64_MAX;
    a.width = a.heads = a.layers = a.threads = INT32_MAX;
    a.seed = UINT64_MAX;
    case_key(&a, key_a, sizeof key_a);
    Row r = {.kind = ROW_TRAIN, .c = a, .lr = -1.2345678901234567e-300, .steps = INT64_MAX};
    char key[ROW_KEY_SIZE];
    row_key(&r, key, sizeof key);
    cr_expect(strstr(key, key_a) != NULL);
}

/* What only a GPU has is left out without one, and comes back whole. */
Test(row, a_gpus_members_are_there_or_not)
{
    Row run = sample_row(ROW_RUN), point = sample_row(ROW_CASE), back;
    char *line = row_json(&run);
    cr_expect_null(strstr(line, "\"gpu\""), "%s", line);
    free(line);
    line = row_json(&point);
    cr_expect(strstr(line, "\"gpu_use\"") == NULL && strstr(line, "\"throttle\"") == NULL);
    free(line);

    run.gpu = (Gpu){.name = "some device",
                    .driver = "13.0",
                    .ecc = "on",
                    .math = "bf16",
                    .throttle = "power",
                    .device = 2,
                    .memory = 80,
                    .free = 70,
                    .cache = 50,
                    .clock = 1980,
                    .memory_clock = 2619};
    line = row_json(&run);
    cr_assert_eq(row_parse(line, strlen(line), &back), ST_OK, "%s", status_reason());
    cr_expect_eq(memcmp(&back.gpu, &run.gpu, sizeof run.gpu), 0, "%s", line);
    free(line);

    point.gpu_use = (GpuUse){.flushed_bytes = 100, .pool_bytes = 4096};
    snprintf(point.timing.throttle, sizeof point.timing.throttle, "power heat");
    point.timing.n_throttled = 2;
    point.timing.throttled[0] = 1;
    point.timing.throttled[1] = 7;
    line = row_json(&point);
    cr_assert_eq(row_parse(line, strlen(line), &back), ST_OK, "%s", status_reason());
    cr_expect_str_eq(back.timing.throttle, "power heat");
    cr_expect(back.timing.n_throttled == 2 && back.timing.throttled[0] == 1 &&
              back.timing.throttled[1] == 7);
    cr_expect(back.gpu_use.flushed_bytes == 100 && back.gpu_use.pool_bytes == 4096);
    free(line);
}
