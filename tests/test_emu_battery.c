/* test_emu_battery.c - the battery of every variant on the emulated CUDA sources, with streams that
 * run only when waited for and device memory out of the host's reach: in float32 under an ordered
 * and a greedy schedule, whose numbers must be the same; and a table of the largest error against
 * float64 in float32, tf32 and bf16. tests/static/long_cuda.sh runs the whole product.
 * slow: runs the emulator. */
#include "kernels/base.h"
#include "tests/emulators.h"
#include "variants/template/mixer.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 16384 };
#define GUARDED "EMU_LAZY=1 EMU_GUARD=1 "

static struct criterion_test_params every_variant(void)
{
    static int which[256];
    size_t n = 0;
    while (variant_table[n] != NULL && n < COUNT(which)) {
        which[n] = (int)n;
        n++;
    }
    return cr_make_param_array(int, which, n);
}

ParameterizedTestParameters(emu_battery, variants)
{
    return every_variant();
}

ParameterizedTest(int *which, emu_battery, variants, .timeout = 300)
{
    static char ordered[TEXT], greedy[TEXT];
    const char *name = variant_table[*which]->name;
    char command[96];
    snprintf(command, sizeof command, "variants_main emu quick %s", name);
    int status[2] = {emulate("LONGMIX_CUDA_MATH=float32 " GUARDED "EMU_ORDER=0", "plain", command,
                             ordered, sizeof ordered),
                     emulate("LONGMIX_CUDA_MATH=float32 " GUARDED "EMU_ORDER=3", "plain", command,
                             greedy, sizeof greedy)};
    printf("%s", ordered);
    cr_expect_eq(status[0], 0, "%s in order: exit status %d", name, status[0]);
    cr_expect_eq(status[1], 0, "%s, greedy: exit status %d: %s", name, status[1], greedy);
    cr_expect_str_eq(ordered, greedy, "%s depends on the order of threads", name);
}

ParameterizedTestParameters(emu_battery, table)
{
    return every_variant();
}

/* The number that ends the last line. */
static double error_of(const char *text)
{
    size_t n = strlen(text);
    while (n > 1 && text[n - 2] != ' ')
        n--;
    return n > 1 ? atof(text + n - 1) : -1;
}

ParameterizedTest(int *which, emu_battery, table, .timeout = 300)
{
    static const char *const maths[] = {"float32", "tf32", "bf16"};
    static char out[TEXT];
    const char *name = variant_table[*which]->name;
    char command[96], settings[96], line[160];
    int used = snprintf(line, sizeof line, "%-16s", name);
    snprintf(command, sizeof command, "variants_main emu table %s", name);
    for (int i = 0; i < COUNT(maths); i++) {
        snprintf(settings, sizeof settings, "LONGMIX_CUDA_MATH=%s EMU_LAZY=1", maths[i]);
        int status = emulate(settings, "plain", command, out, sizeof out);
        cr_expect_eq(status, 0, "%s in %s: exit status %d: %s", name, maths[i], status, out);
        const char *lacks = strstr(out, "unsupported: ");
        if (lacks != NULL)
            snprintf(line, sizeof line, "%-16s  %.*s", name, (int)strcspn(lacks, "\n"), lacks);
        else
            used += snprintf(line + used, sizeof line - (size_t)used, "  %s %.1e", maths[i],
                             error_of(out));
    }
    printf("emulated CUDA against float64: %s\n", line);
}
