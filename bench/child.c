/* child.c - see child.h. Between fork and exec only calls that are safe there: the parent has no
 * other threads, and never runs OpenMP or BLAS. */
#define _GNU_SOURCE /* pipe2, sigabbrev_np */
#include "bench/child.h"
#include "bench/clock.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TICK_MS = 200 };

/* ---- starting ---- */

/* The first to be killed when memory is short; anyone may raise this number. */
static void volunteer(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, "1000", 4);
    close(fd);
}

static void become(const int fd[3], pid_t parent, const char *program, char *const argv[])
{
    sigset_t none;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before the line above */
        _exit(1);
    volunteer();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 3; i++)
        dup2(fd[i], i);
    execv(program != NULL ? program : "/proc/self/exe", argv);
    _exit(127);
}

static void close_all(int *fd, int n)
{
    for (int i = 0; i < n; i++)
        if (fd[i] >= 0)
            close(fd[i]);
}

Status child_start(Child *w, const char *program, char *const argv[])
{
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    pid_t parent = getpid();
    *w = (Child){.to = -1, .from = -1, .err = -1};
    bool fine = true;
    for (int i = 0; i < 3; i++)
        fine = fine && pipe2(pipes[i], O_CLOEXEC) == 0;
    const int ends[] = {pipes[0][0], pipes[1][1], pipes[2][1]};
    w->pid = fine ? fork() : -1;
    if (w->pid == 0)
        become(ends, parent, program, argv);
    if (w->pid < 0) {
        Status st = FAIL(ST_DEVICE, "cannot start a worker: %s", strerror(errno));
        close_all(&pipes[0][0], 6);
        *w = (Child){0};
        return st;
    }
    setpgid(w->pid, w->pid); /* both sides do it, so neither waits for the other */
    close_all((int[]){ends[0], ends[1], ends[2]}, 3);
    w->to = pipes[0][1];
    w->from = pipes[1][0];
    w->err = pipes[2][0];
    fcntl(w->from, F_SETFL, O_NONBLOCK);
    fcntl(w->err, F_SETFL, O_NONBLOCK);
    return ST_OK;
}

/* Reaps it and gives everything back; returns what waitpid told. */
static int finish(Child *w)
{
    int status = 0;
    kill(-w->pid, SIGKILL); /* what it may have started, too; harmless to the dead */
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
        ;
    close_all((int[]){w->to, w->from, w->err}, 3);
    free(w->text);
    *w = (Child){0};
    return status;
}

void child_stop(Child *w)
{
    if (w->pid > 0)
        finish(w);
}

/* ---- listening ---- */

/* Keeps the last line that is not empty, without control characters. */
static void hear_error(Child *w)
{
    char text[1024];
    ssize_t n;
    while ((n = read(w->err, text, sizeof text - 1)) > 0) {
        text[n] = '\0';
        for (char *p = text; *p != '\0'; p++)
            if (iscntrl((unsigned char)*p) && *p != '\r' && *p != '\n')
                *p = ' ';
        char *rest = NULL;
        for (char *l = strtok_r(text, "\r\n", &rest); l != NULL; l = strtok_r(NULL, "\r\n", &rest))
            snprintf(w->last_words, sizeof w->last_words, "%s", l);
    }
}

/* Reads what is there. False at the end of the stream. */
static bool hear(Child *w)
{
    for (;;) {
        if (w->cap - w->len < 4096) {
            w->cap = 2 * w->cap + 8192;
            w->text = realloc(w->text, w->cap);
            CHECK(w->text != NULL);
        }
        ssize_t n = read(w->from, w->text + w->len, w->cap - w->len);
        if (n > 0)
            w->len += (size_t)n;
        else
            return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
}

/* Takes a complete line off the text. NULL: there is none yet. */
static char *take_line(Child *w)
{
    char *end = w->len > 0 ? memchr(w->text, '\n', w->len) : NULL;
    if (end == NULL)
        return NULL;
    char *line = strndup(w->text, (size_t)(end - w->text));
    CHECK(line != NULL);
    w->len -= (size_t)(end - w->text) + 1;
    memmove(w->text, end + 1, w->len);
    return line;
}

static void read_answer(const char *line, Row *row)
{
    if (row_parse(line, strlen(line), row) == ST_OK)
        return;
    *row = (Row){.kind = ROW_CASE, .status = ROW_CRASH};
    snprintf(row->reason, sizeof row->reason, "the worker's answer is no row: %.180s",
             status_reason());
}

/* ---- how it ended ---- */
static void tell_death(Row *row, int status, const char *last_words)
{
    char how[64];
    *row = (Row){.kind = ROW_CASE, .status = ROW_CRASH};
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        row->status = ROW_OOM;
        snprintf(row->reason, sizeof row->reason,
                 "the worker was killed (SIGKILL), as the kernel does when memory runs out");
        return;
    }
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(how, sizeof how, "SIG%s", name != NULL ? name : "?");
    } else {
        snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
    }
    snprintf(row->reason, sizeof row->reason, "the worker died: %s%s%s", how,
             last_words[0] != '\0' ? ", " : "", last_words);
}

/* Its streams are closed: it is dying, and how is to be seen before finish() kills it; but one that
 * closed them and runs on gets only a moment. */
static void await_end(pid_t pid)
{
    enum { PAUSE_MS = 10 };
    const double moment = 1;
    siginfo_t info = {0};
    double start = clock_now();
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == 0 &&
           clock_now() - start < moment)
        poll(NULL, 0, PAUSE_MS);
}

static Answer died(Child *w, Row *row)
{
    char last_words[sizeof w->last_words];
    hear_error(w);
    memcpy(last_words, w->last_words, sizeof last_words);
    await_end(w->pid);
    tell_death(row, finish(w), last_words);
    return ANSWER_DIED;
}

static Answer ran_out(Child *w, double limit, Row *row)
{
    finish(w);
    *row = (Row){.kind = ROW_CASE, .status = ROW_TIMEOUT};
    snprintf(row->reason, sizeof row->reason, "no answer within %.3g s", limit);
    return ANSWER_TIMEOUT;
}

/* ---- asking ---- */
Answer child_exchange(Child *w, const char *line, const Ask *ask, char **answer, Row *row)
{
    double start = clock_now();
    ssize_t len = (ssize_t)strlen(line);
    bool open = write(w->to, line, (size_t)len) == len; /* whole or not at all */
    struct pollfd p[] = {{.fd = w->from, .events = POLLIN},
                         {.fd = w->err, .events = POLLIN},
                         {.fd = ask->stop_fd, .events = POLLIN}};
    while (open && (*answer = take_line(w)) == NULL) {
        double passed = clock_now() - start;
        if (passed > ask->limit)
            return ran_out(w, ask->limit, row);
        if (ask->tick != NULL)
            ask->tick(ask->tick_ctx, passed);
        if (poll(p, 3, TICK_MS) <= 0)
            continue;
        if (p[2].revents != 0) {
            child_stop(w);
            return ANSWER_STOP;
        }
        if (p[1].revents != 0)
            hear_error(w);
        if ((p[1].revents & POLLIN) == 0 && (p[1].revents & POLLHUP) != 0)
            p[1].fd = -1;
        if (p[0].revents != 0)
            open = hear(w) || (w->len > 0 && memchr(w->text, '\n', w->len) != NULL);
    }
    return open ? ANSWER_ROW : died(w, row);
}

Answer child_ask(Child *w, const Ask *ask, Row *row)
{
    char *json = case_json(ask->c), line[PIPE_BUF], *answer = NULL;
    CHECK(json != NULL);
    int len = snprintf(line, sizeof line, "%s %s\n", ask->word, json);
    free(json);
    CHECK(len > 0 && (size_t)len < sizeof line);
    Answer how = child_exchange(w, line, ask, &answer, row);
    if (how == ANSWER_ROW)
        read_answer(answer, row);
    free(answer);
    return how;
}
