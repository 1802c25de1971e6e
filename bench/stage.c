/* stage.c - see stage.h. */
#include "bench/stage.h"

#include <stdlib.h>

Status stage_open(Stage *s, Dev *d, const Case *c)
{
    *s = (Stage){.dev = d, .alone = c->level == LEVEL_KERNEL};
    return s->alone ? kernel_rig_init(&s->kernel, d, c) : rig_init(&s->rig, d, c);
}

void stage_close(Stage *s)
{
    if (s->dev != NULL && s->alone)
        kernel_rig_free(&s->kernel);
    else if (s->dev != NULL)
        rig_free(&s->rig);
    *s = (Stage){.dev = NULL};
}

/* The rig that steps: its own, or that of the whole case which a kernel's name stands for. */
static const Rig *rig_of(const Stage *s)
{
    return s->alone ? s->kernel.whole : &s->rig;
}

Status stage_run(Stage *s, int steps, double *seconds)
{
    return s->alone ? kernel_rig_run(&s->kernel, steps, seconds) : rig_run(&s->rig, steps, seconds);
}

int stage_unit(const Stage *s)
{
    const Rig *r = rig_of(s);
    return r != NULL ? rig_walk(r) : 1;
}

Cost stage_cost(const Stage *s)
{
    return s->alone ? kernel_rig_cost(&s->kernel) : rig_cost(&s->rig);
}

int64_t stage_params(const Stage *s)
{
    const Rig *r = rig_of(s);
    return r != NULL ? model_n_params(&r->m, false) : 0;
}

Status stage_check_finite(Stage *s)
{
    if (s->alone && s->kernel.whole == NULL)
        return ST_OK;
    return rig_check_finite(s->alone ? s->kernel.whole : &s->rig);
}

static Status add_bits(Dev *d, Buf from, size_t size, SHA2_CTX *sha)
{
    void *bits = malloc(size);
    if (bits == NULL)
        return FAIL(ST_OOM, "no memory for a result of %zu bytes", size);
    Status st = dev_read(d, bits, from, size);
    SHA256Update(sha, bits, size);
    free(bits);
    return st;
}

/* What the kernel wrote, operand by operand. */
static Status add_outputs(const KernelRig *r, SHA2_CTX *sha)
{
    for (int i = 0; i < r->plan.n; i++) {
        Role role = r->plan.operand[i].role;
        if (role == ROLE_OUTPUT || role == ROLE_SUM)
            TRY(add_bits(r->dev, r->set[0][i], r->set[0][i].size, sha));
    }
    return ST_OK;
}

Status stage_hash(const Stage *s, char hex[SHA256_DIGEST_STRING_LENGTH])
{
    const Rig *r = rig_of(s);
    SHA2_CTX sha;
    SHA256Init(&sha);
    Status st = r != NULL
                    ? add_bits(r->dev, r->result, (size_t)r->n_result * dev_real(r->dev), &sha)
                    : add_outputs(&s->kernel, &sha);
    SHA256End(&sha, hex);
    return st;
}
