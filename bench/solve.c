/* solve.c - exhaustive search over a few thousand shapes; see solve.h. */
#include "bench/solve.h"

#include <math.h>

int64_t solve_ends(const ModelSpec *s)
{
    BlockSlot slot[MODEL_ENDS];
    int64_t sum = 0;
    for (int i = 0, n = model_end_slots(s, slot); i < n; i++)
        if (model_is_end(slot[i].name))
            sum += slot_size(&slot[i].slot);
    return sum;
}

int64_t solve_count(const ModelSpec *s)
{
    BlockSlot slot[BLOCK_MAX_PARAMS + MODEL_ENDS];
    int n = block_params(s->variant, &s->ctx, slot);
    int64_t block = 0, end = 0;
    for (int i = 0; i < n; i++)
        block += slot_size(&slot[i].slot);
    n = model_end_slots(s, slot);
    for (int i = 0; i < n; i++)
        if (!model_is_end(slot[i].name))
            end += slot_size(&slot[i].slot);
    return block * (s->blocks > 0 ? s->blocks : s->layers * s->variant->blocks_per_layer) + end;
}

int solve_heads(int width)
{
    int heads = (width + 16) / 32;
    if (heads < 1)
        return 1;
    while (heads > 1 && (width % heads != 0 || width / heads % 2 != 0))
        heads--;
    return heads;
}

/* How far from the usual shape; smaller is better. */
static double oddness(const ModelSpec *s, int ffn_default, int64_t params)
{
    double aspect = log((double)s->ctx.width / (64.0 * s->layers));
    double stretch = log((double)s->ctx.ffn / ffn_default);
    double missing = 1.0 - (double)solve_count(s) / (double)params;
    return fabs(aspect) + 4 * fabs(stretch) + 20 * missing;
}

/* Of what the channel width has to be a multiple: 8, and what the channel mixer wants. */
static int ffn_multiple(const ModelSpec *s)
{
    const ChannelMixer *f = s->variant->channel;
    int want = f != NULL && f->ffn_multiple != NULL ? f->ffn_multiple(&s->ctx) : 1, m = want;
    while (m % 8 != 0)
        m += want;
    return m;
}

/* The largest channel width with which the model still fits; 0: none. Counts are linear in it, so
 * two of them tell. */
static int largest_ffn(ModelSpec s, int64_t params)
{
    int m = ffn_multiple(&s);
    s.ctx.ffn = m;
    int64_t one = solve_count(&s);
    s.ctx.ffn = 2 * m;
    int64_t more = solve_count(&s) - one;
    if (more == 0) /* no channel width to choose */
        return one <= params ? m : 0;
    return one <= params ? (int)(m * (1 + (params - one) / more)) : 0;
}

Status solve_size(ModelSpec *s, const char *set, int64_t params)
{
    ModelSpec best = *s;
    double least = HUGE_VAL;
    for (int layers = 1; layers <= 48; layers++)
        for (int width = 16; width <= 8192; width += 16) {
            ModelSpec try = *s;
            try.layers = layers;
            try.ctx.width = width;
            try.ctx.heads = solve_heads(width);
            try.ctx.ffn = 0;
            TRY(mix_options(s->variant, set, &try.ctx));
            int usual = try.ctx.ffn;
            try.ctx.ffn = largest_ffn(try, params);
            if (try.ctx.ffn < usual / 2)
                break; /* wider ones leave even less */
            if (try.ctx.ffn > 2 * usual)
                continue;
            double odd = oddness(&try, usual, params);
            if (odd < least && (double)solve_count(&try) > 0.98 * (double)params) {
                least = odd;
                best = try;
            }
        }
    if (isinf(least))
        return FAIL(ST_USAGE, "no %s model has %lld parameters (try from 20000 up)",
                    s->variant->name, (long long)params);
    *s = best;
    return ST_OK;
}

/* ---- the same number as another recipe ---- */

/* The channel width, a multiple of 16, with which the count at this width is nearest. */
static Status nearest_ffn(ModelSpec *s, const char *set, int64_t params, double *off)
{
    s->ctx.ffn = 0;
    TRY(mix_options(s->variant, set, &s->ctx));
    int m = ffn_multiple(s), usual = s->ctx.ffn;
    m = m % 16 == 0 ? m : 2 * m;
    ModelSpec one = *s, two = *s;
    one.ctx.ffn = m;
    two.ctx.ffn = 2 * m;
    int64_t step = solve_count(&two) - solve_count(&one);
    int64_t n = step > 0 ? (params - solve_count(&one) + step / 2) / step : usual / m - 1;
    s->ctx.ffn = m * (int)(1 + max64(0, min64(n, (1 << 20) / m - 1)));
    *off = fabs((double)solve_count(s) / (double)params - 1);
    return ST_OK;
}

Status solve_match(ModelSpec *s, const char *set, int64_t params)
{
    const int start = s->ctx.width;
    ModelSpec best = *s;
    double least = HUGE_VAL;
    for (int i = 0; i < 2 * (start / 32) + 1 && least > 0.01; i++) { /* 0, +16, -16, +32 ... */
        ModelSpec try = *s;
        double off;
        try.ctx.width = (start + 8) / 16 * 16 + (i % 2 == 1 ? 1 : -1) * 16 * ((i + 1) / 2);
        if (try.ctx.width % try.ctx.heads != 0 || try.ctx.width / try.ctx.heads % 2 != 0)
            continue;
        TRY(nearest_ffn(&try, set, params, &off));
        if (mix_accepts(s->variant, &try.ctx) == ST_OK && off < least) {
            least = off;
            best = try;
        }
    }
    if (least > 0.01)
        return FAIL(ST_USAGE,
                    "no sizes of %s near width %d have %lld parameters within 1 %%: the nearest "
                    "is %.1f %% off",
                    s->variant->name, start, (long long)params, 100 * least);
    *s = best;
    return ST_OK;
}
