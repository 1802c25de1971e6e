/* pairing.h - two samplers as the arena of a duel: they take turns on the same cores. */
#ifndef LONGMIX_PAIRING_H
#define LONGMIX_PAIRING_H

#include "bench/duel.h"
#include "bench/side.h"

typedef struct Pairing {
    Side side[SIDES];
    Case c;
    double drag[SIDES]; /* slow-downs made on purpose, fractions */
    const char *program[SIDES];
    uint64_t seed;    /* of the places of buffers */
    uint64_t drawn;   /* random numbers so far */
    int seats;        /* copies of the case on each side */
    int64_t switches; /* interruptions of both sides since the last watch */
    double watched, stolen;
} Pairing;

/* This process and the samplers it starts from here on keep to so many of its cores, the last ones.
 * They are given back by pairing_unpin. */
void pairing_pin(int cores);
void pairing_unpin(void);

/* Starts new samplers for both programs and opens the case in both. Fails: ST_UNSUPPORTED and the
 * like with *which the side that said so. */
Status pairing_open(Pairing *p, const char *const program[SIDES], const Case *c, uint64_t seed,
                    int *which);
void pairing_close(Pairing *p);
/* The duel's view of it. */
Arena pairing_arena(Pairing *p);

#endif
