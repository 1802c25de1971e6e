/* trace.cc - see trace.h. */
#include "tests/cuda_emu/trace.h"

#include "tests/cuda_emu/emu.h"

namespace
{
enum { LONGEST = 1 << 20 };
char letters[LONGEST + 1];
size_t length;

void begin()
{
    length = 0;
    letters[0] = '\0';
}

const char *so_far()
{
    return letters;
}
} // namespace

void emu::trace(char what)
{
    if (length < LONGEST)
        letters[length++] = what;
    letters[length] = '\0';
}

extern "C" __attribute__((visibility("default"))) const EmuTrace emu_trace;
const EmuTrace emu_trace = {begin, so_far};
