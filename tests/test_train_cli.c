/* test_train_cli.c - `longmix train` and `longmix eval` as their user sees them: exit codes, one
 * line for a mistake, files. Each call is a child, which alone uses threads. */
#include "bench/checkpoint.h"
#include "bench/train.h"
#include "tests/tiny.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/longmix-cli-XXXXXX";
static char path[64], half[64], text_path[64], log_path[64], out_path[64], err_path[64];

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(half, sizeof half, "%s/half", folder);
    snprintf(text_path, sizeof text_path, "%s/text", folder);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    snprintf(out_path, sizeof out_path, "%s/out", folder);
    snprintf(err_path, sizeof err_path, "%s/err", folder);
    tiny_text(text_path, 6000);
}

static void clean(void)
{
    const char *const all[] = {path, half, text_path, log_path, out_path, err_path};
    for (int i = 0; i < COUNT(all); i++)
        unlink(all[i]);
    rmdir(folder);
}

TestSuite(train_cli, .init = make_folder, .fini = clean);

/* ---- children ---- */
static void send_to(const char *name, int fd)
{
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || dup2(file, fd) < 0)
        _exit(99);
}

static int join(pid_t child)
{
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

/* Runs a command, given as words with blanks between; returns its exit code. */
static int run(int (*command)(int, char **), const char *line)
{
    char words[2048], *argv[40];
    int argc = 0;
    char *rest = words;
    snprintf(words, sizeof words, "longmix %s", line);
    for (char *word; argc < 39 && (word = strtok_r(rest, " ", &rest)) != NULL;)
        argv[argc++] = word;
    argv[argc] = NULL;
    fflush(NULL);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        send_to(out_path, STDOUT_FILENO);
        send_to(err_path, STDERR_FILENO);
        int code = command(argc, argv);
        fflush(NULL);
        _exit(code);
    }
    return join(child);
}

/* The same with the tiny text and tiny sizes, and more options behind. */
static int train(const char *more)
{
    char line[512];
    snprintf(line, sizeof line,
             "--data %s --variant gau --set s=6 --width 16 --layers 1 --context 24 --batch 4 "
             "--threads 1 %s",
             text_path, more);
    return run(train_main, line);
}

static int eval(const char *more)
{
    char line[2048];
    snprintf(line, sizeof line, "--data %s --threads 1 %s", text_path, more);
    return run(eval_main, line);
}

static char *contents(const char *name, size_t *size)
{
    enum { MOST = 1 << 20 };
    char *data = calloc(1, MOST);
    FILE *f = fopen(name, "rb");
    cr_assert(f != NULL && data != NULL);
    size_t n = fread(data, 1, MOST - 1, f);
    fclose(f);
    if (size != NULL)
        *size = n;
    return data;
}

static void expect_in(const char *name, const char *words)
{
    char *data = contents(name, NULL);
    cr_expect_not_null(strstr(data, words), "no '%s' in '%s'", words, data);
    free(data);
}

static int lines_of(const char *data)
{
    int n = 0;
    for (; *data != '\0'; data++)
        n += *data == '\n';
    return n;
}

/* Exit code 2 and one line that begins with the command and has these words. */
static void expect_mistake(int code, const char *command, const char *words)
{
    char *err = contents(err_path, NULL), *out = contents(out_path, NULL);
    cr_expect_eq(code, 2, "%s: exit code %d: %s", words, code, err);
    cr_expect_eq(strncmp(err, command, strlen(command)), 0, "'%s'", err);
    cr_expect(lines_of(err) == 1 && err[strlen(err) - 1] == '\n', "not one line: '%s'", err);
    cr_expect_not_null(strstr(err, words), "no '%s' in '%s'", words, err);
    cr_expect_eq(out[0], '\0', "a mistake prints '%s'", out);
    free(err);
    free(out);
}

/* ---- good runs ---- */
static void train_and_save(const char *more)
{
    char line[256];
    snprintf(line, sizeof line, "--steps 6 --save %s %s", path, more);
    cr_assert_eq(train(line), 0, "%s", contents(err_path, NULL));
}

Test(train_cli, trains_saves_and_evaluates)
{
    char line[256];
    train_and_save("--threads 2");
    expect_in(out_path, "gau: test ");
    expect_in(out_path, "8192 in embedding and head");
    cr_expect_eq(eval(path), 0);
    expect_in(out_path, "gau after 6 steps, test part, windows of the training length");
    expect_in(out_path, "         0 to          0");
    snprintf(line, sizeof line, "%s --split valid", path);
    cr_expect_eq(eval(line), 0);
    expect_in(out_path, "valid part");
    snprintf(line, sizeof line, "%s --stream 500 --segment 64", path);
    cr_expect_eq(eval(line), 0);
    expect_in(out_path, "one stream");
    expect_in(out_path, "over 499 bytes");
    snprintf(line, sizeof line, "%s --stream 10", path);
    cr_expect_eq(eval(line), 0, "a stream shorter than the context");
    expect_in(out_path, "over 9 bytes");
}

/* What the command makes of these options, stopped after three of six steps. */
static void save_half(void)
{
    Text text;
    Dev *d;
    Trainer t;
    double loss;
    TrainSpec s = tiny_training(variant_find("gau"));
    snprintf(s.set, sizeof s.set, "s=6");
    s.lr = 3e-3;
    s.steps = 6;
    s.model.ctx.heads = 1;
    bool good = text_load(text_path, &text) == ST_OK && dev_open(&d, "cpu", 0, 0) == ST_OK &&
                trainer_init(&t, d, &s, &text) == ST_OK;
    for (int i = 0; i < 3 && good; i++)
        good = trainer_step(&t, &loss, NULL) == ST_OK;
    good = good && checkpoint_save(&t, half) == ST_OK;
    _exit(good ? 0 : 1);
}

Test(train_cli, a_resumed_run_writes_the_same_file)
{
    char line[256];
    size_t sizes[2];
    train_and_save("");
    char *whole = contents(path, &sizes[0]);
    fflush(NULL);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0)
        save_half();
    cr_assert_eq(join(child), 0);
    snprintf(line, sizeof line, "--data %s --threads 2 --resume %s --save %s", text_path, half,
             path);
    cr_assert_eq(run(train_main, line), 0, "%s", contents(err_path, NULL));
    char *parts = contents(path, &sizes[1]);
    cr_expect_eq(sizes[0], sizes[1]);
    cr_expect_eq(memcmp(whole, parts, sizes[0]), 0, "three steps and three are not six");
    free(whole);
    free(parts);
}

Test(train_cli, the_log_has_a_line_for_every_step)
{
    char line[256];
    snprintf(line, sizeof line, "--log %s --eval-every 2", log_path);
    train_and_save(line);
    char *log = contents(log_path, NULL);
    cr_expect_eq(lines_of(log), 6 + 3, "%s", log);
    cr_expect_not_null(strstr(log, "{\"event\":\"step\",\"step\":1,\"tokens\":96,"), "%s", log);
    cr_expect_not_null(strstr(log, "{\"event\":\"valid\",\"step\":6,\"tokens\":576,"), "%s", log);
    cr_expect_not_null(strstr(log, "\"valid_bpb\":null}"), "%s", log);
    free(log);
}

Test(train_cli, sizes_may_be_left_to_the_command)
{
    char line[256];
    snprintf(line, sizeof line,
             "--data %s --params 30k --context 8 --batch 1 --tokens 17 --threads 1", text_path);
    cr_expect_eq(run(train_main, line), 0);
    expect_in(err_path, "step 2/2");
    snprintf(line, sizeof line,
             "--data %s --width 100 --layers 1 --context 8 --batch 1 --steps 1 --threads 1",
             text_path);
    cr_expect_eq(run(train_main, line), 0, "100 is not a multiple of 32: two heads of 50");
}

Test(train_cli, a_run_may_be_given_in_minutes)
{
    cr_expect_eq(train("--minutes 0.002 --recompute"), 0);
    expect_in(out_path, "gau: test ");
    expect_in(err_path, "step ");
}

/* ---- mistakes ---- */
Test(train_cli, mistakes_of_train_are_one_line)
{
    static const char *const cases[][2] = {
        {"--bogus", "unknown option '--bogus'"},
        {"--steps", "a value is missing"},
        {"--steps 0", "--steps"},
        {"--lr x", "--lr 'x' (a number from 1e-09 to 100)"},
        {"--clip nan", "--clip 'nan'"},
        {"--variant nope", "unknown variant 'nope'"},
        {"--set s=7", "even s, not 7"},
        {"--set q=7", "unknown option 'q'"},
        {"--heads 3", "3 heads do not divide the width 16"},
        {"--context 241", "valid part has"},
        {"--data /nonexistent", "/nonexistent"},
        {"--backend gpu9", "unknown backend 'gpu9'"},
        {"--steps 1 --save /nonexistent/file", "/nonexistent/file"},
        {"--steps 1 --log /nonexistent/file", "/nonexistent/file"},
        {"stray", "unexpected argument 'stray'"},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        int code = train(cases[i][0]);
        if (strstr(cases[i][0], "--save") == NULL)
            expect_mistake(code, "longmix train: ", cases[i][1]);
        else
            cr_expect_eq(code, 2); /* after the steps and their lines */
    }
    expect_mistake(run(train_main, "--layers 2"), "longmix train: ", "go with --width");
}

/* ---- one checkpoint against another ---- */
static void save_seeds(int seeds, const char *more, const char *stem)
{
    for (int seed = 1; seed <= seeds; seed++) {
        char line[256];
        snprintf(line, sizeof line, "%s --seed %d --save %s%d", more, seed, stem, seed);
        cr_assert_eq(train(line), 0);
    }
}

static int against(int n, const char *these, const char *those)
{
    char line[1024];
    int used = 0;
    for (int i = 1; i <= n; i++)
        used += snprintf(line + used, sizeof line - (size_t)used, "%s%d --against %s%d ", these, i,
                         those, i);
    return eval(line);
}

Test(train_cli, claims_take_three_seeds_that_agree)
{
    char few[80], many[80];
    snprintf(few, sizeof few, "%s-few", path);
    snprintf(many, sizeof many, "%s-many", path);
    save_seeds(3, "--steps 2", few);
    save_seeds(3, "--steps 40", many);
    cr_expect_eq(against(3, many, few), 0);
    expect_in(out_path, "better than --against");
    expect_in(out_path, "not alike: trained on 192 and 3840 tokens");
    cr_expect_eq(against(3, few, many), 1);
    expect_in(out_path, "worse than --against");
    cr_expect_eq(against(3, few, few), 0);
    expect_in(out_path, "no claim: seeds differ in sign, or an interval holds zero");
    cr_expect_eq(against(2, many, few), 0);
    expect_in(out_path, "no claim: that takes 3 seeds");
    for (int seed = 1; seed <= 3; seed++) {
        char name[96];
        snprintf(name, sizeof name, "%s%d", few, seed);
        unlink(name);
        snprintf(name, sizeof name, "%s%d", many, seed);
        unlink(name);
    }
}

Test(train_cli, mistakes_of_comparing_are_one_line)
{
    char line[320], other[80];
    snprintf(line, sizeof line, "--steps 1 --save %s", path);
    cr_assert_eq(train(line), 0);
    snprintf(other, sizeof other, "%s-short", path);
    snprintf(line, sizeof line, "--steps 1 --context 12 --save %s", other);
    cr_assert_eq(train(line), 0);
    snprintf(line, sizeof line, "%s --against %s", path, other);
    expect_mistake(eval(line), "longmix eval: ", "contexts have to be equal");
    snprintf(line, sizeof line, "%s %s --against %s --against %s", path, path, path, path);
    expect_mistake(eval(line), "longmix eval: ", "both have seed 1");
    snprintf(line, sizeof line, "%s %s --against %s", path, path, path);
    expect_mistake(eval(line), "longmix eval: ", "2 checkpoints and 1 of --against");
    snprintf(line, sizeof line, "%s %s", path, path);
    expect_mistake(eval(line), "longmix eval: ", "one checkpoint");
    snprintf(line, sizeof line, "%s --against %s --stream 64", path, path);
    expect_mistake(eval(line), "longmix eval: ", "--stream 64");
    unlink(other);
}

Test(train_cli, mistakes_of_eval_are_one_line)
{
    char line[256];
    train_and_save("");
    expect_mistake(eval(""), "longmix eval: ", "which checkpoint?");
    expect_mistake(eval("/nonexistent"), "longmix eval: ", "/nonexistent");
    expect_mistake(eval(text_path), "longmix eval: ", text_path);
    static const char *const more[][2] = {
        {"--split all", "--split 'all' (train, valid or test)"},
        {"--stream 1", "--stream"},
        {"--stream 6001", "6001"},
        {"--stream 10 --segment 0", "--segment"},
        {"--bogus", "unknown option '--bogus'"},
        {"second", "'second': one checkpoint"},
    };
    for (int i = 0; i < COUNT(more); i++) {
        snprintf(line, sizeof line, "%s %s", path, more[i][0]);
        expect_mistake(eval(line), "longmix eval: ", more[i][1]);
    }
}

Test(train_cli, checkpoints_that_lie_end_in_one_line)
{
    char line[256];
    size_t size;
    train_and_save("");
    char *good = contents(path, &size);
    for (int i = 0; i < 3; i++) { /* a part, noise, a NaN */
        FILE *f = fopen(path, "wb");
        cr_assert_not_null(f);
        if (i > 0)
            memset(good + (i == 1 ? 0 : size - 4), 0xff, 4);
        fwrite(good, 1, i == 0 ? size / 2 : size, f);
        fclose(f);
        expect_mistake(eval(path), "longmix eval: ", path);
        snprintf(line, sizeof line, "--data %s --resume %s", text_path, path);
        expect_mistake(run(train_main, line), "longmix train: ", path);
    }
    free(good);
}

Test(train_cli, resuming_on_another_text_is_refused)
{
    char line[256];
    train_and_save("");
    tiny_text(text_path, 6001);
    snprintf(line, sizeof line, "--data %s --resume %s", text_path, path);
    expect_mistake(run(train_main, line), "longmix train: ", "learnt from another text");
}
