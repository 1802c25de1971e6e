/* peer.h - another program on the same case: does our baseline stand comparison with what people
 * use?
 *
 * A peer is a program that speaks the protocol of sampler.h: hello, open (its answer also says
 * `what` it runs) and time. Its name comes from the environment, LONGMIX_PEER. */
#ifndef LONGMIX_PEER_H
#define LONGMIX_PEER_H

#include "report/row.h"

/* What is compared; how many times as fast as the peer we want to be. variant NULL ends it. */
typedef struct PeerCase {
    const char *variant;
    Level level;
    Pass pass;
    int64_t n, batch;
    int heads, width;
    const char *set;
    double bar;
} PeerCase;
extern const PeerCase peer_cases[], peer_cases_gpu[];
/* The table of a backend. */
const PeerCase *peer_cases_of(const char *backend);
Case peer_case(const PeerCase *p, const char *backend, const char *dtype, int threads,
               int64_t mem_limit);

/* Fills a ROW_PEER: this process and the peer run the case in turn, and the one that does not run
 * stands still. */
void peer_run(const Case *c, Row *row);

#endif
