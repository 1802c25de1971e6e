/* cli.c - see cli.h. */
#include "bench/cli.h"

#include "bench/parse.h"
#include "kernels/build_id.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTIONS = 62 };

typedef struct OptionNames {
    char text[MAX_OPTIONS + 1][40]; /* with the dashes */
    const char *name[MAX_OPTIONS + 2];
} OptionNames;

static void collect(const struct argp_option *o, OptionNames *out)
{
    int n = 0;
    for (; o != NULL && (o->name != NULL || o->key != 0 || o->doc != NULL) && n < MAX_OPTIONS;
         o++) {
        if (o->name == NULL)
            continue;
        snprintf(out->text[n], sizeof out->text[n], "--%s", o->name);
        out->name[n] = out->text[n];
        n++;
    }
    snprintf(out->text[n], sizeof out->text[n], "--help");
    out->name[n] = out->text[n];
    out->name[n + 1] = NULL;
}

/* What getopt stumbled over: it has moved behind it, but for a letter in a cluster of them. */
static Status explain(const struct argp *argp, const char *name, char *const argv[], int next)
{
    OptionNames known;
    char word[64];
    const char *bad = next > 0 && argv[next - 1][0] == '-' ? argv[next - 1] : argv[next];
    collect(argp->options, &known);
    snprintf(word, sizeof word, "%.*s", (int)strcspn(bad != NULL ? bad : "", "="),
             bad != NULL ? bad : "");
    for (int i = 0; known.name[i] != NULL; i++)
        if (strcmp(known.name[i], word) == 0)
            return FAIL(ST_USAGE, "option '%s': a value is missing, or one too many", bad);
    const char *close = nearest_name(word, known.name);
    if (close != NULL)
        return FAIL(ST_USAGE, "unknown option '%s', did you mean '%s'? see %s --help", word, close,
                    name);
    return FAIL(ST_USAGE, "unknown option '%s'; see %s --help", word, name);
}

/* --help is ours, since argp keeps quiet about it together with its errors. */
static bool wants_help(int argc, char *const argv[])
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static void show_help(const struct argp *argp, const char *name)
{
    char shown[64];
    snprintf(shown, sizeof shown, "%s", name);
    argp_help(argp, stdout, ARGP_HELP_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, shown);
    exit(0);
}

/* A parser around the command's own, to see where getopt stood when it gave up. */
typedef struct Watch {
    argp_parser_t parser;
    void *input;
    int next;
} Watch;

static error_t watch(int key, char *value, struct argp_state *state)
{
    Watch *w = state->input;
    if (key == ARGP_KEY_ERROR) {
        w->next = state->next;
        return 0;
    }
    state->input = w->input;
    error_t error = w->parser(key, value, state);
    state->input = w;
    return error;
}

Status cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input)
{
    Watch w = {argp->parser, input, 0};
    struct argp watched = *argp;
    watched.parser = watch;
    if (wants_help(argc, argv))
        show_help(argp, name);
    (void)status_set(ST_OK, "%s", "");
    if (argp_parse(&watched, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP, NULL, &w) == 0)
        return ST_OK;
    return status_reason()[0] != '\0' ? ST_USAGE : explain(argp, name, argv, w.next);
}

error_t cli_word(const char *word[], int *n, int most, const char *value, const char *name)
{
    if (*n == most) {
        (void)FAIL(ST_USAGE, "'%s' is one too many; see %s --help", value, name);
        return EINVAL;
    }
    word[(*n)++] = value;
    return 0;
}

int cli_exit(const char *name, Status st)
{
    if (st == ST_OK)
        return 0;
    fprintf(stderr, "%s: %s\n", name, status_reason());
    return 2;
}

int version_main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        (void)FAIL(ST_USAGE, "'%s': version takes no arguments", argv[1]);
        return cli_exit("longmix version", ST_USAGE);
    }
    printf("longmix, commit %s, build %s\n%s\n%s\n", longmix_git_commit, longmix_build_id,
           longmix_compiler, longmix_flags);
    return 0;
}
