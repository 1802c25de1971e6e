/* pack.c - operands laid out for the micro-kernel: panels, transposed panels, padded rows. */
#include <string.h>

#include "kernels/base.h"
#include "kernels/cpu/tile.h"

/* One panel of w <= width columns, k rows: whole vectors, whose ends the next row overwrites. */
__attribute__((always_inline)) static inline void
panel_rows(const int width, int k, int w, const float *src, int64_t ld, float scale, float *dst)
{
    for (int p = 0; p < k; p++, src += ld, dst += width)
        for (int j = 0; j < width; j += VW) {
            const int left = w - j < 0 ? 0 : w - j < VW ? w - j : VW;
            vf x = vset(scale) * (left == VW ? vload(src + j) : vload_n(src + j, left));
            if (width - j >= VW || p + 1 < k)
                vstore(dst + j, x);
            else
                vstore_n(dst + j, x, width - j);
        }
}

void CPU(pack_rows)(int width, int k, int n, const float *src, int64_t ld, float scale, float *dst)
{
    CHECK(width == NR || width == MR);
    for (int j = 0; j < n; j += width, dst += (int64_t)width * k) {
        if (n - j < width)
            panel_rows(width, k, n - j, src + j, ld, scale, dst);
        else if (width == NR)
            panel_rows(NR, k, NR, src + j, ld, scale, dst);
        else
            panel_rows(MR, k, MR, src + j, ld, scale, dst);
    }
}

/* dst[p * width + j] = scale * src[j * ld + p] for 4 rows j and k columns p. */
static void transpose4(int width, int k, const float *src, int64_t ld, float scale, float *dst)
{
    const __m128 s = _mm_set1_ps(scale);
    int p = 0;
    for (; p + 4 <= k; p += 4) {
        __m128 r0 = _mm_mul_ps(s, _mm_loadu_ps(src + p));
        __m128 r1 = _mm_mul_ps(s, _mm_loadu_ps(src + ld + p));
        __m128 r2 = _mm_mul_ps(s, _mm_loadu_ps(src + 2 * ld + p));
        __m128 r3 = _mm_mul_ps(s, _mm_loadu_ps(src + 3 * ld + p));
        _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
        float *d = dst + (int64_t)p * width;
        _mm_storeu_ps(d, r0);
        _mm_storeu_ps(d + width, r1);
        _mm_storeu_ps(d + 2 * width, r2);
        _mm_storeu_ps(d + 3 * width, r3);
    }
    for (; p < k; p++)
        for (int j = 0; j < 4; j++)
            dst[(int64_t)p * width + j] = scale * src[j * ld + p];
}

/* One panel of w <= width rows of src. */
static void panel_cols(int width, int k, int w, const float *src, int64_t ld, float scale,
                       float *dst)
{
    int j = 0;
    for (; j + 4 <= w; j += 4)
        transpose4(width, k, src + j * ld, ld, scale, dst + j);
    for (int p = 0; p < k && j < width; p++) {
        for (int i = j; i < w; i++)
            dst[(int64_t)p * width + i] = scale * src[i * ld + p];
        for (int i = w; i < width; i++)
            dst[(int64_t)p * width + i] = 0;
    }
}

void CPU(pack_cols)(int width, int k, int n, const float *src, int64_t ld, float scale, float *dst)
{
    for (int j = 0; j < n; j += width, dst += (int64_t)width * k)
        panel_cols(width, k, n - j < width ? n - j : width, src + j * ld, ld, scale, dst);
}

void CPU(copy_rows)(int64_t rows, int cols, const float *src, int64_t ld, float *dst,
                    int64_t dst_ld)
{
    const size_t pad = (size_t)(round_up(cols, NR) - cols);
    for (int64_t r = 0; r < rows; r++, src += ld, dst += dst_ld) {
        memcpy(dst, src, (size_t)cols * sizeof *dst);
        memset(dst + cols, 0, pad * sizeof *dst);
    }
}
