/* kernel_rig.c - see kernel_rig.h. */
#include "bench/kernel_rig.h"

#include "kernels/rng.h"

#include <stdlib.h>

/* ---- operands ---- */
static Status fill_reals(Dev *d, const Operand *o, Buf b, uint64_t seed, int place)
{
    float *x = malloc((size_t)o->n * sizeof *x);
    if (x == NULL)
        return FAIL(ST_OOM, "no memory for %lld numbers", (long long)o->n);
    rng_fill_uniform(x, o->n, 1.0, seed, RNG_INPUT + (uint32_t)place, 0);
    Status st = dev_write_f32(d, b, 0, x, o->n);
    free(x);
    return st;
}

static Status fill_ids(Dev *d, const Operand *o, Buf b, uint64_t seed, int place)
{
    int32_t *x = malloc((size_t)o->n * sizeof *x);
    if (x == NULL)
        return FAIL(ST_OOM, "no memory for %lld ids", (long long)o->n);
    for (int64_t i = 0; i < o->n; i++)
        x[i] = (int32_t)(rng_bits(seed, RNG_INPUT + (uint32_t)place, (uint64_t)i) %
                         (uint32_t)o->limit);
    Status st = dev_write(d, b, x, (size_t)o->n * sizeof *x);
    free(x);
    return st;
}

static Status fill(const KernelRig *r, int place, Buf b)
{
    const Operand *o = &r->plan.operand[place];
    if (dev_is_dry(r->dev))
        return ST_OK;
    switch (o->role) {
    case ROLE_INPUT:
        return fill_reals(r->dev, o, b, r->c.seed, place);
    case ROLE_IDS:
        return fill_ids(r->dev, o, b, r->c.seed, place);
    default: /* outputs, too: their pages are touched before anything is timed */
        return dev_kernels(r->dev)->fill(r->dev, o->n, 0.0, b.ptr);
    }
}

static size_t operand_bytes(const KernelRig *r, int i)
{
    const Operand *o = &r->plan.operand[i];
    return (size_t)o->n * (o->role == ROLE_IDS ? sizeof(int32_t) : dev_real(r->dev));
}

static int64_t set_bytes(const KernelRig *r)
{
    int64_t sum = 0;
    for (int i = 0; i < r->plan.n; i++)
        sum += (int64_t)operand_bytes(r, i);
    return sum;
}

static void pointers(const KernelRig *r, int set, void *p[KERNEL_MAX_OPERANDS])
{
    for (int i = 0; i < KERNEL_MAX_OPERANDS; i++)
        p[i] = r->set[set][i].ptr;
}

static void drop_set(KernelRig *r, int set)
{
    for (int i = 0; i < KERNEL_MAX_OPERANDS; i++)
        dev_free(r->dev, &r->set[set][i]);
}

static Status make_set(KernelRig *r)
{
    void *p[KERNEL_MAX_OPERANDS];
    int set = r->n_sets++;
    for (int i = 0; i < r->plan.n; i++) {
        TRY(dev_alloc(r->dev, operand_bytes(r, i), MEM_INPUT, &r->set[set][i]));
        TRY(fill(r, i, r->set[set][i]));
    }
    pointers(r, set, p);
    return r->kernel->prepare != NULL && r->c.pass == PASS_BWD
               ? r->kernel->prepare(r->dev, &r->shape, p)
               : ST_OK;
}

/* ---- building ---- */
static Status init_whole(KernelRig *r, Dev *d)
{
    Case inner = r->c;
    r->kernel->whole(&r->shape, &inner);
    r->whole = calloc(1, sizeof *r->whole);
    return r->whole != NULL ? rig_init(r->whole, d, &inner) : FAIL(ST_OOM, "no memory for a rig");
}

Status kernel_rig_init(KernelRig *r, Dev *d, const Case *c)
{
    *r = (KernelRig){.c = *c, .kernel = kernel_find(c->variant)};
    if (r->kernel == NULL)
        return FAIL(ST_USAGE, "there is no kernel '%s'", c->variant);
    TRY(kernel_shape(c, &r->shape));
    if (c->width % c->heads != 0)
        return FAIL(ST_SHAPE, "%d heads do not divide the width %d", c->heads, c->width);
    if (r->kernel->whole != NULL)
        return init_whole(r, d);
    r->dev = d;
    r->kernel->plan(&r->shape, &r->plan);
    TRY(timer_new(d, &r->timer));
    return make_set(r);
}

void kernel_rig_free(KernelRig *r)
{
    if (r->whole != NULL)
        rig_free(r->whole);
    free(r->whole);
    for (int i = 0; i < r->n_sets; i++)
        drop_set(r, i);
    timer_free(r->timer);
    *r = (KernelRig){.kernel = NULL};
}

Status kernel_rig_rotate(KernelRig *r, int64_t cache)
{
    if (r->whole != NULL)
        rig_rotate(r->whole, cache);
    if (r->whole != NULL || !r->kernel->cold || r->c.hot || dev_is_dry(r->dev))
        return ST_OK;
    r->flushes = dev_flushes(r->dev);
    if (r->flushes)
        return ST_OK;
    int64_t want = min64(KERNEL_MAX_SETS, 1 + ceil_div(2 * cache, set_bytes(r)));
    while (r->n_sets < want)
        TRY(make_set(r));
    return ST_OK;
}

int64_t kernel_rig_rotated(const KernelRig *r)
{
    if (r->whole != NULL)
        return rig_rotated_bytes(r->whole);
    return r->n_sets > 1 ? r->n_sets * set_bytes(r) : 0;
}

int64_t kernel_rig_flushed(const KernelRig *r)
{
    return r->whole != NULL ? r->whole->flushed : r->flushed;
}

/* ---- running ---- */
static Status run_calls(KernelRig *r, int calls, double *seconds)
{
    void *p[KERNEL_MAX_OPERANDS];
    if (r->flushes)
        TRY(dev_flush(r->dev, &r->flushed));
    TRY(timer_start(r->timer));
    for (int i = 0; i < calls; i++) {
        pointers(r, (int)(r->step++ % r->n_sets), p);
        TRY(r->kernel->run(r->dev, &r->shape, p));
    }
    return timer_stop(r->timer, seconds);
}

Status kernel_rig_run(void *rig, int calls, double *seconds)
{
    KernelRig *r = rig;
    if (r->whole != NULL)
        return rig_run(r->whole, calls, seconds);
    *seconds = 0;
    for (int done = 0; done < calls;) {
        int now = r->flushes ? 1 : calls;
        double some = 0;
        TRY(run_calls(r, now, &some));
        *seconds += some;
        done += now;
    }
    return ST_OK;
}

Cost kernel_rig_cost(const KernelRig *r)
{
    return r->whole != NULL ? rig_cost(r->whole) : kernel_cost(&r->plan, dev_real(r->dev));
}

int64_t kernel_rig_tokens(const KernelRig *r)
{
    bool one = r->c.pass == PASS_DECODE;
    return r->whole != NULL ? rig_tokens(r->whole) : one ? r->c.batch : r->shape.rows;
}
