/* launches.cc - what a kernel may ask for, and a list of what each has asked for.
 *
 * EMU_LAUNCHES=FILE: at the end a line for every kernel that was launched is added to the file: its
 * place in the library, the most threads, the most bytes of shared memory. */
#include "tests/cuda_emu/block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <map>

namespace emu
{
static const size_t SHARED_DEFAULT = 48 << 10, SHARED_MOST = 232448;

struct Launches {
    struct Most {
        size_t threads, shared;
    };
    std::map<const void *, Most> most;
    ~Launches();
};
static Launches launches;

Launches::~Launches()
{
    const char *path = getenv("EMU_LAUNCHES");
    FILE *f = path != nullptr ? fopen(path, "a") : nullptr;
    for (const auto &m : most) {
        Dl_info info = {};
        if (f != nullptr && dladdr(m.first, &info) != 0)
            fprintf(f, "%016zx %zu %zu\n", (size_t)((char *)m.first - (char *)info.dli_fbase),
                    m.second.threads, m.second.shared);
    }
    if (f != nullptr)
        fclose(f);
}

static std::map<const void *, int> &shared_limits()
{
    static std::map<const void *, int> limits;
    return limits;
}

cudaError_t allow_shared(const void *kernel, int bytes)
{
    if (bytes < 0 || (size_t)bytes > SHARED_MOST)
        return cudaErrorInvalidValue;
    shared_limits()[kernel] = bytes;
    return cudaSuccess;
}

cudaError_t check_launch(const cudaLaunchConfig_t *c, const void *kernel)
{
    const dim3 g = c->gridDim, b = c->blockDim;
    const size_t n = (size_t)b.x * b.y * b.z;
    const auto it = shared_limits().find(kernel);
    const size_t most = it != shared_limits().end() ? (size_t)it->second : SHARED_DEFAULT;
    if (n == 0 || n > MAX_THREADS || b.z > 64 || g.x == 0 || g.y == 0 || g.z == 0 ||
        g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
        return cudaErrorInvalidConfiguration;
    if (c->dynamicSmemBytes > std::max(most, SHARED_DEFAULT))
        return cudaErrorInvalidValue;
    Launches::Most &m = launches.most[kernel];
    m = {std::max(m.threads, n), std::max(m.shared, c->dynamicSmemBytes)};
    return cudaSuccess;
}
} // namespace emu
