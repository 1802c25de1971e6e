/* sweep.c - from groups of axes to cases. */
#include "bench/sweep.h"

#include "bench/kernel.h"
#include "bench/size.h"
#include "bench/solve.h"
#include "variants/template/mixer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

VariantNames variant_names(void)
{
    VariantNames v = {{NULL}};
    for (int i = 0; variant_table[i] != NULL; i++) {
        CHECK(i < SWEEP_MAX_VARIANTS);
        v.name[i] = variant_table[i]->name;
    }
    return v;
}

KernelNames kernel_names(void)
{
    KernelNames k = {{NULL}};
    for (int i = 0; kernel_table[i] != NULL; i++) {
        CHECK(i < SWEEP_MAX_VARIANTS);
        k.name[i] = kernel_table[i]->name;
    }
    return k;
}

static bool in(uint64_t mask, int bit)
{
    return (mask >> bit & 1) != 0;
}

/* ---- options of variants ---- */

/* The items of a set that the variant knows. A shared --set may name options of several variants.
 */
static void own_set(const Variant *v, const char *set, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (const char *at = set + strspn(set, " "); *at != '\0'; at += strspn(at, " ")) {
        size_t len = strcspn(at, " "), key_len = strcspn(at, "= ");
        if (variant_option(v, at, key_len) != NULL && used + len + 2 <= size)
            used += (size_t)snprintf(out + used, size - used, "%s%.*s", used > 0 ? " " : "",
                                     (int)len, at);
        at += len;
    }
}

static uint64_t all_variants(const Sweep *s)
{
    uint64_t mask = s->training.tokens > 0 ? s->training.variants : 0;
    for (int i = 0; i < s->n_groups; i++)
        mask |= s->group[i].variants;
    return mask;
}

/* Every key must mean something to a variant of the sweep, every value must be allowed. */
static Status check_set(const Sweep *s)
{
    uint64_t mask = all_variants(s);
    for (const char *at = s->set + strspn(s->set, " "); *at != '\0'; at += strspn(at, " ")) {
        size_t len = strcspn(at, " "), key_len = strcspn(at, "= ");
        bool known = false;
        for (int i = 0; variant_table[i] != NULL; i++)
            known = known || (in(mask, i) && variant_option(variant_table[i], at, key_len) != NULL);
        if (!known)
            return FAIL(ST_USAGE,
                        "--set: no chosen variant has an option '%.*s'; `longmix list` shows them",
                        (int)key_len, at);
        at += len;
    }
    for (int i = 0; variant_table[i] != NULL; i++) {
        MixCtx c = {.width = s->width, .heads = s->heads};
        char own[sizeof s->set];
        own_set(variant_table[i], s->set, own, sizeof own);
        if (in(mask, i))
            TRY(mix_options(variant_table[i], own, &c));
    }
    return ST_OK;
}

Status sweep_check(const Sweep *s)
{
    if (s->width % s->heads != 0)
        return FAIL(ST_USAGE, "--heads %d does not divide --width %d", s->heads, s->width);
    if (s->match[0] != '\0' && strstr(s->set, "ffn=") != NULL)
        return FAIL(ST_USAGE, "--match-params chooses ffn; --set %s does, too", s->set);
    if (all_variants(s) == 0)
        return FAIL(ST_USAGE, "no variant is chosen");
    return check_set(s);
}

/* ---- points ---- */
typedef struct Cases {
    SweepCase *at;
    int n, cap;
} Cases;

static bool has(const Cases *l, const Case *c)
{
    char key[ROW_KEY_SIZE], other[ROW_KEY_SIZE];
    case_key(c, key, sizeof key);
    for (int i = 0; i < l->n; i++) {
        if (l->at[i].c.n != c->n || l->at[i].c.pass != c->pass)
            continue;
        case_key(&l->at[i].c, other, sizeof other);
        if (strcmp(key, other) == 0)
            return true;
    }
    return false;
}

static Status add(Cases *l, const Group *g, const Case *c)
{
    if (has(l, c))
        return ST_OK;
    if (l->n == l->cap) {
        int cap = l->cap > 0 ? 2 * l->cap : 64;
        SweepCase *grown = realloc(l->at, (size_t)cap * sizeof *grown);
        if (grown == NULL)
            return FAIL(ST_OOM, "no memory for %d points", cap);
        l->at = grown;
        l->cap = cap;
    }
    l->at[l->n++] = (SweepCase){*c, g->must, g->watch};
    return ST_OK;
}

const char *sweep_dtype(const Sweep *s)
{
    bool host = strcmp(s->backend, "cpu") == 0 || strcmp(s->backend, "auto") == 0;
    return s->math[0] != '\0'               ? s->math
           : strcmp(s->backend, "ref") == 0 ? "f64"
           : host                           ? "f32"
                                            : "bf16";
}

static Case base_case(const Sweep *s, const Variant *v)
{
    Case c = {.width = s->width,
              .heads = s->heads,
              .layers = s->layers,
              .batch = s->batch,
              .segment = s->segment,
              .threads = s->threads,
              .causal = s->causal,
              .hot = s->hot,
              .seed = s->seed,
              .time_limit = s->time_limit,
              .mem_limit = s->mem_limit};
    snprintf(c.variant, sizeof c.variant, "%s", v->name);
    snprintf(c.backend, sizeof c.backend, "%s", s->backend);
    snprintf(c.dtype, sizeof c.dtype, "%s", sweep_dtype(s));
    own_set(v, s->set, c.set, sizeof c.set);
    return c;
}

static ModelSpec layer_of(const Variant *v, int width, int heads)
{
    return (ModelSpec){
        .variant = v,
        .layers = 1,
        .ctx = {.batch = 1, .q_len = 1, .cap = 1, .n_norm = 1, .width = width, .heads = heads}};
}

/* Gives a case widths with which its layers have as many parameters as those of s->match. */
static Status match_params(const Sweep *s, const Variant *v, Case *c)
{
    const Variant *other = variant_find(s->match);
    char own[sizeof s->set];
    if (s->match[0] == '\0' || other == v)
        return ST_OK;
    ModelSpec want = layer_of(other, s->width, s->heads), got = layer_of(v, s->width, s->heads);
    own_set(other, s->set, own, sizeof own);
    TRY(mix_options(other, own, &want.ctx));
    got.ctx.causal = s->causal;
    TRY(solve_match(&got, c->set, solve_count(&want)));
    c->width = got.ctx.width;
    size_t at = strlen(c->set);
    int more =
        snprintf(c->set + at, sizeof c->set - at, "%sffn=%d", at > 0 ? " " : "", got.ctx.ffn);
    if (at + (size_t)more >= sizeof c->set)
        return FAIL(ST_USAGE, "--set: no room for ffn=%d of %s", got.ctx.ffn, v->name);
    return ST_OK;
}

/* Fields that do not matter for a case are fixed, so that equal cases have equal keys. */
static Case settled(const Sweep *s, const Group *g, Case c)
{
    const bool whole = c.pass == PASS_FWD || c.pass == PASS_BWD || c.pass == PASS_TRAIN;
    const int64_t tokens = s->step_tokens > 0 ? s->step_tokens : whole ? g->step_tokens : 0;
    if (tokens > 0)
        c.batch = max64(1, tokens / c.n);
    if (c.pass != PASS_PREFILL)
        c.segment = 0;
    else
        c.segment = min64(c.segment, c.n);
    if (c.level != LEVEL_MODEL)
        c.layers = 1;
    c.vocab = c.level == LEVEL_MODEL ? s->vocab : 0;
    if (g->time_limit > 0)
        c.time_limit = g->time_limit;
    return c;
}

/* The same case at each size that is wanted; as it is where none is. */
static Status add_sizes(Cases *l, const Sweep *s, const Group *g, const Case *c, const Variant *v)
{
    uint64_t sizes = s->sizes != 0 ? s->sizes : g->sizes;
    if (sizes == 0)
        return add(l, g, c);
    for (int i = 0; size_table[i].name != NULL; i++) {
        Case sized = *c;
        if (!in(sizes, i))
            continue;
        TRY(size_apply(&size_table[i], v, &sized));
        TRY(add(l, g, &sized));
    }
    return ST_OK;
}

static Status add_variant(Cases *l, const Sweep *s, const Group *g, const Variant *v)
{
    Case c = base_case(s, v);
    TRY(match_params(s, v, &c));
    bool naive = (variant_caps(v) & CAP_NAIVE) != 0 || g->asked;
    for (int level = 0; level < LEVEL_KERNEL; level++)
        for (int pass = 0; pass < PASSES; pass++)
            for (int impl = 0; impl < IMPLS; impl++)
                for (int i = 0; i < g->n.n; i++) {
                    if (!in(g->levels, level) || !in(g->passes, pass) || !in(g->impls, impl) ||
                        (impl == IMPL_NAIVE && !naive))
                        continue;
                    c.level = (Level)level;
                    c.pass = (Pass)pass;
                    c.impl = (Impl)impl;
                    c.n = g->n.v[i];
                    c.layers = s->layers;
                    c.batch = s->batch;
                    c.segment = s->segment;
                    Case one = settled(s, g, c);
                    TRY(add_sizes(l, s, g, &one, v));
                }
    return ST_OK;
}

/* ---- kernels ---- */
static const double SLOW_LIMIT = 60; /* seconds */

static bool has_length(const Lengths *l, int64_t n)
{
    for (int i = 0; i < l->n; i++)
        if (l->v[i] == n)
            return true;
    return false;
}

static bool wanted(const Group *g, const KernelCase *k)
{
    for (int i = 0; kernel_table[i] != NULL; i++)
        if (in(g->kernels, i) && strcmp(kernel_table[i]->name, k->kernel) == 0)
            return (!g->some_n || has_length(&g->n, k->n)) &&
                   (!g->some_passes || in(g->passes, (int)k->pass));
    return false;
}

static Case kernel_case(const Sweep *s, const Group *g, const KernelCase *k)
{
    Case c = {.level = LEVEL_KERNEL,
              .pass = k->pass,
              .n = k->n,
              .batch = k->batch,
              .heads = k->heads,
              .width = k->width,
              .layers = 1,
              .threads = s->threads,
              .causal = true,
              .seed = s->seed,
              .time_limit = g->time_limit > 0 ? g->time_limit : s->time_limit,
              .mem_limit = s->mem_limit};
    if (k->slow)
        c.time_limit = fmax(c.time_limit, SLOW_LIMIT);
    snprintf(c.variant, sizeof c.variant, "%s", k->kernel);
    snprintf(c.backend, sizeof c.backend, "%s", s->backend);
    snprintf(c.dtype, sizeof c.dtype, "%s", sweep_dtype(s));
    snprintf(c.set, sizeof c.set, "%s", k->set);
    return c;
}

static Status add_kernels(Cases *l, const Sweep *s, const Group *g)
{
    for (const KernelCase *k = kernel_cases; k->kernel != NULL; k++) {
        Case c = kernel_case(s, g, k);
        if (in(g->levels, LEVEL_KERNEL) && wanted(g, k))
            TRY(add(l, g, &c));
    }
    return ST_OK;
}

Status sweep_cases(const Sweep *s, SweepCase **cases, int *n)
{
    Cases l = {0};
    Status st = ST_OK;
    for (int g = 0; g < s->n_groups && st == ST_OK; g++)
        st = add_kernels(&l, s, &s->group[g]);
    for (int g = 0; g < s->n_groups; g++)
        for (int v = 0; variant_table[v] != NULL && st == ST_OK; v++)
            if (in(s->group[g].variants, v))
                st = add_variant(&l, s, &s->group[g], variant_table[v]);
    *cases = l.at;
    *n = l.n;
    return st;
}

Status sweep_trainings(const Sweep *s, SweepCase **cases, int *n)
{
    const Training *t = &s->training;
    const Group none = {0};
    Cases l = {0};
    Status st = ST_OK;
    for (int v = 0; variant_table[v] != NULL && st == ST_OK; v++) {
        Case c = base_case(s, variant_table[v]);
        c.level = LEVEL_MODEL;
        c.pass = PASS_TRAIN;
        c.n = t->n;
        c.batch = t->batch;
        c.width = c.heads = c.layers = 0;
        c.segment = 0;
        c.hot = false;
        c.time_limit = t->time_limit;
        if (t->tokens > 0 && in(t->variants, v))
            st = add(&l, &none, &c);
    }
    *cases = l.at;
    *n = l.n;
    return st;
}
