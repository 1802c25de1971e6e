/* drag.c - see drag.h. */
#include "bench/drag.h"

#include "bench/clock.h"

#include <math.h>

double drag_work(int64_t loops)
{
    volatile uint64_t x = 88172645463325252u; /* each loop waits for the one before it */
    double begin = clock_now();
    for (int64_t i = 0; i < loops; i++)
        x = x * 6364136223846793005u + 1442695040888963407u;
    return clock_now() - begin;
}

Status drag_calibrate(Stage *s, double fraction, int64_t *loops)
{
    enum { ROUNDS = 40, PROBE = 20000 };
    double step = (double)INFINITY, probe = (double)INFINITY, seconds = 0;
    *loops = 0;
    if (!(fraction > 0))
        return ST_OK;
    for (int i = 0; i < ROUNDS; i++) {
        TRY(stage_run(s, 1, &seconds));
        step = fmin(step, seconds);
        probe = fmin(probe, drag_work(PROBE) / PROBE);
    }
    *loops = (int64_t)ceil(fraction * step / probe);
    return ST_OK;
}
