/* mma.cc - products of the tensor cores: every lane's fragment is put in its place, the matrices
 * are multiplied in float32, and every lane gets its share back. */
#include "tests/cuda_emu/emu.h"
#include "tests/cuda_emu/round.h"

namespace emu
{
uint32_t pack_bf16(float low, float high)
{
    const float x[2] = {round_bf16(low), round_bf16(high)};
    uint32_t bits[2];
    memcpy(bits, x, sizeof bits);
    return bits[0] >> 16 | (bits[1] & 0xffff0000u);
}

/* cvt.rna: to nearest, ties away from zero. */
uint32_t to_tf32(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return (b & 0x7fffffffu) >= 0x7f800000u ? b : (b + 0x1000u) & ~0x1fffu;
}

struct Fragments {
    float *c;
    const uint32_t *a, *b;
};

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static float low(uint32_t pair)
{
    return float_of(pair << 16);
}
static float high(uint32_t pair)
{
    return float_of(pair & 0xffff0000u);
}

/* C (16,8) += A (16,k) B (k,8). The hardware drops the low bits of what is not tf32. */
static void multiply(void **deposit, const float *A, const float *B, int k)
{
    for (int lane = 0; lane < 32; lane++) {
        float *c = ((Fragments *)deposit[lane])->c;
        for (int i = 0; i < 4; i++) {
            const int row = lane / 4 + 8 * (i / 2), col = 2 * (lane % 4) + i % 2;
            float sum = 0;
            for (int j = 0; j < k; j++)
                sum += A[row * k + j] * B[j * 8 + col];
            c[i] += sum;
        }
    }
}

static void finish_bf16(void **deposit, unsigned, void *)
{
    float A[16 * 16], B[16 * 8];
    for (int lane = 0; lane < 32; lane++) {
        const Fragments *f = (Fragments *)deposit[lane];
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++) {
            float *at = A + (g + 8 * (i % 2)) * 16 + 2 * t + 8 * (i / 2);
            at[0] = low(f->a[i]), at[1] = high(f->a[i]);
        }
        for (int i = 0; i < 2; i++) {
            float *at = B + (2 * t + 8 * i) * 8 + g;
            at[0] = low(f->b[i]), at[8] = high(f->b[i]);
        }
    }
    multiply(deposit, A, B, 16);
}

static void finish_tf32(void **deposit, unsigned, void *)
{
    float A[16 * 8], B[8 * 8];
    for (int lane = 0; lane < 32; lane++) {
        const Fragments *f = (Fragments *)deposit[lane];
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++)
            A[(g + 8 * (i % 2)) * 8 + t + 4 * (i / 2)] = float_of(f->a[i] & ~0x1fffu);
        for (int i = 0; i < 2; i++)
            B[(t + 4 * i) * 8 + g] = float_of(f->b[i] & ~0x1fffu);
    }
    multiply(deposit, A, B, 8);
}

void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2], const char *file, int line)
{
    Fragments f = {c, a, b};
    collective(~0u, MMA_BF16, &f, finish_bf16, nullptr, file, line);
    asm volatile("" : : : "memory"); /* c was written by another lane */
}

void mma_tf32(float c[4], const uint32_t a[4], const uint32_t b[2], const char *file, int line)
{
    Fragments f = {c, a, b};
    collective(~0u, MMA_TF32, &f, finish_tf32, nullptr, file, line);
    asm volatile("" : : : "memory");
}
} // namespace emu
