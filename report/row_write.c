/* row_write.c - a row as a line of JSON, from the table of fields.
 *
 * The checksum is the last member. It is the CRC-32 of zlib over the line as it would be without
 * it: the bytes before `,"crc":"01234567"}` and then `}`. So it is checked before anything is
 * parsed. */
#include "report/row.h"

#include "report/fields.h"
#include "report/line.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static json_t *object_of(const Field *fields, RowKind kind, const void *base);

static json_t *real_of(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* Foreign text may be no UTF-8, say when it was cut inside of a character. */
static json_t *text_of(const char *s)
{
    json_t *value = json_string(s);
    if (value != NULL)
        return value;
    char *ascii = strdup(s);
    if (ascii == NULL)
        return NULL;
    for (char *p = ascii; *p != '\0'; p++)
        if (*p & 0x80)
            *p = '?';
    value = json_string(ascii);
    free(ascii);
    return value;
}

static json_t *digits_of(uint64_t x)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, x);
    return json_string(digits);
}

static json_t *array_of(const Field *f, const void *base)
{
    int n = field_count(f, base);
    CHECK(n >= 0 && n <= field_capacity(f));
    json_t *array = json_array();
    for (int i = 0; i < n; i++) {
        const char *at = field_at(f, base);
        json_t *item = f->type == FIELD_REALS
                           ? real_of(((const double *)(const void *)at)[i])
                           : object_of(f->fields, ROW_KINDS, at + (size_t)i * f->stride);
        if (json_array_append_new(array, item) != 0) { /* also refuses NULL */
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *value_of(const Field *f, RowKind kind, const void *base)
{
    const void *at = field_at(f, base);
    switch (f->type) {
    case FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case FIELD_INT:
        return json_integer(*(const int *)at);
    case FIELD_I64:
        return json_integer(*(const int64_t *)at);
    case FIELD_U64:
        return digits_of(*(const uint64_t *)at);
    case FIELD_REAL:
        return real_of(*(const double *)at);
    case FIELD_TEXT:
        return text_of(at);
    case FIELD_NAME:
        return json_string(f->names[*(const int *)at]);
    case FIELD_OBJECT:
        return object_of(f->fields, kind, at);
    case FIELD_REALS:
    case FIELD_OBJECTS:
        return array_of(f, base);
    }
    return NULL;
}

/* Adds the members of a struct to an object; false when memory is short. */
static bool add_fields(json_t *object, const Field *fields, RowKind kind, const void *base)
{
    for (const Field *f = fields; f->name != NULL; f++) {
        if (!field_in(f, kind) || (f->type == FIELD_OBJECT && field_blank(f, base)))
            continue;
        if (json_object_set_new(object, f->name, value_of(f, kind, base)) != 0)
            return false;
    }
    return true;
}

static json_t *object_of(const Field *fields, RowKind kind, const void *base)
{
    json_t *object = json_object();
    if (object != NULL && !add_fields(object, fields, kind, base)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static char *dump(json_t *object)
{
    char *line = object == NULL ? NULL : json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(object);
    return line;
}

char *case_json(const Case *c)
{
    return dump(object_of(case_fields, ROW_KINDS, c));
}

char *case_brief_json(const Case *c)
{
    json_t *object = object_of(case_fields, ROW_KINDS, c);
    for (const Field *f = case_fields; object != NULL && f->name != NULL; f++)
        if (field_blank(f, c) && f->type != FIELD_NAME)
            json_object_del(object, f->name);
    return dump(object);
}

char *row_json(const Row *r)
{
    CHECK((unsigned)r->kind < ROW_KINDS && (unsigned)r->status < ROW_STATUSES);
    json_t *object = json_object();
    if (json_object_set_new(object, "schema", json_integer(ROW_SCHEMA)) != 0 ||
        !add_fields(object, row_fields, r->kind, r)) {
        json_decref(object);
        return NULL;
    }
    char *plain = dump(object);
    size_t len = plain == NULL ? 0 : strlen(plain);
    char *line = plain == NULL ? NULL : realloc(plain, len + CRC_MEMBER + 1);
    if (line == NULL) {
        free(plain);
        return NULL;
    }
    uint32_t crc = line_crc(line, len - 1);
    snprintf(line + len - 1, CRC_MEMBER + 2, ",\"crc\":\"%08" PRIx32 "\"}", crc);
    return line;
}

uint32_t line_crc(const char *line, size_t len)
{
    uLong crc = crc32_z(0, (const Bytef *)line, len);
    return (uint32_t)crc32_z(crc, (const Bytef *)"}", 1);
}

bool row_whole(const char *line, size_t len)
{
    if (len < CRC_MEMBER + 2)
        return false;
    char end[CRC_MEMBER + 2];
    size_t before = len - CRC_MEMBER - 1;
    snprintf(end, sizeof end, ",\"crc\":\"%08" PRIx32 "\"}", line_crc(line, before));
    return memcmp(line + before, end, CRC_MEMBER + 1) == 0;
}
