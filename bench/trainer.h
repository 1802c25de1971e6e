/* trainer.h - a byte-level language model learning a text, and being examined on it.
 *
 * Batches are a pure function of (seed, step), so a run that is resumed from a checkpoint repeats
 * the bits of one that was not stopped. */
#ifndef LONGMIX_TRAINER_H
#define LONGMIX_TRAINER_H

#include "bench/model.h"
#include "datasets/text.h"

enum { EVAL_BUCKETS = 32 };

typedef struct TrainSpec {
    ModelSpec model; /* ctx.batch and ctx.q_len are a training batch */
    char set[192];   /* options of the variant, for the record */
    int64_t steps;
    double lr, warmup; /* peak; fraction of the steps that climbs to it */
    double floor;      /* the cosine ends at this fraction of lr */
    double beta1, beta2, eps, decay, clip;
    uint64_t seed;
    bool recompute;
} TrainSpec;

/* AdamW 0.9 / 0.95, decay 0.1, clip 1, warm-up 5 %, cosine to 10 %. */
TrainSpec train_defaults(const Variant *v);
double train_lr(const TrainSpec *s, int64_t step); /* of step 1 .. steps */

typedef struct Trainer {
    TrainSpec spec;
    const Text *text;
    Model model;
    Tensor ids, targets; /* (B,T) I32 */
    Tensor loss;         /* (1), of the last step */
    int32_t *host_ids, *host_targets;
    int64_t step; /* steps done */
} Trainer;

Status trainer_init(Trainer *t, Dev *d, const TrainSpec *spec, const Text *text);
void trainer_free(Trainer *t); /* a zero or half-built one is fine */

/* One step; *loss: mean nats a byte of its batch before the step, *norm: of the gradient. */
Status trainer_step(Trainer *t, double *loss, double *norm);

/* Negative log-likelihood of bytes, by position in the context. */
typedef struct Exam {
    double nats;
    int64_t bytes;
    double bucket_nats[EVAL_BUCKETS]; /* bucket i: positions [2^i - 1, 2^(i+1) - 1) */
    int64_t bucket_bytes[EVAL_BUCKETS];
} Exam;
double exam_bpb(const Exam *e); /* bits per byte */
/* ST_USAGE where a part of the text has no window of len bytes and one more. */
Status exam_fits(const Text *text, TextSplit split, int64_t len);
double bucket_bpb(const Exam *e, int bucket); /* NaN where it is empty */

/* Windows of the training length, spread evenly over a split; at most max_windows, 0: all. */
Status trainer_exam(Trainer *t, TextSplit split, int64_t max_windows, Exam *out);

/* All windows of a split, and the nats of each, in the order of the text; free *nats, also after a
 * failure. */
Status trainer_exam_windows(Trainer *t, TextSplit split, double **nats, int64_t *n, Exam *out);

/* One sequence of len >= 2 bytes from the start of a split, read in segments with carried state;
 * the model must have state. tick, if not NULL, is called after each segment. */
typedef void ExamTick(void *ctx, int64_t done, int64_t all, const Exam *so_far);
Status exam_stream(Model *m, const Text *text, TextSplit split, int64_t len, int64_t segment,
                   ExamTick *tick, void *tick_ctx, Exam *out);

#endif
