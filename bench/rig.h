/* rig.h - a case, built and ready to be stepped: model, inputs, one step by level and pass. */
#ifndef LONGMIX_RIG_H
#define LONGMIX_RIG_H

#include "bench/model.h"
#include "report/row.h"

/* What goes into a step: parts of the mixer (level mix), x (layer), or ids and targets (model). */
typedef struct Input {
    Tensor t[MIX_MAX_PARTS];
} Input;

enum { RIG_MAX_INPUTS = 64, RIG_WALK = 256 };

typedef struct Rig {
    Case c;
    Dev *dev;
    Model m;
    Timer *timer;
    Input input[RIG_MAX_INPUTS];
    int n_inputs;
    int64_t step;     /* steps done: input step mod n_inputs is next */
    Tensor dy;        /* gradient that a backward pass starts from; none for a loss */
    Buf result;       /* of the last step: output or, after a backward pass, a gradient; borrowed */
    int64_t n_result; /* numbers in it; 0: it was looked at already */
    Cost work;        /* of the forward ops of the last step; decode: mean of the last rig_run */
    double *segment_seconds; /* prefill: of each segment in the last pass */
    int64_t n_segments;
    float *flood; /* what is read to empty the caches, or NULL */
    int64_t n_flood;
    bool flushes;    /* or the device empties its own, before each step */
    int64_t flushed; /* bytes that it writes for that */
} Rig;

/* Says without building anything why a case cannot run: ST_UNSUPPORTED, ST_SHAPE. */
Status rig_accepts(const Case *c);
/* Builds the case with one input. A zero or half-built Rig is fine for rig_free. */
Status rig_init(Rig *r, Dev *d, const Case *c);
void rig_free(Rig *r);

/* After the first step: more inputs (with their gradients), so that they do not stay in a cache of
 * so many bytes; as many as leave room for a step under the memory limit, at most RIG_MAX_INPUTS.
 * Weights and carried state are the same in every step, and a prefill draws its inputs anew. A GPU
 * keeps one input and empties its cache before each step. */
void rig_rotate(Rig *r, int64_t cache);
/* Bytes of the inputs and their gradients that steps take in turn; 0: there is one input only. */
int64_t rig_rotated_bytes(const Rig *r);

/* Runs the step so often; *seconds: all of them, without what is not measured (drawing inputs, the
 * forward pass of an isolated backward pass). On the dry device a prefill of thousands of segments
 * runs a few of them and counts the work of all. */
Status rig_run(Rig *r, int steps, double *seconds);
/* Segment i of a prefill, at its place in the sequence; the last one may be shorter. */
Status rig_segment(Rig *r, int64_t i, double *seconds);
int64_t rig_segment_tokens(const Rig *r, int64_t i); /* of each sequence */
/* A timing has to be of a multiple of so many steps: they differ, and only together do they give
 * the mean. Above 1 for decode with a state of fixed size, whose chunks fill and close: steps go
 * through the last RIG_WALK positions and start over. The state then takes the same tokens again;
 * it grows in proportion to the number of rounds, and stays finite. */
int rig_walk(const Rig *r);
/* ST_NONFINITE if an end of the last result is not finite. */
Status rig_check_finite(Rig *r);

int64_t rig_tokens(const Rig *r); /* of one step */
Cost rig_cost(const Rig *r);      /* useful work of the last step, backward passes included */
double
rig_segment_slope(const Rig *r); /* prefill: change of a segment's time, first to last tenth */

#endif
