/* test_compare_builds.c - `longmix compare`, `baseline` and `selftest` as a user has them: builds
 * that are the same, broken, slow on purpose, or none at all. No verdict here rests on the clock.
 */
#define _GNU_SOURCE /* realpath */
#include "tests/program.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CELLS "--variants gau --n 64 --width 32 --heads 2 --set s=8 --level mix --pass fwd "

static const char *longmix(void)
{
    const char *path = getenv("LONGMIX");
    return path != NULL ? path : "build/longmix";
}

static void path_in(const Place *p, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", p->folder, name);
}

/* A program made of shell, which says `lines` before it becomes longmix, or nothing else. */
static void write_script(const char *path, const char *lines)
{
    place_write(path, lines);
    cr_assert_eq(chmod(path, 0755), 0);
}

/* longmix with a fault in its case. */
static void write_faulty(const char *path, const char *fault)
{
    char text[512], *whole = realpath(longmix(), NULL);
    cr_assert_not_null(whole);
    snprintf(text, sizeof text, "#!/bin/sh\nLONGMIX_FAULT=gau:64:%s exec %s \"$@\"\n", fault,
             whole);
    free(whole);
    write_script(path, text);
}

/* In args @a and @b stand for words. */
static Ended run(const char *args, const char *a, const char *b)
{
    char full[1024] = "", copy[1024], *rest = NULL;
    size_t used = 0;
    snprintf(copy, sizeof copy, "%s", args);
    for (char *w = strtok_r(copy, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest)) {
        const char *word = strcmp(w, "@a") == 0 ? a : strcmp(w, "@b") == 0 ? b : w;
        used +=
            (size_t)snprintf(full + used, sizeof full - used, "%s%s", used > 0 ? " " : "", word);
        cr_assert_lt(used, sizeof full);
    }
    return program_run((Start){.args = full}, 120);
}

static json_t *load(const char *path)
{
    json_t *json = json_load_file(path, 0, NULL);
    cr_assert_not_null(json, "%s", path);
    return json;
}

Test(compare_builds, a_build_has_the_facts_of_itself)
{
    Ended e = run("compare @a @b --no-times " CELLS, longmix(), longmix());
    cr_expect_eq(e.code, 0, "%d: %s", e.code, e.said);
    cr_expect(strstr(e.said, "passed") != NULL && strstr(e.said, "facts: 0 changed") != NULL, "%s",
              e.said);
}

Test(compare_builds, pairs_are_taken_and_told_in_every_form)
{
    Place p = place_new();
    char command[512];
    snprintf(command, sizeof command,
             "compare @a @b --max-pairs 12 --sample 0.0005 --json %s/c.json --markdown %s/c.md "
             "--plot %s --journals %s " CELLS,
             p.folder, p.folder, p.folder, p.folder);
    Ended e = run(command, longmix(), longmix());
    cr_expect(e.code == 0 || e.code == 1 || e.code == 3, "%d: %s", e.code, e.said);
    char path[96];
    path_in(&p, "c.json", path, sizeof path);
    json_t *json = load(path), *cell = json_array_get(json_object_get(json, "cells"), 0);
    json_t *first = json_object_get(cell, "first");
    size_t n = json_array_size(json_object_get(first, "a"));
    cr_expect(n >= 1 && n <= 12 && json_array_size(json_object_get(first, "b")) == n, "%zu", n);
    for (size_t i = 0; i < n; i++)
        cr_expect_gt(json_number_value(json_array_get(json_object_get(first, "a"), i)), 0);
    json_decref(json);
    path_in(&p, "c.md", path, sizeof path);
    cr_expect_eq(access(path, R_OK), 0);
    path_in(&p, "compare.gp", path, sizeof path);
    cr_expect_eq(access(path, R_OK), 0);

    char b[96];
    path_in(&p, "a.jsonl", path, sizeof path);
    path_in(&p, "b.jsonl", b, sizeof b);
    cr_expect_eq(run("validate @a", path, "").code, 0);
    e = run("compare @a @b", path, b);
    cr_expect(strstr(e.said, "one run recorded in both files, for 1 of 1") != NULL, "%s", e.said);
    place_leave(&p);
}

Test(compare_builds, a_build_that_breaks_fails)
{
    static const struct {
        const char *fault, *says;
    } faults[] = {{"abort", "SIGABRT"}, {"nan", "nan"}};
    Place p = place_new();
    char path[96];
    path_in(&p, "faulty", path, sizeof path);
    for (int i = 0; i < COUNT(faults); i++) {
        write_faulty(path, faults[i].fault);
        Ended e =
            run("compare @a @b --max-pairs 2 --no-check --time-limit 1 " CELLS, longmix(), path);
        cr_expect_eq(e.code, 1, "%s: %d: %s", faults[i].fault, e.code, e.said);
        cr_expect(strstr(e.said, "BROKEN") != NULL && strstr(e.said, faults[i].says) != NULL,
                  "%s: %s", faults[i].fault, e.said);
        e = run("compare @a @b --max-pairs 2 --no-check --time-limit 1 " CELLS, path, longmix());
        cr_expect_eq(e.code, 0, "%s in A: %d: %s", faults[i].fault, e.code, e.said);
        cr_expect(strstr(e.said, "mended") != NULL, "%s", e.said);
    }
    place_leave(&p);
}

Test(compare_builds, what_is_no_build_is_refused)
{
    Place p = place_new();
    char path[96];
    path_in(&p, "script", path, sizeof path);
    static const struct {
        const char *script, *says;
    } scripts[] = {
        {"#!/bin/sh\nexit 0\n", "cannot be compared"},
        {"#!/bin/sh\nread x; echo hello\n", "cannot be compared"},
        {"#!/bin/sh\nread x; echo '{\"status\":\"ok\",\"protocol\":99}'\n", "protocol 99"},
        {"#!/bin/sh\nread x; echo '{\"status\":\"unsupported\",\"reason\":\"old\"}'\n", "old"}};
    for (int i = 0; i < COUNT(scripts); i++) {
        write_script(path, scripts[i].script);
        Ended e = run("compare @a @b " CELLS, longmix(), path);
        cr_expect_eq(e.code, 2, "%d: %s", e.code, e.said);
        cr_expect(strstr(e.said, scripts[i].says) != NULL, "%s", e.said);
    }
    static const struct {
        const char *args, *says;
    } bad[] = {{"compare @a", "which two"},
               {"compare @a @b @a", "one too many"},
               {"compare @a no-such-revision", "no revision"},
               {"compare @a /etc/passwd", "neither a program nor a journal"},
               {"compare @a @b --margin 0", "percentage"},
               {"compare @a @b --max-pairs 241", "240"},
               {"compare @a @b --facts bad", "worse, any, show"},
               {"compare @a @b --variants gua", "did you mean 'gau'"},
               {"compare @a /tmp", "neither the program longmix nor a Makefile"}};
    for (int i = 0; i < COUNT(bad); i++) {
        const char *args = bad[i].args;
        Ended e = run(args, longmix(), longmix());
        cr_expect_eq(e.code, 2, "%s: %d: %s", args, e.code, e.said);
        cr_expect(strstr(e.said, bad[i].says) != NULL, "%s: %s", args, e.said);
    }
    place_leave(&p);
}

Test(compare_builds, a_folder_with_the_program_is_a_build)
{
    Place p = place_new();
    char path[96], *whole = realpath(longmix(), NULL);
    path_in(&p, "longmix", path, sizeof path);
    cr_assert_eq(symlink(whole, path), 0);
    free(whole);
    Ended e = run("compare @a @b --no-times --no-check " CELLS, p.folder, longmix());
    cr_expect_eq(e.code, 0, "%s", e.said);
    place_leave(&p);
}

Test(compare_builds, a_baseline_is_written_and_held_against)
{
    Place p = place_new();
    char path[96], faulty[96];
    path_in(&p, "baseline.json", path, sizeof path);
    Ended e = run("baseline write @a --variants gau", path, "");
    cr_assert_eq(e.code, 0, "%s", e.said);
    e = run("baseline check @a --variants gau", path, "");
    cr_expect_eq(e.code, 0, "%s", e.said);

    json_t *json = load(path),
           *cell = json_object_get(json_object_get(json, "cells"), "gau layer train n=203");
    cr_assert_not_null(cell);
    json_object_set_new(cell, "flops", json_integer(7));
    json_object_set_new(cell, "base.result", json_string("0123"));
    cr_assert_eq(json_dump_file(json, path, 0), 0);
    json_decref(json);
    e = run("baseline check @a --variants gau", path, "");
    cr_expect_eq(e.code, 1, "%s", e.said);
    cr_expect(strstr(e.said, "! gau layer train n=203: flops 7 -> ") != NULL, "%s", e.said);
    cr_expect(strstr(e.said, "base.result 0123 -> ") != NULL, "%s", e.said);
    path_in(&p, "none.json", faulty, sizeof faulty);
    cr_expect_eq(run("baseline check @a --variants gau", faulty, "").code, 2);
    cr_expect_eq(run("baseline forget @a", path, "").code, 2);
    place_leave(&p);
}

/* Whatever it finds, it finishes, counts every comparison and writes what the report can read. */
Test(compare_builds, the_selftest_counts_every_comparison)
{
    Place p = place_new();
    char path[96];
    path_in(&p, "s.json", path, sizeof path);
    Ended e =
        run("selftest stats --comparisons 1 --planted 1 --hog off --n 128 --out @a", path, "");
    cr_expect(e.code == 0 || e.code == 1, "%d: %s", e.code, e.said);
    json_t *json = load(path), *cells = json_object_get(json, "cells"), *cell, *count;
    size_t i;
    const char *name;
    cr_expect_eq(json_array_size(cells), 5);
    json_array_foreach(cells, i, cell)
    {
        int sum = 0;
        json_object_foreach(json_object_get(cell, "findings"), name, count) sum +=
            (int)json_integer_value(count);
        cr_expect_eq(sum, 1);
    }
    json_decref(json);
    cr_expect_eq(run("selftest stats --hog sometimes", "", "").code, 2);
    cr_expect_eq(run("selftest nonsense", "", "").code, 2);
    place_leave(&p);
}

/* ---- revisions and the script ---- */
static int shell(const char *script, const char *a, const char *b)
{
    char command[2048];
    setenv("A", a, 1);
    setenv("B", b, 1);
    snprintf(command, sizeof command, "( %s ) >/dev/null 2>&1", script);
    int how = system(command);
    return WIFEXITED(how) ? WEXITSTATUS(how) : 128;
}

/* A project whose program is made by copying a script. */
Test(compare_builds, revisions_are_built)
{
    static const char make_project[] =
        "set -e; cd \"$A\"; git init -q; git config user.email a@b; git config user.name a;"
        "printf 'build/longmix: run\\n\\tmkdir -p build; cp run $@\\n' > Makefile;"
        "printf '#!/bin/sh\\nexec %s \"$@\"\\n' \"$B\" > run; chmod 755 run; git add .;"
        "git commit -qm one; echo '# two' >> run; git commit -qam two";
    if (shell("git --version", "", "") != 0)
        cr_skip_test("no git");
    Place p = place_new();
    char *whole = realpath(longmix(), NULL);
    cr_assert_eq(shell(make_project, p.folder, whole), 0);
    cr_expect_eq(
        shell("cd \"$A\"; \"$B\" compare HEAD~1 . --no-times --no-check " CELLS, p.folder, whole),
        0);
    cr_expect_eq(shell("cd \"$A\"/build; test -x longmix && ls compare | grep -q '^[0-9a-f]*$'",
                       p.folder, whole),
                 0);
    cr_expect_eq(shell("cd \"$A\"; echo 'build/longmix: ; false' > Makefile; git commit -qam three;"
                       "\"$B\" compare HEAD HEAD~1 --no-times " CELLS,
                       p.folder, whole),
                 2);
    free(whole);
    place_leave(&p);
}

Test(compare_builds, the_script_passes_on_the_worst_of_both)
{
    static const struct {
        int facts, times, code;
    } known[] = {{0, 0, 0}, {1, 0, 1}, {0, 1, 1}, {0, 3, 3}, {1, 3, 1}, {2, 1, 2}, {0, 2, 2}};
    Place p = place_new();
    char path[96], text[256];
    path_in(&p, "fake", path, sizeof path);
    for (int i = 0; i < COUNT(known); i++) {
        snprintf(text, sizeof text,
                 "#!/bin/sh\ncase $1 in baseline) exit %d;; compare) exit %d;; esac\nexit 9\n",
                 known[i].facts, known[i].times);
        write_script(path, text);
        cr_expect_eq(shell("sh bench/regress.sh \"$A\" x HEAD --no-times", path, ""), known[i].code,
                     "%d and %d", known[i].facts, known[i].times);
    }
    place_leave(&p);
}
