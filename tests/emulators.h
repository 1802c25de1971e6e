/* emulators.h - running the programs that stand beside the emulators, from a test. */
#ifndef LONGMIX_TESTS_EMULATORS_H
#define LONGMIX_TESTS_EMULATORS_H

#include <stddef.h>

/* Output (both streams, cut to size) and exit status of "SETTINGS emu-BUILD/COMMAND", BUILD being
 * plain, asan or tsan; 128 or more for a crash. Reports of a sanitizer end with 66. */
int emulate(const char *settings, const char *build, const char *command, char *out, size_t size);

#endif
