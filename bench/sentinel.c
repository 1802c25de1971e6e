/* sentinel.c - see sentinel.h. */
#include "bench/sentinel.h"

#include "bench/clock.h"
#include "report/stats.h"

#include <stdio.h>
#include <unistd.h>

enum { NUMBERS = 4096, ROUNDS = 20, REPEATS = 5, CHAINS = 4 };

/* Four chains of dependent multiply-adds: a few 10 us. */
static float work(const float *x)
{
    float sum[CHAINS] = {0, 1, 2, 3};
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < NUMBERS; i += CHAINS)
            for (int k = 0; k < CHAINS; k++)
                sum[k] = sum[k] * 0.5f + x[i + k];
    return sum[0] + sum[1] + sum[2] + sum[3];
}

double sentinel_time(void)
{
    float x[NUMBERS];
    double seconds[REPEATS];
    volatile float result;
    for (int i = 0; i < NUMBERS; i++)
        x[i] = (float)(i & 7);
    for (int i = 0; i < REPEATS; i++) {
        double begin = clock_now();
        result = work(x);
        seconds[i] = clock_now() - begin;
    }
    (void)result;
    stats_sort(seconds, REPEATS);
    return stats_quantile(seconds, REPEATS, 0.5);
}

double sentinel_stolen(void)
{
    unsigned long long steal = 0;
    FILE *f = fopen("/proc/stat", "re");
    if (f == NULL || fscanf(f, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &steal) != 1)
        steal = 0;
    if (f != NULL)
        fclose(f);
    return (double)steal / (double)sysconf(_SC_CLK_TCK);
}
