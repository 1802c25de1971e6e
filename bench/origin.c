/* origin.c - see origin.h. */
#include "bench/origin.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* A make that is started by another takes its jobs from there; these are to be made by themselves.
 * Their words go to standard error: standard output is the result. */
#define MAKE "env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s SETUP=: "
static const char make_folder[] = MAKE "-C \"$1\" build/longmix >&2";
static const char make_revision[] =
    "set -e; mkdir -p \"$2\"; git archive \"$1\" | tar -x -C \"$2\"; " MAKE
    "-C \"$2\" build/longmix >&2";

/* sh -c script; $1 and $2 are its arguments. */
static bool shell(const char *script, const char *one, const char *two)
{
    char *args[] = {strdup("sh"), strdup("-c"), strdup(script), strdup("sh"), strdup(one),
                    strdup(two),  NULL};
    pid_t child = 0;
    int how = -1, error = posix_spawnp(&child, "sh", NULL, NULL, args, environ);
    while (error == 0 && waitpid(child, &how, 0) < 0 && errno == EINTR)
        ;
    for (int i = 0; args[i] != NULL; i++)
        free(args[i]);
    return error == 0 && WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

static bool is_program(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode) && access(path, X_OK) == 0;
}

static Status join(const char *folder, const char *rest, char *out, size_t size)
{
    return (size_t)snprintf(out, size, "%s/%s", folder, rest) < size
               ? ST_OK
               : FAIL(ST_USAGE, "%.80s...: too long a path", folder);
}

static Status from_file(const char *word, Origin *out)
{
    static const char row[] = "{\"schema\":";
    char begin[sizeof row] = "";
    FILE *f = fopen(word, "re");
    if (f == NULL)
        return FAIL(ST_USAGE, "%s: %s", word, strerror(errno));
    size_t n = fread(begin, 1, sizeof row - 1, f);
    fclose(f);
    out->journal = n == sizeof row - 1 && strcmp(begin, row) == 0;
    if (!out->journal && access(word, X_OK) != 0)
        return FAIL(ST_USAGE, "%s: is neither a program nor a journal", word);
    /* A bare name would be looked for elsewhere. */
    return strchr(word, '/') != NULL ? join(word[0] == '/' ? "" : ".", word + (word[0] == '/'),
                                            out->path, sizeof out->path)
                                     : join(".", word, out->path, sizeof out->path);
}

static Status from_folder(const char *word, Origin *out)
{
    char makefile[4096];
    TRY(join(word, "longmix", out->path, sizeof out->path));
    if (is_program(out->path))
        return ST_OK;
    TRY(join(word, "Makefile", makefile, sizeof makefile));
    if (access(makefile, R_OK) != 0)
        return FAIL(ST_USAGE, "%s: holds neither the program longmix nor a Makefile", word);
    TRY(join(word, "build/longmix", out->path, sizeof out->path));
    if (!shell(make_folder, word, "") || !is_program(out->path))
        return FAIL(ST_USAGE, "%s: does not build", word);
    return ST_OK;
}

/* The commit that a word means; false if none. */
static bool commit_of(const char *word, char *commit, size_t size)
{
    char command[256];
    commit[0] = '\0';
    for (const char *p = word; *p != '\0'; p++)
        if (*p == '\'' || *p == '\n')
            return false;
    if (word[0] == '-' || (size_t)snprintf(command, sizeof command,
                                           "git rev-parse --verify --quiet '%s^{commit}' 2>&1",
                                           word) >= sizeof command)
        return false;
    FILE *f = popen(command, "re");
    if (f == NULL)
        return false;
    bool told = fgets(commit, (int)size, f) != NULL;
    commit[strcspn(commit, "\n")] = '\0';
    return pclose(f) == 0 && told && strlen(commit) >= 12;
}

static Status from_revision(const char *word, Origin *out)
{
    char commit[80], folder[64];
    if (!commit_of(word, commit, sizeof commit))
        return FAIL(ST_USAGE, "'%s' is no file, no folder and no revision of the project here",
                    word);
    snprintf(folder, sizeof folder, "build/compare/%.12s", commit);
    snprintf(out->name, sizeof out->name, "%.100s (%.12s)", word, commit);
    TRY(join(folder, "build/longmix", out->path, sizeof out->path));
    if (is_program(out->path))
        return ST_OK;
    if (!shell(make_revision, commit, folder) || !is_program(out->path))
        return FAIL(ST_USAGE, "revision %s does not build", word);
    return ST_OK;
}

Status origin_find(const char *word, Origin *out)
{
    struct stat s;
    *out = (Origin){.journal = false};
    snprintf(out->name, sizeof out->name, "%s", word);
    if (stat(word, &s) != 0)
        return from_revision(word, out);
    return S_ISDIR(s.st_mode) ? from_folder(word, out) : from_file(word, out);
}
