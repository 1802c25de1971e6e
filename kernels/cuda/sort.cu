/* sort.cu - CUB's radix sort of 32-bit keys with 32-bit values.
 *
 * A pass for every 8 bits of the key; each reads and writes all pairs: 16 n bytes a pass, and a
 * pass over the keys before them, 4 n. For n = 2^23 and 14 bits on an H100 (computed, 3.35 TB/s):
 * 0.09 ms. Storage: a second room for the pairs and counts, 8 n bytes and a little. CUB's passes
 * agree on their places by integers only, so the result has one order. No host synchronisation. */
#include "kernels/cuda/sort.cuh"

#include <cub/device/device_radix_sort.cuh>

static cudaError_t radix_sort(Cuda *c, const Sort &s, size_t *size)
{
    return cub::DeviceRadixSort::SortPairs(s.room, *size, s.key, s.sorted_key, s.value, s.sorted,
                                           s.n, 0, s.bits, c->stream);
}

Status sort_room(Dev *d, int64_t n, int bits, size_t *size)
{
    Sort s = {};
    s.n = n, s.bits = bits;
    CHECK(n > 0 && bits > 0 && bits <= 32);
    return cuda_check(cuda_of(d), radix_sort(cuda_of(d), s, size), "room for a sort");
}

Status sort_pairs(Dev *d, const char *op, const Sort &s)
{
    size_t size = s.room_size;
    return cuda_launched(cuda_of(d), radix_sort(cuda_of(d), s, &size), op);
}
