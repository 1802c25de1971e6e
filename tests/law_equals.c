/* law_equals.c - with the options it names, a mixer equals another one. */
#include "tests/law.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- with these options, that other mixer ---- */
static const Variant *variant_of(const Mixer *m)
{
    for (const Variant *const *v = variant_table; *v != NULL; v++)
        if ((*v)->mixer == m)
            return *v;
    CHECK(false);
    return NULL;
}

/* Name under which the other mixer has my parameter. */
static void mapped(const char *map, const char *mine, char *theirs, size_t size)
{
    const char *dot = strrchr(mine, '.') + 1, *hit = map != NULL ? strstr(map, dot) : NULL;
    size_t len = strlen(dot);
    snprintf(theirs, size, "%s", mine);
    if (hit == NULL || hit[len] != '=')
        return;
    int n = (int)strcspn(hit + len + 1, " ");
    snprintf(theirs, size, "%.*s%.*s", (int)(dot - mine), mine, n, hit + len + 1);
}

static void copy_params(const Stand *from, Stand *to, const char *map)
{
    for (int i = 0; i < from->m.n_params; i++) {
        char name[PARAM_NAME];
        Tensor *a = &from->m.param[i].t;
        double *x = room(tensor_size(a));
        mapped(map, from->m.param[i].name, name, sizeof name);
        CHECK(dev_read_f64(from->d, x, a->buf, 0, tensor_size(a)) == ST_OK);
        for (int j = 0; j < to->m.n_params; j++)
            if (strcmp(to->m.param[j].name, name) == 0)
                CHECK(dev_write_f64(to->d, to->m.param[j].t.buf, 0, x, tensor_size(a)) == ST_OK);
        free(x);
    }
}

static double equal_at(const Variant *v, const Equal *e, const char *backend)
{
    Stand a, b;
    Setting s = setting_small(v, backend), o = setting_small(variant_of(e->other), backend);
    s.len = o.len = e->len;
    s.n_norm = o.n_norm = e->n_norm;
    s.causal = o.causal = e->causal;
    snprintf(s.set, sizeof s.set, "%s", e->set);
    snprintf(o.set, sizeof o.set, "%s", e->other_set);
    stand_open(&a, &s);
    stand_open(&b, &o);
    copy_params(&a, &b, e->map);
    double *y = room(stand_size(&a)), *z = room(stand_size(&a));
    stand_forward(&a, y);
    stand_forward(&b, z);
    double most = worst(y, z, stand_size(&a));
    free(y);
    free(z);
    stand_close(&a);
    stand_close(&b);
    return most;
}

double law_equals(const Variant *v)
{
    double most = 0;
    for (const Equal *e = v->mixer->equals; e != NULL && e->set != NULL; e++)
        most = worse(most, worse(equal_at(v, e, "ref"), equal_at(v, e, "cpu")));
    return most;
}
