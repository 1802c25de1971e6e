/* timer.c - time between two marks: on the stream where the backend has such marks, else on the
 * host's clock. */
#include "kernels/device.h"

#include <stdlib.h>

struct Timer {
    Dev *dev;
    double start;
    void *mark[2]; /* of a backend that has them */
};

Status timer_new(Dev *d, Timer **out)
{
    const Backend *b = dev_backend(d);
    Timer *t = calloc(1, sizeof *t);
    *out = t;
    if (t == NULL)
        return FAIL(ST_OOM, "no memory for a timer");
    t->dev = d;
    for (int i = 0; i < 2 && b->mark_new != NULL; i++)
        if ((t->mark[i] = b->mark_new(dev_context(d))) == NULL) {
            timer_free(t);
            *out = NULL;
            return FAIL(ST_OOM, "no memory for a timer of the %s backend", b->name);
        }
    return ST_OK;
}

void timer_free(Timer *t)
{
    for (int i = 0; t != NULL && i < 2; i++)
        if (t->mark[i] != NULL)
            dev_backend(t->dev)->mark_free(dev_context(t->dev), t->mark[i]);
    free(t);
}

Status timer_start(Timer *t)
{
    const Backend *b = dev_backend(t->dev);
    if (b->mark_new != NULL)
        return b->mark(dev_context(t->dev), t->mark[0]);
    TRY(dev_sync(t->dev));
    t->start = b->now(dev_context(t->dev));
    return ST_OK;
}

Status timer_stop(Timer *t, double *seconds)
{
    const Backend *b = dev_backend(t->dev);
    void *ctx = dev_context(t->dev);
    if (b->mark_new != NULL) {
        TRY(b->mark(ctx, t->mark[1]));
        return b->between(ctx, t->mark[0], t->mark[1], seconds);
    }
    TRY(dev_sync(t->dev));
    *seconds = b->now(ctx) - t->start;
    return ST_OK;
}
