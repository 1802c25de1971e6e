/* async.cc - the bytes of an asynchronous copy, moved when it is waited for. Compiled with the
 * sanitizers that the kernels have, so that they see both sides. */
#include <cstring>

namespace emu
{
void copy_now(void *to, const void *from, int bytes, int valid);
void copy_now(void *to, const void *from, int bytes, int valid)
{
    const int words = bytes / 4, good = valid / 4;
    for (int i = 0; i < words; i++)
        ((unsigned *)to)[i] = i < good ? ((const unsigned *)from)[i] : 0;
}
} // namespace emu
