/* device_radix_sort.cuh - stands in for CUB's header of this name: the one sort that is used.
 *
 * Like CUB's it is asked twice, first (without temporary storage) for the size of that storage. It
 * sorts when the stream runs, stably, and soils the storage that it was given. */
#ifndef LONGMIX_EMU_DEVICE_RADIX_SORT_CUH
#define LONGMIX_EMU_DEVICE_RADIX_SORT_CUH

#include "tests/cuda_emu/emu.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace cub
{
struct DeviceRadixSort {
    template <class K, class V, class N>
    static cudaError_t SortPairs(void *storage, size_t &size, const K *key, K *sorted_key,
                                 const V *value, V *sorted, N n, int begin_bit = 0,
                                 int end_bit = sizeof(K) * 8, cudaStream_t s = nullptr)
    {
        const size_t count = (size_t)n, keys = count * sizeof(K), values = count * sizeof(V);
        const size_t needs = keys + values + 1024; /* as CUB's: a second room for the pairs */
        if (storage == nullptr) {
            size = needs;
            return cudaSuccess;
        }
        if (size < needs || begin_bit < 0 || begin_bit >= end_bit || end_bit > (int)sizeof(K) * 8)
            return cudaErrorInvalidValue;
        const std::pair<const void *, size_t> room[] = {
            {storage, size}, {sorted_key, keys}, {sorted, values}, {key, keys}, {value, values}};
        for (int i = 0; i < 5; i++)
            for (int j = 0; j < 5; j++)
                if (!emu::inside_one(room[i].first, room[i].second) ||
                    (j < i && j < 3 && overlap(room[i], room[j])))
                    return cudaErrorInvalidValue;
        const unsigned bits = (unsigned)(end_bit - begin_bit);
        const K mask = (K)((bits < sizeof(K) * 8 ? (K)1 << bits : (K)0) - 1);
        return emu::enqueue(s, [=] {
            emu::Reach reach;
            std::vector<std::pair<K, V>> all(count);
            for (size_t i = 0; i < count; i++)
                all[i] = {key[i], value[i]};
            std::stable_sort(all.begin(), all.end(), [=](const auto &a, const auto &b) {
                return (a.first >> begin_bit & mask) < (b.first >> begin_bit & mask);
            });
            memset(storage, 0xff, size);
            for (size_t i = 0; i < count; i++)
                sorted_key[i] = all[i].first, sorted[i] = all[i].second;
            return cudaSuccess;
        });
    }

  private:
    static bool overlap(std::pair<const void *, size_t> a, std::pair<const void *, size_t> b)
    {
        const char *x = (const char *)a.first, *y = (const char *)b.first;
        return x < y + b.second && y < x + a.second;
    }
};
} // namespace cub

#endif
