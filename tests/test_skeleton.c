/* test_skeleton.c - what a new variant begins with obeys every law; and a copy of the tree in which
 * one was begun lists it, tests it, sweeps it and draws it, with nothing else edited.
 *
 * slow: it builds in the copy. */
#include "tests/laws.h"
#include "tests/program.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const Variant variant_skeleton;

Test(skeleton, obeys_every_law)
{
    int held = 0;
    for (int i = 0; i < n_laws; i++)
        if (law_off(&laws[i], &variant_skeleton) == NULL) {
            double error = laws[i].measure(&variant_skeleton);
            cr_expect(error <= laws[i].bound, "%s: %g", laws[i].name, error);
            held++;
        }
    cr_expect_geq(held, 15);
}

/* The folder that the program under test lies in. */
static void build_folder(char *out, size_t size)
{
    const char *path = getenv("LONGMIX");
    snprintf(out, size, "%s", path != NULL ? path : "build/longmix");
    char *slash = strrchr(out, '/');
    cr_assert_not_null(slash);
    *slash = '\0';
}

Test(skeleton, a_new_variant_is_one_file, .timeout = 600)
{
    Place p = place_new();
    char build[256], command[512];
    build_folder(build, sizeof build);
    snprintf(command, sizeof command, "sh tests/new_variant.sh %s %s/tree", build, p.folder);
    int status = system(command);
    cr_expect_eq(status, 0, "'%s' ends with %d", command, status);
    place_leave(&p);
}
