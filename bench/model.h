/* model.h - a stack of blocks on a device, alone ("layer") or as a byte-level language model.
 *
 * The only place where a variant's declarations become memory. Below this nothing knows of sweeps
 * or files, above it nothing knows of mixers. */
#ifndef LONGMIX_MODEL_H
#define LONGMIX_MODEL_H

#include "variants/template/block.h"

typedef struct ModelSpec {
    const Variant *variant;
    int layers;    /* Transformer-layer equivalents: blocks = layers * blocks_per_layer */
    int blocks;    /* if > 0: this many blocks instead */
    int vocab;     /* 0: no embedding, head or loss: maps (B,T,D) to (B,T,D) */
    MixCtx ctx;    /* batch, q_len, cap, width, heads, ffn, causal, options ...: of a full pass */
    bool state;    /* allocate carried state (STATEFUL variants) */
    bool grads;    /* allocate gradients of the parameters */
    uint64_t seed; /* of the initial weights */
} ModelSpec;

/* Embedding, last norm and loss layer: their slots, none without a vocabulary. */
enum { MODEL_ENDS = 3 + MIX_MAX_PARAMS };
int model_end_slots(const ModelSpec *s, BlockSlot out[MODEL_ENDS]);

bool model_is_end(const char *name); /* of a parameter of embedding or loss layer */

typedef struct ModelParam {
    char name[PARAM_NAME]; /* "embed", "block0.mixer.w_q", ..., "norm.gain", "head" ... */
    Tensor t, m, v;        /* value (with its gradient), AdamW moments (empty until needed) */
    bool decay;
} ModelParam;

/* Must not move once it is built: its blocks point into it. */
typedef struct Model {
    ModelSpec spec;
    MixCtx ctx; /* of the current call: q_len, pos and batch may change between calls */
    Dev *dev;
    Tape *tape;
    int n_blocks, n_params, n_state;
    Block *block;
    ModelParam *param;
    Tensor *state;
    Tensor grad_norm; /* (1) */
} Model;

/* Declares, allocates and fills the parameters from the seed. A zero or half-built Model is fine
 * for model_free. Fails with ST_OOM, or ST_UNSUPPORTED / ST_SHAPE from mix_accepts. */
Status model_init(Model *m, Dev *d, const ModelSpec *spec);
void model_free(Model *m);

/* Trainable numbers; embed: of embedding and head only, else of all the others. */
int64_t model_n_params(const Model *m, bool embed);

/* Runs the blocks on x (B,q_len,D) at m->ctx.pos, from carried state if the model has it. */
Tensor *model_blocks(Model *m, Tensor *x);
/* Logits (B,q_len,V) of ids (B,q_len) I32. */
Tensor *model_logits(Model *m, Tensor *ids);

Status model_zero_grads(Model *m);
Status model_zero_state(Model *m);
/* State as if pos tokens had been seen: small random numbers (for timing decode at depth). */
Status model_random_state(Model *m, uint64_t seed);

/* Allocates the AdamW moments, as zeros, where they are not there yet. */
Status model_moments(Model *m);

typedef struct Optim {
    double lr, beta1, beta2, eps, decay, clip; /* clip: largest norm of all gradients; 0: none */
} Optim;
/* One AdamW step on all parameters; step counts from 1. Allocates moments that are missing. The
 * gradient norm before clipping goes to *norm; without it (NULL) nothing waits for the device.
 * Where the norm is not finite nothing changes, and it is ST_NONFINITE if it is wanted. */
Status model_adamw(Model *m, const Optim *o, int64_t step, double *norm);

#endif
