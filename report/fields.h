/* fields.h - what a row consists of: one table of name, type, place and kinds, used for writing,
 * reading and comparing. Private to report/. */
#ifndef LONGMIX_FIELDS_H
#define LONGMIX_FIELDS_H

#include "report/row.h"

typedef enum FieldType {
    FIELD_BOOL,
    FIELD_INT,    /* int from 0 on */
    FIELD_I64,    /* int64_t from 0 on */
    FIELD_U64,    /* uint64_t, in JSON a text of decimal digits: JSON numbers end at 2^63 - 1 */
    FIELD_REAL,   /* double; null stands for NaN */
    FIELD_TEXT,   /* char[size], UTF-8 */
    FIELD_NAME,   /* enum, in JSON its name */
    FIELD_OBJECT, /* struct, left out when everything in it is zero */
    FIELD_REALS,  /* double[], an int beside it says how many are used */
    FIELD_OBJECTS /* struct[], likewise */
} FieldType;

typedef struct Field {
    const char *name; /* NULL ends a table */
    FieldType type;
    size_t offset, size;        /* bytes, in the struct around it */
    unsigned kinds;             /* bit k: rows of kind k have it; 0: all of them */
    const char *const *names;   /* NAME: ending in NULL */
    size_t count;               /* REALS, OBJECTS: offset of the number in use */
    const struct Field *fields; /* OBJECT, OBJECTS: what is inside */
    size_t stride;              /* OBJECTS: bytes of one */
} Field;

extern const Field row_fields[], case_fields[];

static inline bool field_in(const Field *f, RowKind kind)
{
    return f->kinds == 0 || (f->kinds >> kind & 1u) != 0;
}
static inline const void *field_at(const Field *f, const void *base)
{
    return (const char *)base + f->offset;
}
/* How many a REALS or OBJECTS can hold. */
static inline int field_capacity(const Field *f)
{
    return (int)(f->size / (f->type == FIELD_REALS ? sizeof(double) : f->stride));
}
static inline int field_count(const Field *f, const void *base)
{
    return *(const int *)(const void *)((const char *)base + f->count);
}

/* Is everything in it zero, empty or false? */
bool field_blank(const Field *f, const void *base);
/* Below, equal or above zero, as the field of a is before, equal to or after that of b. For the
 * plain types only, as field_text. */
int field_compare(const Field *f, const void *a, const void *b);
/* A plain field as text; returns snprintf's length. */
int field_text(const Field *f, const void *base, char *text, size_t size);

#endif
