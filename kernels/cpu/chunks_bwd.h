/* chunks_bwd.h - the two parts of the gradient of mixed chunk attention, a group of chunks at a
 * time.
 *
 * Local part, G = 2 local_post local_scale relu(local_scale qq kq') (do v'):
 *   dqq = G kq,   dkq = G' qq,   dv = A' do,   d_bias: G / local_scale summed by distance.
 * Linear part, whose states are computed again, never kept beyond a group: a forward scan for M,
 * which dql wants, then a reverse scan for D, which dkl and dv want:
 *   dql = c_g do M_g',   D_h = sum over g > h of c_g ql_g' do_g (bidirectional: over all g),
 *   dkl = v D_h',   dv = kl D_h.
 * Both are kept transposed, (E,S) in panels of S: so they are right factors of do M' and v D'.
 * Functions with a group are called by every thread of a parallel region. */
#ifndef LONGMIX_CPU_CHUNKS_BWD_H
#define LONGMIX_CPU_CHUNKS_BWD_H

#include "kernels/cpu/chunks.h"

enum {
    GROUP_FLOATS = 1 << 21, /* of states and values in a group, where a chunk allows it */
    DEPTH_BLOCK = 256,      /* inner size and rows of one private left factor: */
    ROW_BLOCK = 6 * MR,
    STATE_BLOCK = 4 * MR,       /* rows of a state that one task makes */
    DEPTH_LD = DEPTH_BLOCK + 16 /* distance of its rows */
};

/* Chunks [c0,c1) of batch rows [b0,b1). */
typedef struct Group {
    int64_t b0, b1, c0, c1;
} Group;

/* Most batch rows and chunks that a group has. */
typedef struct Grouping {
    int64_t rows, chunks;
} Grouping;

/* Scratch of the local part: a step has P = A and G (group,step,ld), a span its packed operands. */
typedef struct Local {
    const Chunks *a;
    Cut cut;
    int64_t ld;   /* row distance of P and G */
    float *p, *g; /* (group,step,ld) */
    float *kpack, *krow,
        *qrow;    /* (group,spans): local_scale kq' by keys, kq and qq by columns of S */
    float *vpack; /* (group,spans): v' by keys */
    float *bias;  /* (group,spans,blocks of queries,2 C - 1) sums, if d_bias is wanted */
    float *work;  /* (threads, work_floats) */
    size_t work_floats;
} Local;

/* scratch NULL: nothing but *floats, how many it takes, is of use. */
Local CPU(chunks_local)(const Chunks *a, const Grouping *most, float *scratch, size_t *floats);
void CPU(chunks_local_bwd)(const Local *l, const Group *g);

/* Scratch of the linear part, one for both scans. */
typedef struct Scan {
    const Chunks *a;
    Grouping most;
    bool reverse;  /* D, dkl and dv; else M and dql */
    float *states; /* (rows, chunks + 1) */
    float *right;  /* (rows, chunks): packed kl or c ql of a chunk */
    float *work;   /* (threads, work_floats): a left factor, or a panel of D */
    size_t work_floats;
} Scan;

Scan CPU(chunks_scan)(const Chunks *a, const Grouping *most, float *scratch, size_t *floats);
/* The state before the first chunk, in slot 0, is zero. */
void CPU(scan_reset)(const Scan *c, int64_t b0, int64_t b1);
/* States that the chunks of g see: the first one visited sees slot `slot`, the next one the next.
 */
void CPU(scan_states)(const Scan *c, const Group *g, int64_t slot);
/* The gradients that want them. */
void CPU(scan_apply)(const Scan *c, const Group *g, int64_t slot);

#endif
