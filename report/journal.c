/* journal.c - locking, appending to and reading a journal. */
#include "report/journal.h"

#include "report/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROW_BEGIN "{\"schema\":" /* what every row, and nobody's other file, begins with */

struct Journal {
    char *path;
    int fd;
    int64_t size; /* of the whole rows in it */
    int64_t cut;
    bool torn; /* a part of a row is behind them, and could not be cut off */
};

/* ---- reading ---- */

typedef Status RowFn(const Row *r, void *ctx);

/* What a walk over the lines has found. */
typedef struct Walk {
    int64_t n_rows, end; /* end: offset behind the last whole row */
} Walk;

static Status fail_line(const Lines *l)
{
    char why[160];
    snprintf(why, sizeof why, "%s", status_reason());
    return FAIL(ST_USAGE, "%s:%" PRId64 ": %s", l->path, l->number, why);
}

/* Is this the beginning of a row? If not, the file is someone's that is no journal. */
static bool begins_like_a_row(const char *line, size_t len)
{
    size_t n = len < strlen(ROW_BEGIN) ? len : strlen(ROW_BEGIN);
    return n > 0 && memcmp(line, ROW_BEGIN, n) == 0;
}

/* A row is written at once with its newline behind it: only a line without one can be torn. */
static Status take_line(Walk *w, const Lines *l, RowFn *fn, void *ctx)
{
    Row row;
    bool torn = !l->ended && (w->n_rows > 0 || begins_like_a_row(l->text, l->len));
    if (torn)
        return ST_OK;
    if (row_parse(l->text, l->len, &row) != ST_OK)
        return fail_line(l);
    w->n_rows++;
    w->end = l->start + (int64_t)l->len + 1;
    return fn == NULL ? ST_OK : fn(&row, ctx);
}

static Status walk(const char *path, RowFn *fn, void *ctx, Walk *w)
{
    Lines l;
    TRY(lines_open(&l, path));
    *w = (Walk){0};
    Status st = ST_OK;
    while (st == ST_OK && lines_next(&l))
        st = take_line(w, &l, fn, ctx);
    Status closed = lines_close(&l);
    return st != ST_OK ? st : closed;
}

Status journal_read(const char *path, Status (*fn)(const Row *r, void *ctx), void *ctx)
{
    Walk w;
    return walk(path, fn, ctx, &w);
}

/* ---- opening ---- */

/* Process that holds the lock on a file, from the kernel's list; 0 when it is not to be found. */
static long lock_holder(ino_t inode)
{
    FILE *f = fopen("/proc/locks", "re");
    char line[256];
    long holder = 0;
    while (f != NULL && holder == 0 && fgets(line, sizeof line, f) != NULL) {
        char type[16] = "";
        long pid = 0;
        unsigned long on = 0;
        if (sscanf(line, "%*d: %15s %*s %*s %ld %*x:%*x:%lu", type, &pid, &on) == 3 &&
            strcmp(type, "FLOCK") == 0 && on == inode && pid > 0)
            holder = pid;
    }
    if (f != NULL)
        fclose(f);
    return holder;
}

static Status take_lock(const Journal *j)
{
    if (flock(j->fd, LOCK_EX | LOCK_NB) == 0)
        return ST_OK;
    if (errno != EWOULDBLOCK)
        return FAIL(ST_IO, "%s: cannot be locked: %s", j->path, strerror(errno));
    struct stat s = {0};
    long pid = fstat(j->fd, &s) == 0 ? lock_holder(s.st_ino) : 0;
    char who[48] = "another process";
    if (pid > 0)
        snprintf(who, sizeof who, "process %ld", pid);
    return FAIL(ST_USAGE, "%s: is being written by %s; wait for it, or give another file", j->path,
                who);
}

/* Before a file is overwritten: is it one of ours? */
static Status check_ours(const Journal *j)
{
    char begin[sizeof ROW_BEGIN - 1];
    ssize_t n = pread(j->fd, begin, sizeof begin, 0);
    if (n < 0)
        return FAIL(ST_IO, "%s: %s", j->path, strerror(errno));
    if (memcmp(begin, ROW_BEGIN, (size_t)n) != 0)
        return FAIL(ST_USAGE, "%s: is no journal; it is not overwritten", j->path);
    return ST_OK;
}

/* Cuts the file back to its whole rows. */
static Status cut_to(Journal *j, int64_t size)
{
    if (ftruncate(j->fd, size) != 0 || fsync(j->fd) != 0)
        return FAIL(ST_IO, "%s: cannot be cut to %" PRId64 " bytes: %s", j->path, size,
                    strerror(errno));
    j->size = size;
    j->torn = false;
    return ST_OK;
}

static Status repair(Journal *j)
{
    Walk w;
    struct stat s;
    TRY(walk(j->path, NULL, NULL, &w));
    if (fstat(j->fd, &s) != 0)
        return FAIL(ST_IO, "%s: %s", j->path, strerror(errno));
    j->size = w.end;
    j->cut = s.st_size - w.end;
    return j->cut > 0 ? cut_to(j, w.end) : ST_OK;
}

/* The name of a new file is safe only when its folder is. */
static Status sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    Status st = ok ? ST_OK : FAIL(ST_IO, "%s: %s", folder, strerror(errno));
    if (fd >= 0)
        close(fd);
    return st;
}

static Status open_locked(Journal *j, bool fresh)
{
    char folder[PATH_MAX];
    folder_of(j->path, folder, sizeof folder);
    TRY(folder_make(folder));
    j->fd = open(j->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (j->fd < 0)
        return FAIL(ST_IO, "%s: %s", j->path, strerror(errno));
    TRY(take_lock(j));
    TRY(sync_folder(folder));
    if (!fresh)
        return repair(j);
    TRY(check_ours(j));
    return cut_to(j, 0);
}

Status journal_open(Journal **out, const char *path, bool fresh)
{
    *out = NULL;
    Journal *j = calloc(1, sizeof *j);
    if (j != NULL)
        *j = (Journal){.fd = -1, .path = strdup(path)};
    if (j == NULL || j->path == NULL) {
        free(j);
        return FAIL(ST_OOM, "no memory to open %s", path);
    }
    Status st = open_locked(j, fresh);
    if (st != ST_OK) {
        journal_close(j);
        return st;
    }
    *out = j;
    return ST_OK;
}

void journal_close(Journal *j)
{
    if (j == NULL)
        return;
    if (j->fd >= 0)
        close(j->fd); /* gives the lock back */
    free(j->path);
    free(j);
}

int64_t journal_cut(const Journal *j)
{
    return j->cut;
}

/* ---- appending ---- */

/* Writes and syncs; on failure the file is cut back, and the reason is that of the failure. */
static Status put(Journal *j, const char *line, size_t len)
{
    errno = 0;
    ssize_t n = write(j->fd, line, len);
    if (n == (ssize_t)len && fsync(j->fd) == 0) {
        j->size += n;
        return ST_OK;
    }
    const char *why = errno != 0 ? strerror(errno) : "no space for more than a part of the row";
    char reason[256];
    snprintf(reason, sizeof reason, "row of %zu bytes not written: %s", len, why);
    j->torn = cut_to(j, j->size) != ST_OK;
    return FAIL(ST_IO, "%s: %s%s", j->path, reason, j->torn ? "; a part of it stays there" : "");
}

/* The line with its newline; NULL when memory is short. */
static char *line_of(const Row *r, size_t *len)
{
    char *line = row_json(r);
    *len = line == NULL ? 0 : strlen(line) + 1;
    char *longer = line == NULL ? NULL : realloc(line, *len + 1);
    if (longer == NULL) {
        free(line);
        return NULL;
    }
    memcpy(longer + *len - 1, "\n", 2);
    return longer;
}

Status journal_append(Journal *j, const Row *r)
{
    size_t len = 0;
    if (j->torn)
        TRY(cut_to(j, j->size));
    char *line = line_of(r, &len);
    if (line == NULL)
        return FAIL(ST_OOM, "no memory for a row");
    Row back;
    Status st = row_parse(line, len - 1, &back);
    if (st == ST_OK)
        st = put(j, line, len);
    free(line);
    return st;
}
