/* law_equals.c - with the options it names, a mixer equals another one. */
#include "tests/law.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- with these options, that other mixer ---- */
/* A word of a list: "mine" of "mine=theirs" that ends in `theirs`; the parameter's own name where
 * none does. */
static void mapped(const char *map, const char *theirs, char *mine, size_t size)
{
    const char *dot = strrchr(theirs, '.') + 1;
    snprintf(mine, size, "%s", theirs);
    for (const char *item = map; item != NULL && *item != '\0'; item += strspn(item, " ")) {
        const int len = (int)strcspn(item, " "), name = (int)strcspn(item, "=");
        if (strncmp(item + name + 1, dot, (size_t)(len - name - 1)) == 0 &&
            dot[len - name - 1] == '\0')
            snprintf(mine, size, "%.*s%.*s", (int)(dot - theirs), theirs, name, item);
        item += len;
    }
}

static void copy_params(const Stand *from, Stand *to, const char *map)
{
    for (int i = 0; i < to->m.n_params; i++) {
        char name[PARAM_NAME];
        Tensor *a = &to->m.param[i].t;
        double *x = room(tensor_size(a));
        mapped(map, to->m.param[i].name, name, sizeof name);
        for (int j = 0; j < from->m.n_params; j++)
            if (strcmp(from->m.param[j].name, name) == 0) {
                CHECK(dev_read_f64(from->d, x, from->m.param[j].t.buf, 0, tensor_size(a)) == ST_OK);
                CHECK(dev_write_f64(to->d, a->buf, 0, x, tensor_size(a)) == ST_OK);
            }
        free(x);
    }
}

static bool listed(const char *list, const char *param)
{
    const char *name = strrchr(param, '.') + 1;
    const size_t len = strlen(name);
    for (const char *at = list; at != NULL && (at = strstr(at, name)) != NULL; at += len)
        if ((at == list || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

/* Ones on the diagonal, or in the first row of taps. */
static void set_eyes(Stand *r, const char *list)
{
    for (int i = 0; i < r->m.n_params; i++) {
        Tensor *t = &r->m.param[i].t;
        if (!listed(list, r->m.param[i].name))
            continue;
        const int64_t n = tensor_size(t), width = t->dim[1];
        double *x = room(n);
        for (int64_t j = 0; j < width; j++)
            x[t->dim[0] == width ? j * width + j : j] = 1;
        CHECK(dev_write_f64(r->d, t->buf, 0, x, n) == ST_OK);
        free(x);
    }
}

static double equal_at(const Variant *v, const Equal *e, const char *backend)
{
    Stand a, b;
    Variant other = *v; /* all else is the same */
    other.mixer = e->other;
    other.mixer_set = NULL;
    Setting s = setting_small(v, backend), o = setting_small(&other, backend);
    s.len = o.len = e->len;
    s.n_norm = o.n_norm = e->n_norm;
    s.causal = o.causal = e->causal;
    snprintf(s.set, sizeof s.set, "%s", e->set);
    snprintf(o.set, sizeof o.set, "%s", e->other_set);
    stand_open(&a, &s);
    stand_open(&b, &o);
    set_eyes(&a, e->eye);
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
