/* hog.c - see hog.h. */
#define _GNU_SOURCE /* sched_setaffinity */
#include "bench/hog.h"

#include "bench/clock.h"
#include "kernels/rng.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double burst(uint32_t who, uint64_t i)
{
    return 0.05 + 0.55 * rng_uniform(11, who, i);
}

static void burn(int core, pid_t parent)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    (void)sched_setaffinity(0, sizeof one, &one);
    for (uint64_t i = 0;; i += 2) {
        double end = clock_now() + burst((uint32_t)core, i), pause = burst((uint32_t)core, i + 1);
        while (clock_now() < end)
            ;
        nanosleep(&(struct timespec){0, (long)(1e9 * pause)}, NULL);
    }
}

Status hog_start(Hog *h)
{
    cpu_set_t all;
    pid_t parent = getpid();
    *h = (Hog){.n = 0};
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return FAIL(ST_DEVICE, "cannot tell the cores: %s", strerror(errno));
    for (int core = 0; core < CPU_SETSIZE && h->n < HOG_MAX; core++) {
        if (!CPU_ISSET(core, &all))
            continue;
        pid_t pid = fork();
        if (pid == 0)
            burn(core, parent);
        if (pid < 0) {
            hog_stop(h);
            return FAIL(ST_DEVICE, "cannot start a busy process: %s", strerror(errno));
        }
        h->pid[h->n++] = pid;
    }
    return ST_OK;
}

void hog_stop(Hog *h)
{
    for (int i = 0; i < h->n; i++) {
        kill(h->pid[i], SIGKILL);
        while (waitpid(h->pid[i], NULL, 0) < 0 && errno == EINTR)
            ;
    }
    h->n = 0;
}
