/* file.c - reading and replacing whole files. */
#include "datasets/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Status file_open(const char *path, FILE **out, size_t *size)
{
    struct stat info;
    if (stat(path, &info) != 0) /* before fopen, which would wait for the writer of a pipe */
        return FAIL(ST_IO, "%s: cannot read: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return FAIL(ST_IO, "%s: is a folder; a file is needed", path);
    if (!S_ISREG(info.st_mode))
        return FAIL(ST_IO, "%s: is not a regular file", path);
    *size = (size_t)info.st_size;
    *out = fopen(path, "rb");
    return *out != NULL ? ST_OK : FAIL(ST_IO, "%s: cannot read: %s", path, strerror(errno));
}

Status file_read(FILE *in, const char *path, void *out, size_t size)
{
    size_t got = fread(out, 1, size, in);
    if (got == size)
        return ST_OK;
    if (ferror(in))
        return FAIL(ST_IO, "%s: cannot read: %s", path, strerror(errno));
    return FAIL(ST_IO, "%s: ends %zu bytes early; did it change meanwhile?", path, size - got);
}

Status draft_open(const char *path, Draft *out)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return FAIL(ST_IO, "%s: is not a regular file, so it is not replaced", path);
    size_t size = strlen(path) + sizeof ".tmp";
    *out = (Draft){.path = path, .tmp = malloc(size)};
    if (out->tmp == NULL)
        return FAIL(ST_OOM, "%s: no memory to write it", path);
    snprintf(out->tmp, size, "%s.tmp", path);
    out->file = fopen(out->tmp, "wb");
    if (out->file != NULL)
        return ST_OK;
    Status st = FAIL(ST_IO, "%s: cannot write: %s", out->tmp, strerror(errno));
    free(out->tmp);
    return st;
}

void draft_put(Draft *d, const void *data, size_t size)
{
    if (d->error == 0 && size > 0 && fwrite(data, 1, size, d->file) != size)
        d->error = errno;
}

/* Makes a rename survive a power cut. The file is in place anyway, so a refusal is no failure. */
static void sync_folder_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        slash[slash == path] = '\0'; /* the root keeps its slash */
    int fd = open(slash != NULL ? path : ".", O_RDONLY | O_DIRECTORY);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

Status draft_close(Draft *d)
{
    if (d->error == 0 && (fflush(d->file) != 0 || fsync(fileno(d->file)) != 0))
        d->error = errno;
    if (fclose(d->file) != 0 && d->error == 0)
        d->error = errno;
    if (d->error == 0 && rename(d->tmp, d->path) != 0)
        d->error = errno;
    if (d->error == 0)
        sync_folder_of(d->tmp);
    else
        unlink(d->tmp);
    free(d->tmp);
    if (d->error != 0)
        return FAIL(ST_IO, "%s: cannot write: %s", d->path, strerror(d->error));
    return ST_OK;
}
