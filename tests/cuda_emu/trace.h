/* trace.h - what was asked of the emulated device, in order: a letter each, for tests of the host's
 * side.
 *
 *   k a kernel, g a matrix product, c a copy, m filling memory, e an event, a memory, h how to do a
 *   product, p pinned memory; w the host waits for a stream, v for an event that has not passed. */
#ifndef LONGMIX_EMU_TRACE_H
#define LONGMIX_EMU_TRACE_H

/* Exported by the emulator as "emu_trace". */
typedef struct EmuTrace {
    void (*begin)(void);
    const char *(*letters)(void);
} EmuTrace;

#endif
