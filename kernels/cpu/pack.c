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

/* 4 x 4 transpositions side by side, one in every group of four lanes of r. */
static inline void transpose(vf r[4])
{
    const vf t0 = vlow(r[0], r[1]), t1 = vhigh(r[0], r[1]);
    const vf t2 = vlow(r[2], r[3]), t3 = vhigh(r[2], r[3]);
    r[0] = vlow2(t0, t2);
    r[1] = vhigh2(t0, t2);
    r[2] = vlow2(t1, t3);
    r[3] = vhigh2(t1, t3);
}

/* dst[p * width + j] = scale * src[j * ld + p] for `rows` rows j and k columns p; rows is VW, or 4
 * where that is less: the other lanes are then of no account. */
__attribute__((always_inline)) static inline void
columns(const int rows, int width, int k, const float *src, int64_t ld, float scale, float *dst)
{
    const vf s = vset(scale);
    int p = 0;
    for (; p + 4 <= k; p += 4, src += 4, dst += 4 * (int64_t)width) {
        vf r[4];
        for (int i = 0; i < 4; i++)
            r[i] = s * (rows == VW ? vload_4s(src + i * ld, 4 * ld) : vload4(src + i * ld));
        transpose(r);
        for (int i = 0; i < 4; i++)
            if (rows == VW)
                vstore(dst + (int64_t)i * width, r[i]);
            else
                vstore4(dst + (int64_t)i * width, r[i]);
    }
    for (; p < k; p++, src++, dst += width)
        for (int j = 0; j < rows; j++)
            dst[j] = scale * src[j * ld];
}

/* One panel of w <= width rows of src. */
static void panel_cols(int width, int k, int w, const float *src, int64_t ld, float scale,
                       float *dst)
{
    int j = 0;
    for (; j + VW <= w; j += VW)
        columns(VW, width, k, src + j * ld, ld, scale, dst + j);
    for (; j + 4 <= w; j += 4)
        columns(4, width, k, src + j * ld, ld, scale, dst + j);
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
