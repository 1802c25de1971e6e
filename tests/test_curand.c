/* test_curand.c - our random stream against NVIDIA's: cuRAND's host generator, which needs no GPU.
 *
 * Both are Philox4x32-10 with the seed as key. Its generator deals blocks of four words to 65536
 * subsequences in turn: block b is number b / 65536 of subsequence b mod 65536, which is our stream
 * of that number. Skipped, visibly, where the library is not installed. */
#include "kernels/rng.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* The part of cuRAND that is used; results are 0 for success. */
enum { PHILOX = 161, SUBSEQUENCES = 65536 };
typedef int Create(void **g, int kind);
typedef int SetNumber(void *g, unsigned long long number);
typedef int Words(void *g, unsigned *out, size_t n);
typedef int Uniform(void *g, float *out, size_t n);
typedef int Destroy(void *g);

typedef struct Curand {
    void *lib;
    Create *create;
    SetNumber *seed, *offset;
    Words *words;
    Uniform *uniform;
    Destroy *destroy;
} Curand;

static void *opened(void)
{
    char at_home[512];
    const char *home = getenv("CUDA_HOME");
    snprintf(at_home, sizeof at_home, "%.400s/lib64/libcurand.so.10", home != NULL ? home : "");
    const char *const paths[] = {"libcurand.so.10", at_home,
                                 "/usr/local/cuda/lib64/libcurand.so.10"};
    void *lib = NULL;
    for (int i = 0; i < COUNT(paths) && lib == NULL; i++)
        lib = dlopen(paths[i], RTLD_NOW | RTLD_LOCAL);
    return lib;
}

static Curand curand(void)
{
    Curand c = {.lib = opened()};
    if (c.lib == NULL)
        cr_skip_test("no libcurand.so.10 here");
    *(void **)&c.create = dlsym(c.lib, "curandCreateGeneratorHost");
    *(void **)&c.seed = dlsym(c.lib, "curandSetPseudoRandomGeneratorSeed");
    *(void **)&c.offset = dlsym(c.lib, "curandSetGeneratorOffset");
    *(void **)&c.words = dlsym(c.lib, "curandGenerate");
    *(void **)&c.uniform = dlsym(c.lib, "curandGenerateUniform");
    *(void **)&c.destroy = dlsym(c.lib, "curandDestroyGenerator");
    cr_assert(c.create != NULL && c.seed != NULL && c.offset != NULL && c.words != NULL &&
              c.uniform != NULL && c.destroy != NULL);
    return c;
}

/* A generator whose first block is block `number` of all streams. */
static void *generator(const Curand *c, uint64_t seed, uint64_t number)
{
    void *g = NULL;
    cr_assert(c->create(&g, PHILOX) == 0 && c->seed(g, seed) == 0 &&
              c->offset(g, number * SUBSEQUENCES * 4) == 0);
    return g;
}

static const struct {
    uint64_t seed, number;
} places[] = {{0, 0}, {1, 7}, {UINT64_C(0x123456789abcdef), 0}, {~UINT64_C(0), UINT64_C(1) << 33}};

enum { ROUNDS = 3, N = ROUNDS * SUBSEQUENCES * 4 };

/* Of element i of what the generator makes: our word. */
static uint32_t ours(int place, int i)
{
    uint64_t number = places[place].number + (uint64_t)(i / 4 / SUBSEQUENCES);
    uint32_t stream = (uint32_t)(i / 4 % SUBSEQUENCES);
    return rng_bits(places[place].seed, stream, 4 * number + (uint64_t)(i % 4));
}

Test(curand, has_our_words, .timeout = 60)
{
    Curand c = curand();
    unsigned *x = malloc(N * sizeof *x);
    cr_assert_not_null(x);
    for (int p = 0; p < COUNT(places); p++) {
        int wrong = 0;
        void *g = generator(&c, places[p].seed, places[p].number);
        cr_assert_eq(c.words(g, x, N), 0);
        for (int i = 0; i < N; i++)
            wrong += x[i] != ours(p, i);
        cr_expect_eq(wrong, 0, "place %d: %d of %d words differ", p, wrong, (int)N);
        c.destroy(g);
    }
    free(x);
}

/* Its uniform numbers are those words, x 2^-32 + 2^-33 in single precision. */
Test(curand, has_our_uniform_numbers_bit_for_bit, .timeout = 60)
{
    Curand c = curand();
    float *x = malloc(N * sizeof *x);
    cr_assert_not_null(x);
    for (int p = 0; p < COUNT(places); p++) {
        int wrong = 0, far = 0;
        void *g = generator(&c, places[p].seed, places[p].number);
        cr_assert_eq(c.uniform(g, x, N), 0);
        for (int i = 0; i < N; i++) {
            uint32_t word = ours(p, i);
            double exact = ((double)word + 0.5) * 0x1p-32; /* rng_uniform */
            wrong += x[i] != (float)word * 0x1p-32f + 0x1p-33f;
            far += !((double)x[i] - exact <= 0x1p-24 && exact - (double)x[i] <= 0x1p-24);
        }
        cr_expect(wrong == 0 && far == 0, "place %d: %d differ, %d are not rng_uniform's", p, wrong,
                  far);
        c.destroy(g);
    }
    free(x);
}
