/* tiny.h - language models and texts so small that a test can train them. */
#ifndef LONGMIX_TESTS_TINY_H
#define LONGMIX_TESTS_TINY_H

#include "bench/trainer.h"

enum { TINY_BATCH = 2, TINY_LEN = 9, TINY_VOCAB = 12 };

/* Two layers, width 8, with gradients; fits tokens_init. */
ModelSpec tiny_model(const Variant *v);

/* One batch of (TINY_BATCH, TINY_LEN); some targets do not count. */
typedef struct Tokens {
    Tensor ids, targets;
} Tokens;
enum { TINY_COUNTED = 15 };
Status tokens_init(Tokens *k, Dev *d);
void tokens_free(Tokens *k, Dev *d); /* a zero or half-made one is fine */

/* Loss and gradients (zeroed first) of the batch; *loss may be NULL. */
Status tiny_backward(Model *m, Tokens *k, double *loss);
/* The same, and a step of AdamW; step counts from 1. */
Status tiny_step(Model *m, Tokens *k, int64_t step);

/* Every weight of the model, one after another, as the device has them; the caller frees them. */
double *tiny_weights(const Model *m, int64_t *n);

/* Writes size bytes of words that repeat with rules a model can learn. */
void tiny_text(const char *path, size_t size);
/* Width 16, one layer, 4 sequences of 24 bytes, 40 steps. */
TrainSpec tiny_training(const Variant *v);

#endif
