/* safetensors.c - reading, checking and writing safetensors files. */
#include "datasets/safetensors.h"

#include "datasets/file.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian");

/* Real headers have a few hundred kilobytes; JSON takes some 30 times its size in memory. */
enum { HEADER_MAX = 16 << 20, ALIGN = 8 };

#define METADATA "__metadata__"
#define DTYPES   "F32, F64, I32, I64, U8" /* for messages */

static const struct {
    const char *name;
    size_t size; /* bytes an element */
} dtypes[N_SAFE_DTYPES] = {
    [SAFE_F32] = {"F32", 4}, [SAFE_F64] = {"F64", 8}, [SAFE_I32] = {"I32", 4},
    [SAFE_I64] = {"I64", 8}, [SAFE_U8] = {"U8", 1},
};

/* Foreign text made fit for a one-line message: printable ASCII, cut at the end. */
typedef struct Shown {
    char text[64];
} Shown;

static Shown shown(const char *s)
{
    Shown out = {""};
    for (size_t i = 0; i + 1 < sizeof out.text && s[i] != '\0'; i++)
        out.text[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
    return out;
}

/* Bytes of a shape; false when they pass SIZE_MAX. */
static bool shape_bytes(StDtype dtype, int rank, const int64_t dim[], size_t *bytes)
{
    *bytes = dtypes[dtype].size;
    for (int i = 0; i < rank; i++) {
        if (dim[i] != 0 && *bytes > SIZE_MAX / (size_t)dim[i])
            return false;
        *bytes *= (size_t)dim[i];
    }
    return true;
}

/* Fails with a line on one tensor of a file. */
static Status fault(Status st, const StFile *f, const StTensor *t, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static Status fault(Status st, const StFile *f, const StTensor *t, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return FAIL(st, "%s: tensor '%s': %s", f->path, shown(t->name).text, text);
}

/* ---- reading ---- */

static Status parse_dtype(const StFile *f, const json_t *value, StTensor *t)
{
    if (!json_is_string(value))
        return fault(ST_USAGE, f, t, "needs a dtype, one of " DTYPES);
    const char *name = json_string_value(value);
    for (StDtype d = 0; d < N_SAFE_DTYPES; d++) {
        t->dtype = d;
        if (strcmp(name, dtypes[d].name) == 0)
            return ST_OK;
    }
    return fault(ST_UNSUPPORTED, f, t, "unsupported dtype '%s'; readable are " DTYPES,
                 shown(name).text);
}

/* A JSON integer from 0 on. */
static bool natural(const json_t *value, int64_t *out)
{
    *out = json_integer_value(value);
    return json_is_integer(value) && *out >= 0;
}

static Status parse_shape(const StFile *f, const json_t *value, StTensor *t)
{
    size_t rank = json_array_size(value);
    if (!json_is_array(value))
        return fault(ST_USAGE, f, t, "needs a shape, an array of integers from 0 on");
    if (rank > SAFE_MAX_RANK)
        return fault(ST_UNSUPPORTED, f, t, "rank %zu; at most %d is readable", rank, SAFE_MAX_RANK);
    for (t->rank = 0; t->rank < (int)rank; t->rank++)
        if (!natural(json_array_get(value, (size_t)t->rank), &t->dim[t->rank]))
            return fault(ST_USAGE, f, t, "dimension %d is no integer from 0 on", t->rank);
    if (!shape_bytes(t->dtype, t->rank, t->dim, &t->size))
        return fault(ST_USAGE, f, t, "its shape has more bytes than can be counted");
    return ST_OK;
}

static Status parse_offsets(const StFile *f, const json_t *value, StTensor *t)
{
    int64_t begin = 0, end = 0, width = (int64_t)dtypes[t->dtype].size;
    if (json_array_size(value) != 2 || !natural(json_array_get(value, 0), &begin) ||
        !natural(json_array_get(value, 1), &end))
        return fault(ST_USAGE, f, t, "needs data_offsets, two integers from 0 on");
    if (begin > end || (uint64_t)end > f->data_size)
        return fault(ST_USAGE, f, t, "bytes %" PRId64 " to %" PRId64 "; allowed are 0 to %zu",
                     begin, end, f->data_size);
    if ((uint64_t)(end - begin) != t->size)
        return fault(ST_USAGE, f, t, "has %" PRId64 " bytes; its dtype and shape take %zu",
                     end - begin, t->size);
    if (begin % width != 0)
        return fault(ST_UNSUPPORTED, f, t,
                     "begins at byte %" PRId64 "; only multiples of its %" PRId64
                     "-byte elements are readable",
                     begin, width);
    t->offset = (size_t)begin;
    return ST_OK;
}

static Status parse_metadata(const StFile *f, json_t *map)
{
    if (!json_is_object(map))
        return FAIL(ST_USAGE, "%s: " METADATA " is no object of strings", f->path);
    for (void *it = json_object_iter(map); it != NULL; it = json_object_iter_next(map, it))
        if (!json_is_string(json_object_iter_value(it)))
            return FAIL(ST_USAGE, "%s: " METADATA " '%s' is no string", f->path,
                        shown(json_object_iter_key(it)).text);
    return ST_OK;
}

static Status parse_tensor(const StFile *f, const char *name, const json_t *value, StTensor *t)
{
    t->name = name;
    TRY(parse_dtype(f, json_object_get(value, "dtype"), t));
    TRY(parse_shape(f, json_object_get(value, "shape"), t));
    return parse_offsets(f, json_object_get(value, "data_offsets"), t);
}

static int by_place(const void *a, const void *b)
{
    const StTensor *s = a, *t = b;
    if (s->offset != t->offset)
        return s->offset < t->offset ? -1 : 1;
    return (s->size > t->size) - (s->size < t->size); /* an empty one fits before any other */
}

/* The tensors must cover the data exactly. */
static Status check_places(StFile *f)
{
    size_t end = 0;
    qsort(f->tensor, (size_t)f->n_tensors, sizeof *f->tensor, by_place);
    for (const StTensor *t = f->tensor; t < f->tensor + f->n_tensors; t++) {
        if (t->offset != end)
            return fault(ST_USAGE, f, t, "begins at byte %zu, %s; only %zu is allowed", t->offset,
                         t->offset > end ? "after a gap" : "inside another", end);
        end += t->size;
    }
    if (end != f->data_size)
        return FAIL(ST_USAGE, "%s: the tensors cover %zu of %zu bytes of data; all is required",
                    f->path, end, f->data_size);
    return ST_OK;
}

static Status parse_tensors(StFile *f)
{
    f->tensor = calloc(json_object_size(f->header) + 1, sizeof *f->tensor);
    if (f->tensor == NULL)
        return FAIL(ST_OOM, "%s: no memory for its list of tensors", f->path);
    for (void *it = json_object_iter(f->header); it != NULL;
         it = json_object_iter_next(f->header, it)) {
        const char *name = json_object_iter_key(it);
        json_t *value = json_object_iter_value(it);
        if (strcmp(name, METADATA) == 0)
            TRY(parse_metadata(f, value));
        else
            TRY(parse_tensor(f, name, value, &f->tensor[f->n_tensors++]));
    }
    return check_places(f);
}

static Status parse_header(StFile *f, const char *text, size_t size)
{
    json_error_t error;
    f->header = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (f->header == NULL)
        return FAIL(ST_USAGE, "%s: bad JSON in its header: %s", f->path, shown(error.text).text);
    if (!json_is_object(f->header))
        return FAIL(ST_USAGE, "%s: its header is JSON but no object", f->path);
    return ST_OK;
}

/* Leaves `in` at the data, and f with header and data_size. */
static Status read_header(FILE *in, size_t file_size, StFile *f)
{
    uint64_t size = 0;
    if (file_size < sizeof size)
        return FAIL(ST_USAGE, "%s: %zu bytes are no safetensors file; it begins with %zu of length",
                    f->path, file_size, sizeof size);
    TRY(file_read(in, f->path, &size, sizeof size));
    size_t most = file_size - sizeof size;
    if (size > most || size > HEADER_MAX)
        return FAIL(ST_USAGE, "%s: claims a header of %" PRIu64 " bytes; at most %zu is allowed",
                    f->path, size, most < HEADER_MAX ? most : HEADER_MAX);
    f->data_size = most - size;
    char *text = malloc(size + 1);
    if (text == NULL)
        return FAIL(ST_OOM, "%s: no memory for its header of %" PRIu64 " bytes", f->path, size);
    Status st = file_read(in, f->path, text, size);
    if (st == ST_OK)
        st = parse_header(f, text, size);
    free(text);
    return st;
}

/* Checks everything before it makes room for the data: a hostile length costs no memory. */
static Status read_file(FILE *in, size_t file_size, StFile *f)
{
    TRY(read_header(in, file_size, f));
    TRY(parse_tensors(f));
    f->data = malloc(f->data_size + 1);
    if (f->data == NULL)
        return FAIL(ST_OOM, "%s: no memory for its %zu bytes of data", f->path, f->data_size);
    for (int i = 0; i < f->n_tensors; i++)
        f->tensor[i].data = (const char *)f->data + f->tensor[i].offset;
    return file_read(in, f->path, f->data, f->data_size);
}

static Status open_file(const char *path, StFile *f)
{
    FILE *in = NULL;
    size_t size = 0;
    TRY(file_open(path, &in, &size));
    f->path = strdup(path);
    Status st = f->path != NULL ? read_file(in, size, f) : FAIL(ST_OOM, "%s: no memory", path);
    fclose(in);
    return st;
}

Status st_open(const char *path, StFile *out)
{
    *out = (StFile){0};
    Status st = open_file(path, out);
    if (st != ST_OK)
        st_close(out);
    return st;
}

void st_close(StFile *f)
{
    json_decref(f->header);
    free(f->tensor);
    free(f->data);
    free(f->path);
    *f = (StFile){0};
}

/* ---- asking ---- */

const StTensor *st_find(const StFile *f, const char *name)
{
    for (int i = 0; i < f->n_tensors; i++)
        if (strcmp(f->tensor[i].name, name) == 0)
            return &f->tensor[i];
    return NULL;
}

const char *st_meta(const StFile *f, const char *key)
{
    return json_string_value(json_object_get(json_object_get(f->header, METADATA), key));
}

/* A dtype and shape such as "F32 (256,64)". */
static Shown shape_text(StDtype dtype, int rank, const int64_t dim[])
{
    Shown out;
    size_t n = (size_t)snprintf(out.text, sizeof out.text, "%s (", dtypes[dtype].name);
    for (int i = 0; i < rank && n < sizeof out.text; i++)
        n += (size_t)snprintf(out.text + n, sizeof out.text - n, i > 0 ? ",%" PRId64 : "%" PRId64,
                              dim[i]);
    if (n < sizeof out.text)
        snprintf(out.text + n, sizeof out.text - n, ")");
    return out;
}

Status st_get(const StFile *f, const char *name, StDtype dtype, int rank, const int64_t dim[],
              const void **data)
{
    CHECK((unsigned)dtype < N_SAFE_DTYPES && rank >= 0 && rank <= SAFE_MAX_RANK);
    const StTensor *t = st_find(f, name);
    if (t == NULL)
        return FAIL(ST_USAGE, "%s: has no tensor '%s'", f->path, name);
    bool same = t->dtype == dtype && t->rank == rank;
    for (int i = 0; same && i < rank; i++)
        same = t->dim[i] == dim[i];
    if (!same)
        return fault(ST_USAGE, f, t, "is %s where %s is needed",
                     shape_text(t->dtype, t->rank, t->dim).text, shape_text(dtype, rank, dim).text);
    *data = t->data;
    return ST_OK;
}

static bool finite_at(const StTensor *t, size_t i)
{
    if (t->dtype == SAFE_F32)
        return isfinite(((const float *)t->data)[i]);
    return t->dtype != SAFE_F64 || isfinite(((const double *)t->data)[i]);
}

Status st_check_finite(const StFile *f)
{
    for (const StTensor *t = f->tensor; t < f->tensor + f->n_tensors; t++)
        for (size_t i = 0; i < t->size / dtypes[t->dtype].size; i++)
            if (!finite_at(t, i))
                return fault(ST_NONFINITE, f, t, "element %zu is not finite", i);
    return ST_OK;
}

/* ---- writing ---- */

static size_t bytes_of(const StTensor *t)
{
    size_t bytes = 0;
    CHECK((unsigned)t->dtype < N_SAFE_DTYPES && t->rank >= 0 && t->rank <= SAFE_MAX_RANK);
    for (int i = 0; i < t->rank; i++)
        CHECK(t->dim[i] >= 0);
    CHECK(shape_bytes(t->dtype, t->rank, t->dim, &bytes));
    return bytes;
}

/* Puts a value under a new key. Fails: ST_USAGE; value is NULL when it was no UTF-8. */
static Status set_new(const char *path, json_t *object, const char *key, json_t *value)
{
    CHECK(json_object_get(object, key) == NULL);
    if (json_object_set_new(object, key, value) == 0)
        return ST_OK;
    return FAIL(ST_USAGE, "%s: name or text of '%s' is no UTF-8, or no memory", path,
                shown(key).text);
}

static json_t *entry_of(const StTensor *t, size_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer(t->dim[i]));
    size_t end = begin + bytes_of(t);
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtypes[t->dtype].name, "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* Tensors in file order: those of 8-byte elements, then 4, then 1; NULL after the last. */
static const StTensor **file_order(const StTensor *tensor, int n)
{
    const StTensor **order = calloc((size_t)n + 1, sizeof *order), **next = order;
    for (size_t width = ALIGN; order != NULL && width > 0; width /= 2)
        for (int i = 0; i < n; i++)
            if (dtypes[tensor[i].dtype].size == width)
                *next++ = &tensor[i];
    return order;
}

static Status fill_header(const char *path, const StTensor **order, const StMeta *meta, int n_meta,
                          json_t *header)
{
    json_t *map = json_object();
    TRY(set_new(path, header, METADATA, map));
    for (int i = 0; i < n_meta; i++)
        TRY(set_new(path, map, meta[i].key, json_string(meta[i].value)));
    size_t begin = 0;
    for (; *order != NULL; order++) {
        TRY(set_new(path, header, (*order)->name, entry_of(*order, begin)));
        begin += bytes_of(*order);
    }
    return ST_OK;
}

static Status write_file(const char *path, const char *header, const StTensor **order)
{
    Draft d;
    TRY(draft_open(path, &d));
    size_t size = strlen(header);
    uint64_t padded = (size + ALIGN - 1) / ALIGN * ALIGN;
    draft_put(&d, &padded, sizeof padded);
    draft_put(&d, header, size);
    draft_put(&d, "        ", padded - size);
    for (; *order != NULL; order++)
        draft_put(&d, (*order)->data, bytes_of(*order));
    return draft_close(&d);
}

static Status header_text(const char *path, const StTensor **order, const StMeta *meta, int n_meta,
                          char **out)
{
    json_t *header = json_object();
    Status st = fill_header(path, order, meta, n_meta, header);
    if (st == ST_OK)
        *out = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    return st != ST_OK || *out != NULL ? st : FAIL(ST_OOM, "%s: no memory for its header", path);
}

Status st_write(const char *path, const StTensor *tensor, int n_tensors, const StMeta *meta,
                int n_meta)
{
    const StTensor **order = file_order(tensor, n_tensors);
    if (order == NULL)
        return FAIL(ST_OOM, "%s: no memory to order %d tensors", path, n_tensors);
    char *header = NULL;
    Status st = header_text(path, order, meta, n_meta, &header);
    if (st == ST_OK)
        st = write_file(path, header, order);
    free(header);
    free(order);
    return st;
}
