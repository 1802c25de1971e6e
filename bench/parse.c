/* parse.c - see parse.h. */
#include "bench/parse.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */

/* Reads digits and a suffix from *at on and moves it past them; false where there is no number or
 * it passes 2^63 - 1. */
static bool read_size(const char **at, int64_t *out)
{
    static const char suffixes[] = "kMGT";
    char *end;
    if (!isdigit((unsigned char)**at))
        return false;
    errno = 0;
    long long value = strtoll(*at, &end, 10);
    const char *suffix = *end == 'K' ? suffixes : *end != '\0' ? strchr(suffixes, *end) : NULL;
    int shift = suffix != NULL ? 10 * (int)(suffix - suffixes + 1) : 0;
    if (errno != 0 || value > INT64_MAX >> shift)
        return false;
    *out = (int64_t)value << shift;
    *at = end + (suffix != NULL);
    return true;
}

Status parse_size(const char *text, const char *what, int64_t lo, int64_t hi, int64_t *out)
{
    const char *at = text;
    if (!read_size(&at, out) || *at != '\0' || *out < lo || *out > hi)
        return FAIL(ST_USAGE,
                    "%s: '%s' is not a whole number from %" PRId64 " to %" PRId64
                    " (suffixes k, M, G, T of 1024)",
                    what, text, lo, hi);
    return ST_OK;
}

Status parse_int(const char *text, const char *what, int lo, int hi, int *out)
{
    int64_t value = 0;
    TRY(parse_size(text, what, lo, hi, &value));
    *out = (int)value;
    return ST_OK;
}

Status parse_u64(const char *text, const char *what, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || errno != 0 || *end != '\0')
        return FAIL(ST_USAGE, "%s: '%s' is not a whole number from 0 to %" PRIu64, what, text,
                    UINT64_MAX);
    *out = value;
    return ST_OK;
}

Status parse_seconds(const char *text, const char *what, double lo, double *out)
{
    char *end;
    double value = strtod(text, &end);
    double unit = *end == 'm' ? 60 : *end == 'h' ? 3600 : 1;
    bool number = end != text && (isdigit((unsigned char)*text) || *text == '.');
    if (number && *end != '\0' && strchr("smh", *end) != NULL)
        end++;
    if (!number || *end != '\0' || !(value * unit >= lo) || !isfinite(value))
        return FAIL(ST_USAGE, "%s: '%s' is not a time of at least %g seconds (suffixes s, m, h)",
                    what, text, lo);
    *out = value * unit;
    return ST_OK;
}

/* ---- lengths ---- */
static const int64_t MAX_LENGTH = INT32_MAX;

static Status add_length(Lengths *l, const char *what, int64_t n)
{
    int at = 0;
    while (at < l->n && l->v[at] < n)
        at++;
    if (at < l->n && l->v[at] == n)
        return ST_OK;
    if (l->n == MAX_LENGTHS)
        return FAIL(ST_USAGE, "%s: more than %d lengths", what, MAX_LENGTHS);
    memmove(&l->v[at + 1], &l->v[at], (size_t)(l->n - at) * sizeof l->v[0]);
    l->v[at] = n;
    l->n++;
    return ST_OK;
}

/* One item: "A", "A..B" or "A-B*M"; *last and *factor are A and 2 where they are not given. */
static bool read_range(const char *item, int64_t *first, int64_t *last, int64_t *factor)
{
    const char *at = item;
    *factor = 2;
    if (!read_size(&at, first))
        return false;
    *last = *first;
    if (strncmp(at, "..", 2) == 0) {
        at += 2;
        return read_size(&at, last) && *at == '\0';
    }
    if (*at == '-') {
        at++;
        if (!read_size(&at, last) || *at++ != '*' || !read_size(&at, factor))
            return false;
    }
    return *at == '\0';
}

static Status add_range(Lengths *l, const char *what, const char *item)
{
    int64_t first = 0, last = 0, factor = 0;
    if (!read_range(item, &first, &last, &factor))
        return FAIL(ST_USAGE, "%s: '%s' is not a length such as 4k, 512..1M or 512-4096*2", what,
                    item);
    if (first < 1 || last > MAX_LENGTH)
        return FAIL(ST_USAGE, "%s: '%s' leaves the allowed lengths, 1 to %" PRId64, what, item,
                    MAX_LENGTH);
    if (first > last)
        return FAIL(ST_USAGE, "%s: '%s' ends before it begins", what, item);
    if (factor < 2)
        return FAIL(ST_USAGE, "%s: '%s' has a factor below 2", what, item);
    for (int64_t n = first;; n *= factor) {
        TRY(add_length(l, what, n));
        if (n > last / factor)
            break;
    }
    return ST_OK;
}

/* Copies the item up to the next comma; *at is then behind the comma, or NULL at the end. */
static Status next_item(const char **at, const char *what, char *item, size_t size)
{
    size_t len = strcspn(*at, ",");
    if (len == 0 || len >= size)
        return FAIL(ST_USAGE, "%s: '%s' is %s", what, *at, len == 0 ? "an empty item" : "too long");
    memcpy(item, *at, len);
    item[len] = '\0';
    *at = (*at)[len] == ',' ? *at + len + 1 : NULL;
    return ST_OK;
}

Status parse_lengths(const char *text, const char *what, Lengths *out)
{
    char item[64];
    out->n = 0;
    for (const char *at = text; at != NULL;) {
        TRY(next_item(&at, what, item, sizeof item));
        TRY(add_range(out, what, item));
    }
    return ST_OK;
}

/* ---- names ---- */
enum { MAX_EDIT_NAME = 31 };

/* Levenshtein distance of two short words. */
static int edits(const char *a, const char *b)
{
    int row[MAX_EDIT_NAME + 1], n = (int)strlen(b);
    if (n > MAX_EDIT_NAME)
        return n;
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 0; a[i] != '\0'; i++) {
        int corner = row[0]; /* of the row before, one column to the left */
        row[0] = i + 1;
        for (int j = 0; j < n; j++) {
            int swap = corner + (a[i] != b[j]),
                shift = (row[j + 1] < row[j] ? row[j + 1] : row[j]) + 1;
            corner = row[j + 1];
            row[j + 1] = swap < shift ? swap : shift;
        }
    }
    return row[n];
}

const char *nearest_name(const char *text, const char *const names[])
{
    const char *best = NULL;
    int least = (int)strlen(text) / 3 + 2;
    for (int i = 0; names[i] != NULL; i++) {
        int distance = edits(text, names[i]);
        if (distance < least) {
            least = distance;
            best = names[i];
        }
    }
    return best;
}

static Status unknown_name(const char *text, const char *what, const char *const names[])
{
    char list[320];
    size_t used = 0;
    list[0] = '\0';
    for (int i = 0; names[i] != NULL && used + 40 < sizeof list; i++)
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
    const char *close = nearest_name(text, names);
    if (close != NULL)
        return FAIL(ST_USAGE, "unknown %s '%s', did you mean '%s'? allowed: %s", what, text, close,
                    list);
    return FAIL(ST_USAGE, "unknown %s '%s'; allowed: %s", what, text, list);
}

Status parse_name(const char *text, const char *what, const char *const names[], int *index)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], text) == 0) {
            *index = i;
            return ST_OK;
        }
    return unknown_name(text, what, names);
}

Status parse_names(const char *text, const char *what, const char *const names[], uint64_t *mask)
{
    char item[64];
    *mask = 0;
    for (const char *at = text; at != NULL;) {
        int index = 0;
        TRY(next_item(&at, what, item, sizeof item));
        if (strcmp(item, "all") == 0) {
            while (names[index] != NULL)
                *mask |= UINT64_C(1) << index++;
            continue;
        }
        TRY(parse_name(item, what, names, &index));
        *mask |= UINT64_C(1) << index;
    }
    return ST_OK;
}
