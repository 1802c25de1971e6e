/* sort.cuh - the stable sort of pairs: positions by bucket, rows by unit. */
#ifndef LONGMIX_CUDA_SORT_CUH
#define LONGMIX_CUDA_SORT_CUH

#include "kernels/cuda/cuda.cuh"

/* n pairs by the low `bits` bits of their keys; equal keys keep their order. */
struct Sort {
    int64_t n;
    int bits;
    const uint32_t *key;
    const int32_t *value;
    uint32_t *sorted_key;
    int32_t *sorted;
    void *room; /* of sort_room() bytes, which the caller counts in its scratch */
    size_t room_size;
};
Status sort_room(Dev *d, int64_t n, int bits, size_t *size);
Status sort_pairs(Dev *d, const char *op, const Sort &s);

/* Bits of the numbers 0 .. most. */
static inline int bits_of(int64_t most)
{
    int bits = 1;
    while (bits < 63 && most >> bits != 0)
        bits++;
    return bits;
}

#endif
