/* text.h - a corpus: any file, read as bytes; vocabulary 256, one token a byte.
 *
 * Split by position, so that no part has seen another: the first 70 % train, 4 % validate, the
 * rest tests (26 %: a million bytes of the King James Bible, enough for one 1M-token stream).
 * A sequence of len tokens takes len + 1 bytes: inputs are the first len, targets the last len. */
#ifndef LONGMIX_TEXT_H
#define LONGMIX_TEXT_H

#include "kernels/base.h"

enum { TEXT_VOCAB = 256, TEXT_MIN_BYTES = 4096 };

typedef enum TextSplit { TEXT_TRAIN, TEXT_VALID, TEXT_TEST, N_TEXT_SPLITS } TextSplit;

/* A loaded file. Zero is a valid empty value; text_free gives back what text_load took. */
typedef struct Text {
    char *path;
    uint8_t *data;
    size_t size;                     /* bytes */
    size_t begin[N_TEXT_SPLITS + 1]; /* split s is data[begin[s]] up to data[begin[s + 1] - 1] */
    char sha256[65];                 /* of the whole file: 64 lower-case hexadecimal digits */
} Text;

/* Bytes of a text, borrowed from it. */
typedef struct TextSpan {
    const uint8_t *data;
    size_t size;
} TextSpan;

/* What a batch is: batch sequences of len tokens from one split. */
typedef struct TextShape {
    TextSplit split;
    int batch, len;
} TextShape;

/* Fails: ST_IO for what is no readable file; ST_USAGE for one under TEXT_MIN_BYTES; ST_OOM. */
Status text_load(const char *path, Text *out);
void text_free(Text *t);

const char *text_split_name(TextSplit s); /* "train", "valid", "test" */
TextSpan text_split(const Text *t, TextSplit s);

/* size contiguous bytes from offset of a split, for streaming. Fails: ST_SHAPE past its end. */
Status text_span(const Text *t, TextSplit s, size_t offset, size_t size, TextSpan *out);

/* Training batch number step: sequences at random offsets, a pure function of (seed, step, shape).
 * inputs, targets: (batch,len), the caller's. Fails: ST_SHAPE when the split is shorter than
 * len + 1. */
Status text_sample(const Text *t, TextShape shape, uint64_t seed, uint64_t step, int32_t *inputs,
                   int32_t *targets);

/* Evaluation: window w starts at byte w * len of its split, so every byte but the first is
 * predicted once. A tail shorter than len is left out. */
size_t text_n_windows(const Text *t, TextSplit s, int len);

/* Windows first up to first + batch - 1. Fails: ST_SHAPE past the last window. */
Status text_windows(const Text *t, TextShape shape, size_t first, int32_t *inputs,
                    int32_t *targets);

#endif
