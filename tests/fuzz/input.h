/* input.h - a fuzzer's bytes as text and as a file. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy that ends in a zero byte; free it. */
char *input_text(const uint8_t *data, size_t size);

/* A file in memory with these bytes, at a path; the next call replaces it. */
const char *input_file(const uint8_t *data, size_t size);

#endif
