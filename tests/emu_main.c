/* emu_main.c - the cases of duo.h as a plain program: what the sanitizers watch, and what
 * `make check-cuda` runs on a device.
 * Usage: emu_main BACKEND small|all [FAMILY], or emu_main BACKEND about: what the device is */
#include "tests/duo.h"
#include "tests/elsewhere.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    Duo u;
    int bad = 0;
    if (argc < 3)
        return 2;
    if (duo_open(&u, argv[1]) != ST_OK) {
        fprintf(stderr, "%s\n", status_reason());
        return 2;
    }
    if (strcmp(argv[2], "about") == 0) {
        char text[160];
        dev_describe(u.d[TRIAL], text, sizeof text);
        puts(text);
        return 0;
    }
    for (int i = 0; i < n_duo_families; i++) {
        const Family *f = &duo_families[i];
        const double bound = f->bound[math_of(u.k[TRIAL]->isa)];
        if (argc > 3 && strcmp(argv[3], f->name) != 0)
            continue;
        u.worst = 0;
        u.where[0] = '\0';
        u.bits = 1469598103934665603u;
        f->run(&u, strcmp(argv[2], "small") == 0);
        bool good = u.worst <= bound;
        printf("%-4s %-12s %-16s %.2e (allowed %.0e), bits %016llx, at %s\n", good ? "ok" : "FAIL",
               f->name, u.k[TRIAL]->isa, u.worst, bound, (unsigned long long)u.bits, u.where);
        bad += !good;
    }
    duo_close(&u);
    return bad > 0;
}
