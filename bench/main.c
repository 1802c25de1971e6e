/* main.c - longmix COMMAND: the table of commands. */
#include "bench/cli.h"
#include "bench/parse.h"
#include "bench/sampler.h"
#include "bench/train.h"
#include "bench/worker.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: not for people */
} commands[] = {
    {"bench", bench_main, "sweep variants over context lengths: time and memory"},
    {"train", train_main, "train a byte-level language model, report bits per byte"},
    {"eval", eval_main, "examine a checkpoint, in windows or over one long stream"},
    {"apply", apply_main, "run one layer on tensors from files, for comparison with others"},
    {"explain", explain_main, "a variant's formula, mixing matrix, state and cost"},
    {"list", list_main, "the variants with their papers, abilities and options"},
    {"report", report_main, "RESULTS.md and plots from a journal"},
    {"validate", validate_main, "check a journal against its schema"},
    {"compare", compare_main, "is build B slower, larger or wrong against A?"},
    {"export", export_main, "a journal as CSV or for other benchmark tools"},
    {"baseline", baseline_main, "work, memory and results on file: write, or check"},
    {"selftest", selftest_main, "how often a comparison of builds is right on this machine"},
    {"version", version_main, "commit, build, compiler"},
    {"worker", worker_main, NULL},
    {"sampler", sampler_main, NULL},
};

static int help(FILE *out)
{
    fprintf(out, "Longmix: does an efficient attention variant keep its paper's promise, on this "
                 "machine?\n\n"
                 "usage: longmix COMMAND [OPTION...]\n\n");
    for (int i = 0; i < COUNT(commands); i++)
        if (commands[i].help != NULL)
            fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(out,
            "\nlongmix COMMAND --help tells more. Examples:\n"
            "  longmix bench                       the quick profile, into results/quick.jsonl\n"
            "  longmix bench --n 512..64k --pass fwd,train --variants vanilla,gau\n"
            "  longmix train --variant flash_linear --tokens 2M --save flash.safetensors\n"
            "  longmix report results/quick.jsonl\n");
    return out == stdout ? 0 : 2;
}

static int unknown(const char *word)
{
    const char *names[COUNT(commands) + 1] = {NULL};
    int n = 0, index;
    for (int i = 0; i < COUNT(commands); i++)
        if (commands[i].help != NULL)
            names[n++] = commands[i].name;
    return cli_exit("longmix", parse_name(word, "command", names, &index));
}

/* Commands that compute in this process start it again with the settings of limits_unpin, which
 * libgomp reads before main. Should that fail, they are only slower on a busy machine. */
static void with_calm_threads(const char *command, char **argv)
{
    bool computes = strcmp(command, "train") == 0 || strcmp(command, "eval") == 0 ||
                    strcmp(command, "apply") == 0;
    if (!computes || getenv("GOMP_SPINCOUNT") != NULL || getenv("OMP_WAIT_POLICY") != NULL)
        return;
    setenv("GOMP_SPINCOUNT", "1000", 1);
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    argp_err_exit_status = 2;
    if (argc < 2)
        return help(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return help(stdout);
    if (strcmp(argv[1], "--version") == 0)
        return version_main(1, argv);
    with_calm_threads(argv[1], argv);
    for (int i = 0; i < COUNT(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return unknown(argv[1]);
}
