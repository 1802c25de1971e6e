/* chunks_span.c - the two halves of a chunk's output: scores of a span, then a panel of columns. */
#include "kernels/cpu/chunks.h"
#include "kernels/cpu/rows.h"

/* row[0..n) = post relu(row)^2 for the first `see` scores, zeros behind them */
static void relu2(float *row, int see, int n, float post)
{
    vf zero = {0};
    for (int j = 0; j < see; j += VW) {
        vf x = vget(row + j, see - j);
        x = vselect(x <= zero, zero, x); /* a NaN stays one */
        vput(row + j, post * x * x, see - j);
    }
    for (int j = see; j < n; j++)
        row[j] = 0.0f;
}

static void scaled(float *dst, const float *src, int n, float c)
{
    for (int j = 0; j < n; j += VW)
        vput(dst + j, c * vget(src + j, n - j), n - j);
}

void CPU(chunks_scores)(const Chunks *a, const Span *s, int i0, int i1)
{
    int64_t ld = chunks_left(a);
    float *scores = s->left + i0 * ld + a->s;
    CPU(tile_mm)(i1 - i0, span_sees(a, s, s->first + i1), a->s,
                 a_rows(s->qq + (int64_t)i0 * a->s, a->s), b_packed(s->kpack, a->s), scores, ld,
                 TILE_SET);
    for (int i = i0; i < i1; i++) {
        int tile_end = min_int(i / MR * MR + MR, s->n); /* chunks_out reads MR rows as one */
        relu2(s->left + i * ld + a->s, span_sees(a, s, s->first + i + 1),
              span_sees(a, s, s->first + tile_end), (float)a->local_post);
        if (s->c != 0.0f)
            scaled(s->left + i * ld, s->ql + (int64_t)i * a->s, a->s, s->c);
    }
}

/* Asks for columns [0, NR) of some rows that the next products will touch: rows of o and v are far
 * apart, so the hardware does not foresee them. */
static void fetch(const float *p, int64_t ld, int rows)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < NR; j += 16)
            __builtin_prefetch(p + i * ld + j, 1);
}

void CPU(chunks_out)(const Chunks *a, const Span *s, int j, float *right, const float *ahead)
{
    int64_t ld = chunks_left(a);
    int n = min_int(NR, a->e - j);
    int skip = s->c == 0.0f ? a->s : 0; /* without M, ql is not in the left factor either */
    CPU(pack_rows)(NR, span_sees(a, s, s->first + s->n), n, s->v + j, a->e, 1.0f,
                   right + (int64_t)a->s * NR);
    TileB b = {right + (int64_t)skip * NR, NR, 0};
    for (int i = 0; i < s->n; i += MR) {
        int rows = min_int(MR, s->n - i);
        fetch(s->o + (int64_t)i * a->e + j, a->e, rows);
        if (ahead != NULL)
            fetch(ahead + (int64_t)i * a->e, a->e, rows);
        CPU(tile_mm)(rows, n, a->s - skip + span_sees(a, s, s->first + i + rows),
                     a_rows(s->left + i * ld + skip, ld), b, s->o + (int64_t)i * a->e + j, a->e,
                     TILE_SET);
    }
}
