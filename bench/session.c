/* session.c - see session.h. */
#define _GNU_SOURCE /* signalfd with glibc's prototypes */
#include "bench/session.h"
#include "bench/clock.h"

#include "kernels/build_id.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

double session_elapsed(const Session *s)
{
    return clock_now() - s->start;
}

/* What the caller had ignored stays ignored: that is how nohup works. */
static sigset_t ending_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction now;
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < COUNT(numbers); i++)
        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            sigaddset(&set, numbers[i]);
    return set;
}

Status session_open(Session *s, const char *text, int64_t tokens)
{
    char number[24];
    sigset_t ends = ending_signals();
    *s = (Session){.start = clock_now(), .stop_fd = -1};
    s->progress = progress_new(s->start);
    s->state.eta = -1;
    snprintf(number, sizeof number, "%" PRId64, tokens);
    const char *const argv[] = {"longmix", "worker", text != NULL ? text : "", number};
    for (int i = 0; i < COUNT(argv); i++) {
        s->child_argv[i] = strdup(argv[i]);
        CHECK(s->child_argv[i] != NULL);
    }
    signal(SIGPIPE, SIG_IGN); /* a dead worker is noticed by its silence */
    if (sigprocmask(SIG_BLOCK, &ends, NULL) == 0)
        s->stop_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->stop_fd >= 0 ? ST_OK : FAIL(ST_DEVICE, "signalfd: %s", strerror(errno));
}

void session_close(Session *s)
{
    progress_clear(&s->progress);
    child_stop(&s->child);
    journal_close(s->journal);
    for (int i = 0; i < COUNT(s->child_argv); i++)
        free(s->child_argv[i]);
    if (s->stop_fd >= 0)
        close(s->stop_fd);
    *s = (Session){.stop_fd = -1, .stopped_by = s->stopped_by};
}

void session_tokens(Session *s, int64_t tokens)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, tokens);
    child_stop(&s->child);
    free(s->child_argv[3]);
    s->child_argv[3] = strdup(number);
    CHECK(s->child_argv[3] != NULL);
}

static void tick(void *session, double seconds)
{
    Session *s = session;
    s->state.running = seconds;
    progress_show(&s->progress, &s->state, clock_now());
}

static void note_stop(Session *s)
{
    struct signalfd_siginfo info;
    ssize_t n = read(s->stop_fd, &info, sizeof info);
    s->stopped_by = n == (ssize_t)sizeof info ? (int)info.ssi_signo : SIGINT;
}

bool session_ask(Session *s, const char *word, const Case *c, double limit, const char *what,
                 Row *row, Status *st)
{
    *st = ST_OK;
    *row = (Row){0};
    if (s->child.pid == 0)
        *st = child_start(&s->child, NULL, s->child_argv);
    if (*st != ST_OK)
        return false;
    s->state.what = what;
    Ask ask = {
        .word = word, .c = c, .limit = limit, .stop_fd = s->stop_fd, .tick = tick, .tick_ctx = s};
    Answer how = child_ask(&s->child, &ask, row);
    if (how == ANSWER_ROW && row->status == ROW_CRASH)
        child_stop(&s->child); /* a GPU that failed once fails whatever its process asks next */
    if (how != ANSWER_STOP)
        return true;
    note_stop(s);
    return false;
}

Status session_append(Session *s, Row *row)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    row->time = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    memcpy(row->run, s->run, sizeof row->run);
    snprintf(row->build, sizeof row->build, "%s", longmix_build_id);
    if (row->kind == ROW_CASE || row->kind == ROW_TRAIN)
        s->count[row->status]++;
    return journal_append(s->journal, row);
}
