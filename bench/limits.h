/* limits.h - what this process may use of the machine: cores, memory, and how large the caches are.
 */
#ifndef LONGMIX_LIMITS_H
#define LONGMIX_LIMITS_H

#include "kernels/base.h"

/* Prepares cores and environment for the workers to come. OMP_PROC_BIND and its like pin a process
 * to one core as soon as it is loaded, and its children inherit that: where one of them is set,
 * takes back all cores; forgets all OpenMP settings; and lets waiting threads spin only briefly,
 * since on a busy machine spinning for the usual milliseconds made steps a thousand times slower.
 */
void limits_unpin(void);

int limits_cores(void); /* logical cores that may be used */
int limits_threads(
    void); /* threads worth using: min(usable, physical cores, quota of the cgroup) */

int64_t limits_total_memory(void); /* bytes of the machine */
int64_t limits_free_memory(void);  /* min(available, limit of the cgroup) */

int64_t limits_cache(void); /* bytes of the last-level cache; 32 MiB where it is not told */

/* Of this process. Resetting fails silently where the kernel does not know how: then the peak is
 * that of its whole life. */
void limits_reset_peak(void);
int64_t limits_rss(void);      /* resident bytes */
int64_t limits_peak_rss(void); /* most of them since the reset */

/* From here on the process may take `bytes` of memory more than it has: malloc then fails, so that
 * nothing else on the machine is killed for it. */
void limits_guard(int64_t bytes);

#endif
