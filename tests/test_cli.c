/* test_cli.c - bad input: one clear line that names the value and what is allowed, exit code 2, and
 * nothing written. */
#include "tests/program.h"

#include "variants/template/mixer.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Bad {
    const char *args;    /* @ stands for the test's folder */
    const char *value;   /* what the line must name */
    const char *allowed; /* and what it must say of what is allowed; NULL: nothing */
} Bad;

/* @ in args becomes the folder. */
static Ended run_in(const Place *p, const char *args)
{
    char full[1024] = "";
    for (const char *c = args; *c != '\0'; c++)
        snprintf(full + strlen(full), sizeof full - strlen(full), *c == '@' ? "%s" : "%.1s",
                 *c == '@' ? p->folder : c);
    return program_run((Start){.args = full}, 60);
}

static int lines_of(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

static void expect_bad(const Place *p, const Bad *b)
{
    Ended e = run_in(p, b->args);
    cr_expect_eq(e.code, 2, "'%s' ends with %d: %s", b->args, e.code, e.said);
    cr_expect_eq(lines_of(e.said), 1, "'%s' says: %s", b->args, e.said);
    cr_expect(strncmp(e.said, "longmix", 7) == 0, "'%s' says: %s", b->args, e.said);
    cr_expect(strstr(e.said, b->value) != NULL, "'%s' does not name '%s': %s", b->args, b->value,
              e.said);
    if (b->allowed != NULL)
        cr_expect(strstr(e.said, b->allowed) != NULL, "'%s' does not say '%s': %s", b->args,
                  b->allowed, e.said);
    cr_expect_neq(access(p->path, F_OK), 0, "'%s' wrote a journal", b->args);
}

static void expect_all_bad(const Bad *bad, int n)
{
    Place p = place_new();
    char path[96];
    snprintf(path, sizeof path, "%s/empty.txt", p.folder);
    place_write(path, "");
    snprintf(path, sizeof path, "%s/short.txt", p.folder);
    place_write(path, "In the beginning");
    for (int i = 0; i < n; i++)
        expect_bad(&p, &bad[i]);
    place_leave(&p);
}

#define OUT " --out @/results.jsonl"

Test(cli, commands)
{
    static const Bad bad[] = {
        {"benhc", "'benhc'", "did you mean 'bench'"},
        {"xyzzy", "'xyzzy'", "train"},
        {"--verbose", "'--verbose'", "bench"},
        {"version now", "'now'", "no arguments"},
    };
    expect_all_bad(bad, COUNT(bad));
}

Test(cli, options)
{
    static const Bad bad[] = {
        {"bench --vairants gau" OUT, "'--vairants'", "did you mean '--variants'"},
        {"bench --xyzzy" OUT, "'--xyzzy'", "--help"},
        {"bench -q" OUT, "'-q'", "--help"},
        {"bench --n", "'--n'", "value"},
        {"bench --hot=3" OUT, "'--hot=3'", "value"},
        {"bench gau" OUT, "'gau'", "--help"},
        {"list --jsno", "'--jsno'", "did you mean '--json'"},
        {"list gau", "'gau'", "--help"},
        {"report a b", "'b'", "--help"},
        {"validate --strict x", "'--strict'", "--help"},
    };
    expect_all_bad(bad, COUNT(bad));
}

Test(cli, names)
{
    static const Bad bad[] = {
        {"bench --variants flash" OUT, "'flash'", "flash_linear, gau"},
        {"bench --variants gau,vanila" OUT, "'vanila'", "did you mean 'vanilla'"},
        {"bench --kernels atention" OUT, "'atention'", "did you mean 'attention'"},
        {"bench --variants gau," OUT, "variant", "empty"},
        {"bench --profile quik" OUT, "'quik'", "smoke, quick, full, paper"},
        {"bench --level layers" OUT, "'layers'", "mix, layer, model"},
        {"bench --pass forward" OUT, "'forward'", "fwd, bwd, train, prefill, decode"},
        {"bench --impl fused" OUT, "'fused'", "tiled, naive"},
        {"bench --backend gpu" OUT, "'gpu'", "auto, cpu, cuda, ref"},
        {"bench --device -1" OUT, "'-1'", "0 to 1023"},
        {"bench --math f16" OUT, "'f16'", "f32, tf32, bf16"},
        {"list --params flash" OUT, "--out", "--help"},
        {"list --params flash", "'flash'", "flash_linear, gau"},
    };
    expect_all_bad(bad, COUNT(bad));
}

Test(cli, lengths)
{
    static const Bad bad[] = {
        {"bench --n abc" OUT, "'abc'", "512..1M"},
        {"bench --n 0" OUT, "'0'", "1 to 2147483647"},
        {"bench --n -512" OUT, "'-512'", "512..1M"},
        {"bench --n 2G" OUT, "'2G'", "1 to 2147483647"},
        {"bench --n 2147483648" OUT, "'2147483648'", "1 to 2147483647"},
        {"bench --n 99999999999999999999" OUT, "'99999999999999999999'", NULL},
        {"bench --n 1k..512" OUT, "'1k..512'", "ends before it begins"},
        {"bench --n 512..4G" OUT, "'512..4G'", "2147483647"},
        {"bench --n 512-1k*1" OUT, "'512-1k*1'", "factor"},
        {"bench --n 1.5k" OUT, "'1.5k'", NULL},
    };
    expect_all_bad(bad, COUNT(bad));
}

Test(cli, numbers)
{
    static const Bad bad[] = {
        {"bench --heads 3" OUT, "--heads 3", "--width 256"},
        {"bench --width 0" OUT, "'0'", "1 to 65536"},
        {"bench --width x" OUT, "'x'", "1 to 65536"},
        {"bench --heads -1" OUT, "'-1'", "1 to 4096"},
        {"bench --layers 1.5" OUT, "'1.5'", "1 to 1024"},
        {"bench --batch 0" OUT, "'0'", "1 to 32768"},
        {"bench --batch 2 --tokens-per-step 4k" OUT, "--batch 2", "--tokens-per-step 4k"},
        {"bench --segment 0" OUT, "'0'", "1 to"},
        {"bench --threads 0" OUT, "'0'", "1 to 1024"},
        {"bench --match-params vanila" OUT, "'vanila'", "did you mean 'vanilla'"},
        {"bench --match-params gau --set ffn=64" OUT, "ffn=64", "--match-params"},
        {"bench --match-params vanilla --variants gau --width 16 --heads 4 --n 64" OUT,
         "gau near width 16", "1 %"},
        {"bench --seed -1" OUT, "'-1'", "0 to 18446744073709551615"},
        {"bench --time-limit 0" OUT, "'0'", "0.001 seconds"},
        {"bench --time-limit soon" OUT, "'soon'", "s, m, h"},
        {"bench --mem-limit 1" OUT, "'1'", "1048576"},
        {"bench --budget -5" OUT, "'-5'", "0 seconds"},
        {"bench --train-tokens x" OUT, "'x'", "whole number"},
        {"bench --set c" OUT, "'c'", "KEY=VALUE"},
        {"bench --set nope=1" OUT, "'nope'", "longmix list"},
        {"bench --set c=0" OUT, "c=0", "from 1"},
        {"list --params gau --width 10 --heads 3", "--heads 3", "--width 10"},
    };
    expect_all_bad(bad, COUNT(bad));
}

Test(cli, apply)
{
    static const Bad bad[] = {
        {"apply", "which variant", "longmix list"},
        {"apply gua --init @/w", "'gua'", "did you mean 'gau'"},
        {"apply gau", "which input", "--input FILE"},
        {"apply gau --input @/x", "which weights", "--init FILE"},
        {"apply gau --input @/x --weights @/w", "--out FILE", "--expect FILE"},
        {"apply gau --init @/w --out @/y", "--out", "--input FILE"},
        {"apply gau --init @/w --level head", "'head'", "mixer, block, layer"},
        {"apply gau --init @/w --level mixer --blocks 2", "--blocks 2", "one block"},
        {"apply gau --init @/w --heads 3", "--heads 3", "256"},
        {"apply gau --init @/w --blocks 0", "'0'", "1 to 1024"},
        {"apply gau --init @/w --tolerance 2", "'2'", "0 to 1"},
        {"apply gau --init @/w --set norm_kind=4", "norm_kind=4", "0 to 3"},
        {"apply gau --init @/w --set nope=4", "'nope'", "residual"},
        {"apply gau --init @/w --backend gpu", "'gpu'", "auto, cpu, cuda, ref"},
        {"apply gau --init @/w --math fp8", "'fp8'", "f32, tf32, bf16"},
        {"apply gau --init @/w --math bf16", "'cpu' computes in f32", "'bf16'"},
        {"apply gau vanilla --init @/w", "'vanilla'", "one variant"},
        {"apply gau --weights @/none --input @/none --out @/y", "/none", NULL},
        {"apply gau --width 8 --init @/none/w", "/none/w", NULL},
    };
    expect_all_bad(bad, COUNT(bad));
}

Test(cli, explain)
{
    static const Bad bad[] = {
        {"explain", "which variant", "longmix list"},
        {"explain gua", "'gua'", "did you mean 'gau'"},
        {"explain gau vanilla", "'vanilla'", "one variant"},
        {"explain gau --n 0", "'0'", "1 to 2048"},
        {"explain gau --heads 3", "--heads 3", "--width 256"},
        {"explain gau --set nope=1", "'nope'", "scaling"},
        {"explain gau --input @/none", "/none", NULL},
        {"explain gau --out @/short.txt/x", "/short.txt/x", NULL},
    };
    Place p = place_new();
    char path[128];
    snprintf(path, sizeof path, "%s/short.txt", p.folder);
    place_write(path, "");
    for (int i = 0; i < COUNT(bad); i++) {
        Ended e = run_in(&p, bad[i].args);
        cr_expect_eq(e.code, 2, "'%s' ends with %d: %s", bad[i].args, e.code, e.said);
        cr_expect(strstr(e.said, bad[i].value) != NULL, "%s", e.said);
        cr_expect(bad[i].allowed == NULL || strstr(e.said, bad[i].allowed) != NULL, "%s", e.said);
    }
    place_leave(&p);
}

/* Formula, costs and a picture of every variant. */
Test(cli, explain_everything)
{
    Place p = place_new();
    for (int i = 0; variant_table[i] != NULL; i++) {
        const Variant *v = variant_table[i];
        char args[128], path[128];
        snprintf(args, sizeof args, "explain %s --n 16 --width 32 --heads 2 --out @/plots",
                 v->name);
        Ended e = run_in(&p, args);
        cr_expect_eq(e.code, 0, "%s: %s", v->name, e.said);
        cr_expect(v->formula != NULL && strstr(e.said, v->formula) != NULL, "%s: no formula",
                  v->name);
        cr_expect(strstr(e.said, "      1M") != NULL, "%s: %s", v->name, e.said);
        cr_expect_eq(strstr(e.said, "may see the future") != NULL,
                     (variant_caps(v) & CAP_CHOICES) != 0, "%s: %s", v->name, e.said);
        snprintf(path, sizeof path, "%s/plots/%s-matrix.png", p.folder, v->name);
        cr_expect(access(path, R_OK) == 0 || strstr(e.said, "gnuplot is not") != NULL, "%s",
                  e.said);
    }
    place_leave(&p);
}

Test(cli, surroundings)
{
    static const Bad bad[] = {
        {"bench --data @/none.txt" OUT, "/none.txt", NULL},
        {"bench --data @/empty.txt" OUT, "/empty.txt", "4096"},
        {"bench --data @/short.txt" OUT, "/short.txt", "4096"},
        {"bench --data @" OUT, "longmix-", NULL},
        {"bench --n 64 --out @/short.txt/results.jsonl", "/short.txt", NULL},
        {"bench --n 64 --out @", "longmix-", NULL},
        {"bench --n 64 --out @/short.txt", "/short.txt:1", NULL},
        {"bench --n 64 --out /proc/none/results.jsonl", "/proc/none", NULL},
        {"bench --n 64 --backend cuda" OUT, "cuda", "not available"},
        {"bench --n 64 --backend cpu --device 1" OUT, "not 1", "number 0"},
        {"bench --n 64 --backend cpu --math tf32" OUT, "'tf32'", "computes in f32"},
        {"report @/none.jsonl", "/none.jsonl", NULL},
        {"report @/short.txt", "/short.txt", NULL},
        {"report", "which journal", NULL},
        {"validate", "which journal", NULL},
        {"validate @/none.jsonl", "/none.jsonl", NULL},
    };
    expect_all_bad(bad, COUNT(bad));
}

/* ---- journals that are not what they should be ---- */

/* A small journal, to be spoilt. */
static void make_journal(const Place *p)
{
    Ended e = run_in(p, "bench --variants flash_linear --n 64 --width 32 --heads 2 --set s=8 "
                        "--time-limit 0.1 --backend ref" OUT);
    cr_assert_eq(e.code, 0, "%s", e.said);
}

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 1 << 20);
    cr_assert(f != NULL && text != NULL);
    cr_assert_gt(fread(text, 1, (1 << 20) - 1, f), 0);
    fclose(f);
    return text;
}

static void expect_refused(const Place *p, const char *words)
{
    Ended resumed = run_in(p, "bench --variants flash_linear --n 64 --backend ref" OUT);
    cr_expect_eq(resumed.code, 2, "%s", resumed.said);
    cr_expect(strstr(resumed.said, words) != NULL, "'%s' lacks '%s'", resumed.said, words);
    Ended valid = run_in(p, "validate @/results.jsonl");
    cr_expect_eq(valid.code, 2, "%s", valid.said);
    cr_expect(strstr(valid.said, words) != NULL, "'%s' lacks '%s'", valid.said, words);
    Ended report = run_in(p, "report @/results.jsonl --out @/R.md --plots @/plots");
    cr_expect_eq(report.code, 2, "%s", report.said);
}

Test(cli, a_corrupt_line_is_named)
{
    Place p = place_new();
    make_journal(&p);
    cr_expect_eq(run_in(&p, "validate @/results.jsonl").code, 0);
    char *text = slurp(p.path), *second = strchr(text, '\n') + 1;
    char *digit = strstr(second, "sgemm_own\":");
    cr_assert_not_null(digit);
    digit += strlen("sgemm_own\":");
    *digit = *digit == '9' ? '1' : (char)(*digit + 1);
    place_write(p.path, text);
    expect_refused(&p, ":2:");
    free(text);
    place_leave(&p);
}

Test(cli, another_schema_is_named)
{
    Place p = place_new();
    make_journal(&p);
    char *text = slurp(p.path), *schema = strstr(text, "\"schema\":2");
    cr_assert_not_null(schema);
    schema[strlen("\"schema\":")] = '7';
    place_write(p.path, text);
    expect_refused(&p, "results.jsonl");
    free(text);
    place_leave(&p);
}

/* ---- what is good ---- */
Test(cli, help_and_list)
{
    Place p = place_new();
    static const char *const commands[] = {
        "--help",    "bench --help", "list --help", "report --help", "validate --help", "version",
        "--version", "train --help", "eval --help", "apply --help",  "explain --help"};
    for (int i = 0; i < COUNT(commands); i++) {
        Ended e = run_in(&p, commands[i]);
        cr_expect_eq(e.code, 0, "'%s': %d", commands[i], e.code);
        cr_expect_gt(strlen(e.said), 40);
        if (strstr(commands[i], "help") != NULL)
            cr_expect(strstr(e.said, "Example") != NULL, "'%s' shows no example", commands[i]);
    }
    cr_expect_eq(run_in(&p, "").code, 2);
    Ended table = run_in(&p, "list");
    for (int i = 0; variant_table[i] != NULL; i++) {
        char args[64];
        cr_expect(strstr(table.said, variant_table[i]->paper) != NULL);
        snprintf(args, sizeof args, "list --params %s", variant_table[i]->name);
        cr_expect_eq(run_in(&p, args).code, 0);
    }
    place_leave(&p);
}

Test(cli, list_is_json)
{
    Place p = place_new();
    Ended e = run_in(&p, "list --json");
    cr_assert_eq(e.code, 0);
    json_error_t error;
    json_t *list = json_loads(e.said, 0, &error);
    cr_assert_not_null(list, "%s at line %d", error.text, error.line);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        cr_expect_str_eq(json_string_value(json_object_get(v, "name")), variant_table[i]->name);
        cr_expect_gt(json_array_size(json_object_get(v, "caps")), 0);
        cr_expect(json_is_string(json_object_get(v, "paper")) &&
                  json_is_array(json_object_get(v, "options")));
    }
    cr_expect_null(variant_table[json_array_size(list)]);
    json_decref(list);
    place_leave(&p);
}
