/* test_rng.c - random numbers are a pure function of (seed, stream, offset), are Philox4x32-10, and
 * look uniform and normal. */
#include "kernels/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef void Fill(float *x, int64_t n, double sd, uint64_t seed, uint32_t stream, uint64_t offset);

static Fill *const fills[] = {rng_fill_uniform, rng_fill_normal};
static const char *const fill_names[] = {"uniform", "normal"};

static float *drawn(int kind, int64_t n, uint64_t seed, uint32_t stream, uint64_t offset)
{
    float *x = malloc((size_t)n * sizeof *x);
    cr_assert_not_null(x);
    fills[kind](x, n, 1.0, seed, stream, offset);
    return x;
}

/* ---- Philox4x32-10 (Salmon 2011, section 3.3), written again from the paper ---- */
static void philox(const uint32_t ctr[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4], k[2] = {key[0], key[1]};
    memcpy(c, ctr, sizeof c);
    for (int round = 0; round < 10; round++) {
        uint64_t a = UINT64_C(0xD2511F53) * c[0], b = UINT64_C(0xCD9E8D57) * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
        memcpy(c, next, sizeof c);
        k[0] += 0x9E3779B9;
        k[1] += 0xBB67AE85;
    }
    memcpy(out, c, sizeof c);
}

/* The answers that come with Random123 (kat_vectors, philox4x32 10). */
Test(rng, philox_gives_the_known_answers)
{
    static const struct {
        uint32_t ctr[4], key[2], want[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < COUNT(known); i++) {
        uint32_t got[4];
        philox(known[i].ctr, known[i].key, got);
        cr_expect_eq(memcmp(got, known[i].want, sizeof got), 0, "answer %d", i);
    }
    for (uint64_t i = 0; i < 4; i++)
        cr_expect_eq(rng_bits(0, 0, i), known[0].want[i]);
}

Test(rng, bits_are_words_of_philox_blocks)
{
    static const uint64_t seeds[] = {0, 1, 0x299f31d0a4093822, UINT64_MAX};
    static const uint32_t streams[] = {0, RNG_WEIGHTS + 3, RNG_STATE, UINT32_MAX};
    static const uint64_t offsets[] = {0, 5, 1000003, (uint64_t)1 << 34, UINT64_MAX - 2};
    for (int s = 0; s < COUNT(seeds); s++)
        for (int t = 0; t < COUNT(streams); t++)
            for (int o = 0; o < COUNT(offsets); o++) {
                uint64_t block = offsets[o] / 4;
                uint32_t ctr[4] = {(uint32_t)block, (uint32_t)(block >> 32), streams[t], 0};
                uint32_t key[2] = {(uint32_t)seeds[s], (uint32_t)(seeds[s] >> 32)}, want[4];
                philox(ctr, key, want);
                cr_expect_eq(rng_bits(seeds[s], streams[t], offsets[o]), want[offsets[o] % 4]);
            }
}

/* ---- purity ---- */
enum { MANY = 200003 }; /* enough for threads to be used */

Test(rng, same_bits_for_any_number_of_threads)
{
    for (int kind = 0; kind < COUNT(fills); kind++) {
        omp_set_num_threads(1);
        float *one = drawn(kind, MANY, 7, RNG_INPUT, 13);
        for (int threads = 2; threads <= 5; threads++) {
            omp_set_num_threads(threads);
            float *x = drawn(kind, MANY, 7, RNG_INPUT, 13);
            cr_expect_eq(memcmp(one, x, MANY * sizeof *x), 0, "%s, %d threads", fill_names[kind],
                         threads);
            free(x);
        }
        free(one);
    }
}

Test(rng, same_bits_however_the_stream_is_cut)
{
    for (int kind = 0; kind < COUNT(fills); kind++) {
        float *whole = drawn(kind, MANY, 3, 5, 0), *cut = malloc(MANY * sizeof *cut);
        int64_t n = 1;
        for (int64_t at = 0; at < MANY; at += n) {
            n = min64(1 + at * 3 % 70001, MANY - at);
            fills[kind](cut + at, n, 1.0, 3, 5, (uint64_t)at);
        }
        cr_expect_eq(memcmp(whole, cut, MANY * sizeof *cut), 0, "%s", fill_names[kind]);
        free(whole);
        free(cut);
    }
}

Test(rng, offsets_beyond_32_bits_go_on)
{
    const uint64_t far = ((uint64_t)1 << 34) - 5; /* the block number passes 2^32 */
    for (int kind = 0; kind < COUNT(fills); kind++) {
        float *x = drawn(kind, 10, 1, 1, far), *y = drawn(kind, 5, 1, 1, far + 5);
        float *start = drawn(kind, 5, 1, 1, 0);
        cr_expect_eq(memcmp(x + 5, y, 5 * sizeof *y), 0);
        cr_expect_neq(memcmp(start, y, 5 * sizeof *y), 0, "block 2^32 repeats block 0");
        free(x);
        free(y);
        free(start);
    }
}

Test(rng, uniform_numbers_stay_inside)
{
    for (uint64_t i = 0; i < 100000; i++) {
        double u = rng_uniform(11, 0, i);
        cr_assert(u > 0.0 && u < 1.0);
        cr_assert_eq(u, ((double)rng_bits(11, 0, i) + 0.5) / 4294967296.0);
    }
}

/* ---- statistics: every bound is five standard errors ---- */
typedef struct Moments {
    double mean, sd, kurtosis, most;
} Moments;

static Moments moments(const float *x, int64_t n)
{
    double sum = 0, two = 0, four = 0, most = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)x[i] - mean;
        two += d * d / (double)n;
        four += d * d * d * d / (double)n;
        most = fmax(most, fabs((double)x[i]));
    }
    return (Moments){mean, sqrt(two), four / (two * two), most};
}

Test(rng, moments_are_those_of_the_distribution)
{
    static const double kurtosis[] = {1.8, 3.0}, spread[] = {1.0, 24.0}; /* variance of it * n */
    const double error = 5 / sqrt((double)MANY);
    for (int kind = 0; kind < COUNT(fills); kind++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            float *x = drawn(kind, MANY, seed, RNG_WEIGHTS, 1);
            Moments m = moments(x, MANY);
            cr_expect_lt(fabs(m.mean), error, "%s: mean %g", fill_names[kind], m.mean);
            cr_expect_lt(fabs(m.sd - 1), error, "%s: sd %g", fill_names[kind], m.sd);
            cr_expect_lt(fabs(m.kurtosis - kurtosis[kind]), error * sqrt(spread[kind]),
                         "%s: kurtosis %g", fill_names[kind], m.kurtosis);
            cr_expect(kind == 0 ? m.most <= sqrt(3.0) && m.most > 1.73
                                : m.most > 4 && m.most < 6.7);
            free(x);
        }
}

Test(rng, sd_is_a_factor)
{
    float x[64], y[64];
    for (int kind = 0; kind < COUNT(fills); kind++) {
        fills[kind](x, 64, 1.0, 2, 2, 0);
        fills[kind](y, 64, 0.25, 2, 2, 0);
        for (int i = 0; i < 64; i++)
            cr_expect_eq(y[i], 0.25f * x[i]); /* a power of two: exact */
    }
}

/* Correlation of two draws of n numbers with sd 1. */
static double correlation(const float *x, const float *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum / (double)n;
}

Test(rng, streams_seeds_and_neighbours_are_independent)
{
    const double error = 5 / sqrt((double)MANY);
    for (int kind = 0; kind < COUNT(fills); kind++) {
        float *x = drawn(kind, MANY, 1, RNG_WEIGHTS, 0);
        float *others[] = {drawn(kind, MANY, 1, RNG_WEIGHTS + 1, 0),
                           drawn(kind, MANY, 2, RNG_WEIGHTS, 0),
                           drawn(kind, MANY, (uint64_t)1 << 32 | 1, RNG_WEIGHTS, 0),
                           drawn(kind, MANY, 1, RNG_WEIGHTS, 1),
                           drawn(kind, MANY, 1, RNG_WEIGHTS, 2),
                           drawn(kind, MANY, 1, RNG_INPUT, 0)};
        for (int i = 0; i < COUNT(others); i++) {
            double r = correlation(x, others[i], MANY);
            cr_expect_lt(fabs(r), error, "%s: draw %d correlates by %g", fill_names[kind], i, r);
            free(others[i]);
        }
        free(x);
    }
}

/* Weights of a seed must not change from one version to the next. */
Test(rng, numbers_are_frozen)
{
    static const float uniform[] = {-1.19858825f, 0.807624876f, 0.771172941f, -0.908490837f};
    static const float normal[] = {-0.204514772f, -1.92348993f, 0.0620251149f, 0.803679466f};
    float x[4], y[4];
    rng_fill_uniform(x, 4, 1.0, 1, RNG_WEIGHTS, 6);
    rng_fill_normal(y, 4, 1.0, 1, RNG_WEIGHTS, 6);
    for (int i = 0; i < 4; i++) {
        cr_expect_float_eq(x[i], uniform[i], 1e-6f, "%.9g", (double)x[i]);
        cr_expect_float_eq(y[i], normal[i], 1e-6f, "%.9g", (double)y[i]);
    }
}
