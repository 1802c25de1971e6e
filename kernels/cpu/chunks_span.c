/* chunks_span.c - how mixed chunk attention is cut into steps and spans, and the two halves of a
 * span's output: scores of some rows, then a panel of columns. */
#include "kernels/cpu/chunks.h"
#include "kernels/cpu/rows.h"

Cut CPU(cut_of)(const Chunks *a, int64_t base, int64_t len, int64_t floats_per_row)
{
    int64_t fit = STEP_FLOATS / floats_per_row, chunk = a->chunk;
    int64_t step = fit >= chunk ? min64(fit / chunk * chunk, len)
                                : min64(max64(fit, STEP_ROWS_MIN), min64(chunk, len));
    return (Cut){
        .a = a,
        .base = base,
        .len = len,
        .step = step,
        .group = max64(1, min64(a->batch, STEP_FLOATS / (step * floats_per_row))),
        .spans = (int)ceil_div(step, chunk),
    };
}

Step CPU(cut_step)(const Cut *c, int64_t b0, int64_t t0)
{
    int64_t chunk = c->a->chunk, t1 = min64(t0 + c->step, c->len);
    if (c->step < chunk)
        t1 = min64(t1, t0 / chunk * chunk + chunk);
    return (Step){b0, min64(b0 + c->group, c->a->batch), t0, t1,
                  (int)(ceil_div(t1, chunk) - t0 / chunk)};
}

Span CPU(cut_span)(const Cut *c, const Step *at, int64_t b, int q)
{
    const Chunks *a = c->a;
    int64_t begin = (at->t0 / a->chunk + q) * a->chunk; /* of the chunk */
    int64_t lo = max64(at->t0, begin), hi = min64(at->t1, begin + a->chunk);
    int64_t origin = b * a->len + c->base, position = a->pos + c->base + begin;
    return (Span){
        .row = origin + lo,
        .start = origin + begin,
        .at = (b - at->b0) * c->step + lo - at->t0,
        .slot = (b - at->b0) * c->spans + q,
        .first = (int)(lo - begin),
        .n = (int)(hi - lo),
        .keys = keys_from(a, b, position, min64(a->chunk, c->len - begin)),
        .c = chunks_factor(a, b, position / a->chunk),
    };
}

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

double CPU(chunks_scores)(const Chunks *a, const Span *s, const float *kpack, int i0, int i1,
                          float *left)
{
    int64_t ld = chunks_left(a);
    const float *qq = (const float *)a->qq + s->row * a->s;
    const float *ql = (const float *)a->ql + s->row * a->s;
    const int sees = span_sees(a, s, s->first + i1);
    tile_mm(i1 - i0, sees, a->s, a_rows(qq + (int64_t)i0 * a->s, a->s), b_packed(kpack, a->s),
            left + i0 * ld + a->s, ld, TILE_SET);
    for (int i = i0; i < i1; i++) {
        int tile_end = min_int(i / MR * MR + MR, s->n); /* chunks_out reads MR rows as one */
        if (a->bias != NULL)
            chunks_add_bias(a, s->first + i, span_sees(a, s, s->first + i + 1),
                            left + i * ld + a->s);
        relu2(left + i * ld + a->s, span_sees(a, s, s->first + i + 1),
              span_sees(a, s, s->first + tile_end), (float)a->local_post);
        if (s->c != 0.0f)
            row_scale(left + i * ld, ql + (int64_t)i * a->s, a->s, s->c);
    }
    return tile_flops(i1 - i0, sees, a->s);
}

double CPU(chunks_out)(const Chunks *a, const Span *s, const float *left, const float *v, int j,
                       float *right, const float *ahead)
{
    int64_t ld = chunks_left(a);
    int n = min_int(NR, a->e - j);
    int skip = s->c == 0.0f ? a->s : 0; /* without M, ql is not in the left factor either */
    float *o = (float *)a->o + s->row * a->e + j;
    TileB b = {right + (int64_t)skip * NR, NR, 0};
    pack_rows(NR, span_sees(a, s, s->first + s->n), n, v + j, a->e, 1.0f,
              right + (int64_t)a->s * NR);
    double flops = 0;
    for (int i = 0; i < s->n; i += MR) {
        int rows = min_int(MR, s->n - i), k = a->s - skip + span_sees(a, s, s->first + i + rows);
        tile_fetch(o + (int64_t)i * a->e, a->e, rows);
        if (ahead != NULL)
            tile_fetch(ahead + (int64_t)i * a->e, a->e, rows);
        tile_mm(rows, n, k, a_rows(left + i * ld + skip, ld), b, o + (int64_t)i * a->e, a->e,
                TILE_SET);
        flops += tile_flops(rows, n, k);
    }
    return flops;
}
