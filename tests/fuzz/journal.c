/* journal.c - journals as files, and their lines with the right checksum, which no fuzzer finds by
 * itself. A row that was read is written and read again. */
#include "report/journal.h"
#include "report/line.h"
#include "report/validate.h"
#include "tests/fuzz/input.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static Status look(const Row *r, void *count)
{
    (void)r;
    ++*(int *)count;
    return ST_OK;
}

static void round_trip(const Row *r)
{
    static Row again;
    char *line = row_json(r);
    CHECK(line != NULL);
    CHECK(row_parse(line, strlen(line), &again) == ST_OK);
    free(line);
}

static void checked_line(const uint8_t *data, size_t size)
{
    static Row row;
    char *line = malloc(size + 32);
    CHECK(line != NULL);
    memcpy(line, data, size);
    snprintf(line + size, 32, ",\"crc\":\"%08" PRIx32 "\"}", line_crc(line, size));
    if (row_parse(line, strlen(line), &row) == ST_OK)
        round_trip(&row);
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Case c;
    bool good;
    int rows = 0;
    const char *path = input_file(data, size);
    (void)!journal_read(path, look, &rows);
    FILE *out = fopen("/dev/null", "w");
    CHECK(out != NULL);
    (void)!report_validate(path, out, &good);
    fclose(out);
    (void)!case_parse((const char *)data, size, &c);
    checked_line(data, size);
    return 0;
}
