/* checkpoint.h - a training on disk: weights, optimiser moments and settings, as safetensors.
 *
 * Tensors are float32: NAME for a weight, "optim.m.NAME" and "optim.v.NAME" for its moments, so any
 * reader of the format can take the weights. The settings stand in the metadata as text. */
#ifndef LONGMIX_CHECKPOINT_H
#define LONGMIX_CHECKPOINT_H

#include "bench/trainer.h"
#include "datasets/safetensors.h"

/* Replaces the file whole or leaves it. Fails: ST_IO, ST_OOM. */
Status checkpoint_save(const Trainer *t, const char *path);

/* What a file says of itself. spec has everything trainer_init needs but the text. */
typedef struct Checkpoint {
    TrainSpec spec;
    int64_t step;
    bool has_moments;
    char sha256[65]; /* of the text it learnt from */
    char *path;
    StFile *file;
} Checkpoint;

/* Opens and checks: ST_USAGE with the file, the field and what is allowed. */
Status checkpoint_open(const char *path, Checkpoint *out);
void checkpoint_close(Checkpoint *c);

/* Copies the weights (and moments, if want_moments) into a model built from spec.model. */
Status checkpoint_load(const Checkpoint *c, Model *m, bool want_moments);

#endif
