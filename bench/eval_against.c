/* eval_against.c - see eval_against.h. */
#include "bench/eval_against.h"

#include "bench/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* What a checkpoint says about each window. */
typedef struct Sitting {
    const char *path;
    const Variant *variant;
    uint64_t seed;
    int64_t len, tokens, n;
    double bpb;   /* of all windows */
    double *bits; /* (n) a byte; free it */
} Sitting;

static Status sit(const char *path, Dev *d, const Text *text, TextSplit split, Sitting *s)
{
    Checkpoint c;
    Trainer t = {.text = NULL};
    Exam e;
    TRY(checkpoint_open(path, &c));
    const MixCtx *x = &c.spec.model.ctx;
    *s = (Sitting){
        path, c.spec.model.variant, c.spec.seed, x->q_len, c.step * x->batch * x->q_len, 0, 0,
        NULL};
    c.spec.model.grads = false;
    Status st = trainer_init(&t, d, &c.spec, text);
    if (st == ST_OK)
        st = checkpoint_load(&c, &t.model, false);
    if (st == ST_OK)
        st = trainer_exam_windows(&t, split, &s->bits, &s->n, &e);
    for (int64_t i = 0; st == ST_OK && i < s->n; i++)
        s->bits[i] /= log(2.0) * (double)s->len;
    if (st == ST_OK)
        s->bpb = exam_bpb(&e);
    trainer_free(&t);
    checkpoint_close(&c);
    return st;
}

/* ---- one seed ---- */
static Status check_pair(const Sitting *a, const Sitting *b)
{
    if (a->len != b->len)
        return FAIL(ST_USAGE, "%s reads %lld bytes and %s %lld: contexts have to be equal", a->path,
                    (long long)a->len, b->path, (long long)b->len);
    if (a->n < 2)
        return FAIL(ST_USAGE, "the text has %lld windows of %lld bytes, at least 2 are needed",
                    (long long)a->n, (long long)a->len);
    return ST_OK;
}

static void print_pair(const Sitting *a, const Sitting *b, const Contrast *c)
{
    char seeds[48];
    snprintf(seeds, sizeof seeds, a->seed == b->seed ? "%llu" : "%llu, %llu",
             (unsigned long long)a->seed, (unsigned long long)b->seed);
    printf("%10s  %-16s %7.4f  %-16s %7.4f  %+10.4f  %+.4f to %+.4f\n", seeds, a->variant->name,
           a->bpb, b->variant->name, b->bpb, c->mean, c->lo, c->hi);
    if (a->tokens != b->tokens)
        printf("%12snot alike: trained on %lld and %lld tokens\n", "", (long long)a->tokens,
               (long long)b->tokens);
}

/* ---- all seeds ---- */
static void print_all(const Sitting *a, const Sitting *b, const Contrast *c, int n)
{
    printf("%10s  %-16s %7s  %-16s %7s  %10s  %s\n", "seed", "against", "bits", "this", "bits",
           "difference", "99 % interval");
    for (int i = 0; i < n; i++)
        print_pair(&a[i], &b[i], &c[i]);
    printf("bits a byte over %lld windows of %lld bytes; lower is better\n", (long long)a->n,
           (long long)a->len);
}

static void print_claim(const Contrast *c, int n, Claim claim)
{
    double lo = c[0].mean, hi = lo, sum = 0;
    for (int i = 0; i < n; i++) {
        lo = fmin(lo, c[i].mean);
        hi = fmax(hi, c[i].mean);
        sum += c[i].mean;
    }
    printf("difference: %+.4f on the mean of %d seed%s, %+.4f to %+.4f\n", sum / n, n,
           n > 1 ? "s" : "", lo, hi);
    if (claim == CLAIM_FEW_SEEDS)
        printf("no claim: that takes %d seeds\n", CLAIM_SEEDS);
    else if (claim == CLAIM_NONE)
        printf("no claim: seeds differ in sign, or an interval holds zero\n");
    else
        printf("%s than --against: in every seed, and each interval leaves zero out\n",
               claim == CLAIM_BETTER ? "better" : "worse");
}

static Status check_seeds(const Sitting *s, int n)
{
    for (int i = 0; i + 1 < n; i++)
        if (s[i].seed == s[n - 1].seed)
            return FAIL(ST_USAGE, "%s and %s both have seed %llu: a seed counts once", s[i].path,
                        s[n - 1].path, (unsigned long long)s[i].seed);
    return ST_OK;
}

/* a: those, b: these, out: b less a. */
static Status contrast_all(const Seeds *these, const Seeds *those, Dev *d, const Text *text,
                           TextSplit split, Sitting *a, Sitting *b, Contrast *out)
{
    for (int i = 0; i < these->n; i++) {
        TRY(sit(those->path[i], d, text, split, &a[i]));
        TRY(sit(these->path[i], d, text, split, &b[i]));
        TRY(check_seeds(a, i + 1));
        TRY(check_seeds(b, i + 1));
        TRY(check_pair(&a[i], &b[i]));
        out[i] = contrast_of(a[i].bits, b[i].bits, (int)a[i].n);
    }
    return ST_OK;
}

Status eval_against(const Seeds *these, const Seeds *those, Dev *d, const Text *text,
                    TextSplit split, Claim *claim)
{
    Contrast c[EVAL_MAX_SEEDS] = {{0}};
    Sitting a[EVAL_MAX_SEEDS] = {{.path = NULL}}, b[EVAL_MAX_SEEDS] = {{.path = NULL}};
    if (these->n != those->n)
        return FAIL(ST_USAGE, "%d checkpoints and %d of --against: they are compared in pairs",
                    these->n, those->n);
    Status st = contrast_all(these, those, d, text, split, a, b, c);
    if (st == ST_OK) {
        *claim = contrast_claim(c, these->n);
        print_all(a, b, c, these->n);
        print_claim(c, these->n, *claim);
    }
    for (int i = 0; i < EVAL_MAX_SEEDS; i++) {
        free(a[i].bits);
        free(b[i].bits);
    }
    return st;
}
