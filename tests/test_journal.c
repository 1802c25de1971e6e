/* test_journal.c - a journal loses nothing and has nothing twice, whatever ends its writer. */
#include "report/journal.h"

#include "tests/fixtures/rows.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILLS = 30 };

/* A folder of its own for each test. */
typedef struct Place {
    char folder[32], path[64];
} Place;

static Place place(void)
{
    Place p = {.folder = "/tmp/journal-XXXXXX"};
    cr_assert_not_null(mkdtemp(p.folder));
    snprintf(p.path, sizeof p.path, "%s/results.jsonl", p.folder);
    return p;
}

static void leave(const Place *p)
{
    unlink(p->path);
    rmdir(p->folder);
}

/* The n-th row that these tests write. */
static Row numbered(int64_t n)
{
    Row r = sample_row(ROW_CASE);
    r.c.n = n;
    return r;
}

/* Rows must be numbered 0, 1, 2, ...; ctx counts them. */
static Status count_in_order(const Row *r, void *ctx)
{
    int64_t *n = ctx;
    return r->c.n == (*n)++ ? ST_OK : FAIL(ST_USAGE, "row %d out of order", (int)r->c.n);
}

static int64_t rows_in(const Place *p)
{
    int64_t n = 0;
    cr_expect_eq(journal_read(p->path, count_in_order, &n), ST_OK, "%s", status_reason());
    return n;
}

static void append_rows(const Place *p, int64_t from, int64_t to)
{
    Journal *j = NULL;
    cr_assert_eq(journal_open(&j, p->path, false), ST_OK, "%s", status_reason());
    for (int64_t i = from; i < to; i++) {
        Row r = numbered(i);
        cr_assert_eq(journal_append(j, &r), ST_OK, "%s", status_reason());
    }
    journal_close(j);
}

static off_t size_of(const Place *p)
{
    struct stat s = {0};
    stat(p->path, &s);
    return s.st_size;
}

static void add_text(const Place *p, const char *text)
{
    FILE *f = fopen(p->path, "a");
    fputs(text, f);
    fclose(f);
}

/* Opening for writing fails, and so does reading, and the file stays as it is. */
static void unreadable(const Place *p, const char *reason)
{
    Journal *j = NULL;
    int64_t n = 0;
    off_t size = size_of(p);
    cr_expect_eq(journal_read(p->path, count_in_order, &n), ST_USAGE);
    cr_expect(strstr(status_reason(), reason) != NULL, "%s", status_reason());
    cr_expect_eq(journal_open(&j, p->path, false), ST_USAGE);
    cr_expect(strstr(status_reason(), reason) != NULL, "%s", status_reason());
    cr_expect_null(j);
    cr_expect_eq(size_of(p), size);
}

Test(journal, rows_stay_over_several_openings)
{
    Place p = place();
    append_rows(&p, 0, 5);
    append_rows(&p, 5, 9);
    cr_expect_eq(rows_in(&p), 9);
    Journal *j = NULL;
    cr_assert_eq(journal_open(&j, p.path, true), ST_OK);
    journal_close(j);
    cr_expect_eq(rows_in(&p), 0, "fresh");
    leave(&p);
    journal_close(NULL);
}

Test(journal, folders_above_it_are_made)
{
    Place p = place();
    char path[96];
    Journal *j = NULL;
    snprintf(path, sizeof path, "%s/a/b/r.jsonl", p.folder);
    cr_expect_eq(journal_open(&j, path, false), ST_OK, "%s", status_reason());
    journal_close(j);
    unlink(path);
    snprintf(path, sizeof path, "%s/a/b", p.folder);
    rmdir(path);
    snprintf(path, sizeof path, "%s/a", p.folder);
    rmdir(path);
    leave(&p);
}

/* A last row cut anywhere is skipped by readers and cut off by the next writer. */
Test(journal, torn_last_line_is_cut_off)
{
    Place p = place();
    append_rows(&p, 0, 3);
    off_t whole = size_of(&p);
    append_rows(&p, 3, 4);
    off_t full = size_of(&p);
    for (off_t cut = full - 1; cut > whole; cut -= 97) {
        cr_assert_eq(truncate(p.path, cut), 0);
        cr_expect_eq(rows_in(&p), 3);
        Journal *j = NULL;
        cr_assert_eq(journal_open(&j, p.path, false), ST_OK, "%s", status_reason());
        cr_expect_eq(journal_cut(j), cut - whole);
        Row r = numbered(3);
        cr_expect_eq(journal_append(j, &r), ST_OK);
        journal_close(j);
        cr_expect_eq(size_of(&p), full);
        cr_expect_eq(rows_in(&p), 4);
    }
    leave(&p);
}

Test(journal, torn_only_line_and_garbage_at_the_end_are_cut_off)
{
    Place p = place();
    append_rows(&p, 0, 1);
    cr_assert_eq(truncate(p.path, 100), 0);
    cr_expect_eq(rows_in(&p), 0);
    append_rows(&p, 0, 2);
    add_text(&p, "\x01\x02 garbage after a power failure");
    cr_expect_eq(rows_in(&p), 2);
    append_rows(&p, 2, 3);
    cr_expect_eq(rows_in(&p), 3);
    leave(&p);
}

Test(journal, corrupt_line_in_the_middle_is_an_error_with_its_number)
{
    Place p = place();
    append_rows(&p, 0, 4);
    int fd = open(p.path, O_RDWR);
    cr_assert_eq(pwrite(fd, "#", 1, size_of(&p) / 4 * 2 + 60), 1);
    close(fd);
    unreadable(&p, "results.jsonl:3: ");
    leave(&p);
}

Test(journal, corrupt_last_line_with_its_newline_is_an_error)
{
    Place p = place();
    append_rows(&p, 0, 4);
    int fd = open(p.path, O_RDWR);
    cr_assert_eq(pwrite(fd, "#", 1, size_of(&p) - 60), 1);
    close(fd);
    unreadable(&p, "results.jsonl:4: ");
    leave(&p);
}

Test(journal, foreign_files_are_left_alone)
{
    Place p = place();
    Journal *j = NULL;
    add_text(&p, "# My notes\nDo not lose them\n");
    unreadable(&p, "results.jsonl:1: is no JSON");
    cr_expect_eq(journal_open(&j, p.path, true), ST_USAGE);
    cr_expect(strstr(status_reason(), "is no journal") != NULL, "%s", status_reason());
    cr_expect(size_of(&p) > 20);
    cr_assert_eq(truncate(p.path, 10), 0);
    unreadable(&p, "results.jsonl:1: is no JSON");
    leave(&p);
}

Test(journal, other_schema_version_is_an_error_and_stays)
{
    Place p = place();
    add_text(&p, "{\"schema\":1,\"kind\":\"run\",\"crc\":\"00000000\"}\n");
    add_text(&p, "{\"schema\":1,\"kind\":\"end\",\"crc\":\"00000000\"}\n");
    unreadable(&p, "results.jsonl:1: schema 1; this program reads schema 2");
    leave(&p);
}

Test(journal, a_row_that_could_not_be_read_back_is_not_written)
{
    Place p = place();
    Journal *j = NULL;
    Row r = numbered(-1);
    cr_assert_eq(journal_open(&j, p.path, false), ST_OK);
    cr_expect_eq(journal_append(j, &r), ST_USAGE);
    cr_expect(strstr(status_reason(), "case.n") != NULL, "%s", status_reason());
    journal_close(j);
    cr_expect_eq(size_of(&p), 0);
    leave(&p);
}

Test(journal, second_writer_is_told_who_is_the_first)
{
    Place p = place();
    Journal *first = NULL, *second = NULL;
    char who[32];
    cr_assert_eq(journal_open(&first, p.path, false), ST_OK);
    cr_expect_eq(journal_open(&second, p.path, true), ST_USAGE);
    cr_expect_null(second);
    snprintf(who, sizeof who, "process %d;", (int)getpid());
    if (access("/proc/locks", R_OK) == 0)
        cr_expect(strstr(status_reason(), who) != NULL, "%s", status_reason());
    Row r = numbered(0);
    cr_expect_eq(journal_append(first, &r), ST_OK);
    cr_expect_eq(rows_in(&p), 1, "reading needs no lock");
    journal_close(first);
    cr_expect_eq(journal_open(&second, p.path, false), ST_OK);
    journal_close(second);
    leave(&p);
}

/* ---- kill -9 ---- */

/* Appends rows from the first missing one on, and says each number when it is safe, until killed.
 */
static void append_for_ever(const Place *p, int say)
{
    Journal *j = NULL;
    int64_t n = 0;
    if (journal_open(&j, p->path, false) != ST_OK ||
        journal_read(p->path, count_in_order, &n) != ST_OK)
        _exit(1);
    for (;; n++) {
        Row r = numbered(n);
        if (journal_append(j, &r) != ST_OK || write(say, &n, sizeof n) != sizeof n)
            _exit(2);
    }
}

/* Rows that the child said were safe when it was killed, some microseconds after its start or after
 * its first row. */
static int64_t kill_after(const Place *p, long microseconds, bool first_row)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0)
        append_for_ever(p, ends[1]);
    close(ends[1]);
    int64_t n = -1, last = -1;
    if (first_row && read(ends[0], &n, sizeof n) == sizeof n)
        last = n;
    nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL);
    kill(child, SIGKILL);
    int how = 0;
    waitpid(child, &how, 0);
    cr_expect(WIFSIGNALED(how), "the child stopped by itself: %d", how);
    while (read(ends[0], &n, sizeof n) == sizeof n)
        last = n;
    close(ends[0]);
    return last + 1;
}

Test(journal, kill_9_loses_nothing_and_repeats_nothing)
{
    Place p = place();
    int64_t safe = 0, rows = 0;
    unsigned random = 12345;
    add_text(&p, "");
    for (int i = 0; i < KILLS; i++) {
        random = random * 1103515245u + 12345u;
        int64_t said = kill_after(&p, (long)(random >> 16) % 20000, i % 2 == 0);
        safe = said > safe ? said : safe;
        rows = rows_in(&p);
        cr_expect(rows >= safe && rows <= safe + 1, "%d rows, %d were safe", (int)rows, (int)safe);
        safe = rows;
    }
    cr_expect(rows >= KILLS / 2, "%d rows", (int)rows);
    leave(&p);
}

/* ---- no room ---- */

/* Fills up what room there is; every row that was accepted must be there, and nothing else. */
static int64_t fill(const Place *p)
{
    Journal *j = NULL;
    int64_t n = 0;
    cr_assert_eq(journal_open(&j, p->path, false), ST_OK, "%s", status_reason());
    for (Row r = numbered(0); n < 1000 && journal_append(j, &r) == ST_OK; r = numbered(n))
        n++;
    cr_expect(strstr(status_reason(), "not written") != NULL, "%s", status_reason());
    Row r = numbered(n);
    cr_expect_eq(journal_append(j, &r), ST_IO, "still full");
    journal_close(j);
    cr_expect_eq(rows_in(p), n);
    return n;
}

Test(journal, file_size_limit_ends_with_whole_rows)
{
    Place p = place();
    append_rows(&p, 0, 1);
    off_t one = size_of(&p);
    unlink(p.path);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {.rlim_cur = (rlim_t)(5 * one + one / 2), .rlim_max = RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_expect_eq(fill(&p), 5);
    cr_expect_eq(size_of(&p), 5 * one);
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    append_rows(&p, 5, 8);
    cr_expect_eq(rows_in(&p), 8);
    leave(&p);
}

Test(journal, full_disk_ends_with_whole_rows)
{
    Place p = place();
    if (mount("none", p.folder, "tmpfs", 0, "size=16k") != 0) {
        leave(&p);
        cr_skip_test("only root can mount a small disk");
    }
    cr_expect(fill(&p) > 2);
    umount2(p.folder, MNT_DETACH);
    leave(&p);
}
