/* size.c - see size.h. 800m and 17b are the timing models of Scaling Transformers (Jaszczur 2021,
 * table 1; the options are those of its published code), without encoder and cross attention. The
 * d ones fill the range between them: f = 4 d, S about sqrt(d), N = d / 16, r = d / N. 110m is the
 * base size of GAU, FLASH (Hua 2022) and Primer (So 2021): 12 layers or 24 units, channels and
 * options as each variant has them by itself. */
#include "bench/size.h"

#include "bench/solve.h"

#include <stdio.h>
#include <string.h>

const Size size_table[] = {
    {"110m", 768, 12, 12, 32000, 0, 0, 0, 0, 0},
    {"d256", 256, 4, 8, 32000, 1024, 1024, 16, 16, 16},
    {"d512", 512, 8, 8, 32000, 2048, 2048, 16, 32, 16},
    {"800m", 1024, 16, 24, 32000, 4096, 6144, 16, 64, 96},
    {"d2048", 2048, 32, 12, 32000, 8192, 8192, 32, 128, 16},
    {"d4096", 4096, 64, 6, 32000, 16384, 16384, 64, 256, 16},
    {"17b", 9216, 96, 6, 32000, 40960, 65536, 64, 256, 32},
    {.name = NULL},
};

SizeNames size_names(void)
{
    SizeNames n = {{NULL}};
    for (int i = 0; size_table[i].name != NULL; i++) {
        CHECK(i + 1 < COUNT(n.name));
        n.name[i] = size_table[i].name;
    }
    return n;
}

static Status set_if_known(const Variant *v, const char *key, int value, Case *c)
{
    char item[48];
    size_t used = strlen(c->set), len = strlen(key);
    for (const char *at = c->set; (at = strstr(at, key)) != NULL; at++)
        if ((at == c->set || at[-1] == ' ') && at[len] == '=')
            return ST_OK; /* given by the user */
    if (variant_option(v, key, len) == NULL)
        return ST_OK;
    int n = snprintf(item, sizeof item, "%s%s=%d", used > 0 ? " " : "", key, value);
    if (used + (size_t)n >= sizeof c->set)
        return FAIL(ST_USAGE, "--set has no room for %s", item);
    memcpy(c->set + used, item, (size_t)n + 1);
    return ST_OK;
}

/* Bytes of the weights of so many layers of the dense model. */
static Status weights(const Size *size, const Case *c, int layers, double *bytes)
{
    const Variant *dense = variant_find("vanilla");
    ModelSpec s = {.variant = dense, .layers = layers, .vocab = c->vocab};
    s.ctx = (MixCtx){.batch = 1,
                     .q_len = 1,
                     .cap = c->n,
                     .width = c->width,
                     .heads = c->heads,
                     .ffn = size->ffn,
                     .vocab = c->vocab,
                     .causal = true};
    TRY(mix_options(dense, NULL, &s.ctx));
    *bytes = 4.0 * (double)(solve_count(&s) + solve_ends(&s));
    return ST_OK;
}

Status size_apply(const Size *s, const Variant *v, Case *c)
{
    bool sparse = variant_option(v, "modules", strlen("modules")) != NULL;
    double bytes = 0;
    snprintf(c->size, sizeof c->size, "%s", s->name);
    c->width = s->width;
    c->heads = s->heads;
    c->ffn = sparse ? s->ffn_sparse : s->ffn;
    c->vocab = c->level == LEVEL_MODEL ? s->vocab : 0;
    c->evict = c->pass == PASS_DECODE;
    if (s->modules > 0) {
        TRY(set_if_known(v, "modules", s->modules, c));
        TRY(set_if_known(v, "block", s->block, c));
        TRY(set_if_known(v, "rank", s->rank, c));
    }
    if (c->level != LEVEL_MODEL) {
        c->layers = 1;
        return ST_OK;
    }
    c->layers = s->layers;
    do
        TRY(weights(s, c, c->layers, &bytes));
    while (c->mem_limit > 0 && bytes > 0.5 * (double)c->mem_limit && --c->layers > 0);
    c->layers = c->layers > 0 ? c->layers : 1; /* it will be refused, and say so */
    return ST_OK;
}
