/* fit.c - see fit.h. */
#include "bench/fit.h"

#include "bench/size.h"

#include <math.h>

static const double SHARE = 0.9, USUAL_FLOPS = 1e14;
enum { LEAST_WIDTH = 64, MOST_WIDTH = 2048, HEAD = 64, MILLION = 1 << 20 };

static bool in(uint64_t mask, int bit)
{
    return (mask >> bit & 1) != 0;
}

static int64_t longest(const Group *g)
{
    return g->n.n > 0 ? g->n.v[g->n.n - 1] : 1;
}

static int width_for(const FitTo *to, int64_t n)
{
    int width = LEAST_WIDTH;
    while (width < MOST_WIDTH && (double)n * (2.0 * width * FIT_FORWARD_BYTES + FIT_SHARED_BYTES) <=
                                     SHARE * (double)to->memory)
        width *= 2;
    return width;
}

int64_t fit_tokens(const FitTo *to, int width, int layers, int vocab, int64_t least, int64_t most)
{
    double weights = layers * 12.0 * width * width + 2.0 * vocab * width;
    double each = (double)FIT_TRAIN_BYTES * width * layers + (double)FIT_LOGIT_BYTES * vocab;
    double room = SHARE * (double)to->memory - FIT_PARAM_BYTES * weights;
    int64_t tokens = most;
    while (tokens > least && each * (double)tokens > room)
        tokens /= 2;
    return max64(tokens, least);
}

/* Tokens for all sizes of the group alike. */
static void fit_group(const FitTo *to, Group *g)
{
    int64_t tokens = g->step_tokens;
    for (int i = 0; size_table[i].name != NULL; i++)
        if (in(g->sizes, i))
            tokens = fit_tokens(to, size_table[i].width, size_table[i].layers, size_table[i].vocab,
                                min64(tokens, longest(g)), tokens);
    g->step_tokens = tokens;
}

void fit_sweep(const FitTo *to, Sweep *s)
{
    double slower = to->flops > 0 ? fmin(fmax(USUAL_FLOPS / to->flops, 0.25), 16) : 1;
    if ((s->fits & FIT_WIDTH) != 0) {
        s->width = width_for(to, MILLION);
        s->heads = s->width / HEAD;
    }
    for (int i = 0; i < s->n_groups && (s->fits & FIT_TOKENS) != 0; i++)
        fit_group(to, &s->group[i]);
    if ((s->fits & FIT_LIMITS) == 0)
        return;
    s->time_limit *= slower;
    s->training.time_limit *= slower;
    for (int i = 0; i < s->n_groups; i++)
        s->group[i].time_limit *= slower;
}
