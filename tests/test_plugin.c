/* test_plugin.c - a backend that is a shared library beside the program: which ones are opened, and
 * what is said of the others. Needs a compiler. */
#include "kernels/build_id.h"
#include "kernels/plugin.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* liblongmix_NAME.so beside this program; removed by forget. */
static void path_of(const char *name, const char *end, char *path, size_t size)
{
    char self[3072] = "";
    cr_assert(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    *strrchr(self, '/') = '\0';
    snprintf(path, size, "%s/liblongmix_%s.%s", self, name, end);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void compile(const char *name, const char *source)
{
    char c[4096], so[4096], command[9000];
    path_of(name, "c", c, sizeof c);
    path_of(name, "so", so, sizeof so);
    write_text(c, source);
    snprintf(command, sizeof command, "cc -shared -fPIC -o '%s' '%s'", so, c);
    cr_assert_eq(system(command), 0, "%s", command);
    unlink(c);
}

static void forget(const char *name)
{
    char so[4096];
    path_of(name, "so", so, sizeof so);
    unlink(so);
}

static void expect_refused(const char *name, Status want, const char *says)
{
    const Backend *b = NULL;
    cr_expect_eq(plugin_open(name, &b), want, "%s: %s", name, status_reason());
    cr_expect(strstr(status_reason(), says) != NULL && strstr(status_reason(), name) != NULL, "%s",
              status_reason());
    cr_expect_null(b);
}

static const char source[] = "const struct { const char *build_id; const void *backend; }\n"
                             "longmix_plugin = {\"%s\", (void *)4096};\n";

Test(plugin, of_this_build_is_opened)
{
    char text[512];
    const Backend *b = NULL;
    snprintf(text, sizeof text, source, longmix_build_id);
    compile("testsame", text);
    cr_expect_eq(plugin_open("testsame", &b), ST_OK, "%s", status_reason());
    cr_expect_eq((const char *)b, (const char *)4096);
    forget("testsame");
}

Test(plugin, of_another_build_is_refused)
{
    static const char *const ids[] = {"", "0", "zzzzzzzzzzzzzzzz"};
    for (int i = 0; i < COUNT(ids); i++) {
        char text[512], name[16];
        snprintf(text, sizeof text, source, ids[i]);
        snprintf(name, sizeof name, "testother%d", i);
        compile(name, text);
        expect_refused(name, ST_DEVICE, "is of another build");
        forget(name);
    }
    compile("testnone", "int something_else;\n");
    expect_refused("testnone", ST_DEVICE, "is of another build");
    forget("testnone");
}

Test(plugin, that_is_no_library_or_not_there)
{
    char so[4096];
    path_of("testtext", "so", so, sizeof so);
    write_text(so, "no library\n");
    expect_refused("testtext", ST_DEVICE, "is not available");
    forget("testtext");
    expect_refused("testgone", ST_USAGE, "unknown backend");
    expect_refused("../etc", ST_USAGE, "unknown backend");
    expect_refused("", ST_USAGE, "unknown backend");
}
