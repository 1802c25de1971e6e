/* test_apply.c - `longmix apply`: it gives the golden vectors, and refuses files that lie. */
#include "datasets/safetensors.h"
#include "tests/program.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- golden vectors ---- */

/* "f=32" and "e=10" are --ffn; the rest is for --set, with commas. */
static void options_of(const StFile *f, char *out, size_t size)
{
    char text[256], *rest = NULL, set[256] = "";
    snprintf(text, sizeof text, "%s", st_meta(f, "options"));
    out[0] = '\0';
    for (char *item = strtok_r(text, " ", &rest); item != NULL; item = strtok_r(NULL, " ", &rest)) {
        size_t at = strlen(set);
        if ((item[0] == 'f' || item[0] == 'e') && item[1] == '=')
            snprintf(out, size, " --ffn %s", item + 2);
        else
            snprintf(set + at, sizeof set - at, "%s%s", at > 0 ? "," : "", item);
    }
    size_t at = strlen(out);
    if (set[0] != '\0')
        snprintf(out + at, size - at, " --set %s", set);
}

static void expect_golden(const char *path, const char *backend, const char *more)
{
    StFile f;
    char options[384], args[1024];
    cr_assert_eq(st_open(path, &f), ST_OK, "%s", status_reason());
    const char *blocks = st_meta(&f, "blocks");
    bool decodes = st_find(&f, "decode.y") != NULL;
    options_of(&f, options, sizeof options);
    snprintf(args, sizeof args,
             "apply %s --weights %s --input %s --grad %s --expect %s --heads %s --n-norm %s "
             "--backend %s --blocks %s%s%s%s%s%s",
             st_meta(&f, "variant"), path, path, path, path, st_meta(&f, "heads"),
             st_meta(&f, "n_norm"), backend, blocks != NULL ? blocks : "1", options,
             strcmp(st_meta(&f, "causal"), "0") == 0 ? " --bidirectional" : "",
             st_find(&f, "draw.noise") != NULL ? " --training" : "", decodes ? " --decode" : "",
             more);
    Ended e = program_run((Start){.args = args}, 60);
    cr_expect_eq(e.code, 0, "'%s' ends with %d: %s", args, e.code, e.said);
    cr_expect(strstr(e.said, "grad.x") != NULL, "'%s' says %s", args, e.said);
    cr_expect_eq(strstr(e.said, "decode.y") != NULL, decodes, "'%s' says %s", args, e.said);
    st_close(&f);
}

static void expect_all_golden(const char *backend, const char *more)
{
    glob_t g;
    cr_assert(glob("tests/golden/*.safetensors", 0, NULL, &g) == 0 && g.gl_pathc >= 20);
    for (size_t i = 0; i < g.gl_pathc; i++)
        expect_golden(g.gl_pathv[i], backend, more);
    globfree(&g);
}

Test(apply, golden_on_ref)
{
    expect_all_golden("ref", " --tolerance 1e-12");
}

Test(apply, golden_on_cpu)
{
    expect_all_golden("cpu", " --threads 1");
}

static const char golden[] = "tests/golden/gau_causal_t11_a1.safetensors";

static Ended apply_golden(const char *more)
{
    char args[1024];
    snprintf(args, sizeof args,
             "apply gau --weights %s --input %s --grad %s --expect %s --heads 1 --n-norm 4 --ffn "
             "10 --backend ref --set s=6 %s",
             golden, golden, golden, golden, more);
    return program_run((Start){.args = args}, 60);
}

/* Another option, another result: the comparison is one. */
Test(apply, options_matter)
{
    static const char *const other[] = {
        "--set scaling=2",  "--set rope_half=0",  "--set norm_kind=1", "--set norm_eps=0.1",
        "--set residual=0", "--set mixer_norm=1", "--n-norm 5",        "--level mixer"};
    cr_expect_eq(apply_golden("").code, 0);
    for (int i = 0; i < COUNT(other); i++) {
        Ended e = apply_golden(other[i]);
        bool changed = e.code == 1 && strstr(e.said, "above the tolerance") != NULL;
        /* a mixer alone has no norm1.gain, another norm has another */
        bool refused = e.code == 2 && strstr(e.said, "norm1.gain") != NULL;
        cr_expect(changed || refused, "'%s' ends with %d: %s", other[i], e.code, e.said);
    }
    Ended bare = apply_golden("--set biases=0");
    cr_expect_eq(bare.code, 2, "%s", bare.said);
    cr_expect(strstr(bare.said, "'mixer.b_") != NULL, "%s", bare.said);
}

/* Hash rotations of the file count, not those of the seed; decode is asked for where there is one.
 */
Test(apply, draws_are_those_of_the_file)
{
    static const char path[] = "tests/golden/lsh_causal_t8_b130.safetensors";
    static const struct {
        const char *more;
        int code;
        const char *says;
    } runs[] = {
        {"--set n_buckets=130 --decode", 0, "decode.y"},
        {"--set n_buckets=130 --decode --seed 7", 0, "decode.y"},
        {"--set n_buckets=130 --set n_hashes=1", 2, "'draw.rotation'"},
        {"--set n_buckets=128", 2, "'draw.rotation'"},
        {"--set n_buckets=130 --decode --bidirectional", 2, "--decode"},
        {"--set n_buckets=130 --decode --level mixer", 2, "--decode"},
        {"--set n_buckets=130 --decode --training", 2, "--decode"},
    };
    for (int i = 0; i < COUNT(runs); i++) {
        char args[512];
        snprintf(args, sizeof args,
                 "apply lsh --weights %s --input %s --grad %s --expect %s --heads 2 --ffn 16 "
                 "--set chunk_len=4 --backend ref %s",
                 path, path, path, path, runs[i].more);
        Ended e = program_run((Start){.args = args}, 60);
        cr_expect_eq(e.code, runs[i].code, "'%s' ends with %d: %s", runs[i].more, e.code, e.said);
        cr_expect(strstr(e.said, runs[i].says) != NULL, "'%s': %s", runs[i].more, e.said);
    }
}

/* ---- written files ---- */

/* Two blocks: seeded weights are written, read again and give the same numbers, in both types. */
Test(apply, weights_come_back)
{
    Place p = place_new();
    char args[512];
    static const char *const dtype[] = {"ref", "cpu"};
    float x[2 * 5 * 8];
    for (int i = 0; i < COUNT(x); i++)
        x[i] = (float)((i * 37) % 64) / 64 - 0.5f;
    StTensor t = {.name = "x", .dtype = SAFE_F32, .rank = 3, .dim = {2, 5, 8}, .data = x};
    snprintf(args, sizeof args, "%s/x.safetensors", p.folder);
    cr_assert_eq(st_write(args, &t, 1, NULL, 0), ST_OK);
    for (int i = 0; i < 2; i++) {
        StFile y;
        snprintf(args, sizeof args,
                 "apply flash_linear --level layer --set s=6,c=4 --heads 1 --init %s/w%d --input "
                 "%s/x.safetensors --out %s/y%d --backend %s",
                 p.folder, i, p.folder, p.folder, i, dtype[i]);
        Ended e = program_run((Start){.args = args}, 60);
        cr_expect_eq(e.code, 0, "%s", e.said);
        snprintf(args, sizeof args,
                 "apply flash_linear --level layer --set s=6,c=4 --heads 1 --weights %s/w%d "
                 "--input %s/x.safetensors --expect %s/y%d --backend %s --tolerance 0",
                 p.folder, i, p.folder, p.folder, i, dtype[i]);
        e = program_run((Start){.args = args}, 60);
        cr_expect_eq(e.code, 0, "%s", e.said);
        snprintf(args, sizeof args, "%s/y%d", p.folder, i);
        cr_assert_eq(st_open(args, &y), ST_OK);
        cr_expect_eq(st_find(&y, "y")->dtype, i == 0 ? SAFE_F64 : SAFE_F32);
        cr_expect_str_eq(st_meta(&y, "blocks"), "2");
        st_close(&y);
    }
    place_leave(&p);
}

/* ---- files that lie ---- */

/* A file of a header and n bytes of data; size: what it claims the header has, 0 for the truth. */
static void raw_file(const Place *p, const char *name, uint64_t size, const char *header,
                     const void *data, size_t n)
{
    char path[96];
    uint64_t claimed = size > 0 ? size : strlen(header);
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(&claimed, sizeof claimed, 1, f), 1);
    cr_assert_eq(fwrite(header, 1, strlen(header), f), strlen(header));
    cr_assert(n == 0 || fwrite(data, 1, n, f) == n);
    cr_assert_eq(fclose(f), 0);
}

typedef struct Lie {
    const char *header, *says; /* of a file of 24 bytes with x (1,3,2) */
    uint64_t size;
} Lie;

static void expect_refused(const Place *p, const char *args, const char *says)
{
    Ended e = program_run((Start){.args = args}, 60);
    const char *end = strchr(e.said, '\n');
    cr_expect_eq(e.code, 2, "'%s' ends with %d: %s", args, e.code, e.said);
    cr_expect(strncmp(e.said, "longmix apply: ", 15) == 0, "%s", e.said);
    cr_expect(end != NULL && end[1] == '\0', "not one line: %s", e.said);
    cr_expect(strstr(e.said, says) != NULL, "no '%s' in: %s", says, e.said);
    cr_expect(strstr(e.said, p->folder) != NULL, "the file is not named: %s", e.said);
}

#define X "{\"x\":{\"dtype\":\"F32\",\"shape\":[1,3,2],\"data_offsets\":[0,24]}"

Test(apply, inputs_that_lie)
{
    static const Lie lies[] = {
        {X "}", "header", 1u << 30},
        {X "}", "header", UINT64_MAX},
        {"", "JSON", 0},
        {"[1,2]", "no object", 0},
        {X, "JSON", 0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,3,2],\"data_offsets\":[0,28]}}", "28", 0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,3,2],\"data_offsets\":[8,24]}}", "16 bytes", 0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,1,2],\"data_offsets\":[0,8]},"
         "\"dy\":{\"dtype\":\"F32\",\"shape\":[1,2,3],\"data_offsets\":[0,24]}}",
         "inside another", 0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,1,2],\"data_offsets\":[16,24]}}", "gap", 0},
        {"{\"x\":{\"dtype\":\"I32\",\"shape\":[1,3,2],\"data_offsets\":[0,24]}}", "F32 (1,3,2)", 0},
        {"{\"x\":{\"dtype\":\"BF16\",\"shape\":[2,3,2],\"data_offsets\":[0,24]}}", "BF16", 0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,24]}}", "(B,T,D)", 0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[0,3,2],\"data_offsets\":[0,0]},"
         "\"y\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}",
         "(B,T,D)", 0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,3,-2],\"data_offsets\":[0,24]}}", "dimension", 0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4,4],\"data_offsets\":[0,24]}}",
         "counted", 0},
        {"{\"z\":{\"dtype\":\"F32\",\"shape\":[1,3,2],\"data_offsets\":[0,24]}}", "no tensor 'x'",
         0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,1,2],\"data_offsets\":[0,8]},"
         "\"w\\u001b[2J\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[8,24]}}",
         "'w?[2J' is superfluous", 0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,2,2],\"data_offsets\":[0,16]},"
         "\"lens\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[16,24]}}",
         "1 to 2", 0},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,2,2],\"data_offsets\":[0,16]},"
         "\"lens\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[16,24]}}",
         "I32 (1)", 0},
    };
    static const float data[6] = {1, 2, 3, 4, 0, 0}; /* as lens: 0 */
    Place p = place_new();
    char args[256];
    for (int i = 0; i < COUNT(lies); i++) {
        const Lie *l = &lies[i];
        raw_file(&p, "lie", l->size, l->header, data, l->header[0] != '\0' ? sizeof data : 0);
        snprintf(args, sizeof args,
                 "apply gau --set s=2 --heads 1 --init %s/w --input %s/lie --out %s/y", p.folder,
                 p.folder, p.folder);
        expect_refused(&p, args, l->says);
    }
    place_leave(&p);
}

Test(apply, numbers_that_are_none)
{
    static const float data[] = {1, 2, (float)NAN, 4, 5, 6};
    Place p = place_new();
    char args[256];
    raw_file(&p, "nan", 0, X "}", data, sizeof data);
    snprintf(args, sizeof args, "apply gau --heads 1 --init %s/w --input %s/nan --out %s/y",
             p.folder, p.folder, p.folder);
    expect_refused(&p, args, "element 2");
    place_leave(&p);
}

/* Weights that are missing, too many or of another shape, and a dy that is not x's twin. */
Test(apply, weights_that_do_not_fit)
{
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    static const Lie lies[] = {
        {"{\"norm1.gain\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "F32 (1)",
         0},
        {"{\"norm1.gain\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"mixer.b_u\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[4,24]}}",
         "no tensor 'mixer.w_u'", 0},
        {"{\"norm1.gain\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"norm2.gain\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[4,24]}}",
         "'norm2.gain' is superfluous", 0},
    };
    Place p = place_new();
    char args[512];
    raw_file(&p, "x", 0, X "}", data, sizeof data);
    for (int i = 0; i < COUNT(lies); i++) {
        raw_file(&p, "w", 0, lies[i].header, data, sizeof data);
        snprintf(args, sizeof args, "apply gau --heads 1 --weights %s/w --input %s/x --out %s/y",
                 p.folder, p.folder, p.folder);
        expect_refused(&p, args, lies[i].says);
    }
    raw_file(&p, "dy", 0, "{\"dy\":{\"dtype\":\"F32\",\"shape\":[1,2,3],\"data_offsets\":[0,24]}}",
             data, sizeof data);
    snprintf(args, sizeof args,
             "apply gau --heads 1 --set s=2 --init %s/w --input %s/x --grad %s/dy --out %s/y",
             p.folder, p.folder, p.folder, p.folder);
    expect_refused(&p, args, "(1,2,3)");
    place_leave(&p);
}
