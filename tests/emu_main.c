/* emu_main.c - the cases of duo.h as a plain program: what the sanitizers watch, and what
 * `make check-cuda` runs on a device.
 * Usage: emu_main BACKEND small|all [FAMILY] */
#include "tests/duo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int math_of(const Duo *u)
{
    const char *isa = u->k[TRIAL]->isa;
    return strstr(isa, "bf16") != NULL ? 2 : strstr(isa, "tf32") != NULL ? 1 : 0;
}

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
    for (int i = 0; i < n_duo_families; i++) {
        const Family *f = &duo_families[i];
        const double bound = f->bound[math_of(&u)];
        if (argc > 3 && strcmp(argv[3], f->name) != 0)
            continue;
        u.worst = 0;
        u.where[0] = '\0';
        f->run(&u, strcmp(argv[2], "small") == 0);
        bool good = u.worst <= bound;
        printf("%-4s %-12s %-16s %.2e (allowed %.0e), at %s\n", good ? "ok" : "FAIL", f->name,
               u.k[TRIAL]->isa, u.worst, bound, u.where);
        bad += !good;
    }
    duo_close(&u);
    return bad > 0;
}
