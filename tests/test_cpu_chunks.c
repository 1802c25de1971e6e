/* test_cpu_chunks.c - mixed chunk attention of the cpu backend against its definition in kernels.h,
 * pair by pair in double. */
#include "tests/cpu_chunks.h"

#include <criterion/criterion.h>
#include <stdio.h>

static Status chunks_fwd(Dev *d, const void *a)
{
    return dev_kernels(d)->chunks_fwd(d, a);
}
static Status chunks_bwd(Dev *d, const void *a)
{
    return dev_kernels(d)->chunks_bwd(d, a);
}

/* wanted: bits of the gradients that are asked for. */
static void expect_chunks(Dev *d, Chunks a, int wanted)
{
    char what[128];
    a = random_chunks(a);
    int64_t ns = a.batch * a.len * a.s, ne = a.batch * a.len * a.e;
    Want w = want_of(&a);
    snprintf(what, sizeof what, "T %ld C %d S %d E %d causal %d mean %d lens %d wanted %d%s",
             (long)a.len, a.chunk, a.s, a.e, a.causal, a.lin_mean,
             a.lens != NULL ? (int)a.lens[0] : -1, wanted, a.bias != NULL ? ", bias" : "");
    cpu_expect(d, chunks_fwd, &a, &(Out){a.o, ne, w.o, CHUNKS_TOL}, 1, what);
    a.dqq = wanted & 1 ? a.dqq : NULL, a.dkq = wanted & 2 ? a.dkq : NULL;
    a.dql = wanted & 4 ? a.dql : NULL, a.dkl = wanted & 8 ? a.dkl : NULL;
    a.dv = wanted & 16 ? a.dv : NULL;
    a.d_bias = wanted & 32 ? a.d_bias : NULL;
    Out outs[] = {
        {a.dqq, ns, w.dqq, CHUNKS_TOL}, {a.dkq, ns, w.dkq, CHUNKS_TOL},
        {a.dql, ns, w.dql, CHUNKS_TOL}, {a.dkl, ns, w.dkl, CHUNKS_TOL},
        {a.dv, ne, w.dv, CHUNKS_TOL},   {a.d_bias, 2 * (int64_t)a.chunk - 1, w.d_bias, CHUNKS_TOL}};
    cpu_expect(d, chunks_bwd, &a, outs, COUNT(outs), what);
    pool_free();
}

static const int64_t lengths[] = {1, 3, 4, 5, 8, 13, 64, 65, 130};
static const int chunks[] = {4, 16, 64}, s_sizes[] = {2, 8, 24, 128}, e_sizes[] = {2, 10, 64, 130};

/* Every length and chunk with both normalisers and both directions; S and E take turns. */
static void sizes(Dev *d)
{
    int n = 0;
    for (int t = 0; t < COUNT(lengths); t++)
        for (int c = 0; c < COUNT(chunks); c++)
            for (int flags = 0; flags < 4; flags++, n++) {
                Chunks a = {.batch = 1 + n % 2,
                            .len = lengths[t],
                            .chunk = chunks[c],
                            .s = s_sizes[n % COUNT(s_sizes)],
                            .e = e_sizes[n / 4 % COUNT(e_sizes)],
                            .causal = flags & 1,
                            .lin_mean = flags & 2,
                            .bias_scale = n % 3 == 0 ? 0.6 : 0};
                expect_chunks(d, a, 63);
            }
}

Test(cpu_chunks, sizes)
{
    each_isa(sizes);
}

/* All S with all E, on three chunks and a rest. */
static void widths(Dev *d)
{
    for (int i = 0; i < COUNT(s_sizes); i++)
        for (int j = 0; j < COUNT(e_sizes); j++)
            for (int causal = 0; causal < 2; causal++) {
                Chunks a = {.batch = 2,
                            .len = 53,
                            .chunk = 16,
                            .s = s_sizes[i],
                            .e = e_sizes[j],
                            .causal = causal,
                            .lin_mean = true};
                expect_chunks(d, a, 31);
            }
}

Test(cpu_chunks, widths)
{
    each_isa(widths);
}

static void ragged(Dev *d)
{
    static const int32_t lens[][3] = {{0, 1, 50}, {16, 17, 49}, {31, 60, 0}};
    for (int i = 0; i < COUNT(lens); i++)
        for (int flags = 0; flags < 4; flags++) {
            Chunks a = {.batch = 3,
                        .len = 50,
                        .chunk = 16,
                        .s = 8,
                        .e = 34,
                        .lens = lens[i],
                        .causal = flags & 1,
                        .lin_mean = flags & 2,
                        .bias_scale = i * 0.3};
            expect_chunks(d, a, 63);
        }
}

Test(cpu_chunks, ragged)
{
    each_isa(ragged);
}

static void null_gradients(Dev *d)
{
    for (int wanted = 0; wanted < 64; wanted++) {
        Chunks a = {.batch = 1, .len = 21, .chunk = 8, .s = 6, .e = 12, .causal = wanted % 3 > 0};
        a.bias_scale = wanted & 32 ? 0.5 : 0;
        expect_chunks(d, a, wanted);
    }
}

Test(cpu_chunks, null_gradients)
{
    each_isa(null_gradients);
}

/* So large a chunk that scores are made in several steps of one chunk; whole chunks, several steps;
 * and states so large that a group holds few chunks and one batch row. */
static void several_steps(Dev *d)
{
    static const Chunks cases[] = {{.batch = 3, .len = 1250, .chunk = 1100, .s = 8, .e = 10},
                                   {.batch = 1, .len = 1500, .chunk = 700, .s = 6, .e = 10},
                                   {.batch = 2, .len = 147, .chunk = 16, .s = 256, .e = 1024}};
    static const int32_t lens[] = {1205, 1250, 600};
    for (int i = 0; i < COUNT(cases); i++)
        for (int causal = 0; causal < 2; causal++) {
            Chunks a = cases[i];
            a.causal = causal;
            a.lin_mean = true;
            a.lens = a.batch == 3 ? lens : NULL;
            a.bias_scale = i > 0 ? 0.5 : 0;
            expect_chunks(d, a, 63);
        }
}

Test(cpu_chunks, several_steps)
{
    each_isa(several_steps);
}
