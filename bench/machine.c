/* machine.c - see machine.h. */
#include "bench/machine.h"

#include "bench/limits.h"
#include "kernels/build_id.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* The value of the first line that begins with `entry`, behind the separator; "" without one. */
static void value_of(const char *path, const char *entry, char separator, char *out, size_t size)
{
    char line[256];
    FILE *f = fopen(path, "re");
    out[0] = '\0';
    while (f != NULL && out[0] == '\0' && fgets(line, sizeof line, f) != NULL) {
        char *at = strchr(line, separator);
        if (strncmp(line, entry, strlen(entry)) != 0 || at == NULL)
            continue;
        at += 1 + strspn(at + 1, " \t\"");
        at[strcspn(at, "\"\n")] = '\0';
        snprintf(out, size, "%s", at);
    }
    if (f != NULL)
        fclose(f);
}

static void describe_os(char *out, size_t size)
{
    struct utsname u;
    char name[64];
    value_of("/etc/os-release", "PRETTY_NAME", '=', name, sizeof name);
    if (uname(&u) != 0)
        snprintf(out, size, "%s", name);
    else
        snprintf(out, size, "%.40s, %.16s %.36s", name[0] != '\0' ? name : "unknown system",
                 u.sysname, u.release);
}

/* As it could be typed again; argv begins with the command. */
static void join(int argc, char *const argv[], char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "longmix");
    for (int i = 0; i < argc && used + 1 < size; i++) {
        const char *quote = strchr(argv[i], ' ') != NULL ? "'" : "";
        int n = snprintf(out + used, size - used, " %s%s%s", quote, argv[i], quote);
        used += n > 0 ? (size_t)n : 0; /* may pass size: then the loop ends */
    }
}

static unsigned random_bits(void)
{
    unsigned x = (unsigned)getpid();
    FILE *f = fopen("/dev/urandom", "re");
    if (f != NULL) {
        (void)!fread(&x, sizeof x, 1, f);
        fclose(f);
    }
    return x & 0xffffu;
}

void machine_row(int argc, char *const argv[], int threads, Row *row)
{
    time_t now = time(NULL);
    struct tm utc;
    char stamp[16]; /* "20250131-235959" */
    *row = (Row){.kind = ROW_RUN,
                 .time = (double)now,
                 .n_cores = limits_cores(),
                 .n_threads = threads,
                 .total_memory = limits_total_memory()};
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &utc);
    snprintf(row->run, sizeof row->run, "%s-%04x", stamp, random_bits());
    strftime(row->date, sizeof row->date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    value_of("/proc/cpuinfo", "model name", ':', row->host_cpu, sizeof row->host_cpu);
    if (row->host_cpu[0] == '\0')
        snprintf(row->host_cpu, sizeof row->host_cpu, "unknown processor");
    describe_os(row->os, sizeof row->os);
    snprintf(row->build, sizeof row->build, "%s", longmix_build_id);
    snprintf(row->commit, sizeof row->commit, "%s", longmix_git_commit);
    snprintf(row->compiler, sizeof row->compiler, "%.63s", longmix_compiler);
    snprintf(row->flags, sizeof row->flags, "%.511s", longmix_flags);
    join(argc, argv, row->command, sizeof row->command);
}
