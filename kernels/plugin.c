/* plugin.c - finds liblongmix_cuda.so by dlopen, so that one program runs with and without CUDA. */
#include "kernels/plugin.h"

#include "kernels/build_id.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The folder of the running program, with a final slash; "" when it cannot be told. */
static void program_folder(char *dir, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", dir, size - 1);
    dir[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(dir, '/');
    if (slash != NULL)
        slash[1] = '\0';
    else
        dir[0] = '\0';
}

/* Where it has to be; false for a name that no backend can have. */
static bool path_of(const char *name, char *path, size_t size)
{
    char dir[4096];
    size_t plain = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
    program_folder(dir, sizeof dir);
    snprintf(path, size, "%sliblongmix_%.32s.so", dir, name);
    return plain > 0 && name[plain] == '\0';
}

bool plugin_there(const char *name)
{
    char path[4160];
    return path_of(name, path, sizeof path) && access(path, F_OK) == 0;
}

Status plugin_open(const char *name, const Backend **out)
{
    char path[4160];
    bool there = path_of(name, path, sizeof path) && access(path, F_OK) == 0;
    if (!there && strcmp(name, "cuda") != 0)
        return FAIL(ST_USAGE, "unknown backend '%s' (ref, dry, cpu, cuda)", name);
    if (!there)
        return FAIL(ST_DEVICE,
                    "backend '%s' is not available (there are ref, dry, cpu): no liblongmix_%s.so "
                    "beside the program",
                    name, name);
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (lib == NULL)
        return FAIL(ST_DEVICE, "backend '%s' is not available (there are ref, dry, cpu): %s", name,
                    dlerror());
    const Plugin *p = dlsym(lib, "longmix_plugin");
    if (p == NULL || strcmp(p->build_id, longmix_build_id) != 0)
        return FAIL(ST_DEVICE, "backend '%s' is not available: %s is of another build", name, path);
    *out = p->backend;
    return ST_OK;
}
