/* text.c - a corpus in memory, and the sequences cut from it. */
#include "datasets/text.h"

#include "datasets/file.h"

#include <Random123/philox.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>

static const char *const split_names[N_TEXT_SPLITS] = {"train", "valid", "test"};

/* Cumulative hundredths of the file at which the splits begin and end. */
static const size_t percent[N_TEXT_SPLITS + 1] = {0, 70, 74, 100};

static Status read_data(FILE *in, size_t size, Text *t)
{
    if (size < TEXT_MIN_BYTES)
        return FAIL(ST_USAGE, "%s: %zu bytes are too few for a text; the minimum is %d", t->path,
                    size, TEXT_MIN_BYTES);
    t->data = malloc(size);
    if (t->data == NULL)
        return FAIL(ST_OOM, "%s: no memory for its %zu bytes", t->path, size);
    t->size = size;
    return file_read(in, t->path, t->data, size);
}

static Status load(const char *path, Text *t)
{
    FILE *in = NULL;
    size_t size = 0;
    TRY(file_open(path, &in, &size));
    t->path = strdup(path);
    Status st = t->path != NULL ? read_data(in, size, t) : FAIL(ST_OOM, "%s: no memory", path);
    fclose(in);
    TRY(st);
    for (int s = 0; s <= N_TEXT_SPLITS; s++)
        t->begin[s] = t->size / 100 * percent[s] + t->size % 100 * percent[s] / 100;
    SHA256Data(t->data, t->size, t->sha256);
    return ST_OK;
}

Status text_load(const char *path, Text *out)
{
    *out = (Text){0};
    Status st = load(path, out);
    if (st != ST_OK)
        text_free(out);
    return st;
}

void text_free(Text *t)
{
    free(t->path);
    free(t->data);
    *t = (Text){0};
}

const char *text_split_name(TextSplit s)
{
    CHECK((unsigned)s < N_TEXT_SPLITS);
    return split_names[s];
}

TextSpan text_split(const Text *t, TextSplit s)
{
    CHECK((unsigned)s < N_TEXT_SPLITS);
    return (TextSpan){t->data + t->begin[s], t->begin[s + 1] - t->begin[s]};
}

Status text_span(const Text *t, TextSplit s, size_t offset, size_t size, TextSpan *out)
{
    TextSpan all = text_split(t, s);
    if (offset > all.size || size > all.size - offset)
        return FAIL(ST_SHAPE, "%s: its %s part has %zu bytes; %zu from byte %zu were asked for",
                    t->path, split_names[s], all.size, size, offset);
    *out = (TextSpan){all.data + offset, size};
    return ST_OK;
}

/* Row i of a batch: len bytes from p, and the same one later. */
static void put_row(const uint8_t *p, int i, int len, int32_t *inputs, int32_t *targets)
{
    for (int j = 0; j < len; j++) {
        inputs[(size_t)i * len + j] = p[j];
        targets[(size_t)i * len + j] = p[j + 1];
    }
}

/* A number below n from 64 random bits; the bias is under n / 2^64. */
static size_t draw(uint64_t seed, uint64_t step, TextSplit s, int row, size_t n)
{
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    philox4x32_ctr_t at = {{(uint32_t)row, (uint32_t)s, (uint32_t)step, (uint32_t)(step >> 32)}};
    philox4x32_ctr_t bits = philox4x32(at, key);
    return (size_t)(((uint64_t)bits.v[1] << 32 | bits.v[0]) % n);
}

Status text_sample(const Text *t, TextShape shape, uint64_t seed, uint64_t step, int32_t *inputs,
                   int32_t *targets)
{
    CHECK(shape.batch > 0 && shape.len > 0);
    TextSpan span, all = text_split(t, shape.split);
    TRY(text_span(t, shape.split, 0, (size_t)shape.len + 1, &span));
    for (int i = 0; i < shape.batch; i++) {
        size_t at = draw(seed, step, shape.split, i, all.size - (size_t)shape.len);
        put_row(all.data + at, i, shape.len, inputs, targets);
    }
    return ST_OK;
}

size_t text_n_windows(const Text *t, TextSplit s, int len)
{
    CHECK(len > 0);
    size_t size = text_split(t, s).size;
    return size > 0 ? (size - 1) / (size_t)len : 0;
}

Status text_windows(const Text *t, TextShape shape, size_t first, int32_t *inputs, int32_t *targets)
{
    CHECK(shape.batch > 0);
    size_t n = text_n_windows(t, shape.split, shape.len), batch = (size_t)shape.batch;
    if (first > n || batch > n - first)
        return FAIL(ST_SHAPE, "%s: its %s part has %zu windows of %d; %zu from %zu were asked for",
                    t->path, split_names[shape.split], n, shape.len, batch, first);
    const uint8_t *p = text_split(t, shape.split).data + first * (size_t)shape.len;
    for (int i = 0; i < shape.batch; i++)
        put_row(p + (size_t)i * shape.len, i, shape.len, inputs, targets);
    return ST_OK;
}
