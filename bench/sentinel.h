/* sentinel.h - how the machine is, apart from what is measured on it. */
#ifndef LONGMIX_SENTINEL_H
#define LONGMIX_SENTINEL_H

/* Seconds of a fixed piece of arithmetic in the first-level cache, the median of five: too short to
 * be interrupted often, so it tells the speed of the core, not who else waits for it. */
double sentinel_time(void);

/* Seconds, of all cores together, that other machines have taken from this virtual one since it
 * began; 0 where that is not told. Counted in ticks of 10 ms. */
double sentinel_stolen(void);

#endif
