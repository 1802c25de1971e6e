/* files.c - lines of a file, folders, and paths. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "report/files.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

Status lines_open(Lines *l, const char *path)
{
    *l = (Lines){.path = path, .file = fopen(path, "re")};
    return l->file != NULL ? ST_OK : FAIL(ST_IO, "%s: %s", path, strerror(errno));
}

bool lines_next(Lines *l)
{
    l->start += l->number > 0 ? (int64_t)l->len + 1 : 0;
    ssize_t got = getline(&l->text, &l->capacity, l->file);
    if (got < 0)
        return false;
    l->number++;
    l->ended = l->text[got - 1] == '\n';
    l->len = (size_t)got - l->ended;
    l->text[l->len] = '\0';
    return true;
}

Status lines_close(Lines *l)
{
    bool failed = ferror(l->file) != 0;
    fclose(l->file);
    free(l->text);
    return failed ? FAIL(ST_IO, "%s: cannot be read", l->path) : ST_OK;
}

Status folder_make(const char *path)
{
    char part[PATH_MAX];
    if (strlen(path) >= sizeof part)
        return FAIL(ST_USAGE, "a path of %zu bytes is too long", strlen(path));
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1; part[0] != '\0'; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return FAIL(ST_IO, "%s: %s", part, strerror(errno));
        if (c == '\0')
            break;
        *p = c;
    }
    return ST_OK;
}

void folder_of(const char *path, char *folder, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    snprintf(folder, size, "%.*s", slash == NULL ? 1 : (int)len, slash == NULL ? "." : path);
}

/* Length of the common folders of two absolute paths, without the slash after them. */
static size_t common(const char *a, const char *b)
{
    size_t at = 0;
    for (size_t i = 0;; i++) {
        bool a_ends = a[i] == '/' || a[i] == '\0', b_ends = b[i] == '/' || b[i] == '\0';
        if (a_ends && b_ends)
            at = i;
        if (a[i] != b[i] || a[i] == '\0')
            return at;
    }
}

Status path_between(const char *from, const char *to, char *path, size_t size)
{
    char *a = realpath(from, NULL), *b = a == NULL ? NULL : realpath(to, NULL);
    if (b == NULL) {
        Status st = FAIL(ST_IO, "%s: %s", a == NULL ? from : to, strerror(errno));
        free(a);
        return st;
    }
    size_t same = common(a, b), used = 0;
    path[0] = '\0';
    for (const char *p = a + same; *p != '\0'; p++)
        if (*p == '/' && p[1] != '\0')
            used += (size_t)snprintf(path + used, size - used, "../");
    const char *rest = b[same] == '/' ? b + same + 1 : b + same;
    used += (size_t)snprintf(path + used, size - used, "%s", rest);
    if (used > 0 && used < size && path[used - 1] == '/')
        path[--used] = '\0';
    if (used == 0)
        used = (size_t)snprintf(path, size, ".");
    free(a);
    free(b);
    return used < size ? ST_OK : FAIL(ST_USAGE, "the way from %s to %s is too long", from, to);
}
