/* duel.h - one comparison: pairs of samples of two sides until their difference is known.
 *
 * Knows neither processes nor clocks: what it needs of the world is in Arena, so that tests can
 * play it on a clock of their own. The statistics are in report/paired.h. */
#ifndef LONGMIX_DUEL_H
#define LONGMIX_DUEL_H

#include "report/paired.h"

enum { SIDE_A, SIDE_B, SIDES };

typedef struct Arena {
    void *ctx;
    /* Runs so many steps of a side; *seconds is the time of all of them. */
    Status (*sample)(void *ctx, int side, int steps, double *seconds);
    /* New processes and other places in memory for both sides; NULL: they stay. */
    Status (*move)(void *ctx, int look);
    /* The fixed kernel, and what happened since the last call; NULL: nothing is known. */
    Status (*watch)(void *ctx, Window *out);
    double (*now)(void *ctx);                /* wall clock, seconds */
    void (*rest)(void *ctx, double seconds); /* lets time pass */
} Arena;

typedef struct DuelSpec {
    double margin;     /* 0: 2 %, and 5 % for steps below 100 us */
    double sample;     /* seconds that a sample should take at least */
    double time_limit; /* seconds of the whole */
    int max_pairs;     /* a number of paired_looks, or fewer for a quick look; 0: all */
    int family;        /* comparisons made together */
    uint64_t seed;     /* of the orders */
} DuelSpec;

/* Warms both sides up, chooses the steps of a sample, then takes pairs in random order (AB BA or
 * BA AB in each block of four samples), looks after 30, 60, 120 and 240 pairs, and stops when
 * paired_judge says so or the time is spent. Fails as the arena does. */
Status duel(const Arena *arena, const DuelSpec *spec, Paired *out);

#endif
