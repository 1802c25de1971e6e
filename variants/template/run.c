/* run.c - the stages of a mixer in a row, choices kept and replayed, and where draws begin. */
#include "kernels/rng.h"
#include "variants/template/mixer.h"

#include <string.h>

RngAt mix_rng(const MixIn *in, int which)
{
    const MixCtx *c = in->ctx;
    uint64_t step = c->training ? (uint64_t)c->step : 0;
    CHECK(which >= 0 && which < 16 && in->layer >= 0 && in->layer < 1 << 20);
    return (RngAt){c->seed, step << 36, RNG_DRAW + (uint32_t)in->layer * 16 + (uint32_t)which};
}

void choices_free(Dev *d, Choices *ch)
{
    for (int i = 0; i < MIX_MAX_PARTS; i++)
        tensor_free(d, &ch->part[i]);
}

static Status save_choice(Dev *d, Tensor *saved, const Tensor *made)
{
    if (made == NULL) {
        tensor_free(d, saved);
        return ST_OK;
    }
    CHECK(made->dtype == I32);
    if (saved->buf.size != made->buf.size) {
        tensor_free(d, saved);
        TRY(tensor_new(d, saved, I32, MEM_ACT, made->rank, made->dim));
    }
    saved->rank = made->rank; /* as many numbers may have another shape */
    memcpy(saved->dim, made->dim, sizeof saved->dim);
    return dev_copy(d, saved->buf, made->buf, made->buf.size);
}

typedef void ChooseFn(Tape *t, const MixIn *in, Parts *parts);

/* Later stages always read the saved copies, which outlive the tape's. */
static void choose(Tape *t, ChooseFn *fn, unsigned which, const MixIn *in, Choices *ch,
                   Parts *parts)
{
    CHECK(ch != NULL);
    bool replay = ch->frozen || tape_is_rerun(t);
    if (!replay)
        fn(t, in, parts);
    for (int i = 0; i < MIX_MAX_PARTS; i++)
        if (which & 1u << i) {
            if (!replay && tape_status(t) == ST_OK)
                tape_fail(t, save_choice(tape_dev(t), &ch->part[i], parts->p[i]));
            if (replay || tape_status(t) == ST_OK) /* else the tape's, which has a shape */
                parts->p[i] = ch->part[i].buf.ptr != NULL ? &ch->part[i] : NULL;
        }
}

/* What has to outlive a stage: some parts, and what the stage returned. */
static int kept(const Parts *parts, unsigned which, Tensor *last, Tensor *keep[])
{
    int n = 0;
    for (int i = 0; i < MIX_MAX_PARTS; i++)
        if (which & 1u << i)
            keep[n++] = parts->p[i];
    keep[n++] = last;
    return n;
}

Tensor *mixer_run(Tape *t, const Mixer *m, const MixIn *in, Choices *ch, Tensor *x)
{
    Tensor *keep[MIX_MAX_PARTS + 1];
    Parts parts = {{0}};
    int mark = tape_mark(t);
    m->project(t, in, x, &parts);
    if (m->choose != NULL)
        choose(t, m->choose, m->choice_parts, in, ch, &parts);
    tape_release(t, mark, keep, kept(&parts, ~0u, NULL, keep));
    Tensor *mixed = m->mix(t, in, &parts);
    tape_release(t, mark, keep, kept(&parts, m->finish_parts, mixed, keep));
    Tensor *y = m->finish(t, in, &parts, mixed, x);
    tape_release(t, mark, keep, kept(&parts, 0, y, keep));
    return y;
}

Tensor *channel_run(Tape *t, const ChannelMixer *m, const MixIn *in, Choices *ch, Tensor *x)
{
    Tensor *keep[MIX_MAX_PARTS + 1];
    Parts parts = {{0}};
    int mark = tape_mark(t);
    if (m->prepare != NULL)
        m->prepare(t, in, x, &parts);
    if (m->choose != NULL)
        choose(t, m->choose, m->choice_parts, in, ch, &parts);
    tape_release(t, mark, keep, kept(&parts, ~0u, NULL, keep));
    Tensor *y = m->forward(t, in, &parts, x);
    tape_release(t, mark, keep, kept(&parts, 0, y, keep));
    return y;
}
