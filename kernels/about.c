/* about.c - what a device says of itself. */
#include "kernels/kernels.h"

#include <stdio.h>
#include <string.h>

void dev_about(const Dev *d, DevAbout *out)
{
    *out = (DevAbout){.memory = 0};
    if (dev_backend(d)->about != NULL)
        dev_backend(d)->about(dev_context(d), out);
}

void dev_describe(const Dev *d, char *text, size_t size)
{
    DevAbout a;
    char strain[40] = "";
    dev_about(d, &a);
    text[0] = '\0';
    if (a.name[0] == '\0')
        return;
    int used = snprintf(text, size, "%s, %s, %.1f GiB, CUDA driver %s", a.name, dev_kernels(d)->isa,
                        (double)a.memory / 0x1p30, a.driver);
    if (a.clock == 0 || used < 0 || (size_t)used >= size)
        return;
    strain_words(dev_strain(d), strain, sizeof strain);
    snprintf(text + used, size - (size_t)used, ", %d/%d MHz, ECC %s%s%s", a.clock, a.memory_clock,
             a.ecc[0] != '\0' ? a.ecc : "unknown", strain[0] != '\0' ? ", lowered clocks: " : "",
             strain);
}

unsigned dev_strain(const Dev *d)
{
    return dev_backend(d)->strain != NULL ? dev_backend(d)->strain(dev_context(d)) : 0;
}

void strain_words(unsigned strain, char *text, size_t size)
{
    static const char *const names[] = {"power", "heat", "hardware", "other"};
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < COUNT(names); i++)
        if ((strain >> i & 1u) != 0 && used < size)
            used +=
                (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? " " : "", names[i]);
}
