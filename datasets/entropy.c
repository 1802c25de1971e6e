/* entropy.c - conditional entropies by counting, and the size under xz. */
#include "datasets/entropy.h"

#include <lzma.h>
#include <math.h>
#include <stdlib.h>

enum { XZ_PRESET = 6, SYMBOLS = 256 };

/* n[context][byte] over the whole text; a context is the order bytes before, oldest first. */
static void count(const uint8_t *data, size_t size, int order, uint32_t *n)
{
    size_t mask = ((size_t)1 << 8 * (order + 1)) - 1, gram = 0;
    for (size_t i = 0; i < size; i++) {
        gram = (gram << 8 | data[i]) & mask;
        if (i >= (size_t)order)
            n[gram]++;
    }
}

static double n_log_n(double n)
{
    return n > 0 ? n * log2(n) : 0;
}

/* Bits to code every byte that followed one context, given how often each did. */
static double row_bits(const uint32_t n[SYMBOLS])
{
    double total = 0, bits = 0;
    for (int c = 0; c < SYMBOLS; c++) {
        total += n[c];
        bits -= n_log_n(n[c]);
    }
    return bits + n_log_n(total);
}

Status entropy_order(const uint8_t *data, size_t size, int order, double *bits)
{
    CHECK(order >= 0 && order <= ENTROPY_MAX_ORDER);
    if (size <= (size_t)order)
        return FAIL(ST_USAGE, "entropy of order %d of %zu bytes: one more is needed", order, size);
    if (size > UINT32_MAX)
        return FAIL(ST_UNSUPPORTED, "entropy of %zu bytes; at most %u are counted", size,
                    UINT32_MAX);
    size_t contexts = (size_t)1 << 8 * order;
    uint32_t *n = calloc(contexts * SYMBOLS, sizeof *n);
    if (n == NULL)
        return FAIL(ST_OOM, "entropy of order %d: no memory for the counts", order);
    count(data, size, order, n);
    double sum = 0;
    for (size_t i = 0; i < contexts; i++)
        sum += row_bits(n + i * SYMBOLS);
    free(n);
    *bits = sum / (double)(size - (size_t)order);
    return ST_OK;
}

Status entropy_xz(const uint8_t *data, size_t size, double *bits)
{
    if (size == 0)
        return FAIL(ST_USAGE, "xz size of no bytes");
    size_t bound = lzma_stream_buffer_bound(size), packed = 0;
    uint8_t *out = malloc(bound);
    lzma_ret ret = LZMA_MEM_ERROR;
    if (out != NULL)
        ret = lzma_easy_buffer_encode(XZ_PRESET, LZMA_CHECK_CRC64, NULL, data, size, out, &packed,
                                      bound);
    free(out);
    if (ret != LZMA_OK)
        return FAIL(ST_OOM, "xz of %zu bytes: liblzma reports error %d", size, (int)ret);
    *bits = 8 * (double)packed / (double)size;
    return ST_OK;
}
