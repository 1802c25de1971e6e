/* program.c - see program.h. */
#define _GNU_SOURCE /* pipe2 */
#include "tests/program.h"

#include "report/journal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *program(void)
{
    const char *path = getenv("LONGMIX_BIN");
    if (path == NULL)
        path = getenv("LONGMIX");
    return path != NULL ? path : "build/longmix";
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pause_for(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    nanosleep(&t, NULL);
}

/* ---- processes ---- */
static void limit_files(int64_t bytes)
{
    struct rlimit r = {(rlim_t)bytes, (rlim_t)bytes};
    signal(SIGXFSZ, SIG_IGN); /* writing then fails, as on a full disk */
    setrlimit(RLIMIT_FSIZE, &r);
}

static void become(Start s, int out)
{
    char *argv[PROGRAM_MAX_ARGS] = {strdup(program())}, *rest = NULL, *args = strdup(s.args);
    int n = 1;
    for (char *a = strtok_r(args, " ", &rest); a != NULL && n + 1 < PROGRAM_MAX_ARGS;
         a = strtok_r(NULL, " ", &rest))
        argv[n++] = a;
    if (s.env != NULL)
        putenv(strdup(s.env));
    if (s.file_limit > 0)
        limit_files(s.file_limit);
    signal(SIGINT, SIG_DFL);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execv(argv[0], argv);
    _exit(127);
}

Running program_start(Start s)
{
    int fd[2];
    cr_assert_eq(pipe2(fd, O_CLOEXEC), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        become(s, fd[1]);
    close(fd[1]);
    return (Running){pid, fd[0]};
}

Ended program_end(Running r, double limit)
{
    Ended e = {0};
    size_t used = 0;
    int status = 0;
    double start = now();
    bool late = false;
    for (;;) {
        struct pollfd p = {.fd = r.out, .events = POLLIN};
        char text[4096];
        if (!late && now() - start > limit) {
            late = true;
            kill(r.pid, SIGKILL);
        }
        if (poll(&p, 1, 50) <= 0)
            continue;
        ssize_t n = read(r.out, text, sizeof text);
        if (n <= 0)
            break;
        size_t room = sizeof e.said - 1 - used, take = (size_t)n < room ? (size_t)n : room;
        memcpy(e.said + used, text, take);
        used += take;
    }
    close(r.out);
    cr_assert_eq(waitpid(r.pid, &status, 0), r.pid);
    cr_assert_not(late, "no end within %g s; it said: %s", limit, e.said);
    e.seconds = now() - start;
    e.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return e;
}

Ended program_run(Start s, double limit)
{
    return program_end(program_start(s), limit);
}

pid_t program_child(pid_t parent)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    for (int i = 0; i < 100; i++) {
        int child = 0;
        FILE *f = fopen(path, "re");
        if (f != NULL && fscanf(f, "%d", &child) != 1)
            child = 0;
        if (f != NULL)
            fclose(f);
        if (child > 0)
            return child;
        pause_for(0.01);
    }
    return 0;
}

bool program_runs(pid_t pid)
{
    char path[64], state = 'X';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 'X';
    fclose(f);
    return state != 'X' && state != 'Z';
}

/* ---- files ---- */
Place place_new(void)
{
    Place p = {.folder = "/tmp/longmix-XXXXXX"};
    cr_assert_not_null(mkdtemp(p.folder));
    snprintf(p.path, sizeof p.path, "%s/results.jsonl", p.folder);
    return p;
}

void place_leave(const Place *p)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", p->folder);
    cr_expect_eq(system(command), 0);
}

void place_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    cr_assert_geq(fputs(text, f), 0);
    cr_assert_eq(fclose(f), 0);
}

static Status take(const Row *r, void *rows)
{
    Rows *to = rows;
    cr_assert_lt(to->n, PROGRAM_MAX_ROWS);
    to->row[to->n++] = *r;
    return ST_OK;
}

Rows rows_read(const char *path)
{
    Rows r = {.row = calloc(PROGRAM_MAX_ROWS, sizeof(Row))};
    cr_assert_not_null(r.row);
    cr_assert_eq(journal_read(path, take, &r), ST_OK, "%s", status_reason());
    return r;
}

const Row *rows_find(const Rows *r, const char *variant, int64_t n)
{
    for (int i = r->n - 1; i >= 0; i--)
        if (r->row[i].kind == ROW_CASE && r->row[i].c.n == n &&
            strcmp(r->row[i].c.variant, variant) == 0)
            return &r->row[i];
    return NULL;
}

int rows_count(const Rows *r, RowKind kind)
{
    int n = 0;
    for (int i = 0; i < r->n; i++)
        n += r->row[i].kind == kind;
    return n;
}
