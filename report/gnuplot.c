/* gnuplot.c - runs gnuplot on a script. */
#include "report/gnuplot.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

/* cd 'folder', with the quotes in it doubled; false when it does not fit. */
static bool cd_command(const char *folder, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "cd '");
    for (const char *p = folder; *p != '\0' && used + 4 < size; p++) {
        if (*p == '\'')
            out[used++] = '\'';
        out[used++] = *p;
    }
    snprintf(out + used, size - used, "'");
    return used + 4 < size;
}

Status gnuplot_run(const char *folder, const char *script)
{
    char cd[4096], program[] = "gnuplot", defaults[] = "-d", execute[] = "-e", file[256];
    if (!cd_command(folder, cd, sizeof cd) || strlen(script) >= sizeof file)
        return FAIL(ST_USAGE, "%s: too long a path", folder);
    snprintf(file, sizeof file, "%s", script);
    char *args[] = {program, defaults, execute, cd, file, NULL};
    pid_t child = 0;
    int error = posix_spawnp(&child, program, NULL, NULL, args, environ);
    if (error == ENOENT)
        return FAIL(ST_UNSUPPORTED, "gnuplot is not installed; `apt-get install gnuplot-nox` "
                                    "brings it");
    if (error != 0)
        return FAIL(ST_IO, "gnuplot cannot be started: %s", strerror(error));
    int how = 0;
    while (waitpid(child, &how, 0) < 0)
        if (errno != EINTR)
            return FAIL(ST_IO, "gnuplot cannot be waited for: %s", strerror(errno));
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0)
        return FAIL(ST_IO, "gnuplot did not accept %s/%s", folder, script);
    return ST_OK;
}
