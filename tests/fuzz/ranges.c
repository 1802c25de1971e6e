/* ranges.c - numbers, lengths and names as the command line takes them. Whatever is accepted lies
 * in its range. */
#include "bench/parse.h"
#include "tests/fuzz/input.h"

#include <stdlib.h>

static void lengths(const char *text)
{
    Lengths l;
    if (parse_lengths(text, "--n", &l) != ST_OK)
        return;
    CHECK(l.n >= 1 && l.n <= MAX_LENGTHS);
    for (int i = 0; i < l.n; i++)
        CHECK(l.v[i] >= (i == 0 ? 1 : l.v[i - 1] + 1) && l.v[i] < INT64_C(1) << 31);
}

static void numbers(const char *text)
{
    int64_t size;
    int whole;
    uint64_t seed;
    double seconds;
    if (parse_size(text, "--memory", 5, INT64_C(1) << 40, &size) == ST_OK)
        CHECK(size >= 5 && size <= INT64_C(1) << 40);
    if (parse_int(text, "--width", 1, 1 << 20, &whole) == ST_OK)
        CHECK(whole >= 1 && whole <= 1 << 20);
    if (parse_seconds(text, "--time", 0.5, &seconds) == ST_OK)
        CHECK(seconds >= 0.5);
    (void)!parse_u64(text, "--seed", &seed);
}

static void names(const char *text)
{
    static const char *const known[] = {"vanilla", "gau", "gau_alpha", "flash_linear", NULL};
    int index;
    uint64_t mask;
    if (parse_name(text, "variant", known, &index) == ST_OK)
        CHECK(index >= 0 && index < 4);
    if (parse_names(text, "variant", known, &mask) == ST_OK)
        CHECK(mask != 0 && mask < 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = input_text(data, size);
    lengths(text);
    numbers(text);
    names(text);
    free(text);
    return 0;
}
