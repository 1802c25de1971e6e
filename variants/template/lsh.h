/* lsh.h - attention by locality-sensitive hashing, for the mixers that make its shared vector each
 * in their way. Parts, state and options of such a mixer begin with those listed here. */
#ifndef LONGMIX_LSH_H
#define LONGMIX_LSH_H

#include "variants/template/mixer.h"

enum { LSH_Q, LSH_V, LSH_HASHED, LSH_BUCKET, LSH_PARTS };
enum { LSH_KEYS, LSH_VALUES, LSH_BUCKETS, LSH_ROTATION, LSH_STATE };

enum {
    LSH_ROUNDS,
    LSH_N_BUCKETS,
    LSH_CHUNK,
    LSH_BEFORE,
    LSH_AFTER,
    LSH_SHARE_QK,
    LSH_STD_LENGTH,
    LSH_ROPE,
    LSH_N_OPTIONS
};
/* share: the default of share_qk, and what its two values mean. */
#define LSH_OPTIONS(share, share_help)                                                             \
    {"n_hashes", 2, 1, 16, true, "rounds of hashing"},                                             \
        {"n_buckets", 0, 0, 1 << 20, true, "buckets of a round, even; 0: two for each chunk"},     \
        {"chunk_len", 128, 1, 1 << 20, true, "positions of a sorted chunk"},                       \
        {"before", 1, 0, 16, true, "chunks before its own that a position sees"},                  \
        {"after", -1, -1, 16, true, "chunks after its own; -1: none if causal, else 1"},           \
        {"share_qk", share, 0, 1, true, share_help},                                               \
        {"std_length", 0, 0, 1 << 30, true, "contexts up to this see all positions (MixedLSH)"},   \
    {                                                                                              \
        "rope", 1, 0, 2, true, "rotary positions: 0 none, 1 pairs (i, i + d/2), 2 (2i, 2i + 1)"    \
    }

Status lsh_accepts(const MixCtx *c);
void lsh_state(Slot s[], const MixCtx *c);
void lsh_draws(Slot s[], const MixCtx *c); /* one: the rotations */
/* The parts from the shared vector and the values, (B,T,D) each. */
void lsh_parts(Tape *t, const MixCtx *c, Tensor *shared, Tensor *v, Parts *out);
void lsh_choose(Tape *t, const MixIn *in, Parts *parts);
Tensor *lsh_mix(Tape *t, const MixIn *in, const Parts *parts);
int lsh_groups(const MixCtx *c);
void lsh_matrix(double *P, const HostParts *h, int group, const MixCtx *c);
void lsh_decode_matrix(double *P, const HostParts *h, int group, const MixCtx *c);
double lsh_flops(const MixCtx *c); /* of hashing and mixing */

#endif
