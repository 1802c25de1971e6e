/* emulators.c - see emulators.h. */
#include "tests/emulators.h"

#include "kernels/base.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* build, for build/tests/test_NAME */
static void folder_of_builds(char *dir, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", dir, size - 1);
    CHECK(n > 0);
    dir[n] = '\0';
    for (int up = 0; up < 2; up++)
        *strrchr(dir, '/') = '\0';
}

int emulate(const char *settings, const char *build, const char *command, char *out, size_t size)
{
    char dir[2048], line[4096], rest[512];
    folder_of_builds(dir, sizeof dir);
    snprintf(line, sizeof line,
             "OMP_NUM_THREADS=1 LONGMIX_CUDA_POISON=1 ASAN_OPTIONS=detect_leaks=0:exitcode=66 "
             "TSAN_OPTIONS=exitcode=66 %s '%s/emu-%s'/%s 2>&1",
             settings, dir, build, command);
    FILE *p = popen(line, "r");
    CHECK(p != NULL);
    size_t n = fread(out, 1, size - 1, p);
    out[n] = '\0';
    while (fread(rest, 1, sizeof rest, p) > 0)
        continue;
    int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
