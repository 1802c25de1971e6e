/* emu.h - what the files of the emulator share. */
#ifndef LONGMIX_EMU_EMU_H
#define LONGMIX_EMU_EMU_H

#include "tests/cuda_emu/api.h"
#include "tests/cuda_emu/device.h"

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define EMU_ASAN                          0
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

/* The emulator itself is compiled without the thread sanitizer (its fibers are what is watched),
 * and told of it by EMU_TSAN. */
#if defined(EMU_TSAN)
extern "C" {
void *__tsan_create_fiber(unsigned flags);
void *__tsan_get_current_fiber();
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *key);
void __tsan_release(void *key);
}
#define TSAN(call) call
#else
#define TSAN(call) ((void)0)
#endif

namespace emu
{
/* From the environment, once:
 *   EMU_ORDER  which thread of a block runs next: 0 in order, 1 in reverse, other even numbers a
 *              random one, odd numbers from 3 one warp as far ahead as it can get
 *   EMU_LAZY   1: work on a stream runs only when something waits for it
 *   EMU_GUARD  1: device memory is out of reach for host code
 *   EMU_SMS    multiprocessors that the device claims to have
 *   EMU_DEVICES  how many such devices there are, EMU_MEMORY their GiB (as they say) */
struct Config {
    int order, lazy, guard, sms, devices, memory;
};
const Config &config();
uint64_t random_bits(); /* a fixed sequence for each EMU_ORDER */

extern cudaError_t sticky; /* the first failure of device work: every later call returns it */

/* Device memory is in reach while one of these lives. */
struct Reach {
    Reach();
    ~Reach();
};
bool is_device(const void *p, size_t size);
bool inside_one(const void *p, size_t size); /* all of it in one live allocation */
bool red_zones_hold();                       /* else says which and sets sticky */
} // namespace emu

#endif
