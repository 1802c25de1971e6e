/* stand.h - one block (or a few) of a variant on a backend, with inputs, outputs and gradients as
 * host numbers: what the laws of the battery are stated in. */
#ifndef LONGMIX_TESTS_STAND_H
#define LONGMIX_TESTS_STAND_H

#include "bench/model.h"

typedef struct Setting {
    const Variant *v;
    const char *backend; /* "ref", "cpu" */
    int64_t batch, len, n_norm;
    int width, heads, ffn, blocks;
    char set[256], draws[64]; /* options; draws: those that say what is drawn, on top */
    bool causal, naive, grads, state, recompute, store,
        training; /* store: also of reversible blocks */
    int64_t step; /* of the training */
    const int32_t *lens;
    int64_t cap; /* 0: len */
} Setting;

/* Small sizes at which every branch of a variant is busy: odd widths, several chunks, a rest. */
Setting setting_small(const Variant *v, const char *backend);
/* Values of options at which a few tokens make several of everything. */
extern const char small_options[];
/* Of "k=v k=v" what the variant has an option for. */
void known_options(const Variant *v, const char *wish, char *set, size_t size);

/* What a layer is asked in a setting, its options of both kinds included. */
Status setting_ctx(const Setting *s, MixCtx *c);

typedef struct Stand {
    Setting s;
    Dev *d;
    Model m;
    Tensor x, lens;
} Stand;

/* Weights are drawn so that gains, biases and both sides of every kink matter; the same numbers on
 * every backend. CHECKs that nothing fails. */
void stand_open(Stand *r, const Setting *s);
void stand_close(Stand *r);

/* Normal numbers, a function of (seed, i) alone. */
double *numbers(int64_t n, double sd, uint32_t seed);

int64_t stand_size(const Stand *r); /* numbers in x, and in y */
void stand_set_input(Stand *r, const double *x);

/* Replay the choices that the last pass made, or make them anew. */
void stand_freeze(Stand *r, bool frozen);
/* y of the whole pass; y (stand_size) is the caller's. */
void stand_forward(Stand *r, double *y);
/* The same by segments of these lengths with carried state (zeroed first); 0 ends the list. */
void stand_segments(Stand *r, const int64_t *cuts, double *y);
/* y, dx and all parameter gradients (one after another, stand_n_params numbers) for a given dy. */
void stand_backward(Stand *r, const double *dy, double *y, double *dx, double *dw);
int64_t stand_n_params(const Stand *r);
void stand_get_params(const Stand *r, double *w);
void stand_set_params(Stand *r, const double *w);

/* Largest |a - b| over n numbers, divided by the largest |b| (or by 1 if that is 0); NaN if any. */
double worst(const double *a, const double *b, int64_t n);
/* The larger of two errors; NaN, which fmax forgets, is the worst of all. */
double worse(double a, double b);

#endif
