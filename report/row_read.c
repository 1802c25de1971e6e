/* row_read.c - a line of JSON as a row, from the table of fields. The line may be anything. */
#include "report/row.h"

#include "report/fields.h"
#include "report/line.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where in a row we are, for messages: "case.", "points[3]." or "". */
typedef struct Place {
    char text[48];
} Place;

static Status read_fields(const Field *fields, RowKind kind, json_t *object, Place place,
                          void *base);

/* "field 'case.n': is -5; needed is ..." */
static Status refuse(Place place, const char *name, const json_t *value, const char *needed)
{
    char shown[48] = "nothing";
    if (value != NULL) {
        size_t n = json_dumpb(value, shown, sizeof shown - 1,
                              JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT);
        bool cut = n > sizeof shown - 1;
        snprintf(cut ? shown + sizeof shown - 4 : shown + n, 4, "%s", cut ? "..." : "");
    }
    return FAIL(ST_USAGE, "field '%s%s': is %s; needed is %s", place.text, name, shown, needed);
}

static bool integer_in(const json_t *value, int64_t limit)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           json_integer_value(value) <= limit;
}

static bool real_from(const json_t *value, double *out)
{
    *out = json_is_null(value) ? (double)NAN : json_number_value(value);
    return json_is_null(value) || json_is_number(value);
}

static bool digits_from(const json_t *value, uint64_t *out)
{
    const char *s = json_string_value(value);
    if (s == NULL || *s < '0' || *s > '9')
        return false;
    char *end = NULL;
    errno = 0;
    *out = strtoull(s, &end, 10);
    return errno == 0 && *end == '\0';
}

static Status read_text(const Field *f, const json_t *value, Place place, char *out)
{
    if (!json_is_string(value))
        return refuse(place, f->name, value, "a text");
    if (json_string_length(value) >= f->size)
        return FAIL(ST_USAGE, "field '%s%s': is a text of %zu bytes; at most %zu fit", place.text,
                    f->name, json_string_length(value), f->size - 1);
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return ST_OK;
}

static Status read_name(const Field *f, const json_t *value, Place place, int *out)
{
    const char *name = json_string_value(value);
    for (*out = 0; name != NULL && f->names[*out] != NULL; ++*out)
        if (strcmp(name, f->names[*out]) == 0)
            return ST_OK;
    return refuse(place, f->name, value, "one of its names");
}

static Place inside(Place place, const char *name, int index)
{
    Place in;
    if (index < 0)
        snprintf(in.text, sizeof in.text, "%.20s%.20s.", place.text, name);
    else
        snprintf(in.text, sizeof in.text, "%.16s%.16s[%d].", place.text, name, index);
    return in;
}

static Status read_array(const Field *f, json_t *value, Place place, void *base)
{
    if (!json_is_array(value))
        return refuse(place, f->name, value, "an array");
    size_t n = json_array_size(value);
    if (n > (size_t)field_capacity(f))
        return FAIL(ST_USAGE, "field '%s%s': has %zu entries; at most %d fit", place.text, f->name,
                    n, field_capacity(f));
    char *at = (char *)base + f->offset;
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_array_get(value, i);
        if (f->type == FIELD_OBJECTS)
            TRY(read_fields(f->fields, ROW_KINDS, item, inside(place, f->name, (int)i),
                            at + i * f->stride));
        else if (!real_from(item, (double *)(void *)at + i))
            return refuse(place, f->name, item, "a number or null in every entry");
    }
    *(int *)(void *)((char *)base + f->count) = (int)n;
    return ST_OK;
}

static Status read_value(const Field *f, RowKind kind, json_t *value, Place place, void *base)
{
    void *at = (char *)base + f->offset;
    switch (f->type) {
    case FIELD_BOOL:
        *(bool *)at = json_is_true(value);
        return json_is_boolean(value) ? ST_OK : refuse(place, f->name, value, "true or false");
    case FIELD_INT:
        *(int *)at = integer_in(value, INT_MAX) ? (int)json_integer_value(value) : 0;
        return integer_in(value, INT_MAX)
                   ? ST_OK
                   : refuse(place, f->name, value, "an integer from 0 to 2147483647");
    case FIELD_I64:
        *(int64_t *)at = json_integer_value(value);
        return integer_in(value, INT64_MAX) ? ST_OK
                                            : refuse(place, f->name, value, "an integer from 0 on");
    case FIELD_U64:
        return digits_from(value, at) ? ST_OK
                                      : refuse(place, f->name, value, "a text of decimal digits");
    case FIELD_REAL:
        return real_from(value, at) ? ST_OK : refuse(place, f->name, value, "a number or null");
    case FIELD_TEXT:
        return read_text(f, value, place, at);
    case FIELD_NAME:
        return read_name(f, value, place, at);
    case FIELD_OBJECT:
        return read_fields(f->fields, kind, value, inside(place, f->name, -1), at);
    case FIELD_REALS:
    case FIELD_OBJECTS:
        return read_array(f, value, place, base);
    }
    return ST_OK;
}

static bool known(const Field *fields, RowKind kind, const char *name)
{
    for (const Field *f = fields; f->name != NULL; f++)
        if (field_in(f, kind) && strcmp(f->name, name) == 0)
            return true;
    return false;
}

/* Every member must be in the table, and every field but the objects must be there. */
static Status read_fields(const Field *fields, RowKind kind, json_t *object, Place place,
                          void *base)
{
    if (!json_is_object(object))
        return refuse(place, "", object, "an object");
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) if (!known(fields, kind, name)) return FAIL(
        ST_USAGE, "field '%s%.40s': is not one that belongs here", place.text, name);
    for (const Field *f = fields; f->name != NULL; f++) {
        value = json_object_get(object, f->name);
        if (field_in(f, kind) && (value != NULL || f->type != FIELD_OBJECT))
            TRY(read_value(f, kind, value, place, base));
    }
    return ST_OK;
}

static Status load(const char *line, size_t len, json_t **object)
{
    if (len > ROW_MAX_LINE)
        return FAIL(ST_USAGE, "a line of %zu bytes; a row has at most %d", len, ROW_MAX_LINE);
    json_error_t error;
    *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
    if (*object == NULL)
        return FAIL(ST_USAGE, "is no JSON: %s, at byte %d of %zu", error.text, error.position, len);
    return ST_OK;
}

static Status read_schema(json_t *object)
{
    const json_t *schema = json_object_get(object, "schema");
    if (!json_is_integer(schema))
        return refuse((Place){""}, "schema", schema, "an integer");
    if (json_integer_value(schema) != ROW_SCHEMA)
        return FAIL(ST_USAGE, "schema %" JSON_INTEGER_FORMAT "; this program reads schema %d",
                    json_integer_value(schema), ROW_SCHEMA);
    json_object_del(object, "schema");
    return ST_OK;
}

static Status read_row(json_t *object, const char *line, size_t len, Row *out)
{
    if (!json_is_object(object))
        return refuse((Place){""}, "", object, "an object");
    TRY(read_schema(object));
    if (!row_whole(line, len))
        return FAIL(ST_USAGE, "field 'crc': is not the checksum of the line, or not at its end");
    json_object_del(object, "crc");

    int kind = 0;
    TRY(read_name(&row_fields[0], json_object_get(object, "kind"), (Place){""}, &kind));
    return read_fields(row_fields, (RowKind)kind, object, (Place){""}, out);
}

Status row_parse(const char *line, size_t len, Row *out)
{
    memset(out, 0, sizeof *out);
    json_t *object = NULL;
    TRY(load(line, len, &object));
    Status st = read_row(object, line, len, out);
    json_decref(object);
    return st;
}

static Status read_brief_case(json_t *object, Case *out)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object))
        return refuse((Place){""}, "", object, "an object");
    json_object_foreach(object, name, value) if (!known(case_fields, ROW_KINDS, name)) return FAIL(
        ST_UNSUPPORTED, "this build knows no field '%.40s' of a case", name);
    for (const Field *f = case_fields; f->name != NULL; f++)
        if ((value = json_object_get(object, f->name)) != NULL)
            TRY(read_value(f, ROW_KINDS, value, (Place){""}, out));
    return ST_OK;
}

Status case_brief_parse(const char *line, size_t len, Case *out)
{
    memset(out, 0, sizeof *out);
    json_t *object = NULL;
    TRY(load(line, len, &object));
    Status st = read_brief_case(object, out);
    json_decref(object);
    return st;
}

Status case_parse(const char *line, size_t len, Case *out)
{
    memset(out, 0, sizeof *out);
    json_t *object = NULL;
    TRY(load(line, len, &object));
    Status st = read_fields(case_fields, ROW_KINDS, object, (Place){""}, out);
    json_decref(object);
    return st;
}
