/* limits.c - cores and memory from the scheduler, sysfs, procfs and the cgroups (version 1 and 2).
 */
#define _GNU_SOURCE /* sched_getaffinity, CPU_SET */
#include "bench/limits.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- small files ---- */

/* First line of a file without its newline; "" when it cannot be read. */
static void first_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");
    line[0] = '\0';
    if (f == NULL)
        return;
    if (fgets(line, (int)size, f) == NULL)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    fclose(f);
}

static int64_t first_number(const char *path, int64_t otherwise)
{
    char line[64], *end;
    first_line(path, line, sizeof line);
    long long value = strtoll(line, &end, 10);
    return end != line ? value : otherwise;
}

/* Bytes of an entry such as "VmRSS:   1234 kB" of /proc/meminfo or /proc/self/status; -1: none. */
static int64_t proc_bytes(const char *path, const char *entry)
{
    char line[256];
    FILE *f = fopen(path, "re");
    int64_t kib = -1;
    size_t len = strlen(entry);
    while (f != NULL && kib < 0 && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, entry, len) == 0 && line[len] == ':')
            kib = strtoll(line + len + 1, NULL, 10);
    if (f != NULL)
        fclose(f);
    return kib < 0 ? -1 : kib * 1024;
}

/* ---- cgroups ---- */

/* Path of this process in the hierarchy of a controller; "" names version 2. False: there is none.
 */
static bool cgroup_path(const char *controller, char *path, size_t size)
{
    char line[512];
    FILE *f = fopen("/proc/self/cgroup", "re");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':'), *at = list != NULL ? strchr(list + 1, ':') : NULL;
        if (at == NULL)
            continue;
        *at = '\0';
        char *rest = NULL, *name = strtok_r(list + 1, ",", &rest);
        found = name == NULL && controller[0] == '\0';
        for (; name != NULL && !found; name = strtok_r(NULL, ",", &rest))
            found = strcmp(name, controller) == 0;
        if (found)
            snprintf(path, size, "%s", at + 1);
    }
    if (f != NULL)
        fclose(f);
    return found;
}

typedef int64_t LimitFn(const char *folder);

/* Smallest limit from the group of this process up to the root of `mount`. */
static int64_t smallest(const char *mount, const char *controller, LimitFn *limit)
{
    char path[256] = "", folder[320];
    int64_t least = INT64_MAX;
    if (!cgroup_path(controller, path, sizeof path))
        return least;
    for (;;) {
        snprintf(folder, sizeof folder, "%s%s", mount, strcmp(path, "/") == 0 ? "" : path);
        least = min64(least, limit(folder));
        char *slash = strrchr(path, '/');
        if (slash == NULL || path[1] == '\0')
            return least;
        slash[slash == path] = '\0'; /* keeps a lone root */
    }
}

static int64_t memory_v2(const char *folder)
{
    char path[384];
    snprintf(path, sizeof path, "%s/memory.max", folder);
    return first_number(path, INT64_MAX); /* "max" is no number */
}

static int64_t memory_v1(const char *folder)
{
    char path[384];
    snprintf(path, sizeof path, "%s/memory.limit_in_bytes", folder);
    return first_number(path, INT64_MAX);
}

static int64_t quota(int64_t quota_us, int64_t period_us)
{
    return quota_us > 0 && period_us > 0 ? max64(1, ceil_div(quota_us, period_us)) : INT64_MAX;
}

static int64_t cores_v2(const char *folder)
{
    char path[384], line[64];
    int64_t most = 0, period = 0;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    first_line(path, line, sizeof line);
    return sscanf(line, "%" SCNd64 " %" SCNd64, &most, &period) == 2 ? quota(most, period)
                                                                     : INT64_MAX;
}

static int64_t cores_v1(const char *folder)
{
    char most[384], period[384];
    snprintf(most, sizeof most, "%s/cpu.cfs_quota_us", folder);
    snprintf(period, sizeof period, "%s/cpu.cfs_period_us", folder);
    return quota(first_number(most, -1), first_number(period, -1));
}

/* ---- cores ---- */
static void all_cores(cpu_set_t *set)
{
    CPU_ZERO(set);
    for (int i = 0; i < CPU_SETSIZE; i++)
        CPU_SET(i, set);
}

void limits_unpin(void)
{
    static const char *const pins[] = {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY",
                                       "KMP_AFFINITY"};
    static const char *const others[] = {"OMP_NUM_THREADS",      "OMP_DYNAMIC",
                                         "OMP_SCHEDULE",         "OMP_NESTED",
                                         "OPENBLAS_NUM_THREADS", "OMP_THREAD_LIMIT"};
    bool pinned = false;
    for (int i = 0; i < COUNT(pins); i++) {
        pinned = pinned || getenv(pins[i]) != NULL;
        unsetenv(pins[i]);
    }
    for (int i = 0; i < COUNT(others); i++)
        unsetenv(others[i]);
    if (getenv("OMP_WAIT_POLICY") == NULL)
        setenv("GOMP_SPINCOUNT", "4000", 0); /* some 50 us: longer than the ops between two that
                                                share work take, even from cold caches */
    cpu_set_t set;
    all_cores(&set);
    if (pinned)
        (void)!sched_setaffinity(0, sizeof set, &set); /* as far as the cpuset allows */
}

static void usable(cpu_set_t *set)
{
    CPU_ZERO(set);
    if (sched_getaffinity(0, sizeof *set, set) != 0 || CPU_COUNT(set) == 0)
        CPU_SET(0, set);
}

int limits_cores(void)
{
    cpu_set_t set;
    usable(&set);
    return CPU_COUNT(&set);
}

/* Usable cores that are the first of their siblings on the same physical core. */
static int physical_cores(void)
{
    cpu_set_t set;
    int n = 0;
    usable(&set);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        char path[96], line[64];
        if (!CPU_ISSET(i, &set))
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                 i);
        first_line(path, line, sizeof line);
        int first = line[0] != '\0' ? atoi(line) : i;
        n += first >= i || first < 0 || !CPU_ISSET(first, &set);
    }
    return n > 0 ? n : 1;
}

int limits_threads(void)
{
    int64_t n = min64(limits_cores(), physical_cores());
    n = min64(n, smallest("/sys/fs/cgroup", "", cores_v2));
    n = min64(n, smallest("/sys/fs/cgroup/cpu", "cpu", cores_v1));
    return (int)max64(1, n);
}

/* ---- memory ---- */
int64_t limits_total_memory(void)
{
    return max64(0, proc_bytes("/proc/meminfo", "MemTotal"));
}

int64_t limits_free_memory(void)
{
    int64_t available = proc_bytes("/proc/meminfo", "MemAvailable");
    int64_t least = available > 0 ? available : limits_total_memory();
    least = min64(least, smallest("/sys/fs/cgroup", "", memory_v2));
    return min64(least, smallest("/sys/fs/cgroup/memory", "memory", memory_v1));
}

int64_t limits_cache(void)
{
    int64_t largest = 0;
    for (int i = 0; i < 8; i++) {
        char path[96], line[32];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        first_line(path, line, sizeof line);
        int64_t unit = strchr(line, 'M') != NULL ? 1 << 20 : 1 << 10;
        largest = max64(largest, strtoll(line, NULL, 10) * unit);
    }
    return largest > 0 ? largest : INT64_C(32) << 20;
}

/* ---- this process ---- */
void limits_reset_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (f == NULL)
        return;
    fputs("5", f);
    fclose(f);
}

int64_t limits_rss(void)
{
    return max64(0, proc_bytes("/proc/self/status", "VmRSS"));
}

int64_t limits_peak_rss(void)
{
    return max64(0, proc_bytes("/proc/self/status", "VmHWM"));
}

/* RLIMIT_DATA counts private writable memory, touched or not; what is there already (a sanitizer's
 * shadow, the libraries' own) is no one's fault. */
void limits_guard(int64_t bytes)
{
    struct rlimit r;
    int64_t now = proc_bytes("/proc/self/status", "VmData");
    if (now < 0 || bytes <= 0 || getrlimit(RLIMIT_DATA, &r) != 0)
        return;
    rlim_t want = (rlim_t)(now + bytes);
    r.rlim_cur = r.rlim_max == RLIM_INFINITY || want < r.rlim_max ? want : r.rlim_max;
    (void)!setrlimit(RLIMIT_DATA, &r);
}
