/* progress.c - see progress.h. */
#include "bench/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const double TERMINAL_PAUSE = 0.2, PLAIN_PAUSE = 2; /* seconds between two showings */

void human_seconds(double s, char *text, size_t size)
{
    int whole = (int)(s + 0.5);
    if (s < 1)
        snprintf(text, size, "%.3gms", 1e3 * s);
    else if (s < 100)
        snprintf(text, size, "%.1fs", s);
    else if (whole < 3600)
        snprintf(text, size, "%dm%02ds", whole / 60, whole % 60);
    else
        snprintf(text, size, "%dh%02dm", whole / 3600, whole % 3600 / 60);
}

void human_bytes(double bytes, char *text, size_t size)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int i = 0;
    while (bytes >= 1000 && i + 1 < COUNT(unit)) {
        bytes /= 1024;
        i++;
    }
    snprintf(text, size, "%.3g %s", bytes, unit[i]);
}

Progress progress_new(double now)
{
    return (Progress){.terminal = isatty(STDERR_FILENO) == 1, .last = now};
}

void progress_clear(Progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
    fflush(stderr);
}

void progress_say(Progress *p, const char *fmt, ...)
{
    va_list args;
    progress_clear(p);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

static int columns(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

static void compose(const ProgressState *s, char *line, size_t size)
{
    char eta[32] = "?", ran[32], expected[32], memory[32], tail[128] = "";
    double left = s->eta - (s->running < s->expected ? s->running : s->expected);
    if (s->eta >= 0)
        human_seconds(left > 0 ? left : 0, eta, sizeof eta);
    snprintf(ran, sizeof ran, "%.1fs", s->running);
    human_seconds(s->expected, expected, sizeof expected);
    human_bytes(s->memory, memory, sizeof memory);
    if (s->expected > 0)
        snprintf(tail, sizeof tail, " (%s of %s, %s)", ran, expected, memory);
    else
        snprintf(tail, sizeof tail, " (%s)", ran);
    if (s->total > 0)
        snprintf(line, size, "[%d/%d, %s to go] %s%s", s->done, s->total, eta, s->what, tail);
    else
        snprintf(line, size, "%s%s", s->what, tail);
}

void progress_show(Progress *p, const ProgressState *s, double now)
{
    char line[256];
    if (now - p->last < (p->terminal ? TERMINAL_PAUSE : PLAIN_PAUSE))
        return;
    p->last = now;
    compose(s, line, sizeof line);
    if (!p->terminal) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    int room = columns() - 1;
    fprintf(stderr, "\r\033[K%.*s", room, line);
    fflush(stderr);
    p->shown = true;
}
